//! A document as a page.

use super::form::{Form, Kind};
use super::session::Session;
use super::words;
use crate::globo::hal::Site;
use crate::globo::problems;
use crate::globo::routes::called;
use crate::kit::Kit;
use crate::kit::refusal::Refusal;
use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderName, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use moorage_domain::tenant::Actor;
use serde_json::{Map, Value};
use std::fmt::Write as _;

pub(super) const STYLE: &str = include_str!("../../../templates/globo/style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What a browser is told about every page: no scripts, nothing from elsewhere, no frame around it.
pub(super) fn guarded() -> [(HeaderName, &'static str); 3] {
    [(header::CONTENT_SECURITY_POLICY, POLICY), (header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::REFERRER_POLICY, "same-origin")]
}

/// What a page is about: who asked for what.
pub(super) struct Seen<'a> {
    pub(super) kit: &'a Kit,
    pub(super) site: &'a Site,
    pub(super) done: Option<&'a str>,
    pub(super) method: &'a Method,
    pub(super) parts: &'a [String],
    pub(super) session: Option<&'a Session>,
    pub(super) sent: &'a Map<String, Value>,
}

impl Seen<'_> {
    /// An address below the base.
    pub(super) fn path(&self, parts: &[&str]) -> String {
        format!("{}/api/{}/", self.site.root(), parts.join("/"))
    }
}

#[derive(Template)]
#[template(path = "globo/page.html")]
struct Page<'a> {
    style: &'a str,
    base: &'a str,
    title: String,
    about: &'static str,
    done: &'static str,
    trouble: Vec<String>,
    user: Option<&'a str>,
    csrf: String,
    crumbs: Vec<(String, String)>,
    method: &'a str,
    target: &'a str,
    json_link: String,
    status: String,
    headers: Vec<(String, String)>,
    body: String,
    pages: Vec<(String, &'static str)>,
    forms: Vec<Form>,
}

/// What is said of each kind.
fn about(kind: &str) -> &'static str {
    match kind {
        "" => "Databases as a service: every address here is a document, and what can be done with it is below it.",
        "database" => "A database, made by a plan in an environment. Its credentials are how to get in.",
        "credential" => "How to get into a database. Credentials belong to one database each; their passwords are made for them.",
        "project" => "What databases are for.",
        "plan" => "Which kinds of databases can be asked for.",
        "environment" => "Where databases are made.",
        "engine" | "engine_type" => "What databases are made with.",
        "team" => "Whom databases belong to.",
        "user" => "Who may ask.",
        "task" => "What was and is being done with databases.",
        "snapshot" => "Copies of databases. There are none until there are backups.",
        "database_history" => "Databases that were removed for good.",
        _ => "",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// JSON with a line for each value, its fields in the order in which they came.
fn indented(compact: &str) -> String {
    let (mut said, mut depth, mut quoted, mut escape) = (String::new(), 0_usize, false, false);
    let line = |said: &mut String, depth: usize| {
        said.push('\n');
        said.push_str(&"    ".repeat(depth));
    };
    let mut rest = compact.chars().peekable();
    while let Some(next) = rest.next() {
        let is_plain = quoted || !matches!(next, '{' | '[' | '}' | ']' | ',' | ':');
        match next {
            _ if is_plain => {
                quoted ^= next == '"' && !escape;
                escape = quoted && next == '\\' && !escape;
                said.push(next);
            }
            '{' | '[' => {
                said.push(next);
                if matches!(rest.peek(), Some('}' | ']')) {
                    said.extend(rest.next());
                } else {
                    depth += 1;
                    line(&mut said, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut said, depth);
                said.push(next);
            }
            ',' => {
                said.push(',');
                line(&mut said, depth);
            }
            _ => said.push_str(": "),
        }
    }
    said
}

/// JSON to be read, with links to be followed.
fn pretty(json: &str, base: &str) -> String {
    let mut said = String::new();
    for line in indented(json).lines() {
        let link = line.trim_end_matches(',').strip_suffix('"').and_then(|line| line.rsplit_once('"')).map(|(_, text)| text);
        match link.filter(|text| text.strip_prefix(base).is_some_and(|rest| rest.starts_with("/api/")) && !text.contains('\\')) {
            Some(link) => {
                let (before, after) = line.split_once(&format!("\"{link}\"")).unwrap_or((line, ""));
                let link = escaped(link);
                let _ = writeln!(said, "{}&quot;<a href=\"{link}\">{link}</a>&quot;{}", escaped(before), escaped(after));
            }
            None => {
                let _ = writeln!(said, "{}", escaped(line));
            }
        }
    }
    said.trim_end().to_owned()
}

/// What is wrong, apart from what is wrong with the fields of a form.
fn trouble(document: &Value, forms: &[Form]) -> Vec<String> {
    let beside = |name: &str| forms.iter().any(|form| form.fields.iter().any(|field| field.name == name && !field.faults.is_empty()));
    let mut lines = Vec::new();
    for (name, said) in document.as_object().into_iter().flatten().filter(|(name, _)| *name != "_links" && !beside(name)) {
        let prefix = if ["detail", "reason", "error", "__all__"].contains(&name.as_str()) { String::new() } else { format!("{name}: ") };
        let said: Vec<&str> = match said {
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        lines.extend(said.into_iter().map(|said| format!("{prefix}{said}")));
    }
    lines
}

fn crumbs(root: &str, parts: &[String]) -> Vec<(String, String)> {
    let mut crumbs = vec![(format!("{root}/api/"), "Api Root".to_owned())];
    if let Some(kind) = parts.first() {
        crumbs.push((format!("{root}/api/{kind}/"), called(kind, false)));
        if let Some(number) = parts.get(1) {
            crumbs.push((format!("{root}/api/{kind}/{number}/"), called(kind, true)));
        }
    }
    crumbs
}

/// The page of an answer.
pub(super) async fn of(seen: Seen<'_>, actor: Option<&Actor>, head: &http::response::Parts, body: &[u8]) -> Response {
    let document: &Value = &serde_json::from_slice(body).unwrap_or_default();
    let text = std::str::from_utf8(body).unwrap_or_default();
    let failed = !head.status.is_success();
    let forms = match actor.filter(|_| seen.session.is_some()) {
        Some(actor) => seen.forms(actor, head.status, document).await,
        None => Ok(Vec::new()),
    };
    // What there is to choose from may be out of reach just now; the document is there all the same.
    let forms = forms.unwrap_or_default();
    let kind = seen.parts.first().map(String::as_str).unwrap_or_default();
    let links = &document["_links"];
    let page = |name: &str, words| links[name].as_str().map(|link| (link.to_owned(), words));
    let shown = ["allow", "content-type", "location"];
    let headers = shown.iter().filter_map(|name| Some(((*name).to_owned(), head.headers.get(*name)?.to_str().ok()?.to_owned())));
    let page = Page {
        style: STYLE,
        base: seen.site.root(),
        title: called(kind, seen.parts.len() > 1),
        about: about(kind),
        done: if failed { "" } else { words(seen.done) },
        trouble: if failed { trouble(document, &forms) } else { Vec::new() },
        user: actor.map(|actor| actor.user_name.as_str()).filter(|_| seen.session.is_some()),
        csrf: seen.session.map(Session::proof).unwrap_or_default(),
        crumbs: crumbs(seen.site.root(), seen.parts),
        method: seen.method.as_str(),
        target: seen.site.target(),
        json_link: seen.site.with("format", "json"),
        status: head.status.to_string(),
        headers: headers.collect(),
        body: pretty(text, seen.site.base()),
        pages: [page("previous", "Previous page"), page("next", "Next page")].into_iter().flatten().collect(),
        forms,
    };
    match page.render() {
        Ok(page) => {
            let mut response = (head.status, guarded(), Html(page)).into_response();
            for name in [header::ALLOW, header::LOCATION, header::WWW_AUTHENTICATE] {
                if let Some(value) = head.headers.get(&name) {
                    response.headers_mut().insert(name, value.clone());
                }
            }
            response
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A refusal that no route was asked about.
pub(super) async fn refused(refusal: &Refusal, seen: Seen<'_>) -> Response {
    let (head, body) = problems::render(refusal, seen.site).into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    of(seen, None, &head, &bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_of_users_stays_text_and_only_our_own_addresses_are_links() {
        let base = "http://h:1";
        let evil = json!({"a": "<script>alert('1')</script>", "b": "http://h:1/api/plan/1/\"onload=\"x", "c": "http://elsewhere/api/"});
        let page = pretty(&evil.to_string(), base);
        assert!(!page.contains("<script") && !page.contains("href") && page.contains("&lt;script&gt;"), "{page}");
        let linked = json!({"plan": "http://h:1/api/plan/1/", "all": ["http://h:1/api/x/1/", "http://h:1/api/x/2/"]});
        let page = pretty(&linked.to_string(), base);
        assert!(page.contains("&quot;plan&quot;: &quot;<a href=\"http://h:1/api/plan/1/\">http://h:1/api/plan/1/</a>&quot;"), "{page}");
        assert_eq!(page.matches("href").count(), 3, "{page}");
    }

    #[test]
    fn fields_are_shown_in_the_order_in_which_they_came() {
        let compact = r#"{"z":1,"a":[],"b":{},"c":[{"q\\":"x: {\"y\", [1,2]}"},null],"d":-1.5e3,"e":"\\"}"#;
        let shown = indented(compact);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[..5], ["{", "    \"z\": 1,", "    \"a\": [],", "    \"b\": {},", "    \"c\": ["], "{shown}");
        assert_eq!(lines[5..8], ["        {", "            \"q\\\\\": \"x: {\\\"y\\\", [1,2]}\"", "        },"], "{shown}");
        let same = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        assert_eq!(same(&shown), same(compact));
    }
}
