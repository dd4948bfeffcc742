//! The server is killed at random moments while it works: no operation is lost, nothing is left behind, no database notices.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::json;
use std::time::Duration;
use support::steady::Steady;
use support::{Installation, rand, something_for};

/// How often the server is killed.
const KILLS: usize = 50;

/// What was once seen of a cluster.
struct Trace {
    cluster: String,
    instance: String,
    address: Option<(String, u16)>,
}

#[test]
fn a_server_killed_at_random_moments_loses_no_operation_and_disturbs_no_database() {
    let mut installation = Installation::start();
    let steady = installation.create("postgresql", "steady");
    steady.sql("CREATE TABLE kept (n INT)").expect("a table");
    let clients = [Steady::connecting(steady.clone()), Steady::holding(&steady)];
    let mut operations: Vec<String> = Vec::new();
    let mut clusters: Vec<String> = Vec::new();
    let mut seen: Vec<Trace> = Vec::new();
    for round in 0..KILLS {
        // A mix: something new every round while there are few, and something else for what is there.
        let engine = if round % 2 == 0 { "mariadb" } else { "postgresql" };
        if clusters.len() < 4 || round % 3 == 0 {
            let accepted = installation.ask_for(engine, &format!("mix{round}"));
            clusters.push(accepted["cluster"]["id"].as_str().expect("an id").to_owned());
            operations.push(accepted["operation"]["id"].as_str().expect("an id").to_owned());
        }
        for id in &clusters {
            let path = format!("/moorage/v1/clusters/{id}");
            let (_, shown) = installation.native("GET", &path, None);
            for instance in shown["instances"].as_array().into_iter().flatten() {
                let address = shown["address"].as_str().map(|address| (address.to_owned(), shown["port"].as_u64().unwrap_or(0) as u16));
                seen.push(Trace { cluster: id.clone(), instance: instance["id"].as_str().expect("an id").to_owned(), address });
            }
            let Some((method, verb)) = something_for(&shown) else { continue };
            let (status, accepted) = installation.native(method, &format!("{path}{verb}"), None);
            // The server itself may have begun to bring it back meanwhile.
            assert!(status == 202 || (status == 409 && accepted["code"] != "internal"), "{status} {accepted}");
            operations.extend(accepted["operation"]["id"].as_str().map(str::to_owned));
        }
        std::thread::sleep(Duration::from_millis(rand() % 500));
        installation.kill_server();
        if round % 4 == 3 {
            // While it is only just starting, too.
            installation.begin_serving(&[]);
            std::thread::sleep(Duration::from_millis(rand() % 250));
            installation.kill_server();
        }
        installation.serve();
    }
    for id in &operations {
        let ended = installation.ended(id);
        assert!(ended["status"] == "succeeded" || (ended["status"] == "failed" && ended["problem"]["message"].is_string()), "{ended}");
    }
    let mut alive = vec![steady.id.clone()];
    let mut failed = 0;
    for id in &clusters {
        let path = format!("/moorage/v1/clusters/{id}");
        // What the server brings back by itself comes to rest too.
        let (status, shown) = installation.until(Duration::from_secs(60), "the cluster is at rest", |this| {
            let (status, shown) = this.native("GET", &path, None);
            (status == 404 || matches!(shown["state"].as_str(), Some("RUNNING" | "STOPPED" | "FAILED"))).then_some((status, shown))
        });
        match (status, shown["state"].as_str()) {
            (404, _) => continue,
            (_, Some("RUNNING")) => assert_eq!(installation.running(id).sql("SELECT 1"), Ok("1".into())),
            (_, Some("FAILED")) => {
                assert!(shown["state_reason"].is_string(), "{shown}");
                failed += 1;
                continue;
            }
            _ => {}
        }
        alive.push(id.clone());
    }
    assert_eq!(installation.instance_directories().len(), alive.len(), "nothing is left of what failed or went");
    for Trace { cluster, instance, address } in seen.iter().filter(|trace| !alive.contains(&trace.cluster)) {
        assert_eq!(installation.traces_of(instance), Vec::<String>::new(), "of cluster {cluster}");
        let taken = |(at, _): &&(String, u16)| {
            alive.iter().any(|id| installation.native("GET", &format!("/moorage/v1/clusters/{id}"), None).1["address"] == json!(at))
        };
        if let Some((at, port)) = address.as_ref().filter(|address| !taken(address)) {
            assert!(std::net::TcpStream::connect((at.as_str(), *port)).is_err(), "nobody listens at {at}:{port} any more");
        }
    }
    // No group of an instance that no row names.
    let names: Vec<String> =
        installation.instance_directories().iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    for path in support::directories_named(std::path::Path::new("/sys/fs/cgroup"), &installation.mark()) {
        let leaf = path.rsplit('/').next().unwrap_or_default();
        let of_instance = leaf.len() == 32 && leaf.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(!of_instance || names.iter().any(|name| name == leaf), "{path} belongs to nobody");
    }
    let [connecting, holding] = clients.map(Steady::end);
    eprintln!(
        "serve killed {KILLS} times, {} operations, {} clusters left, {failed} failed; a running database's clients: connecting {connecting:?}, holding {holding:?}",
        operations.len(),
        alive.len(),
    );
    for seen in [connecting, holding] {
        assert!(seen.longest < Duration::from_secs(1) && seen.errors == 0 && seen.answers > 100, "{seen:?}");
    }
}
