//! Servers whose store is one PostgreSQL database: each looks after its own machine's databases, anything can be asked for at any
//! of them, and neither the death of a server nor of the store loses an operation or disturbs a database.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use moorage_testkit::TestPostgreSql;
use serde_json::Value;
use std::time::Duration;
use support::steady::Steady;
use support::{Cluster, Installation, PROGRAM, rand, something_for};

/// How often one of two servers is killed.
const KILLS: usize = 30;

fn cluster_path(id: &str) -> String {
    format!("/moorage/v1/clusters/{id}")
}

/// Asks one server, and waits at it until the operation has ended.
fn done(at: &Installation, method: &str, path: &str) -> Value {
    let (status, accepted) = at.native(method, path, None);
    assert_eq!(status, 202, "{accepted}");
    let ended = at.ended(accepted["operation"]["id"].as_str().expect("an id"));
    assert_eq!(ended["status"], "succeeded", "{ended}");
    ended
}

#[test]
fn two_servers_on_one_store_each_carry_out_what_belongs_to_their_machine() {
    let store = TestPostgreSql::start();
    let first = Installation::start_sharing(&store.url(), None);
    let mut second = Installation::start_sharing(&store.url(), Some(&first));
    let here = first.create("postgresql", "here");
    let there = second.create("mariadb", "there");
    assert_eq!((here.sql("SELECT 1"), there.sql("SELECT 1")), (Ok("1".into()), Ok("1".into())));
    for server in [&first, &second] {
        let (_, list) = server.native("GET", "/moorage/v1/clusters", None);
        assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "{list}");
    }
    // The names are the installation's, not the machine's.
    let (status, refused) = second.native("POST", "/moorage/v1/clusters", Some(body_of("postgresql", "here")));
    assert_eq!((status, refused["code"].as_str()), (409, Some("name-taken")), "{refused}");

    // Asked for at one, carried out at the other, at once and not by chance.
    let begun = std::time::Instant::now();
    done(&first, "POST", &format!("{}/stop", cluster_path(&there.id)));
    assert!(there.sql("SELECT 1").is_err());
    done(&first, "POST", &format!("{}/start", cluster_path(&there.id)));
    assert_eq!(second.running(&there.id).sql("SELECT 1"), Ok("1".into()));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}: heard, not found by looking every half minute", begun.elapsed());

    // Its files are read by its own server only.
    let (status, log) = first.native("GET", &format!("{}/logs", cluster_path(&there.id)), None);
    assert_eq!((status, log["code"].as_str()), (409, Some("on-another-host")), "{log}");
    assert_eq!(second.native("GET", &format!("{}/logs", cluster_path(&there.id)), None).0, 200);

    // A server that is gone is not replaced by the other; what it owes waits for it.
    second.kill_server();
    let (status, accepted) = first.native("DELETE", &cluster_path(&there.id), None);
    assert_eq!(status, 202, "{accepted}");
    done(&first, "POST", &format!("{}/restart", cluster_path(&here.id)));
    assert_eq!(there.sql("SELECT 1"), Ok("1".into()), "databases need no server");
    let operation = accepted["operation"]["id"].as_str().expect("an id");
    assert_eq!(first.native("GET", &format!("/moorage/v1/operations/{operation}"), None).1["status"], "running");
    second.serve();
    assert_eq!(first.ended(operation)["status"], "succeeded");
    assert_eq!(second.instance_directories().len(), 0);
}

#[test]
fn a_store_that_goes_away_for_a_while_is_waited_for() {
    let store = TestPostgreSql::start();
    let installation = Installation::start_sharing(&store.url(), None);
    let steady = installation.create("postgresql", "steady");
    let clients = [Steady::connecting(steady.clone()), Steady::holding(&steady)];
    let accepted = installation.ask_for("mariadb", "begun");
    store.go_away();
    let begun = std::time::Instant::now();
    let (status, refused) = installation.native("GET", &cluster_path(&steady.id), None);
    assert_eq!((status, refused["code"].as_str()), (503, Some("store-unavailable")), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let (status, refused) = installation.native("POST", "/moorage/v1/clusters", Some(body_of("postgresql", "not-now")));
    assert_eq!((status, refused["code"].as_str()), (503, Some("store-unavailable")), "{refused}");
    let scp = installation.scp("mariadb", "GET", "/v1/clusters", None);
    assert_eq!(scp.0, 503, "{scp:?}");
    assert_eq!(installation.exchange("GET", "/readyz", &[], None).status, 503);
    assert_eq!(installation.exchange("GET", "/healthz", &[], None).status, 200);
    std::thread::sleep(Duration::from_secs(30).saturating_sub(begun.elapsed()));
    store.go_on();
    assert_eq!(installation.ended(accepted["operation"]["id"].as_str().expect("an id"))["status"], "succeeded");
    let begun = installation.running(accepted["cluster"]["id"].as_str().expect("an id"));
    assert_eq!(begun.sql("SELECT 1"), Ok("1".into()));
    installation.create("postgresql", "not-now");
    for seen in clients.map(Steady::end) {
        assert!(seen.errors == 0 && seen.answers > 100, "{seen:?}");
    }
}

#[test]
fn a_server_that_cannot_use_the_store_says_why() {
    let store = TestPostgreSql::start();
    let first = Installation::start_sharing(&store.url(), None);
    let refused = |directory: &std::path::Path, url: &str| {
        let mut serve = std::process::Command::new(PROGRAM);
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(directory).env("MOORAGE_DATABASE_URL", url);
        let output = serve.output().expect("the program runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("open");
    // A machine that joins without the key, and with another one.
    let said = refused(directory.path(), &store.url());
    assert!(said.contains("copy the file from the one that made it"), "{said}");
    std::fs::write(directory.path().join("master.key"), format!("{}\n", "5".repeat(64))).expect("written");
    std::fs::set_permissions(directory.path().join("master.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("closed");
    let said = refused(directory.path(), &store.url());
    assert!(said.contains("not the one that sealed this store's secrets"), "{said}");
    // Nobody there, a wrong user, no URL at all.
    let said = refused(directory.path(), "postgres://moorage:hush-hush@127.0.0.1:1/moorage");
    assert!(said.contains("cannot be used") && !said.contains("hush-hush"), "{said}");
    let said = refused(directory.path(), &store.url().replace("moorage@", "nobody-else@"));
    assert!(said.contains("nobody-else"), "{said}");
    let said = refused(directory.path(), "mysql://x");
    assert!(said.contains("postgres://"), "{said}");
    assert_eq!(first.native("GET", "/moorage/v1/clusters", None).0, 200);
}

#[test]
fn two_servers_killed_at_random_do_every_operation_once() {
    let store = TestPostgreSql::start();
    let first = Installation::start_sharing(&store.url(), None);
    let second = Installation::start_sharing(&store.url(), Some(&first));
    let mut servers = [first, second];
    let mut operations: Vec<String> = Vec::new();
    let mut clusters: Vec<String> = Vec::new();
    for round in 0..KILLS {
        let (asked, killed) = (rand() as usize % 2, rand() as usize % 2);
        if clusters.len() < 4 || round % 3 == 0 {
            let engine = if round % 2 == 0 { "mariadb" } else { "postgresql" };
            let accepted = servers[asked].ask_for(engine, &format!("mix{round}"));
            clusters.push(accepted["cluster"]["id"].as_str().expect("an id").to_owned());
            operations.push(accepted["operation"]["id"].as_str().expect("an id").to_owned());
        }
        for id in &clusters {
            // Whatever is asked for is asked for at either of them, wherever the database is.
            let (_, shown) = servers[1 - asked].native("GET", &cluster_path(id), None);
            let Some((method, verb)) = something_for(&shown) else { continue };
            let (status, accepted) = servers[1 - asked].native(method, &format!("{}{verb}", cluster_path(id)), None);
            assert!(status == 202 || (status == 409 && accepted["code"] != "internal"), "{status} {accepted}");
            operations.extend(accepted["operation"]["id"].as_str().map(str::to_owned));
        }
        std::thread::sleep(Duration::from_millis(rand() % 500));
        servers[killed].kill_server();
        let (status, list) = servers[1 - killed].native("GET", "/moorage/v1/clusters?limit=1000", None);
        assert_eq!(status, 200, "the other one answers: {list}");
        servers[killed].serve();
    }
    for id in &operations {
        let ended = servers[0].ended(id);
        assert!(ended["status"] == "succeeded" || (ended["status"] == "failed" && ended["problem"]["message"].is_string()), "{ended}");
        let events = ended["events"].as_array().expect("events");
        let counted = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count();
        assert_eq!((counted("started"), counted("ended")), (1, 1), "begun once and ended once: {ended}");
    }
    let mut alive = 0;
    for id in &clusters {
        let (status, shown) = servers[0].until(Duration::from_secs(60), "the cluster is at rest", |this| {
            let (status, shown) = this.native("GET", &cluster_path(id), None);
            (status == 404 || matches!(shown["state"].as_str(), Some("RUNNING" | "STOPPED" | "FAILED"))).then_some((status, shown))
        });
        match (status, shown["state"].as_str()) {
            (404, _) | (_, Some("FAILED")) => continue,
            (_, Some("RUNNING")) => {
                let running: Cluster = servers[0].running(id);
                assert_eq!(running.sql("SELECT 1"), Ok("1".into()), "{shown}");
            }
            _ => {}
        }
        alive += 1;
    }
    let kept: usize = servers.iter().map(|server| server.instance_directories().len()).sum();
    assert_eq!(kept, alive, "nothing is left of what failed or went, and every database is on one machine");
    eprintln!("one of two servers killed {KILLS} times, {} operations, {} clusters, {alive} left", operations.len(), clusters.len());
}

fn body_of(engine: &str, name: &str) -> Value {
    serde_json::json!({"name": name, "engine": engine, "database": {"name": "shop", "owner": "keeper", "password": support::PASSWORD}})
}
