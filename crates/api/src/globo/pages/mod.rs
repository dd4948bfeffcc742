//! The same API for people with a browser: each document as a page with the forms that can be sent from it, and a session instead of a
//! password in every request. Whatever a page does goes through the same routes as everybody else's requests.

mod form;
mod page;
mod session;

pub(crate) use session::router as session_router;

use super::hal::Site;
use super::problems;
use crate::kit::Kit;
use crate::kit::exchange::{Asking, Content, Told};
use crate::kit::query::Query;
use crate::kit::refusal::{Refusal, header};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use session::Session;

/// Whether the caller would rather see a page: it names HTML before JSON, or says so in the address.
fn wants_page(headers: &HeaderMap, query: &Query) -> bool {
    match query.get("format") {
        Some("api") => return true,
        Some(_) => return false,
        None => {}
    }
    let accept = header(headers, "accept").unwrap_or_default();
    let kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let first = kinds.into_iter().find(|kind| ["text/html", "application/xhtml+xml", "application/json"].contains(kind));
    first.is_some_and(|kind| kind != "application/json")
}

/// Where an answer to a change is best seen: at what was changed.
fn moved(method: &Method, response: &Response, site: &Site, parts: &[String], query: &Query) -> Option<String> {
    let location = response.headers().get(http::header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.map(|location| format!("{}{}", site.root(), location.strip_prefix(site.base()).unwrap_or(location)));
    let list = |kind: &str| format!("{}/api/{kind}/", site.root());
    let (to, done) = match (method.as_str(), response.status(), parts) {
        (_, StatusCode::ACCEPTED, _) => (location?, "begun"),
        ("POST", StatusCode::CREATED, _) => (location?, "created"),
        ("DELETE", StatusCode::NO_CONTENT, [kind, ..]) => {
            let removed = kind != "database" || query.get("purge").is_some();
            (list(kind), if removed { "removed" } else { "quarantined" })
        }
        ("POST", StatusCode::OK, [kind, number, verb]) => {
            (format!("{}{number}/", list(kind)), if verb == "reset_password" { "reset" } else { "restored" })
        }
        ("PUT" | "PATCH", StatusCode::OK, [kind, number]) => (format!("{}{number}/", list(kind)), "changed"),
        _ => return None,
    };
    Some(format!("{to}?done={done}"))
}

/// What is said once something was done.
fn words(done: Option<&str>) -> &'static str {
    match done {
        Some("created") => "It was created.",
        Some("begun") => "It has begun and goes on by itself: this is its task.",
        Some("quarantined") => "The database is in quarantine. Whoever looks after all databases can take it out again.",
        Some("removed") => "It was removed.",
        Some("reset") => "It has a new password; the old one is refused.",
        Some("restored") => "It is out of quarantine. Read or reset the passwords of its credentials.",
        Some("changed") => "It was changed.",
        _ => "",
    }
}

/// The address that was asked for, without what only says what was done before.
fn without_done(uri: &Uri) -> Option<Uri> {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let left: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("done=") && *pair != "format=api").collect();
    if left.is_empty() { path.parse().ok() } else { format!("{path}?{}", left.join("&")).parse().ok() }
}

/// What a form sends besides its fields.
struct Sent {
    fields: Map<String, Value>,
}

impl Sent {
    fn of(content: Option<&Content>, headers: &HeaderMap) -> Self {
        let kind = header(headers, "content-type").unwrap_or_default();
        let bytes = content.and_then(|content| content.bytes().ok()).filter(|_| kind.starts_with("application/x-www-form-urlencoded"));
        let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
        Self { fields: Query::parse(text).into_map() }
    }
    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }
}

/// Takes requests of browsers: who has a session asks by it, forms say which method they mean, and answers become pages.
pub(crate) async fn around(State(kit): State<Kit>, mut request: Request, next: Next) -> Response {
    let query = Query::parse(request.uri().query());
    let wants_page = wants_page(request.headers(), &query);
    let by_header = request.headers().get("authorization").is_some();
    let session = Session::of(request.headers()).filter(|_| !by_header);
    if !wants_page && session.is_none() {
        return next.run(request).await;
    }
    if let Some(uri) = without_done(request.uri()) {
        *request.uri_mut() = uri;
    }
    let site = Site::of(request.headers(), request.uri(), kit.options.public_base.as_deref(), kit.options.tls);
    let sent = Sent::of(request.extensions().get::<Content>(), request.headers());
    if let Some(session) = &session {
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let shown = header(request.headers(), "x-csrftoken").or(sent.text("csrfmiddlewaretoken")).unwrap_or_default();
        let problem = request.extensions().get::<Content>().and_then(|content| content.bytes().err());
        let problem = problem.or_else(|| (!session.sent_this(shown)).then(session::forged));
        if changes && let Some(problem) = problem {
            let refusal = Refusal::from(problem);
            if !wants_page {
                return refusal.into_response();
            }
            let (method, parts) = (request.method(), super::routes::parts(request.uri()));
            let seen = page::Seen { kit: &kit, site: &site, done: None, method, parts: &parts, session: None, sent: &sent.fields };
            return page::refused(&refusal, seen).await;
        }
        if let Ok(bearer) = HeaderValue::from_str(&format!("Bearer {}", session.token())) {
            request.headers_mut().insert("authorization", bearer);
        }
        if changes {
            mean(&mut request, &sent);
        }
    }
    let asking = request.extensions().get::<Asking>().cloned().unwrap_or_default();
    let (method, parts) = (request.method().clone(), super::routes::parts(request.uri()));
    // Where to go after logging in: to what was looked at, or what was to be changed.
    let named: String = parts.iter().take(2).map(|part| format!("{part}/")).collect();
    let afterwards = if method == Method::GET { site.target().to_owned() } else { format!("/api/{named}") };
    let mut response = next.run(request).await;
    if !wants_page {
        return response;
    }
    let refusal = response.extensions_mut().remove::<Refusal>();
    if let Some(refusal) = &refusal {
        if problems::status(&refusal.first) == StatusCode::UNAUTHORIZED && !by_header {
            let trouble = if session.is_some() { "Your session has ended." } else { "" };
            let mut response = session::form(&kit, StatusCode::UNAUTHORIZED, (trouble, ""), &afterwards);
            response.extensions_mut().insert(Told(refusal.first.code.as_str()));
            return response;
        }
        let allow = response.headers_mut().remove(http::header::ALLOW);
        response = problems::render(refusal, &site);
        if let Some(allow) = allow {
            response.headers_mut().insert(http::header::ALLOW, allow);
        }
    } else if session.is_some()
        && let Some(to) = moved(&method, &response, &site, &parts, &query)
    {
        return (StatusCode::SEE_OTHER, [(http::header::LOCATION, to)]).into_response();
    }
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let seen = page::Seen {
        kit: &kit,
        site: &site,
        done: query.get("done"),
        method: &method,
        parts: &parts,
        session: session.as_ref(),
        sent: &sent.fields,
    };
    let mut response = page::of(seen, asking.actor(), &head, &bytes).await;
    if let Some(refusal) = refusal {
        response.extensions_mut().insert(Told(refusal.first.code.as_str()));
    }
    response
}

/// A form can only be posted: which method it means is in it, and perhaps a body that somebody wrote by hand.
fn mean(request: &mut Request, sent: &Sent) {
    let meant = sent.text("_method").and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    if let Some(method) = meant.filter(|method| ["PUT", "PATCH", "DELETE"].contains(&method.as_str())) {
        Asking::means(request, &method);
        *request.method_mut() = method;
    }
    if let Some(body) = sent.text("_content") {
        let content = Content::from(body.to_owned());
        request.extensions_mut().insert(content);
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(accept: &str, query: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("accept", accept.parse().expect("a header"));
        wants_page(&headers, &Query::parse(Some(query)))
    }

    #[test]
    fn browsers_get_pages_and_programs_get_documents() {
        assert!(wants("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", ""));
        assert!(wants("*/*", "format=api") && wants("application/json", "format=api"));
        for (accept, query) in [("*/*", ""), ("application/json", ""), ("application/json, text/html", ""), ("text/html", "format=json")] {
            assert!(!wants(accept, query), "{accept} {query}");
        }
    }
}
