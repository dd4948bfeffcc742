//! Golden transcripts: a file holds requests and the answers they get, byte for byte but for ids and times.
//!
//! ```text
//! ### A title
//! # directives: `hold operations`, `let operations run`, `as nobody`, `as stranger`, `as token`, `as viewer`,
//! #             `until /json/pointer = VALUE`, `until status = 404`, `keep NAME = /json/pointer`,
//! #             `hide /json/pointer` (what other crates and the machine decide)
//! POST /v1/clusters
//! Header: value
//!
//! body, in which {NAME} stands for what was kept
//! --- 202 Accepted
//! Content-Type: application/json
//!
//! answer
//! ```
//! A request is signed unless a directive says otherwise. `BLESS=1` writes the answers that were seen into the files.

use super::{ACCESS_KEY, ControlPlane, FOREIGN_TOKEN, HOST, TOKEN, VIEWERS_TOKEN, millis, signature};
use axum::body::Body;
use http::{Request, Response};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest wait for an `until`.
const PATIENCE: Duration = Duration::from_secs(20);

/// Plays a transcript against a fresh control plane and compares.
pub async fn play(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut plane = ControlPlane::start().await;
    let mut names = Names::default();
    let mut kept = BTreeMap::new();
    let mut played = String::new();
    for block in blocks(&text) {
        let answer = exchange(&mut plane, &block, &mut kept).await;
        played.push_str(&block.request_text);
        played.push_str(&names.normalise(&answer));
        played.push('\n');
    }
    let played = format!("{}\n", played.trim_end());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, played).expect("written");
    } else {
        let line = played.lines().zip(text.lines()).position(|(seen, golden)| seen != golden);
        let line = line.unwrap_or(played.lines().count().min(text.lines().count()));
        let around = |text: &str| text.lines().skip(line.saturating_sub(3)).take(12).collect::<Vec<_>>().join("\n");
        assert!(
            played == text,
            "{} differs from line {}.\n--- golden\n{}\n--- seen\n{}\n(BLESS=1 accepts what was seen)",
            path.display(),
            line + 1,
            around(&text),
            around(&played)
        );
    }
}

struct Block {
    /// Everything up to the answer.
    request_text: String,
    directives: Vec<String>,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        match blocks.last_mut() {
            Some(block) if !line.starts_with("### ") => block.push(line),
            _ => blocks.push(vec![line]),
        }
    }
    blocks.iter().map(|lines| block(lines)).collect()
}

fn block(lines: &[&str]) -> Block {
    let end = lines.iter().position(|line| line.starts_with("--- ")).unwrap_or(lines.len());
    let request: Vec<&str> = lines[..end].to_vec();
    let first = request.iter().position(|line| !line.starts_with('#')).expect("a request line");
    let (method, target) = request[first].split_once(' ').expect("a method and a target");
    let blank = request[first..].iter().position(|line| line.is_empty()).map_or(request.len(), |at| first + at);
    let headers = request[first + 1..blank].iter().filter_map(|line| line.split_once(": "));
    let body = request.get(blank + 1..).unwrap_or_default().join("\n");
    Block {
        request_text: format!("{}\n", request.join("\n").trim_end()),
        directives: request[..first].iter().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect(),
        method: method.to_owned(),
        target: target.to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: body.trim_end().to_owned(),
    }
}

async fn exchange(plane: &mut ControlPlane, block: &Block, kept: &mut BTreeMap<String, String>) -> String {
    let has = |directive: &str| block.directives.iter().any(|line| line == directive);
    if has("hold operations") {
        plane.hold_operations().await;
    }
    if has("let operations run") {
        plane.let_operations_run().await;
    }
    let token = [("as token", TOKEN), ("as viewer", VIEWERS_TOKEN), ("as stranger", FOREIGN_TOKEN)];
    let token = token.into_iter().find(|(directive, _)| has(directive)).map(|(_, token)| token);
    let until = block.directives.iter().find_map(|line| line.strip_prefix("until ")?.split_once(" = "));
    let begun = Instant::now();
    let response = loop {
        let response = plane.send(request(block, kept, token, has("as nobody"))).await;
        let Some((pointer, value)) = until else { break response };
        let seen = match pointer {
            "status" => response.status().as_u16().to_string(),
            pointer => at(&response, pointer),
        };
        if seen == value {
            break response;
        }
        assert!(begun.elapsed() < PATIENCE, "{}: {pointer} is still {seen}", block.request_text);
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    for line in &block.directives {
        if let Some((name, pointer)) = line.strip_prefix("keep ").and_then(|rest| rest.split_once(" = ")) {
            kept.insert(name.to_owned(), at(&response, pointer));
        }
    }
    let hidden: Vec<&str> = block.directives.iter().filter_map(|line| line.strip_prefix("hide ")).collect();
    render(&response, &hidden)
}

fn at(response: &Response<Vec<u8>>, pointer: &str) -> String {
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    match body.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn request(block: &Block, kept: &BTreeMap<String, String>, token: Option<&str>, nobody: bool) -> Request<Body> {
    let fill = |text: &str| kept.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value));
    let target = fill(&block.target);
    let mut request = Request::builder().method(block.method.as_str()).uri(&target).header("host", HOST);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    } else if !nobody {
        let timestamp = millis();
        request = request
            .header("scp-accesskey", ACCESS_KEY)
            .header("scp-signature", signature(&block.method, &format!("http://{HOST}{target}"), &timestamp))
            .header("scp-timestamp", timestamp)
            .header("scp-clienttype", "Openapi");
    }
    for (name, value) in &block.headers {
        request = request.header(name, value.replace("{MILLIS}", &millis()));
    }
    let body = fill(&block.body).replace("{3MB}", &"x".repeat(3_000_000)).replace("{DEEP}", &"[".repeat(10_000));
    request.body(Body::from(body)).expect("a request")
}

fn render(response: &Response<Vec<u8>>, hidden: &[&str]) -> String {
    let mut text = format!("--- {}\n", response.status());
    for name in ["allow", "content-type", "www-authenticate"] {
        if let Some(value) = response.headers().get(name).and_then(|value| value.to_str().ok()) {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    text.push('\n');
    match serde_json::from_slice::<Value>(response.body()) {
        Ok(mut body) => {
            for pointer in hidden {
                *body.pointer_mut(pointer).unwrap_or_else(|| panic!("nothing to hide at {pointer}")) = "<hidden>".into();
            }
            text.push_str(&serde_json::to_string_pretty(&sorted(body)).expect("JSON"));
        }
        Err(_) => text.push_str(String::from_utf8_lossy(response.body()).trim_end()),
    }
    text.push('\n');
    text
}

/// The same with the keys of every object in order, whatever order the library keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let pairs: BTreeMap<String, Value> = object.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(pairs.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

/// Gives ids names in the order they appear, and takes times away.
#[derive(Default)]
struct Names {
    known: Vec<String>,
    requests: Vec<String>,
}

impl Names {
    fn normalise(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, taken) = self.next(rest);
            out.push_str(&piece);
            rest = &rest[taken..];
        }
        out
    }
    fn next(&mut self, rest: &str) -> (String, usize) {
        let bytes = rest.as_bytes();
        let like = |pattern: &str| {
            bytes.len() >= pattern.len()
                && pattern.bytes().zip(bytes).all(|(wanted, byte)| match wanted {
                    b'h' => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
                    b'9' => byte.is_ascii_digit(),
                    other => other == *byte,
                })
        };
        let number = |list: &mut Vec<String>, text: &str| match list.iter().position(|known| known == text) {
            Some(at) => at + 1,
            None => {
                list.push(text.to_owned());
                list.len()
            }
        };
        if like("req-hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh") {
            return (format!("<request {}>", number(&mut self.requests, &rest[..40])), 40);
        }
        if like("hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh") && !bytes.get(32).is_some_and(u8::is_ascii_hexdigit) {
            return (format!("<id {}>", number(&mut self.known, &rest[..32])), 32);
        }
        if like("9999-99-99T99:99:99Z") {
            return ("<time>".into(), 20);
        }
        let first = rest.chars().next().expect("something");
        (first.to_string(), first.len_utf8())
    }
}
