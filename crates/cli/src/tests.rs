//! Whole commands, from the command line to the two outputs, against a server that only pretends.

use super::*;
use crate::fake_server::{FakeServer, TOKEN};
use clap::Parser;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

#[derive(Parser)]
#[command(name = "moorage", version, propagate_version = true)]
struct Moorage {
    #[command(subcommand)]
    command: ClientCommand,
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);
impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
impl Heard {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("text")
    }
}

struct Ended {
    worked: bool,
    out: String,
    err: String,
}

/// A fake server and files to call it with.
struct Bench {
    server: FakeServer,
    files: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let files = tempfile::tempdir().expect("a directory");
        std::fs::write(files.path().join("token"), format!("{TOKEN}\n")).expect("written");
        std::fs::write(files.path().join("password"), "a password\n").expect("written");
        Self { server: FakeServer::start().await, files }
    }

    fn path(&self, name: &str) -> String {
        self.files.path().join(name).to_string_lossy().into_owned()
    }

    async fn call(&self, arguments: &[&str]) -> Ended {
        let token = self.path("token");
        call(&[&["--server", &self.server.url, "--token-file", &token], arguments].concat()).await
    }

    async fn create(&self, name: &str, more: &[&str]) -> Ended {
        let password = self.path("password");
        let fixed =
            ["cluster", "create", name, "--engine", "mariadb", "--database", "shop", "--owner", "keeper", "--password-file", &password];
        self.call(&[&fixed, more].concat()).await
    }
}

/// Connection options come first in these tests, and last on a command line: they are understood everywhere.
async fn call(arguments: &[&str]) -> Ended {
    let is_option = |argument: &&&str| argument.starts_with("--");
    let split = arguments.chunks(2).take_while(|pair| pair.first().as_ref().is_some_and(is_option)).count() * 2;
    let (options, command) = arguments.split_at(split);
    let line = [&["moorage"], command, options].concat();
    let parsed = Moorage::try_parse_from(line).expect("a command line");
    let (out, err) = (Heard::default(), Heard::default());
    let mut talk = Talk::into(out.clone(), err.clone());
    let output = parsed.command.options().output;
    let ended = carry_out(parsed.command, &mut talk).await;
    if let Err(failure) = &ended {
        talk.fail(failure, output);
    }
    Ended { worked: ended.is_ok(), out: out.text(), err: err.text() }
}

#[test]
fn the_command_line_is_sound() {
    use clap::CommandFactory;
    Moorage::command().debug_assert();
}

#[tokio::test]
async fn a_list_follows_every_page_and_lines_up() {
    let bench = Bench::new().await;
    let ended = bench.call(&["cluster", "list", "--state", "running"]).await;
    assert!(ended.worked, "{}", ended.err);
    assert_eq!(
        ended.out,
        "NAME  ENGINE   VERSION   STATE    ENDPOINT          DATABASE  PROTECTION  CREATED\n\
         one   mariadb  10.11.19  RUNNING  127.64.0.10:2866  shop      none yet    2026-11-21T04:00:00Z\n\
         two   mariadb  10.11.19  STOPPED  127.64.0.10:2866  shop      none yet    2026-11-21T04:00:00Z\n"
    );
    assert_eq!(
        bench.server.asked(),
        ["GET /moorage/v1/clusters?state=RUNNING", "GET /moorage/v1/clusters?state=RUNNING&cursor=second+page"]
    );
}

#[tokio::test]
async fn json_output_is_the_whole_answer_and_nothing_else() {
    let bench = Bench::new().await;
    let ended = bench.call(&["cluster", "show", "one", "--output", "json"]).await;
    let document: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(document["a_field_of_the_future"]["x"], 1);
    assert_eq!(ended.err, "");
    let ended = bench.call(&["cluster", "list", "--output", "json"]).await;
    let items: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(items.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_cluster_is_shown_with_its_limits_and_its_instances() {
    let bench = Bench::new().await;
    let ended = bench.call(&["cluster", "show", "one"]).await;
    for line in [
        "engine       mariadb 10.11.19",
        "endpoint     127.64.0.10:2866",
        "allowed      10.0.0.0/8",
        "protection   none yet",
        "limits       connections 100, disk 20 GiB (not enforced), memory 2 GiB",
        "isolation    network not isolated, tenants isolated",
        "INSTANCE  ROLE    STATE    ADDRESS      RESTARTS  LAST RESTART",
        "demo-1    ACTIVE  RUNNING  127.64.0.10  1         killed by signal 9",
    ] {
        assert!(ended.out.contains(line), "{line}\nin\n{}", ended.out);
    }
}

#[tokio::test]
async fn a_create_says_only_what_was_said_and_waits_for_the_end() {
    let bench = Bench::new().await;
    bench.server.behaviour.lock().expect("not poisoned").polls_left = 2;
    let ended = bench.create("demo", &["--port", "3306", "--allow", "10.0.0.0/8", "--allow", "192.0.2.7", "--wait"]).await;
    assert!(ended.worked, "{}", ended.err);
    let created = bench.server.behaviour.lock().expect("not poisoned").created.clone();
    assert_eq!(
        created,
        json!({"name": "demo", "engine": "mariadb", "port": 3306, "allow": ["10.0.0.0/8", "192.0.2.7"],
            "database": {"name": "shop", "owner": "keeper", "password": "a password"}})
    );
    assert!(ended.out.contains("state        RUNNING"), "{}", ended.out);
    assert!(!ended.out.contains("a password") && !ended.err.contains("a password"));
    assert_eq!(ended.err, "cluster.provision: succeeded\n");
}

#[tokio::test]
async fn a_password_that_was_made_up_is_printed_once() {
    let bench = Bench::new().await;
    let fixed = ["cluster", "create", "demo", "--engine", "postgresql", "--database", "shop", "--owner", "keeper"];
    let ended = bench.call(&[&fixed[..], &["--output", "json"]].concat()).await;
    assert!(ended.worked, "{}", ended.err);
    let document: Value = serde_json::from_str(&ended.out).expect("JSON");
    let sent = bench.server.behaviour.lock().expect("not poisoned").created["database"]["password"].clone();
    assert_eq!(document["password"], sent);
    assert!(ended.err.starts_with("Accepted as operation op-1"), "without a terminal nothing is waited for: {}", ended.err);
}

#[tokio::test]
async fn a_made_up_password_is_not_lost_when_the_operation_fails() {
    let bench = Bench::new().await;
    bench.server.behaviour.lock().expect("not poisoned").ends = "needs-operator";
    let fixed = ["cluster", "create", "demo", "--engine", "mariadb", "--database", "shop", "--owner", "keeper", "--wait"];
    let ended = bench.call(&fixed).await;
    assert!(!ended.worked);
    assert!(ended.out.contains("Password of the owner, shown this once: "), "{}", ended.out);
}

#[tokio::test]
async fn an_operation_that_fails_makes_the_command_fail_with_the_reason() {
    let bench = Bench::new().await;
    bench.server.behaviour.lock().expect("not poisoned").ends = "failed";
    let ended = bench.create("demo", &["--wait"]).await;
    assert!(!ended.worked);
    assert_eq!(ended.out, "", "data is for what worked");
    assert_eq!(
        ended.err,
        "cluster.provision: failed\nerror: The engine did not start. [engine-start-failed]\n  why: unknown variable 'x'\n \
         hint: What happened: moorage operation show op-1\n"
    );
}

#[tokio::test]
async fn waiting_survives_a_server_that_is_away_for_a_moment() {
    let bench = Bench::new().await;
    bench.server.behaviour.lock().expect("not poisoned").outages_left = 3;
    let ended = bench.call(&["cluster", "restart", "one", "--wait"]).await;
    assert!(ended.worked, "{}", ended.err);
}

#[tokio::test]
async fn a_refusal_is_told_as_message_why_and_hint() {
    let bench = Bench::new().await;
    let ended = bench.create("taken", &[]).await;
    assert!(!ended.worked);
    assert_eq!(ended.err, "error: The name 'taken' is in use. [name-taken]\n  why: Because it is a test.\n hint: Choose another name.\n");
    let ended = bench.create("taken", &["--output", "json"]).await;
    let told: Value = serde_json::from_str(&ended.err).expect("JSON for scripts, errors too");
    let wanted = json!({"title": "The name 'taken' is in use.", "code": "name-taken", "detail": "Because it is a test.", "hint": "Choose another name."});
    assert_eq!((told, ended.out.as_str()), (wanted, ""));
    let ended = bench.call(&["cluster", "stop", "busy"]).await;
    assert!(!ended.worked && ended.err.contains("[wrong-state]"), "{}", ended.err);
    let ended = bench.call(&["cluster", "show", "../../clusters"]).await;
    assert!(bench.server.asked().contains(&"GET /moorage/v1/clusters/..%2F..%2Fclusters".to_owned()), "{:?}", bench.server.asked());
    drop(ended);
}

#[tokio::test]
async fn verbs_ask_for_what_they_say() {
    let bench = Bench::new().await;
    for (arguments, request) in [
        (vec!["cluster", "start", "one"], "POST /moorage/v1/clusters/one/start"),
        (vec!["cluster", "stop", "one"], "POST /moorage/v1/clusters/one/stop"),
        (vec!["cluster", "terminate", "one"], "DELETE /moorage/v1/clusters/one"),
        (vec!["operation", "cancel", "op-1"], "POST /moorage/v1/operations/op-1/cancel"),
        (vec!["operation", "roll-back", "op-1"], "POST /moorage/v1/operations/op-1/roll-back"),
        (vec!["cluster", "logs", "one", "--bytes", "10"], "GET /moorage/v1/clusters/one/logs?bytes=10"),
        (vec!["operation", "list", "--cluster", "one"], "GET /moorage/v1/operations?limit=50&cluster=one"),
    ] {
        let ended = bench.call(&arguments).await;
        assert!(ended.worked, "{arguments:?}: {}", ended.err);
        assert!(bench.server.asked().iter().any(|asked| asked == request), "{request} in {:?}", bench.server.asked());
    }
}

#[tokio::test]
async fn logs_and_the_authority_are_printed_as_they_are() {
    let bench = Bench::new().await;
    assert_eq!(bench.call(&["cluster", "logs", "one"]).await.out, "first line\nlast line\n");
    assert_eq!(bench.call(&["ca"]).await.out, "-----BEGIN CERTIFICATE-----\n");
}

#[tokio::test]
async fn an_operation_is_shown_with_its_timeline() {
    let bench = Bench::new().await;
    let ended = bench.call(&["operation", "show", "op-1", "--watch"]).await;
    assert!(ended.worked, "{}", ended.err);
    assert!(ended.out.contains("status        succeeded"), "{}", ended.out);
    assert!(ended.out.contains("2026-11-21T04:00:00Z  choose-address  step-done  127.64.0.10"), "{}", ended.out);
}

#[tokio::test]
async fn operations_are_listed_with_the_names_of_their_clusters() {
    let bench = Bench::new().await;
    let ended = bench.call(&["operation", "list"]).await;
    assert!(ended.worked, "{}", ended.err);
    assert_eq!(
        ended.out,
        "ID    KIND               CLUSTER  STATUS   STEP          CREATED               FINISHED\n\
         op-1  cluster.provision  one      running  start-engine  2026-11-21T04:00:00Z  -\n"
    );
}

#[tokio::test]
async fn the_data_directory_says_where_the_server_is_and_who_asks() {
    let bench = Bench::new().await;
    let directory = bench.path("");
    for credential in [json!({"token": TOKEN}), json!({"user": "moorage", "password": "pass word"})] {
        let mut bootstrap = json!({"base_url": bench.server.url, "email": "x"});
        bootstrap.as_object_mut().expect("an object").extend(credential.as_object().cloned().expect("an object"));
        std::fs::write(bench.path("bootstrap.json"), bootstrap.to_string()).expect("written");
        let ended = call(&["--data-dir", &directory, "cluster", "show", "one"]).await;
        assert!(ended.worked, "{}", ended.err);
    }
    let ended = call(&["--data-dir", &directory, "--server", "http://127.0.0.1:1", "cluster", "list"]).await;
    assert!(!ended.worked && ended.err.contains("There is no token for this server."), "{}", ended.err);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_what_to_do() {
    let bench = Bench::new().await;
    let token = bench.path("token");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    let ended = call(&["--server", &url, "--token-file", &token, "cluster", "list"]).await;
    assert!(!ended.worked && ended.err.contains("cannot be reached") && ended.err.contains("moorage serve"), "{}", ended.err);
    let ended = call(&["--server", "no url", "--token-file", &token, "cluster", "list"]).await;
    assert!(!ended.worked && ended.err.contains("is not the URL of a server"), "{}", ended.err);
    let ended = call(&["--data-dir", "/nonexistent", "cluster", "list"]).await;
    assert!(!ended.worked && ended.err.contains("--data-dir"), "{}", ended.err);
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let bench = Bench::new().await;
    std::fs::write(bench.path("token"), "moorage_wrong").expect("written");
    let ended = bench.call(&["cluster", "list"]).await;
    assert!(!ended.worked && ended.err.contains("[unauthenticated]"), "{}", ended.err);
}
