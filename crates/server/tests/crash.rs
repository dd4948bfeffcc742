//! What dies comes back, and what a user was promised is still there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::json;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Cluster, Installation, kill, median, rand};

/// How often the server is killed; the long form is asked for by the environment.
fn rounds(name: &str, short: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(short)
}

/// A client that asks a database again and again and remembers its longest wait.
struct Watcher {
    stop: Arc<AtomicBool>,
    longest: Arc<Mutex<Duration>>,
    asked: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watcher {
    fn of(cluster: Cluster) -> Self {
        let (stop, longest, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Duration::ZERO)), Arc::new(AtomicU64::new(0)));
        let thread = {
            let (stop, longest, asked) = (stop.clone(), longest.clone(), asked.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    while cluster.sql("SELECT 1").is_err() {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    let mut longest = longest.lock().expect("a lock");
                    *longest = (*longest).max(begun.elapsed());
                    drop(longest);
                    std::thread::sleep(Duration::from_millis(20));
                }
            })
        };
        Self { stop, longest, asked, thread: Some(thread) }
    }

    fn end(mut self) -> (Duration, u64) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the watcher ends");
        }
        let longest = *self.longest.lock().expect("a lock");
        (longest, self.asked.load(Ordering::Relaxed))
    }
}

#[test]
fn a_server_killed_at_random_moments_loses_no_operation_and_disturbs_no_database() {
    let mut installation = Installation::start();
    let steady = installation.create("postgresql", "steady");
    steady.sql("CREATE TABLE kept (n INT)").expect("a table");
    let watcher = Watcher::of(steady.clone());
    let rounds = rounds("MOORAGE_CRASHES", 6);
    let mut operations: Vec<String> = Vec::new();
    let mut clusters: Vec<String> = Vec::new();
    for round in 0..rounds {
        // A mix: something new every round, and something else for what is there.
        let engine = if round % 2 == 0 { "mariadb" } else { "postgresql" };
        let body = json!({"name": format!("mix{round}"), "engine": engine, "database": {"name": "shop", "owner": "keeper", "password": support::PASSWORD}});
        let (status, accepted) = installation.native("POST", "/moorage/v1/clusters", Some(body));
        assert_eq!(status, 202, "{accepted}");
        clusters.push(accepted["cluster"]["id"].as_str().expect("an id").to_owned());
        operations.push(accepted["operation"]["id"].as_str().expect("an id").to_owned());
        for id in &clusters {
            let (_, shown) = installation.native("GET", &format!("/moorage/v1/clusters/{id}"), None);
            let (method, path) = match (shown["state"].as_str(), rand() % 3) {
                (Some("RUNNING"), 0) => ("POST", format!("/moorage/v1/clusters/{id}/stop")),
                (Some("STOPPED"), _) => ("POST", format!("/moorage/v1/clusters/{id}/start")),
                (Some("RUNNING" | "FAILED"), 1) => ("DELETE", format!("/moorage/v1/clusters/{id}")),
                _ => continue,
            };
            let (status, accepted) = installation.native(method, &path, None);
            assert_eq!(status, 202, "{accepted}");
            operations.push(accepted["operation"]["id"].as_str().expect("an id").to_owned());
        }
        std::thread::sleep(Duration::from_millis(rand() % 700));
        installation.kill_server();
        installation.serve();
    }
    for id in &operations {
        let ended = installation.ended(id);
        assert!(ended["status"] == "succeeded" || (ended["status"] == "failed" && ended["problem"]["title"].is_string()), "{ended}");
    }
    let mut directories = 1;
    for id in &clusters {
        let (status, shown) = installation.native("GET", &format!("/moorage/v1/clusters/{id}"), None);
        match (status, shown["state"].as_str()) {
            (404, _) => {}
            (200, Some("RUNNING")) => {
                directories += 1;
                assert_eq!(installation.running(id).sql("SELECT 1"), Ok("1".into()));
            }
            (200, Some("STOPPED")) => directories += 1,
            (200, Some("FAILED")) => assert!(shown["state_reason"].is_string(), "{shown}"),
            other => panic!("{other:?}: {shown}"),
        }
    }
    assert_eq!(installation.instance_directories().len(), directories, "nothing is left of what failed or went");
    let mark = mark_of(&installation);
    let groups = named_below("/sys/fs/cgroup", &mark).into_iter().filter(|path| path.ends_with("cgroup.events"));
    let groups =
        groups.filter(|path| std::fs::read_to_string(path).is_ok_and(|events| events.contains("populated 1")) && !path.contains("gateway"));
    let alive = clusters
        .iter()
        .chain([&steady.id])
        .filter(|id| installation.native("GET", &format!("/moorage/v1/clusters/{id}"), None).1["state"] == "RUNNING");
    assert!(groups.count() >= alive.count(), "every running engine has its group");
    let left =
        named_below("/sys/fs/cgroup", &mark).into_iter().filter(|path| path.ends_with("cgroup.procs") && path.contains("unified")).count();
    // Besides instances: the installation itself, its gateway, and jobs that make spares.
    assert!(left <= directories + 4, "groups of {left} things are left, {directories} instances are there");
    let (longest, asked) = watcher.end();
    eprintln!(
        "serve killed {rounds} times, {} operations; longest pause of a running database's client {longest:?} over {asked} queries",
        operations.len()
    );
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

#[test]
fn a_killed_engine_answers_again_with_every_committed_row() {
    let installation = Installation::start();
    for engine in ["mariadb", "postgresql"] {
        let cluster = installation.create(engine, &format!("dies{engine}"));
        cluster.sql("CREATE TABLE t (n INT PRIMARY KEY)").expect("a table");
        let mut gaps = Vec::new();
        for n in 0..rounds("MOORAGE_ENGINE_CRASHES", 3) {
            cluster.sql(&format!("INSERT INTO t VALUES ({n})")).expect("a committed row");
            let pid = cluster.engine_pid(&installation);
            let struck = Instant::now();
            kill(pid, 9);
            installation.until(Duration::from_secs(30), "the engine answers again", |_| {
                (cluster.sql("SELECT count(*) FROM t") == Ok((n + 1).to_string())).then_some(())
            });
            gaps.push(struck.elapsed());
            // A second death within a minute is waited for a little longer each time; a fresh start forgets.
            let (_, accepted) = installation.native("POST", &format!("/moorage/v1/clusters/{}/restart", cluster.id), None);
            if let Some(operation) = accepted["operation"]["id"].as_str() {
                installation.ended(operation);
            }
        }
        eprintln!("{engine}: kill -9 of the engine to the first answer: median {:?} of {gaps:?}", median(gaps.clone()));
        installation.until(Duration::from_secs(10), "the reason is kept", |this| {
            let (_, shown) = this.native("GET", &format!("/moorage/v1/clusters/{}", cluster.id), None);
            shown["instances"][0]["last_restart_reason"].as_str().is_some_and(|why| why.contains("signal 9")).then_some(())
        });
    }
}

#[test]
fn a_killed_shim_is_replaced_and_the_engine_never_notices() {
    let installation = Installation::start();
    let cluster = installation.create("mariadb", "adopted");
    let before = cluster.engine_pid(&installation);
    let instance = cluster.shown["instances"][0]["id"].as_str().expect("an instance").to_owned();
    let shims = |this: &Installation| -> Vec<u32> {
        let pids = this.processes().into_iter();
        pids.filter(|pid| {
            let command = String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).into_owned();
            command.contains("\0shim\0") && command.contains(&instance)
        })
        .collect()
    };
    let shim = shims(&installation)[0];
    kill(shim, 9);
    assert_eq!(cluster.sql("SELECT 1"), Ok("1".into()));
    installation.until(Duration::from_secs(10), "a new shim", |this| shims(this).first().is_some_and(|pid| *pid != shim).then_some(()));
    assert_eq!(cluster.engine_pid(&installation), before, "the engine went on");
    // The new shim does its duty.
    kill(before, 9);
    installation.until(Duration::from_secs(20), "the engine answers again", |_| (cluster.sql("SELECT 1") == Ok("1".into())).then_some(()));
    assert_ne!(cluster.engine_pid(&installation), before);
}

#[test]
fn a_killed_gateway_serves_again_within_a_second_even_without_the_server() {
    let mut installation = Installation::start();
    let cluster = installation.create("postgresql", "gate");
    installation.end_server();
    let mut gaps = Vec::new();
    for _ in 0..3 {
        let gateway = installation.processes().into_iter().find(|pid| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains("\0gateway\0")
        });
        let struck = Instant::now();
        kill(gateway.expect("a gateway"), 9);
        installation
            .until(Duration::from_secs(10), "the gateway serves again", |_| (cluster.sql("SELECT 1") == Ok("1".into())).then_some(()));
        gaps.push(struck.elapsed());
        std::thread::sleep(Duration::from_millis(1500));
    }
    eprintln!("kill -9 of the gateway to the next answer: {gaps:?}");
    assert!(median(gaps.clone()) < Duration::from_secs(1), "{gaps:?}");
}

#[test]
fn after_a_reboot_everything_that_ran_runs_again_with_every_row() {
    let mut installation = Installation::start();
    let clusters: Vec<Cluster> =
        ["mariadb", "postgresql"].iter().map(|engine| installation.create(engine, &format!("boot{engine}"))).collect();
    for cluster in &clusters {
        cluster.sql("CREATE TABLE t (n INT PRIMARY KEY)").expect("a table");
        cluster.sql("INSERT INTO t VALUES (1), (2)").expect("rows");
    }
    // Power goes: every process at once, then everything a reboot forgets.
    installation.kill_server();
    for _ in 0..100 {
        let pids = installation.processes();
        if pids.is_empty() {
            break;
        }
        let all: Vec<String> = pids.iter().map(ToString::to_string).collect();
        drop(Command::new("kill").arg("-9").args(&all).output());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(installation.processes(), Vec::<u32>::new());
    let mark = mark_of(&installation);
    for root in ["/sys/fs/cgroup", "/run/moorage"] {
        forget(std::path::Path::new(root), &mark);
    }
    let begun = Instant::now();
    installation.serve();
    for cluster in &clusters {
        let now = installation.reaches(&cluster.id, "RUNNING");
        installation
            .until(Duration::from_secs(30), "every row is there", |_| (now.sql("SELECT count(*) FROM t") == Ok("2".into())).then_some(()));
        assert_eq!((&now.address, now.port), (&cluster.address, cluster.port));
    }
    eprintln!("reboot: both engines answering {:?} after the start of serve", begun.elapsed());
}

/// The eight digits by which everything of the installation is marked on the machine.
fn mark_of(installation: &Installation) -> String {
    let store = installation.directory.join("store.db");
    let output = Command::new("python3")
        .args(["-c", "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute(\"select value from installation where name='installation'\").fetchone()[0][:8])"])
        .arg(store)
        .output()
        .expect("python3 runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Files below directories that carry the mark.
fn named_below(root: &str, mark: &str) -> Vec<String> {
    let found = Command::new("find").arg(root).args(["-path", &format!("*{mark}*")]).output().expect("find runs");
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}

/// Removes directories that carry the mark: empty control groups and what was in the run directory.
fn forget(root: &std::path::Path, mark: &str) {
    let found = Command::new("find").arg(root).args(["-depth", "-type", "d", "-path", &format!("*{mark}*")]).output().expect("find runs");
    for line in String::from_utf8_lossy(&found.stdout).lines() {
        if root.starts_with("/run") {
            drop(std::fs::remove_dir_all(line));
        } else {
            drop(std::fs::remove_dir(line));
        }
    }
}
