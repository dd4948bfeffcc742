//! Databases and credentials inside real clusters: store and engine agree about them, whatever happens in between.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::json;
use std::time::Duration;
use support::inside::{compare, databases};
use support::{Cluster, Installation, kill, rand};

/// How often the server is killed.
const KILLS: usize = 30;

/// Logs in to a database with the stock client.
fn log_in(cluster: &Cluster, database: &str, user: &str, password: &str) -> Result<String, String> {
    support::log_in(&cluster.engine, &cluster.address, cluster.port, database, user, password)
}

/// Asks for something that makes sense for what is there, chosen at random; the operation, where one begins.
fn something(installation: &Installation, cluster: &Cluster, round: usize) -> Option<String> {
    let path = format!("/moorage/v1/clusters/{}/databases", cluster.id);
    let rows = databases(installation, cluster);
    let chosen = &rows[rand() as usize % rows.len()];
    let name = chosen["name"].as_str().expect("a name");
    let credentials = chosen["credentials"].as_array().expect("credentials");
    let user = (!credentials.is_empty()).then(|| credentials[rand() as usize % credentials.len()]["user"].as_str().expect("a user"));
    let number = rand() % 1000;
    let privileges = ["owner", "read-write", "read-only"][round % 3];
    let (method, path, body) = match (rand() % 8, user) {
        (0 | 1, _) => ("POST", path, Some(json!({"name": format!("db{number}"), "user": format!("u_db{number}")}))),
        (2, _) => ("POST", format!("{path}/{name}/credentials"), Some(json!({"user": format!("c{number}"), "privileges": privileges}))),
        (3, Some(user)) => ("POST", format!("{path}/{name}/credentials/{user}/reset-password"), None),
        (4, Some(user)) if user != "keeper" => ("DELETE", format!("{path}/{name}/credentials/{user}"), None),
        (5, _) => ("POST", format!("{path}/{name}/quarantine"), None),
        (6, _) => ("POST", format!("{path}/{name}/restore"), None),
        _ => ("DELETE", format!("{path}/{name}"), None),
    };
    let (status, answer) = installation.native(method, &path, body);
    assert!(status < 500, "{method} {path}: {status} {answer}");
    answer["operation"]["id"].as_str().map(str::to_owned)
}

#[test]
fn a_server_killed_at_random_moments_leaves_no_half_made_database_and_no_password_unknown() {
    let mut installation = Installation::start();
    let clusters = ["mariadb", "postgresql"].map(|engine| installation.create(engine, &format!("many-{engine}")));
    let mut operations = Vec::new();
    for round in 0..KILLS {
        for cluster in &clusters {
            for _ in 0..3 {
                operations.extend(something(&installation, cluster, round));
            }
        }
        std::thread::sleep(Duration::from_millis(rand() % 300));
        installation.kill_server();
        if round % 10 == 9 {
            // An engine dies meanwhile, too.
            kill(clusters[round / 10 % 2].engine_pid(&installation), 9);
        }
        installation.serve();
    }
    let mut counts = [0, 0];
    for id in &operations {
        let ended = installation.ended(id);
        let succeeded = ended["status"] == "succeeded";
        assert!(succeeded || ended["problem"]["message"].is_string(), "{ended}");
        counts[usize::from(succeeded)] += 1;
    }
    let tried: Vec<usize> = clusters.iter().map(|cluster| compare(&installation, &installation.running(&cluster.id))).collect();
    let [failed, succeeded] = counts;
    eprintln!("serve killed {KILLS} times; {succeeded} operations succeeded, {failed} failed; credentials that log in: {tried:?}");
    assert!(succeeded > KILLS, "{counts:?}");
}

#[test]
fn an_engine_that_is_down_is_waited_for_or_refused_and_never_lied_about() {
    let installation = Installation::start();
    for engine in ["mariadb", "postgresql"] {
        let cluster = installation.create(engine, &format!("down-{engine}"));
        let path = format!("/moorage/v1/clusters/{}/databases", cluster.id);
        let (status, begun) = installation.native("POST", &path, Some(json!({"name": "stock", "password": "correct horse battery"})));
        assert_eq!(status, 202, "{begun}");
        assert_eq!(installation.ended(begun["operation"]["id"].as_str().expect("an id"))["status"], "succeeded");
        // It hangs: it neither answers nor ends.
        kill(cluster.engine_pid(&installation), 19);
        let ask = |verb: &str| installation.native("POST", &format!("{path}/stock/{verb}"), None);
        let (status, reset) = ask("credentials/stock/reset-password");
        assert_eq!(status, 202, "{reset}");
        let (status, refused) = ask("quarantine");
        assert_eq!((status, &refused["code"]), (409, &json!("cluster-busy")), "a password is just being changed: {refused}");
        let ended = installation.ended(reset["operation"]["id"].as_str().expect("an id"));
        let (_, shown) = installation.native("GET", &format!("{path}/stock/credentials/stock/password"), None);
        let password = shown["password"].as_str().expect("a password");
        match ended["status"].as_str() {
            Some("succeeded") => assert_ne!(password, "correct horse battery"),
            _ => assert_eq!(password, "correct horse battery", "{ended}"),
        }
        installation.until(Duration::from_secs(90), "it is started again and lets its user in", |_| {
            (log_in(&cluster, "stock", "stock", password) == Ok("1".to_owned())).then_some(())
        });
        installation.running(&cluster.id);

        let (status, accepted) = installation.native("POST", &format!("/moorage/v1/clusters/{}/stop", cluster.id), None);
        assert_eq!(status, 202, "{accepted}");
        installation.reaches(&cluster.id, "STOPPED");
        for (verb, body) in [("", json!({"name": "another"})), ("/stock/credentials", json!({"user": "another"}))] {
            let (status, refused) = installation.native("POST", &format!("{path}{verb}"), Some(body));
            assert_eq!((status, &refused["code"]), (409, &json!("wrong-state")), "{refused}");
        }
        // What lets nobody in is promised at once and done as soon as that is possible.
        let (status, quarantine) = ask("quarantine");
        assert_eq!(status, 202, "{quarantine}");
        let (status, accepted) = installation.native("POST", &format!("/moorage/v1/clusters/{}/start", cluster.id), None);
        assert_eq!(status, 202, "{accepted}");
        assert_eq!(installation.ended(quarantine["operation"]["id"].as_str().expect("an id"))["status"], "succeeded");
        assert!(log_in(&cluster, "stock", "stock", password).is_err(), "nobody gets in");
        assert_eq!(ask("restore").0, 200);
        compare(&installation, &installation.running(&cluster.id));
    }
}

#[test]
fn whom_an_owner_let_in_is_out_with_the_quarantine() {
    let installation = Installation::start();
    let cluster = installation.create("postgresql", "guests");
    let path = format!("/moorage/v1/clusters/{}/databases", cluster.id);
    for name in ["stock", "sales"] {
        let (status, begun) = installation.native("POST", &path, Some(json!({"name": name, "password": "correct horse battery"})));
        assert_eq!(status, 202, "{begun}");
        assert_eq!(installation.ended(begun["operation"]["id"].as_str().expect("an id"))["status"], "succeeded");
    }
    let guest = || log_in(&cluster, "stock", "sales", "correct horse battery");
    assert!(guest().is_err(), "a neighbour");
    let owner = |sql: &str| cluster.sql_as("stock", "correct horse battery", sql, &["sslmode=disable dbname=stock"]);
    owner("GRANT CONNECT ON DATABASE stock TO sales").expect("its owner may");
    assert_eq!(guest(), Ok("1".to_owned()));
    let (status, begun) = installation.native("POST", &format!("{path}/stock/quarantine"), None);
    assert_eq!(status, 202, "{begun}");
    assert_eq!(installation.ended(begun["operation"]["id"].as_str().expect("an id"))["status"], "succeeded");
    assert!(guest().is_err(), "nobody gets in");
}
