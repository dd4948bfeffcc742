//! Spans of requests and operations reach a collector, without anything secret in them; one that is away disturbs nobody.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

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
