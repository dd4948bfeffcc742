//! Spans of requests and operations reach a collector, without anything secret in them; one that is away disturbs nobody.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Installation, PASSWORD};

/// Something that takes OTLP over http and keeps what it was sent.
struct Collector {
    url: String,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let keep = taken.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let keep = keep.clone();
                std::thread::spawn(move || take(stream, &keep));
            }
        });
        Self { url, taken }
    }
    fn has(&self, text: &str) -> bool {
        self.taken.lock().expect("not poisoned").windows(text.len()).any(|part| part == text.as_bytes())
    }
}

fn take(stream: TcpStream, keep: &Mutex<Vec<u8>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    loop {
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        if length == 0 {
            return;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        keep.lock().expect("not poisoned").extend(body);
        (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n").expect("answered");
    }
}

#[test]
fn a_collector_is_sent_what_requests_and_operations_did_and_no_secret() {
    let collector = Collector::start();
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url), ("OTEL_BSP_SCHEDULE_DELAY", "200"), ("MOORAGE_LOG", "warn,moorage_api=debug")];
    let environment = variables.map(|(name, value)| (name, value.to_owned()));
    let installation = Installation::start_with_environment(&environment);
    let cluster = installation.create("postgresql", "traced");
    installation.until(Duration::from_secs(20), "its spans arrive", |_| {
        let wanted = ["moorage", "service.name", "cluster.provision", &cluster.id, "/moorage/v1/clusters", "POST"];
        wanted.iter().all(|text| collector.has(text)).then_some(())
    });
    let token = installation.bootstrap()["token"].as_str().expect("a token").to_owned();
    assert!(!collector.has(PASSWORD) && !collector.has(&token), "secrets stay here");
    assert!(!collector.has("answered"), "lines of the log stay here, too");
}

#[test]
fn a_collector_that_is_away_disturbs_nobody_and_one_that_cannot_be_is_refused() {
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9".to_owned()), ("OTEL_BSP_SCHEDULE_DELAY", "100".into())];
    let mut installation = Installation::start_with_environment(&environment);
    let cluster = installation.create("postgresql", "untraced");
    assert_eq!(cluster.sql("SELECT 1"), Ok("1".into()));
    let (took, code) = installation.end_server();
    assert!(code == Some(0) && took < Duration::from_secs(10), "{took:?}");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_moorage"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(installation.directory.join("never"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("https://collector.example") && said.contains("http://127.0.0.1:4318"), "{said}");
}

#[test]
fn every_line_of_the_log_says_which_request_or_operation_it_is_about() {
    let variables = [("MOORAGE_LOG_FORMAT", "json"), ("MOORAGE_LOG", "debug")].map(|(name, value)| (name, value.to_owned()));
    let installation = Installation::start_with_environment(&variables);
    let accepted = installation.ask_for("postgresql", "logged");
    let cluster = installation.running(accepted["cluster"]["id"].as_str().expect("an id"));
    let token = installation.bootstrap()["token"].as_str().expect("a token").to_owned();
    let headers = [("authorization".to_owned(), format!("Bearer {token}"))];
    let shown = installation.exchange("GET", &format!("/moorage/v1/clusters/{}", cluster.id), &headers, None);
    assert_eq!(shown.status, 200);
    let log = std::fs::read_to_string(installation.directory.join("serve.log")).expect("a log");
    // What is said before logging begins, and to the person at the terminal, are sentences.
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let about = |name: &str, id: &str| {
        let of_it =
            |line: &&Value| line["spans"].as_array().is_some_and(|spans| spans.iter().any(|span| span["name"] == name && span["id"] == id));
        lines.iter().filter(of_it).cloned().collect::<Vec<_>>()
    };
    let answered = about("request", &shown.request_id);
    assert!(answered.iter().any(|line| line["fields"]["message"] == "answered"), "{answered:?}");
    let operation = accepted["operation"]["id"].as_str().expect("an id");
    let carried_out = about("operation", operation);
    assert!(carried_out.iter().any(|line| line["spans"][0]["cluster"] == cluster.id.as_str()), "{carried_out:?}");
    assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()));
    assert!(!log.contains(PASSWORD) && !log.contains(&token), "secrets are in no line");
}
