//! What dies comes back, and what a user was promised is still there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::{Installation, kill, median};

#[test]
fn a_killed_engine_answers_again_with_every_committed_row() {
    let installation = Installation::start();
    for engine in ["mariadb", "postgresql"] {
        let cluster = installation.create(engine, &format!("dies{engine}"));
        cluster.sql("CREATE TABLE t (n INT PRIMARY KEY)").expect("a table");
        let mut gaps = Vec::new();
        for n in 0..9 {
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
        let middle = median(gaps.clone());
        eprintln!("{engine}: kill -9 of the engine to the first answer: median {middle:?} of {gaps:?}");
        assert!(middle < Duration::from_secs(1), "{engine}: {gaps:?}");
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

/// The whole group of an engine stands still, as after a hang in the kernel: every process lives and none answers.
fn freeze(pid: u32) {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its groups");
    let tracked = groups.lines().find_map(|line| line.strip_prefix("0::/")).expect("a group of version 2");
    let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    let switch = roots.iter().map(|root| root.join(tracked).join("cgroup.freeze")).find(|path| path.exists());
    std::fs::write(switch.expect("a switch"), "1").expect("frozen");
}

#[test]
fn a_hung_engine_is_noticed_and_started_again_with_every_committed_row() {
    let installation = Installation::start();
    let cluster = installation.create("postgresql", "hangs");
    let neighbour = installation.create("mariadb", "neighbour");
    cluster.sql("CREATE TABLE t (n INT PRIMARY KEY)").expect("a table");
    cluster.sql("INSERT INTO t VALUES (1)").expect("a committed row");
    let before = cluster.engine_pid(&installation);
    freeze(before);
    let path = format!("/moorage/v1/clusters/{}", cluster.id);
    installation
        .until(Duration::from_secs(30), "silence is shown", |this| (this.native("GET", &path, None).1["state"] == "ERROR").then_some(()));
    let shown = installation.until(Duration::from_secs(90), "it is started again", |this| {
        let (_, shown) = this.native("GET", &path, None);
        (shown["state"] == "RUNNING").then_some(shown)
    });
    let reason = shown["instances"][0]["last_restart_reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.starts_with("hung"), "{shown}");
    assert_ne!(cluster.engine_pid(&installation), before);
    assert_eq!(cluster.sql("SELECT count(*) FROM t"), Ok("1".into()));
    let (_, shown) = installation.native("GET", &format!("/moorage/v1/clusters/{}", neighbour.id), None);
    assert_eq!(shown["instances"][0]["restarts"], 0, "{shown}");
}
