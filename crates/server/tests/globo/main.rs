//! The Globo family over real engines: the seed document's examples as they stand, and what surrounds them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod interrupted;
#[path = "../support/mod.rs"]
mod support;
mod tsuru;

use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;
use support::{Installation, log_in, median};

/// Where the seed document's server listens.
const SEED: &str = "http://localhost:8000";

/// A request of the sample data's user; status and answer.
fn ask(installation: &Installation, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let headers = [("authorization".to_owned(), "Basic YWRtaW46MTIzNDU2".to_owned())];
    let reply = installation.exchange(method, path, &headers, body.map(|body| body.to_string().into_bytes()));
    (reply.status, reply.body)
}

/// The sample data, and a plan of each engine by which databases share clusters: `shared-mariadb`, `shared-postgresql`; their links.
fn with_shared_plans(installation: &Installation) -> [(&'static str, String); 2] {
    assert!(installation.cli(&["sample-data"]).status.success());
    ["mariadb", "postgresql"].map(|engine| {
        let name = format!("shared-{engine}");
        let plan = json!({"name": name, "engine": engine, "capacity": 200, "environments": ["laboratory"]});
        assert_eq!(installation.native("POST", "/moorage/v1/plans", Some(plan)).0, 201);
        let (_, plans) = ask(installation, "GET", "/api/plan/", None);
        let made = plans["plan"].as_array().expect("plans").iter().find(|plan| plan["name"] == name.as_str()).expect("the plan").clone();
        (engine, made["_links"]["self"].as_str().expect("a link").to_owned())
    })
}

fn wanted(name: &str, plan: &str) -> Value {
    json!({"name": name, "plan": plan, "environment": "/api/environment/1/"})
}

/// Carries out a command line of the seed document; status and answer.
fn curl(installation: &Installation, line: &str) -> (u16, Value) {
    let base = installation.bootstrap()["base_url"].as_str().expect("a base URL").to_owned();
    let line = line.replacen("curl ", "curl -s -w '\n%{http_code}' ", 1).replace(SEED, &base);
    let output = Command::new("sh").args(["-c", &line]).output().expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("a status");
    // As in the document, whatever the port is here.
    let body = body.replace(&base, SEED);
    (status.parse().expect("a status"), serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

/// Where a database is reached, with its engine and name.
fn reached(document: &Value) -> (String, String, u16, String) {
    let endpoint = document["endpoint"].as_str().unwrap_or_else(|| panic!("{document}"));
    let (scheme, rest) = endpoint.split_once("://<user>:<password>@").expect("the seed's form");
    let (at, name) = rest.split_once('/').expect("a name");
    let (address, port) = at.split_once(':').expect("a port");
    let engine = if scheme == "mysql" { "mariadb" } else { "postgresql" };
    (engine.to_owned(), address.to_owned(), port.parse().expect("a port"), name.to_owned())
}

fn opens(database: &Value, user: &str, password: &Value) -> Result<String, String> {
    let (engine, address, port, name) = reached(database);
    log_in(&engine, &address, port, &name, user, password.as_str().expect("a password"))
}

fn keys(document: &Value) -> Vec<&str> {
    document.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn every_example_of_the_seed_document_works_as_it_stands() {
    let installation = Installation::start();
    let loaded = installation.cli(&["sample-data"]);
    assert!(loaded.status.success(), "{loaded:?}");
    let run = |line: &str| curl(&installation, line);
    let one: Result<String, String> = Ok("1".into());

    let (status, made) = run(
        r#"curl -u admin:123456 -H 'content-type: application/json' http://localhost:8000/api/database/ -d '{ "name": "test database2", "plan": "/api/plan/1/", "environment": "/api/environment/1/" }'"#,
    );
    assert_eq!(status, 201, "{made}");
    for (key, value) in [
        ("_links", json!({"self": "http://localhost:8000/api/database/1/"})),
        ("id", json!(1)),
        ("name", json!("test_database2")),
        ("plan", json!("http://localhost:8000/api/plan/1/")),
        ("environment", json!("http://localhost:8000/api/environment/1/")),
        ("project", Value::Null),
        ("quarantine_dt", Value::Null),
        ("credentials", json!(["http://localhost:8000/api/credential/1/"])),
    ] {
        assert_eq!(made[key], value, "{key}");
    }
    let (_, list) = run("curl -u admin:123456 http://localhost:8000/api/database/");
    assert_eq!(list["_links"], json!({"count": 1, "self": "http://localhost:8000/api/database/", "previous": null, "next": null}));
    assert_eq!(list["database"][0], made);
    let (status, shown) = run("curl -u admin:123456 http://localhost:8000/api/database/1/");
    assert_eq!((status, &shown), (200, &made));

    let (_, list) = run("curl -u admin:123456 http://localhost:8000/api/credential/");
    assert_eq!((keys(&list["credential"][0]), &list["_links"]["count"]), (vec!["_links", "database", "id", "user"], &json!(1)));
    let (status, credential) = run("curl -u admin:123456 http://localhost:8000/api/credential/1/");
    assert_eq!((status, &credential["user"]), (200, &json!("u_test_database2")));
    assert_eq!(credential["password"].as_str().map(str::len), Some(10));
    assert_eq!(opens(&made, "u_test_database2", &credential["password"]), one);

    let (status, another) = run(
        r#"curl -u admin:123456 -H 'content-type: application/json' http://localhost:8000/api/credential/ -d '{ "user": "u_myusr1", "database": "/api/database/1/" }'"#,
    );
    assert_eq!(
        (status, &another["id"], &another["database"]),
        (201, &json!(2), &json!("http://localhost:8000/api/database/1/")),
        "{another}"
    );
    assert_eq!(opens(&made, "u_myusr1", &another["password"]), one);

    let (status, reset) = run("curl -u admin:123456 -d '' http://localhost:8000/api/credential/1/reset_password/");
    assert_eq!((status, keys(&reset)), (200, keys(&credential)));
    assert_ne!(reset["password"], credential["password"]);
    assert_eq!(opens(&made, "u_test_database2", &reset["password"]), one);
    assert!(opens(&made, "u_test_database2", &credential["password"]).is_err(), "the former password");

    let (status, _) = run("curl -u admin:123456 -X DELETE http://localhost:8000/api/credential/1/");
    assert_eq!(status, 204);
    assert!(opens(&made, "u_test_database2", &reset["password"]).is_err(), "removed");
    assert_eq!(opens(&made, "u_myusr1", &another["password"]), one);

    let (status, _) = run("curl -u admin:123456 -X DELETE http://localhost:8000/api/database/1/");
    assert_eq!(status, 204);
    assert!(opens(&made, "u_myusr1", &another["password"]).is_err(), "in quarantine nobody gets in");
    let (_, shown) = run("curl -u admin:123456 http://localhost:8000/api/database/1/");
    assert_eq!(shown["quarantine_dt"].as_str().map(str::len), Some(10), "{shown}");
    std::thread::sleep(Duration::from_secs(10));
    let (status, gone) = run("curl -u admin:123456 -X DELETE http://localhost:8000/api/database/1/");
    assert_eq!(status, 204, "{gone}");
    assert_eq!(run("curl -u admin:123456 http://localhost:8000/api/database/1/").0, 404);
    let (_, history) = run("curl -u admin:123456 http://localhost:8000/api/database_history/");
    assert_eq!(history["databasehistory"][0]["name"], "test_database2");
}

#[test]
fn a_database_of_a_shared_plan_is_ready_in_a_moment_and_one_of_its_own_goes_with_its_cluster() {
    let installation = Installation::start();
    assert!(installation.cli(&["sample-data"]).status.success());
    for engine in ["mariadb", "postgresql"] {
        for (name, capacity) in [("own", 1), ("shared", 20)] {
            let plan = json!({"name": format!("{name}-{engine}"), "engine": engine, "capacity": capacity, "environments": ["laboratory"]});
            assert_eq!(installation.native("POST", "/moorage/v1/plans", Some(plan)).0, 201);
        }
    }
    let (_, plans) = curl(&installation, "curl -u admin:123456 http://localhost:8000/api/plan/");
    let number = |name: &str| plans["plan"].as_array().unwrap().iter().find(|plan| plan["name"] == name).expect(name)["id"].to_string();
    let create = |name: &str, plan: &str| {
        let body = format!(r#"{{"name": "{name}", "plan": "/api/plan/{}/", "environment": "/api/environment/1/"}}"#, number(plan));
        let begun = std::time::Instant::now();
        let made = curl(
            &installation,
            &format!("curl -u admin:123456 -H 'content-type: application/json' http://localhost:8000/api/database/ -d '{body}'"),
        );
        assert_eq!(made.0, 201, "{}", made.1);
        (made.1, begun.elapsed())
    };
    let password = |database: &Value| {
        let link = database["credentials"][0].as_str().expect("a credential").to_owned();
        curl(&installation, &format!("curl -u admin:123456 {link}")).1
    };
    for engine in ["mariadb", "postgresql"] {
        let (first, took) = create(&format!("{engine} 0"), &format!("shared-{engine}"));
        let mut times = Vec::new();
        for n in 1..=12 {
            let (made, took) = create(&format!("{engine} {n}"), &format!("shared-{engine}"));
            assert_eq!(reached(&made).1, reached(&first).1, "on the same cluster");
            let credential = password(&made);
            assert_eq!(opens(&made, credential["user"].as_str().expect("a user"), &credential["password"]), Ok("1".into()));
            times.push(took);
        }
        let (own, took_own) = create(&format!("{engine} alone"), &format!("own-{engine}"));
        eprintln!(
            "{engine}: the first of a shared plan {took:?}, twelve more median {:?} of {times:?}; one of its own {took_own:?}",
            median(times.clone())
        );
        assert_ne!(reached(&own).1, reached(&first).1);
        let credential = password(&own);
        assert_eq!(opens(&own, credential["user"].as_str().expect("a user"), &credential["password"]), Ok("1".into()));
        let before = installation.instance_directories().len();
        for path in ["", "?purge=true"] {
            let gone = curl(&installation, &format!("curl -u admin:123456 -X DELETE '{}{path}'", own["_links"]["self"].as_str().unwrap()));
            assert_eq!(gone.0, 204, "{}", gone.1);
        }
        installation
            .until(Duration::from_secs(20), "its cluster goes with it", |this| (this.instance_directories().len() < before).then_some(()));
        let gone = curl(&installation, &format!("curl -u admin:123456 -X DELETE '{}'", first["_links"]["self"].as_str().unwrap()));
        assert_eq!(gone.0, 204, "{}", gone.1);
    }
}
