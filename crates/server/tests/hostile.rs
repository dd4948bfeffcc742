//! Many at once, calls off at any moment, damaged files, engines told to end behind the server's back; and no secret in any
//! place where one does not belong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;
use support::{Installation, PASSWORD, kill};

fn body(name: &str, engine: &str) -> Value {
    json!({"name": name, "engine": engine, "database": {"name": "shop", "owner": "keeper", "password": PASSWORD}})
}

/// The same request by many at once; how often each status came back, and what was accepted.
fn at_once(many: usize, ask: impl Fn(usize) -> (u16, Value) + Sync) -> (BTreeMap<u16, usize>, Vec<Value>) {
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let ask = &ask;
        let threads: Vec<_> = (0..many).map(|number| scope.spawn(move || ask(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    let mut statuses = BTreeMap::new();
    for (status, _) in &answers {
        *statuses.entry(*status).or_default() += 1;
    }
    (statuses, answers.into_iter().filter(|(status, _)| *status == 202).map(|(_, accepted)| accepted).collect())
}

#[test]
fn of_many_at_once_exactly_one_wins() {
    let installation = Installation::start();
    let (statuses, accepted) = at_once(24, |number| {
        installation.native("POST", "/moorage/v1/clusters", Some(body("same", ["mariadb", "postgresql"][number % 2])))
    });
    assert_eq!(statuses, BTreeMap::from([(202, 1), (409, 23)]));
    let cluster = installation.running(accepted[0]["cluster"]["id"].as_str().expect("an id"));
    assert_eq!(installation.instance_directories().len(), 1);
    for _ in 0..3 {
        let (statuses, accepted) = at_once(12, |number| {
            let verb = ["stop", "restart", "start"][number % 3];
            installation.native("POST", &format!("/moorage/v1/clusters/{}/{verb}", cluster.id), None)
        });
        // One at a time: whoever came when the one before had ended, and found a state it may change, was let in too.
        assert!(statuses.keys().all(|status| [202, 409].contains(status)) && !accepted.is_empty(), "{statuses:?}");
        let mut spans: Vec<(String, String)> = Vec::new();
        for accepted in &accepted {
            let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an operation"));
            assert_eq!(ended["status"], "succeeded", "{ended}");
            // Without the zone's letter they sort as text.
            let at = |name: &str| ended[name].as_str().expect("a time").trim_end_matches('Z').to_owned();
            spans.push((at("created_at"), at("finished_at")));
        }
        spans.sort();
        assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "never two at once: {spans:?}");
    }
    // Whoever asks for its end first ends it; afterwards there is nothing to ask for.
    let path = format!("/moorage/v1/clusters/{}", cluster.id);
    let (statuses, accepted) = at_once(12, |_| installation.native("DELETE", &path, None));
    assert_eq!(statuses.get(&202), Some(&1), "{statuses:?}");
    assert!(statuses.keys().all(|status| [202, 404, 409].contains(status)), "{statuses:?}");
    assert_eq!(installation.ended(accepted[0]["operation"]["id"].as_str().expect("an operation"))["status"], "succeeded");
    assert_eq!(installation.instance_directories().len(), 0);
}

#[test]
fn a_creation_called_off_at_any_moment_ends_and_leaves_only_its_row() {
    let installation = Installation::start();
    let mut kept = 0;
    for number in 0..12_u64 {
        let engine = ["mariadb", "postgresql"][usize::try_from(number % 2).expect("small")];
        let accepted = installation.ask_for(engine, &format!("off{}", (b'a' + u8::try_from(number).expect("small")) as char));
        let (cluster, operation) =
            (accepted["cluster"]["id"].as_str().expect("an id"), accepted["operation"]["id"].as_str().expect("an operation"));
        std::thread::sleep(Duration::from_millis(number * number * 6));
        let (status, answer) = installation.native("POST", &format!("/moorage/v1/operations/{operation}/cancel"), None);
        assert!(status == 200 || status == 409, "{answer}");
        let ended = installation.ended(operation);
        let state = installation.native("GET", &format!("/moorage/v1/clusters/{cluster}"), None).1["state"].clone();
        match ended["status"].as_str() {
            Some("cancelled") => assert_eq!(state, "FAILED", "{ended}"),
            Some("succeeded") => {
                assert_eq!(state, "RUNNING", "{ended}");
                kept += 1;
            }
            _ => panic!("{ended}"),
        }
        assert_eq!(installation.instance_directories().len(), kept);
    }
}

#[test]
fn an_engine_ended_behind_the_servers_back_runs_again() {
    let installation = Installation::start();
    for engine in ["mariadb", "postgresql"] {
        let cluster = installation.create(engine, &format!("ended{engine}"));
        cluster.sql("CREATE TABLE t (n INT PRIMARY KEY)").expect("a table");
        cluster.sql("INSERT INTO t VALUES (1)").expect("a row");
        // A polite end is not what anybody wished for, as little as a kill.
        kill(cluster.engine_pid(&installation), 15);
        installation.until(Duration::from_secs(20), "it was started again and the reason is kept", |this| {
            let (_, shown) = this.native("GET", &format!("/moorage/v1/clusters/{}", cluster.id), None);
            let instance = &shown["instances"][0];
            (shown["state"] == "RUNNING" && instance["restarts"] == 1 && instance["last_restart_reason"].is_string()).then_some(())
        });
        installation.until(Duration::from_secs(20), "it answers with every row", |_| {
            (cluster.sql("SELECT count(*) FROM t") == Ok("1".into())).then_some(())
        });
    }
}

#[test]
fn a_server_needs_no_bootstrap_file() {
    let mut installation = Installation::start();
    let file = installation.directory.join("bootstrap.json");
    let whole = std::fs::read(&file).expect("a file");
    for damaged in ["{broken", "[]", ""] {
        installation.end_server();
        std::fs::write(&file, damaged).expect("written");
        let log = installation.directory.join("damaged.log");
        let mut server = Command::new(support::PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&installation.directory)
            .stdout(std::process::Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("it starts");
        let serves = || std::fs::read_to_string(&log).is_ok_and(|said| said.contains("moorage serves http://"));
        let begun = std::time::Instant::now();
        while !serves() && server.try_wait().expect("a child").is_none() && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let served = serves();
        drop(Command::new("kill").arg(server.id().to_string()).status());
        let ended = server.wait().expect("it ends");
        assert!(served && ended.success(), "{damaged}: {}", std::fs::read_to_string(&log).unwrap_or_default());
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), damaged, "what somebody did to it is left to them");
        std::fs::write(&file, &whole).expect("written");
        installation.serve();
    }
    assert_eq!(installation.native("GET", "/moorage/v1/clusters", None).0, 200);
}

#[test]
fn nothing_secret_is_in_logs_arguments_environment_or_open_files() {
    let installation = Installation::start();
    let clusters: Vec<_> = ["mariadb", "postgresql"].map(|engine| installation.create(engine, &format!("secret{engine}"))).into();
    for cluster in &clusters {
        drop(cluster.sql_as("keeper", "Wr0ng!password", "SELECT 1", &[]));
    }
    let bootstrap = installation.bootstrap();
    let key = std::fs::read_to_string(installation.directory.join("master.key")).expect("a key");
    let mut secrets: Vec<&str> = ["password", "secret_key", "token"].map(|name| bootstrap[name].as_str().expect("a secret")).into();
    secrets.extend([PASSWORD, "Wr0ng!password", key.trim()]);

    // Their homes are the only files they are in. A verifier lets nobody in, but it belongs into the engine, not to us.
    let holding = |words: &[&str], places: &[&str]| {
        let mut search = Command::new("grep");
        search.args(["-rlaF", "--exclude=bootstrap.json", "--exclude=master.key"]);
        search.args(words.iter().flat_map(|word| ["-e", word]));
        search.args(places.iter().map(|place| installation.directory.join(place)));
        String::from_utf8_lossy(&search.output().expect("grep runs").stdout).into_owned()
    };
    assert_eq!(holding(&secrets, &["."]), "");
    assert_eq!(holding(&["SCRAM-SHA-256$"], &["store.db", "store.db-wal", "serve.log", "gateway", "work"]), "");
    let open = Command::new("find")
        .arg(&installation.directory)
        .args(["-perm", "/o+rw", "-not", "-type", "l", "-not", "-name", "serve.log"])
        .output();
    assert_eq!(String::from_utf8_lossy(&open.expect("find runs").stdout), "", "anybody on this machine may use these");
    for pid in installation.processes() {
        for file in ["cmdline", "environ"] {
            let contents = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            for secret in &secrets {
                assert!(!contents.windows(secret.len()).any(|part| part == secret.as_bytes()), "a secret is in {file} of process {pid}");
            }
        }
    }
    let (_, operations) = installation.native("GET", "/moorage/v1/operations", None);
    assert!(secrets.iter().all(|secret| !operations.to_string().contains(secret)));
}
