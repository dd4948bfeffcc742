//! `GET /docs`: the same as `/openapi.json`, to be read by people. One page without scripts, and nothing is loaded from anywhere.

use super::openapi::DOCUMENT;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::LazyLock;

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2733;background:#fff}\
h1{margin-bottom:.2rem}h2{margin-top:2.5rem;border-bottom:1px solid #cbd5e1}article{margin:1.2rem 0;padding:.6rem 1rem;border:1px solid #dbe2ea;border-radius:.4rem}\
code,pre{font:.86rem/1.45 ui-monospace,monospace}pre{background:#f5f7fa;padding:.6rem;overflow:auto}\
.m{display:inline-block;min-width:4.5rem;margin-right:.6rem;font-weight:600}table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.15rem .8rem .15rem 0}\
summary{cursor:pointer;color:#2458a6}@media(prefers-color-scheme:dark){body{color:#dde5ee;background:#12181f}article{border-color:#2c3946}pre{background:#1b242e}summary{color:#8ab4f8}}";
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static PAGE: LazyLock<String> = LazyLock::new(page);

/// Serves the page.
pub(crate) async fn serve() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], axum::response::Html(PAGE.as_str())).into_response()
}

/// Serves the page about a problem, as text.
pub(crate) async fn problem(Path(code): Path<String>) -> Response {
    text_of(PROBLEM_PAGES, &code)
}

/// Serves the page about an operation, as text.
pub(crate) async fn operation(Path(kind): Path<String>) -> Response {
    text_of(OPERATION_PAGES, &kind)
}

fn text_of(pages: &[(&str, &'static str)], name: &str) -> Response {
    match pages.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], *text).into_response(),
        None => (StatusCode::NOT_FOUND, "There is no such page. /docs lists those there are.\n").into_response(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Words with names of the API between backticks.
fn prose(text: &str) -> String {
    let mut parts = text.split('`');
    let mut said = escaped(parts.next().unwrap_or_default());
    for (index, part) in parts.enumerate() {
        said.push_str(if index % 2 == 0 { "<code>" } else { "</code>" });
        said.push_str(&escaped(part));
    }
    said
}

fn page() -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Moorage API</title><style>{STYLE}</style><h1>Moorage API</h1><p>{}</p>\
         <p>Sign in with <code>Authorization: Bearer TOKEN</code>, or Basic with user name and password. For machines: \
         <a href=\"openapi.json\">openapi.json</a>.</p>",
        prose(DOCUMENT["info"]["description"].as_str().unwrap_or_default())
    );
    let mut noun = "";
    for (path, methods) in DOCUMENT["paths"].as_object().into_iter().flatten() {
        let this = path.split('/').nth(3).unwrap_or_default();
        if this != noun {
            noun = this;
            let _ = write!(page, "<h2 id=\"{0}\">{0}</h2>", escaped(noun));
        }
        for (method, operation) in methods.as_object().into_iter().flatten() {
            article(&mut page, path, method, operation);
        }
    }
    page.push_str("<h2 id=\"problem-pages\">Problems</h2><p>Errors carry a stable <code>code</code>; each has a page:</p>");
    list(&mut page, "problems", PROBLEM_PAGES);
    page.push_str("<h2 id=\"operation-pages\">Kinds of operations</h2><p>What each does, step by step:</p>");
    list(&mut page, "operations", OPERATION_PAGES);
    page.push_str("</html>");
    page
}

fn list(page: &mut String, of: &str, pages: &[(&str, &str)]) {
    page.push_str("<ul>");
    for (name, text) in pages {
        let about = text.lines().nth(2).unwrap_or_default();
        let _ = write!(page, "<li><a href=\"docs/{of}/{0}\">{0}</a>: {1}</li>", escaped(name), prose(about));
    }
    page.push_str("</ul>");
}

fn article(page: &mut String, path: &str, method: &str, operation: &Value) {
    let text = |value: &Value| prose(value.as_str().unwrap_or_default());
    let _ = write!(
        page,
        "<article><div><span class=\"m\">{}</span><code>{}</code></div><p>{}</p>",
        method.to_uppercase(),
        escaped(path),
        text(&operation["summary"])
    );
    let parameters: Vec<&Value> =
        operation["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] != "path").collect();
    if !parameters.is_empty() {
        page.push_str("<table>");
        for parameter in parameters {
            let _ = write!(
                page,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                text(&parameter["name"]),
                text(&parameter["in"]),
                text(&parameter["description"])
            );
        }
        page.push_str("</table>");
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    fold(page, "Body", body);
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        if status != "default" {
            fold(page, &format!("Answer {status}"), &response["content"]["application/json"]["schema"]);
        }
    }
    page.push_str("</article>");
}

fn fold(page: &mut String, title: &str, schema: &Value) {
    if schema.is_null() {
        return;
    }
    let mut lines = String::new();
    fields(&mut lines, schema, 0);
    let _ = write!(page, "<details><summary>{}</summary><pre>{}</pre></details>", escaped(title), escaped(&lines));
}

/// A schema as an indented list of fields.
fn fields(lines: &mut String, schema: &Value, depth: usize) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let need = if required.contains(&name.as_str()) { "" } else { " (optional)" };
        let _ = writeln!(lines, "{}{name}: {}{need}", "  ".repeat(depth), kind(field));
        fields(lines, field, depth + 1);
        fields(lines, &field["items"], depth + 1);
    }
    if depth == 0 && schema["properties"].is_null() {
        fields(lines, &schema["items"], depth);
    }
}

fn kind(field: &Value) -> String {
    let mut said = match &field["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    };
    if let Some(choices) = field["enum"].as_array() {
        let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        let _ = write!(said, ", one of {}", choices.join(", "));
    }
    for (key, word) in
        [("minimum", "at least"), ("maximum", "at most"), ("minLength", "at least characters"), ("maxLength", "at most characters")]
    {
        if let Some(bound) = field[key].as_u64() {
            let _ = write!(said, ", {word} {bound}");
        }
    }
    if let Some(pattern) = field["pattern"].as_str() {
        let _ = write!(said, ", {pattern}");
    }
    said
}
