//! `moorage connect` with the engines' own clients: passwords of any letters, statements from a pipe, and nobody to ask.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{Installation, PROGRAM};

const ODD: &str = r#"o"d'd\ :pa#ss;1="#;

/// The program in a session of its own: without a terminal, wherever the test runs.
fn alone(installation: &Installation, arguments: &[&str]) -> Command {
    let mut command = Command::new("setsid");
    command
        .args(["--wait", PROGRAM])
        .args(arguments)
        .env("HOME", &installation.directory)
        .env("MOORAGE_DATA_DIR", &installation.directory)
        .env_remove("MOORAGE_DB_PASSWORD");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn fed(mut child: Child, text: &str) -> Output {
    child.stdin.take().expect("an input").write_all(text.as_bytes()).expect("written");
    child.wait_with_output().expect("it ends")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_engines_own_clients_are_let_in_and_say_by_their_exit_code_whether_it_worked() {
    let installation = Installation::start();
    // What somebody keeps for other servers has no say here.
    std::fs::write(installation.directory.join(".my.cnf"), "[client]\npassword=another\n").expect("written");
    for (engine, name) in [("mariadb", "shop"), ("postgresql", "books")] {
        let body = json!({"name": name, "engine": engine, "database": {"name": "main", "owner": "keeper", "password": ODD}});
        let (status, accepted) = installation.native("POST", "/moorage/v1/clusters", Some(body));
        assert_eq!(status, 202, "{accepted}");
        installation.running(accepted["cluster"]["id"].as_str().expect("an id"));
        let file = installation.directory.join("password");
        std::fs::write(&file, format!("{ODD}\n")).expect("written");
        let file = file.to_str().expect("UTF-8").to_owned();

        let connect = ["connect", name, "--password-file", &file];
        let worked = fed(
            alone(&installation, &connect).spawn().expect("it runs"),
            "CREATE TABLE t (n int); INSERT INTO t VALUES (41); SELECT n + 1 FROM t;\n",
        );
        assert!(worked.status.success() && said(&worked).contains("42"), "{engine}: {}", said(&worked));
        let by_variable =
            fed(alone(&installation, &["connect", name]).env("MOORAGE_DB_PASSWORD", ODD).spawn().expect("it runs"), "SELECT 6 * 7;\n");
        assert!(by_variable.status.success() && said(&by_variable).contains("42"), "{engine}: {}", said(&by_variable));
        let failed = fed(alone(&installation, &connect).spawn().expect("it runs"), "SELECT nothing_of_the_kind;\n");
        assert!(!failed.status.success(), "{engine}: {}", said(&failed));

        // Whoever cannot be asked for a password is told so, and what was piped in is not taken for one.
        let unasked = fed(alone(&installation, &["connect", name]).spawn().expect("it runs"), "SELECT 1;\n");
        assert!(!unasked.status.success() && said(&unasked).contains("--password-file"), "{engine}: {}", said(&unasked));
        assert!(!said(&unasked).contains("SELECT 1"), "{engine}: {}", said(&unasked));

        let empty = fed(alone(&installation, &["connect", name]).env("MOORAGE_DB_PASSWORD", "").spawn().expect("it runs"), "SELECT 1;\n");
        assert!(!empty.status.success() && said(&empty).contains("--password-file"), "{engine}: {}", said(&empty));

        // Another database is entered as its own owner.
        let (status, accepted) =
            installation.native("POST", &format!("/moorage/v1/clusters/{name}/databases"), Some(json!({"name": "stock"})));
        assert_eq!(status, 202, "{accepted}");
        let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an id"));
        assert_eq!(ended["status"], "succeeded", "{ended}");
        let shown = installation.cli(&["credential", "password", name, "stock", "stock", "--output", "json"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
        let password = shown["password"].as_str().expect("a password");
        let sql = if engine == "mariadb" { "SELECT CONCAT('as ', CURRENT_USER());\n" } else { "SELECT 'as ' || session_user;\n" };
        let command = alone(&installation, &["connect", name, "--database", "stock"]).env("MOORAGE_DB_PASSWORD", password).spawn();
        let inside = fed(command.expect("it runs"), sql);
        assert!(inside.status.success() && said(&inside).contains("as stock"), "{engine}: {}", said(&inside));
    }
}

#[test]
fn a_followed_log_ends_with_whoever_reads_it() {
    let installation = Installation::start();
    let cluster = installation.create("postgresql", "talkative");
    let mut follower = alone(&installation, &["cluster", "logs", "talkative", "--follow"]).spawn().expect("it runs");
    let mut lines = BufReader::new(follower.stdout.take().expect("an output"));
    let (begun, mut line) = (Instant::now(), String::new());
    while !line.contains("the word that is looked for") {
        assert!(begun.elapsed() < Duration::from_secs(60), "what is logged is shown");
        let _refused = cluster.sql("SELECT \"the word that is looked for\"");
        line.clear();
        lines.read_line(&mut line).expect("a line");
    }
    drop(lines);
    let ended = loop {
        assert!(begun.elapsed() < Duration::from_secs(120), "it goes on for nobody");
        let _refused = cluster.sql("SELECT \"one more line\"");
        match follower.try_wait().expect("a child") {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(200)),
        }
    };
    assert!(ended.success(), "{ended}");
}
