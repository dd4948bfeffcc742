//! What becomes of requests when the server or an engine goes away.

use crate::support::inside::compare;
use crate::support::{Cluster, Installation, kill, rand};
use crate::{ask, opens, wanted, with_shared_plans};
use serde_json::{Value, json};
use std::time::Duration;

/// How often the server is killed.
const KILLS: usize = 30;

fn rows(installation: &Installation, kind: &str) -> Vec<Value> {
    let (status, page) = ask(installation, "GET", &format!("/api/{kind}/?page_size=100"), None);
    assert_eq!(status, 200, "{page}");
    page[kind].as_array().cloned().expect("rows")
}

fn any(rows: &[Value]) -> Option<&Value> {
    (!rows.is_empty()).then(|| &rows[rand() as usize % rows.len()])
}

fn path_of(row: &Value) -> String {
    let link = row["_links"]["self"].as_str().expect("a link");
    link[link.find("/api/").expect("a path")..].to_owned()
}

/// Asks for something that makes sense for what is there, chosen at random; the task, where one begins.
fn something(installation: &Installation, plans: &[(&str, String); 2]) -> Option<String> {
    let (databases, credentials) = (rows(installation, "database"), rows(installation, "credential"));
    let number = rand() % 10_000;
    let plan = &plans[rand() as usize % 2].1;
    let (method, path, body) = match rand() % 8 {
        0 | 1 => ("POST", "/api/database/?async=1".to_owned(), Some(wanted(&format!("db {number}"), plan))),
        2 => {
            let database = any(&databases)?;
            let body = json!({"user": format!("c{number}"), "database": database["_links"]["self"]});
            ("POST", "/api/credential/?async=1".to_owned(), Some(body))
        }
        3 | 4 => ("POST", format!("{}reset_password/?async=1", path_of(any(&credentials)?)), None),
        5 => ("DELETE", format!("{}?async=1", path_of(any(&credentials)?)), None),
        6 => ("DELETE", format!("{}?async=1&purge=true", path_of(any(&databases)?)), None),
        _ => ("POST", format!("{}restore_from_quarantine/", path_of(any(&databases)?)), None),
    };
    let (status, answer) = ask(installation, method, &path, body);
    assert!(status < 500, "{method} {path}: {status} {answer}");
    answer["task_id"].as_str().map(str::to_owned)
}

/// The clusters that databases share.
fn clusters(installation: &Installation) -> Vec<Cluster> {
    let (status, page) = installation.native("GET", "/moorage/v1/clusters?limit=100", None);
    assert_eq!(status, 200, "{page}");
    let rows = page["items"].as_array().cloned().expect("rows");
    rows.iter().map(|row| installation.running(row["id"].as_str().expect("an id"))).collect()
}

#[test]
fn a_server_killed_at_random_moments_of_a_mixed_run_leaves_nothing_half_made() {
    let mut installation = Installation::start();
    let plans = with_shared_plans(&installation);
    for (engine, plan) in &plans {
        let (status, made) = ask(&installation, "POST", "/api/database/", Some(wanted(&format!("first {engine}"), plan)));
        assert_eq!(status, 201, "{made}");
    }
    let mut tasks = Vec::new();
    for _ in 0..KILLS {
        for _ in 0..6 {
            tasks.extend(something(&installation, &plans));
        }
        std::thread::sleep(Duration::from_millis(rand() % 300));
        installation.kill_server();
        installation.serve();
    }
    let (mut succeeded, mut failed, mut purged) = (0, 0, 0);
    for task in &tasks {
        let ended = installation.ended(task);
        match ended["status"].as_str() {
            Some("succeeded") => succeeded += 1,
            _ => {
                assert!(ended["problem"]["message"].is_string(), "{ended}");
                failed += 1;
            }
        }
        purged += usize::from(ended["kind"] == "database.delete");
    }
    let tried: Vec<usize> = clusters(&installation).iter().map(|cluster| compare(&installation, cluster)).collect();
    eprintln!("serve killed {KILLS} times; {succeeded} tasks succeeded, {failed} failed, {purged} were purges; log in: {tried:?}");
    assert!(succeeded > KILLS && purged > 0, "{succeeded} {purged}");
    // What this family shows is what there is.
    for database in rows(&installation, "database").iter().filter(|database| database["quarantine_dt"].is_null()) {
        for link in database["credentials"].as_array().expect("credentials") {
            let link = link.as_str().expect("a link");
            let (status, credential) = ask(&installation, "GET", &link[link.find("/api/").expect("a path")..], None);
            assert_eq!(status, 200, "{credential}");
            let user = credential["user"].as_str().expect("a user");
            assert_eq!(opens(database, user, &credential["password"]), Ok("1".into()), "{database} {credential}");
        }
    }
}

#[test]
fn while_an_engine_is_down_a_request_is_answered_with_a_task_or_a_clear_error() {
    let installation = Installation::start();
    for (engine, plan) in with_shared_plans(&installation) {
        let (status, database) = ask(&installation, "POST", "/api/database/", Some(wanted(&format!("{engine} one"), &plan)));
        assert_eq!(status, 201, "{database}");
        let (_, credential) = ask(&installation, "GET", &link_path(&database["credentials"][0]), None);
        let cluster = clusters(&installation).into_iter().find(|cluster| cluster.engine == engine).expect("its cluster");
        // It hangs, and is started again by who watches over it.
        kill(cluster.engine_pid(&installation), 19);
        let user = credential["user"].as_str().expect("a user");
        let reset = format!("{}reset_password/?async=1", path_of(&credential));
        let (status, task) = ask(&installation, "POST", &reset, None);
        assert_eq!(status, 202, "{task}");
        let (status, said) = ask(&installation, "POST", &reset, None);
        assert!(status == 409 && said["error"][0].as_str().is_some_and(|words| words.contains("just being changed")), "{status} {said}");
        let (status, another) = ask(&installation, "POST", "/api/database/?async=1", Some(wanted(&format!("{engine} two"), &plan)));
        assert_eq!(status, 202, "{another}");
        // A list waits for no engine.
        let begun = std::time::Instant::now();
        assert_eq!(ask(&installation, "GET", "/api/database/", None).0, 200);
        assert!(begun.elapsed() < Duration::from_secs(2));
        for task in [&task, &another] {
            let ended = installation.ended(task["task_id"].as_str().expect("an id"));
            assert!(ended["status"] == "succeeded" || ended["problem"]["message"].is_string(), "{ended}");
        }
        let (_, now) = ask(&installation, "GET", &path_of(&credential), None);
        installation.until(Duration::from_secs(90), "the password that is shown is the one that holds", |_| {
            (opens(&database, user, &now["password"]) == Ok("1".into())).then_some(())
        });

        let stop = format!("/moorage/v1/clusters/{}/stop", cluster.id);
        installation.running(&cluster.id);
        assert_eq!(installation.native("POST", &stop, None).0, 202);
        installation.reaches(&cluster.id, "STOPPED");
        let (_, shown) = ask(&installation, "GET", &path_of(&database), None);
        assert_eq!(shown["status"], 0, "{shown}");
        for (method, path, body) in [
            ("POST", format!("{}reset_password/", path_of(&credential)), None),
            ("DELETE", path_of(&credential), None),
            ("POST", "/api/credential/".to_owned(), Some(json!({"user": "another", "database": path_of(&database)}))),
        ] {
            let (status, said) = ask(&installation, method, &path, body);
            assert!((400..500).contains(&status) && said["error"][0].is_string(), "{method} {path}: {status} {said}");
        }
        let (_, after) = ask(&installation, "GET", &path_of(&credential), None);
        assert_eq!(after["password"], now["password"], "what was refused has changed nothing");
        // Nobody gets in from now on, which is done as soon as it can be.
        let (status, task) = ask(&installation, "DELETE", &format!("{}?async=1", path_of(&database)), None);
        assert_eq!(status, 202, "{task}");
        assert_eq!(installation.native("POST", &format!("/moorage/v1/clusters/{}/start", cluster.id), None).0, 202);
        assert_eq!(installation.ended(task["task_id"].as_str().expect("an id"))["status"], "succeeded");
        assert!(opens(&database, user, &now["password"]).is_err());
        compare(&installation, &installation.running(&cluster.id));
    }
}

fn link_path(link: &Value) -> String {
    let link = link.as_str().expect("a link");
    link[link.find("/api/").expect("a path")..].to_owned()
}
