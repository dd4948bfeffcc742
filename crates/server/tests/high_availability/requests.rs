//! Where a cluster of two is reached, and what is asked of it at the wrong time.

use crate::blows::{cut, freeze, instance, kill_main_process, kill_main_process_in, main_process, network_of, shown, socket};
use crate::clients::Session;
use crate::support::{Cluster, Installation, PASSWORD, seed_body};
use crate::{in_sync, make};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn at(cluster: &Cluster, address: &Value) -> Cluster {
    Cluster { address: address.as_str().expect("an address").to_owned(), ..cluster.clone() }
}

/// The instances as the vendor's dialect shows them, in their order.
fn instances(shown: &Value) -> Vec<Value> {
    shown["instance_groups"][0]["instances"].as_array().expect("instances").clone()
}

fn address_of(shown: &Value, role: &str) -> Value {
    let all = instances(shown);
    all.iter().find(|instance| instance["role_type"] == role).expect("one of this role")["service_ip_address"].clone()
}

/// An address of the installation's subnet.
fn address(known: &str, last: u8) -> String {
    let (network, _) = known.rsplit_once('.').expect("an address");
    format!("{network}.{last}")
}

fn each_instance_has_an_address_of_its_own(engine: &str) {
    let installation = Installation::start();
    let version = format!("{engine} 1.0");
    let scp = |method: &str, path: &str, body: Option<Value>| installation.scp(&version, method, path, body);
    let known = installation.create(engine, "known");
    let versions = scp("GET", "/v1/engine-versions", None).1;
    let mut body = seed_body(versions["contents"][0]["id"].as_str().expect("a version"), engine);
    let wished = [address(&known.address, 200), address(&known.address, 201)];
    body["ha_enabled"] = json!(true);
    body["virtual_ip_address"] = json!(wished[0]);
    body["instance_groups"][0]["role_type"] = json!("ACTIVE_STANDBY");
    let instance_of = |role: &str, address: &str| json!({"role_type": role, "service_ip_address": address, "public_ip_id": ""});
    for (active, standby, wrong) in [
        (wished[0].as_str(), "", &wished[0]),
        (wished[1].as_str(), wished[1].as_str(), &wished[1]),
        ("", known.address.as_str(), &known.address),
    ] {
        body["instance_groups"][0]["instances"] = json!([instance_of("ACTIVE", active), instance_of("STANDBY", standby)]);
        let (status, refused) = scp("POST", "/v1/clusters", Some(body.clone()));
        let error = &refused["errors"][0];
        assert_eq!((status, error["code"].as_str()), (400, Some("Dbaas.ValidationError.IpAddressNotAvailable")), "{refused}");
        assert!(refused.to_string().contains(wrong.as_str()), "{wrong}: {refused}");
    }
    body["instance_groups"][0]["instances"] = json!([instance_of("ACTIVE", ""), instance_of("STANDBY", &wished[1])]);
    let (status, accepted) = scp("POST", "/v1/clusters", Some(body));
    assert_eq!(status, 202, "{accepted}");
    let cluster = installation.running(accepted["resource"]["id"].as_str().expect("an id"));
    let path = format!("/v1/clusters/{}", cluster.id);
    let show = || scp("GET", &path, None).1;

    let before = show();
    assert_eq!((&before["ha_enabled"], &before["instance_count"]), (&json!(true), &json!(2)), "{before}");
    assert_eq!((&before["virtual_ip_address"], cluster.address.as_str()), (&json!(wished[0]), wished[0].as_str()));
    assert_eq!(before["instance_groups"][0]["role_type"], "ACTIVE_STANDBY");
    let (active, standby) = (address_of(&before, "ACTIVE"), address_of(&before, "STANDBY"));
    assert_eq!(standby, json!(wished[1]));
    assert_eq!(BTreeSet::from([cluster.address.as_str(), active.as_str().expect("one"), standby.as_str().expect("one")]).len(), 3);

    let insert = |cluster: &Cluster, number: u32| cluster.sql(&format!("INSERT INTO kept VALUES ({number})"));
    cluster.sql("CREATE TABLE kept (number INT PRIMARY KEY)").expect("a table");
    insert(&at(&cluster, &active), 1).expect("the active one is written to");
    installation.until(SOON, "the standby has it", |_| (at(&cluster, &standby).sql("SELECT number FROM kept").ok()? == "1").then_some(()));
    let refused = insert(&at(&cluster, &standby), 2).expect_err("a standby is for reading");
    assert!(refused.contains("read-only") || refused.contains("read only"), "{refused}");

    // Its certificate names each address.
    let authority = installation.directory.join("authority-of-tests.pem");
    std::fs::write(&authority, installation.cli(&["ca"]).stdout).expect("written");
    let authority = authority.display().to_string();
    let more = match engine {
        "postgresql" => vec![format!("sslmode=verify-full sslrootcert={authority}")],
        _ => vec![format!("--ssl-ca={authority}"), "--ssl-verify-server-cert".to_owned()],
    };
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    for place in [&before["virtual_ip_address"], &active, &standby] {
        assert_eq!(at(&cluster, place).sql_as("keeper", PASSWORD, "SELECT 1", &more), Ok("1".into()), "{place}");
    }

    // They change places, and keep their addresses.
    in_sync(&installation, &cluster);
    let (status, accepted) = scp("POST", &format!("{path}/switchover"), None);
    assert_eq!(status, 202, "{accepted}");
    let request = accepted["request_id"].as_str().expect("a request").to_owned();
    installation.until(SOON, "the request ends", |_| {
        let state = scp("GET", &format!("/v1/requests/{request}"), None).1;
        assert_ne!(state["state"], "FAIL", "{state}");
        (state["state"] == "SUCCESS").then_some(())
    });
    let after = show();
    assert_eq!((address_of(&after, "ACTIVE"), address_of(&after, "STANDBY")), (standby.clone(), active.clone()), "{after}");
    assert_eq!(after["virtual_ip_address"], before["virtual_ip_address"]);
    in_sync(&installation, &cluster);
    insert(&at(&cluster, &standby), 3).expect("it writes now");
    insert(&at(&cluster, &active), 4).expect_err("and this one does not any more");
    insert(&cluster, 5).expect("the virtual address leads to the one that writes");

    // One allow-list for all of them.
    let rules = json!({"add_ip_addresses": ["192.0.2.0/24"], "del_ip_addresses": []});
    let (status, accepted) = scp("POST", &format!("{path}/security-group-rules"), Some(rules));
    assert_eq!(status, 202, "{accepted}");
    installation.until(SOON, "nobody is let in", |_| cluster.sql("SELECT 1").is_err().then_some(()));
    for place in [&active, &standby] {
        at(&cluster, place).sql("SELECT 1").expect_err("nobody is let in here either");
    }
    installation.running(&cluster.id);
    assert_eq!(scp("DELETE", &path, None).0, 202);
    installation.until(SOON, "it is gone", |_| (scp("GET", &path, None).0 == 404).then_some(()));
    assert_eq!(installation.traces_of(&cluster.id), Vec::<String>::new());
    // Its addresses are free again.
    let next = json!({"name": "next", "engine": engine, "address": wished[1], "database": {"name": "shop", "owner": "keeper", "password": PASSWORD}});
    let (status, accepted) = installation.native("POST", "/moorage/v1/clusters", Some(next));
    assert_eq!(status, 202, "{accepted}");
    assert_eq!(installation.running(accepted["cluster"]["id"].as_str().expect("an id")).address, wished[1]);
}

/// The answers to these requests, sent at once.
fn at_once(installation: &Installation, cluster: &Cluster, requests: [(&str, &str); 2]) -> Vec<(u16, Value)> {
    std::thread::scope(|scope| {
        let send =
            |(method, verb)| scope.spawn(move || installation.native(method, &format!("/moorage/v1/clusters/{}{verb}", cluster.id), None));
        let sent = requests.map(send);
        sent.into_iter().map(|one| one.join().expect("an answer")).collect()
    })
}

fn what_comes_at_the_wrong_time_is_refused(engine: &str) {
    let mut installation = Installation::start();
    let cluster = make(&installation, engine);
    let path = |verb: &str| format!("/moorage/v1/clusters/{}{verb}", cluster.id);
    let post = |installation: &Installation, verb: &str| installation.native("POST", &path(verb), None);
    cluster.sql("CREATE TABLE kept (number INT PRIMARY KEY)").expect("a table");
    let single = installation.create(engine, "single");
    for verb in ["switchover", "failover"] {
        let (status, refused) = installation.native("POST", &format!("/moorage/v1/clusters/{}/{verb}", single.id), None);
        assert_eq!((status, refused["code"].as_str()), (409, Some("no-standby-in-sync")), "{refused}");
        assert!(refused["hint"].as_str().is_some_and(|hint| hint.contains("--highly-available")), "{refused}");
    }

    // Two at once: one is done, the other is told what is in the way.
    in_sync(&installation, &cluster);
    for (first, second) in [("/failover", "/failover"), ("/failover", "/restart"), ("/switchover", "/failover")] {
        let before = instance(&in_sync(&installation, &cluster), "ACTIVE");
        let answers = at_once(&installation, &cluster, [("POST", first), ("POST", second)]);
        let accepted: Vec<_> = answers.iter().filter(|(status, _)| *status == 202).collect();
        let refused: Vec<_> = answers.iter().filter(|(status, _)| *status == 409).collect();
        assert_eq!((accepted.len(), refused.len()), (1, 1), "{first} {second}: {answers:?}");
        let code = refused[0].1["code"].as_str().unwrap_or_default();
        assert!(["wrong-state", "cluster-busy"].contains(&code), "{:?}", refused[0]);
        assert!(refused[0].1["hint"].is_string() || refused[0].1["detail"].is_string(), "{:?}", refused[0]);
        let ended = installation.ended(accepted[0].1["operation"]["id"].as_str().expect("an id"));
        assert_eq!(ended["status"], "succeeded", "{ended}");
        assert_ne!(instance(&in_sync(&installation, &cluster), "ACTIVE"), before, "once");
    }

    // Nobody to switch over to.
    kill_main_process(&installation, &instance(&shown(&installation, &cluster), "STANDBY"));
    installation.until(SOON, "the standby is missed", |this| {
        let (status, refused) = post(this, "/switchover");
        if status == 202 {
            // It came before anybody had noticed: then it looks itself, and leaves everything as it is.
            let ended = this.ended(refused["operation"]["id"].as_str().expect("an id"));
            assert!(["failed", "cancelled"].contains(&ended["status"].as_str().unwrap_or_default()), "{ended}");
            assert!(ended.to_string().contains("standby"), "{ended}");
            return None;
        }
        assert_eq!((status, refused["status"].as_u64()), (409, Some(409)), "{refused}");
        Some(())
    });
    in_sync(&installation, &cluster);
    assert_eq!(cluster.sql("INSERT INTO kept VALUES (1)").map(|_| ()), Ok(()));

    // A copy of the store from before a failover knows less than the machine does.
    installation.end_server();
    let saved: Vec<_> = ["store.db", "store.db-wal", "store.db-shm"]
        .into_iter()
        .filter_map(|name| Some((name, std::fs::read(installation.directory.join(name)).ok()?)))
        .collect();
    assert!(!saved.is_empty(), "the store's files");
    installation.serve();
    in_sync(&installation, &cluster);
    let old = instance(&shown(&installation, &cluster), "ACTIVE");
    let (status, accepted) = post(&installation, "/failover");
    assert_eq!(status, 202, "{accepted}");
    assert_eq!(installation.ended(accepted["operation"]["id"].as_str().expect("an id"))["status"], "succeeded");
    let new = instance(&in_sync(&installation, &cluster), "ACTIVE");
    assert_ne!(new, old);
    assert_eq!(cluster.sql("INSERT INTO kept VALUES (2)").map(|_| ()), Ok(()));
    installation.kill_server();
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        drop(std::fs::remove_file(installation.directory.join(name)));
    }
    for (name, bytes) in &saved {
        std::fs::write(installation.directory.join(name), bytes).expect("restored");
    }
    installation.serve();
    let writes = |number: u32| cluster.sql(&format!("INSERT INTO kept VALUES ({number})")).map(|_| ());
    assert_eq!(writes(3), Ok(()), "users notice nothing of it");
    let (status, accepted) = post(&installation, "/failover");
    if status == 202 {
        installation.until(SOON, "it needs an operator", |this| {
            let shown = this.native("GET", &format!("/moorage/v1/operations/{}", accepted["operation"]["id"].as_str()?), None).1;
            (shown["status"] == "needs-operator").then_some(())
        });
    }
    installation.until(SOON, "it is in error and says why", |this| {
        let shown = shown(this, &cluster);
        (shown["state"] == "ERROR" && shown["state_reason"].is_string()).then_some(())
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().expect("a runtime");
    let socket = socket(&installation, &old);
    if let Some(mut session) = runtime.block_on(Session::open_socket(engine, &socket)) {
        assert!(!runtime.block_on(session.run("INSERT INTO kept VALUES (9)")), "the former primary was not promoted");
    }
    assert_eq!(writes(4), Ok(()));
    assert_eq!(cluster.sql("SELECT count(*) FROM kept"), Ok("4".into()));
}

/// Somebody reads on the standby and keeps it from applying what the primary has done since.
fn a_reader_keeps_a_standby_from_applying(engine: &str) {
    let installation = Installation::start();
    let cluster = make(&installation, engine);
    cluster.sql("CREATE TABLE kept (number INT PRIMARY KEY, words TEXT)").expect("a table");
    let before = in_sync(&installation, &cluster);
    let (active, standby) = (instance(&before, "ACTIVE"), instance(&before, "STANDBY"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().expect("a runtime");
    let socket = socket(&installation, &standby);
    let mut reader = installation.until(SOON, "the table is there too", |_| {
        runtime.block_on(async {
            let mut reader = Session::open_socket(engine, &socket).await?;
            (reader.run("BEGIN").await && reader.run("SELECT * FROM kept").await).then_some(reader)
        })
    });
    cluster.sql("ALTER TABLE kept ADD COLUMN more INT").expect("altered");
    let words = "x".repeat(8_000);
    for number in 0..40 {
        cluster.sql(&format!("INSERT INTO kept VALUES ({number}, '{words}', 1)")).expect("acknowledged: the standby has it");
    }
    let switch_over = || {
        let path = format!("/moorage/v1/clusters/{}/switchover", cluster.id);
        let (status, accepted) = installation.native("POST", &path, Some(json!({"grace_seconds": 3})));
        assert_eq!(status, 202, "{accepted}");
        installation.ended(accepted["operation"]["id"].as_str().expect("an id"))
    };
    let ended = switch_over();
    assert_eq!((ended["status"].as_str(), ended["problem"]["code"].as_str()), (Some("failed"), Some("no-standby-in-sync")), "{ended}");
    assert!(ended["problem"]["message"].as_str().is_some_and(|message| message.contains("still applies")), "{ended}");
    assert_eq!(instance(&shown(&installation, &cluster), "ACTIVE"), active);
    cluster.sql("INSERT INTO kept VALUES (40, '', 1)").expect("nobody noticed");

    // A failover does not wait for who reads there, and loses nothing for that.
    let begun = std::time::Instant::now();
    kill_main_process(&installation, &active);
    installation.until(SOON, "it is written again", |_| cluster.sql("INSERT INTO kept VALUES (41, '', 1)").ok());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(instance(&shown(&installation, &cluster), "ACTIVE"), standby);
    assert_eq!(cluster.sql("SELECT count(*) FROM kept"), Ok("42".into()));
    assert!(!runtime.block_on(reader.run("COMMIT")), "it was cut off");

    in_sync(&installation, &cluster);
    assert_eq!(switch_over()["status"], "succeeded");
    assert_eq!(instance(&in_sync(&installation, &cluster), "ACTIVE"), active);
}

/// What the standby acknowledges is lost with the network, and when it connects again it has everything already.
fn an_acknowledgement_gets_lost(engine: &str) {
    let installation = Installation::start();
    let cluster = make(&installation, engine);
    if network_of(&cluster).is_empty() {
        eprintln!("{engine}: not possible here");
        return;
    }
    cluster.sql("CREATE TABLE kept (number INT PRIMARY KEY)").expect("a table");
    let before = in_sync(&installation, &cluster);
    let standby = instance(&before, "STANDBY");
    let process = main_process(&installation, &standby);
    for round in 0..2 {
        freeze(&standby, true);
        let mut writes = vec![begin_writing(&cluster, 10 * round)];
        std::thread::sleep(Duration::from_millis(400));
        // They are in the log behind the first one, and nothing can be written behind them.
        writes.extend((1..4).map(|number| begin_writing(&cluster, 10 * round + number)));
        std::thread::sleep(Duration::from_millis(600));
        cut(&cluster, true);
        freeze(&standby, false);
        writes.push(begin_writing(&cluster, 10 * round + 4));
        std::thread::sleep(Duration::from_secs(7));
        cut(&cluster, false);
        installation
            .until(Duration::from_secs(20), "nobody waits any more", |_| writes.iter().all(|write| write.is_finished()).then_some(()));
        for write in writes {
            write.join().expect("an answer").expect("acknowledged, however late");
        }
        let after = in_sync(&installation, &cluster);
        assert_eq!(instance(&after, "ACTIVE"), instance(&before, "ACTIVE"));
        assert_eq!(main_process(&installation, &instance(&after, "STANDBY")), process, "it was not started again");
    }
    assert_eq!(cluster.sql("SELECT count(*) FROM kept"), Ok("10".into()));
}

fn an_end_and_a_takeover_at_once(engine: &str) {
    let installation = Installation::start();
    let cluster = make(&installation, engine);
    in_sync(&installation, &cluster);
    let instances = ["ACTIVE", "STANDBY"].map(|role| instance(&shown(&installation, &cluster), role));
    let answers = at_once(&installation, &cluster, [("POST", "/failover"), ("DELETE", "")]);
    assert!(answers.iter().all(|(status, _)| [202, 404, 409].contains(status)), "{answers:?}");
    assert!(answers.iter().any(|(status, _)| *status == 202), "{answers:?}");
    let path = format!("/moorage/v1/clusters/{}", cluster.id);
    installation.until(SOON, "it can be ended", |this| {
        let (status, answer) = this.native("DELETE", &path, None);
        assert!([202, 404, 409].contains(&status), "{answer}");
        (status == 404).then_some(())
    });
    for trace in instances.iter().chain([&cluster.id]) {
        assert_eq!(installation.traces_of(trace), Vec::<String>::new());
    }

    // A standby that is being brought back keeps nobody from ending its cluster.
    let cluster = make(&installation, engine);
    in_sync(&installation, &cluster);
    let path = format!("/moorage/v1/clusters/{}", cluster.id);
    kill_main_process(&installation, &instance(&shown(&installation, &cluster), "STANDBY"));
    installation.until(SOON, "it is brought back", |this| (!shown(this, &cluster)["operation"].is_null()).then_some(()));
    let (status, accepted) = installation.native("DELETE", &path, None);
    assert_eq!(status, 202, "{accepted}");
    installation.until(SOON, "it is gone", |this| (this.native("GET", &path, None).0 == 404).then_some(()));
    assert_eq!(installation.traces_of(&cluster.id), Vec::<String>::new());
}

/// A write that is on its way, and whether it has been acknowledged.
fn begin_writing(cluster: &Cluster, number: u32) -> std::thread::JoinHandle<Result<String, String>> {
    let cluster = cluster.clone();
    std::thread::spawn(move || cluster.sql(&format!("INSERT INTO kept VALUES ({number})")))
}

fn a_strict_cluster_waits(engine: &str) {
    let installation = Installation::start();
    let single = installation.create(engine, "single");
    let patch =
        |id: &str, strict: bool| installation.native("PATCH", &format!("/moorage/v1/clusters/{id}"), Some(json!({"strict": strict})));
    let (status, refused) = patch(&single.id, true);
    assert_eq!((status, refused["field"].as_str()), (400, Some("strict")), "{refused}");
    let cluster = make(&installation, engine);
    assert_eq!(patch(&cluster.id, true).0, 200);
    cluster.sql("CREATE TABLE kept (number INT PRIMARY KEY)").expect("a table");
    let before = in_sync(&installation, &cluster);
    let (active, standby) = (instance(&before, "ACTIVE"), instance(&before, "STANDBY"));
    assert_eq!(before["strict"], true);

    // The standby hangs: it is given up after a while, and commits wait on until it is back.
    freeze(&standby, true);
    let write = begin_writing(&cluster, 1);
    let reason = installation.until(SOON, "it is said why", |this| {
        let shown = shown(this, &cluster);
        shown["state_reason"].as_str().filter(|reason| reason.contains("strict")).map(str::to_owned)
    });
    assert!(reason.contains("commits wait"), "{reason}");
    write.join().expect("an answer").expect("acknowledged once both have it");
    in_sync(&installation, &cluster);

    // The primary dies, and the next one acknowledges nothing alone.
    kill_main_process(&installation, &active);
    let moved = installation.until(SOON, "another one writes", |this| {
        let now = instance(&shown(this, &cluster), "ACTIVE");
        (now != active).then_some(now)
    });
    assert_eq!(moved, standby);
    let begun = std::time::Instant::now();
    while begin_writing(&cluster, 2).join().expect("an answer").is_err() {
        assert!(begun.elapsed() < SOON, "it is written again");
    }
    in_sync(&installation, &cluster);

    // Nobody is there who could: whoever is on call lets commits go on, whatever is being done.
    let lost = instance(&shown(&installation, &cluster), "STANDBY");
    let directory = installation.directory.join("instances").join(&lost).join("volume");
    let aside = installation.directory.join("aside");
    std::fs::rename(&directory, &aside).expect("moved");
    kill_main_process_in(&installation, &aside);
    let write = begin_writing(&cluster, 3);
    installation.until(SOON, "it is said why", |this| {
        shown(this, &cluster)["state_reason"].as_str().filter(|reason| reason.contains("strict")).map(|_| ())
    });
    std::thread::sleep(Duration::from_secs(2));
    assert!(!write.is_finished(), "it waits");
    let (status, answer) = patch(&cluster.id, false);
    assert_eq!(status, 200, "{answer}");
    let begun = std::time::Instant::now();
    write.join().expect("an answer").expect("let go on");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(cluster.sql("SELECT count(*) FROM kept"), Ok("3".into()));
}

fn a_subnet_without_room(engine: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("moorage.toml");
    // Five addresses can be given: those after the first ten.
    std::fs::write(&config, "[network]\nsubnets = [{ id = 'small', cidr = '127.201.7.0/28' }]\n").expect("written");
    let installation = Installation::start_with(&["--config", &config.display().to_string()]);
    let cluster = make(&installation, engine);
    let body = json!({"name": "toomuch", "engine": engine, "highly_available": true,
        "database": {"name": "shop", "owner": "keeper", "password": PASSWORD}});
    let (status, accepted) = installation.native("POST", "/moorage/v1/clusters", Some(body));
    assert_eq!(status, 202, "{accepted}");
    let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an id"));
    assert_eq!((ended["status"].as_str(), ended["problem"]["code"].as_str()), (Some("failed"), Some("no-free-address")), "{ended}");
    let id = accepted["cluster"]["id"].as_str().expect("an id");
    assert_eq!(installation.reaches(id, "FAILED").shown["instances"], json!([]));
    assert_eq!(installation.traces_of(id), Vec::<String>::new());
    assert_eq!(installation.create(engine, "fits").sql("SELECT 1"), Ok("1".into()), "one more address is there");
    assert_eq!(cluster.sql("SELECT 1"), Ok("1".into()));
    assert_eq!(installation.native("DELETE", &format!("/moorage/v1/clusters/{id}"), None).0, 202);
}

fn with_both(of: fn(&str)) {
    let engines = ["postgresql", "mariadb"].map(|engine| std::thread::spawn(move || of(engine)));
    for engine in engines {
        if let Err(panic) = engine.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn instances_are_reached_at_addresses_of_their_own() {
    with_both(each_instance_has_an_address_of_its_own);
}

#[test]
fn requests_at_the_wrong_time_are_refused_and_leave_nothing_half_done() {
    with_both(what_comes_at_the_wrong_time_is_refused);
}

#[test]
fn commits_go_on_after_an_acknowledgement_was_lost() {
    with_both(an_acknowledgement_gets_lost);
}

#[test]
fn a_reader_on_the_standby_delays_a_switchover_and_no_failover() {
    with_both(a_reader_keeps_a_standby_from_applying);
}

#[test]
fn a_cluster_of_two_is_ended_and_failed_over_at_once() {
    with_both(an_end_and_a_takeover_at_once);
}

#[test]
fn a_strict_cluster_acknowledges_nothing_that_only_one_has() {
    with_both(a_strict_cluster_waits);
}

#[test]
fn a_cluster_of_two_needs_three_addresses() {
    a_subnet_without_room("postgresql");
}
