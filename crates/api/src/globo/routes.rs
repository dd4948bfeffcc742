//! Paths and methods. The original serves each path with and without a slash at its end, and with a format at its end; one table says
//! which methods each kind of document has.

use super::auth::admit;
use super::hal::{Linked, NoSuchPage, Site, answer};
use super::ids;
use super::pages;
use super::write::in_one_part;
use crate::kit::Kit;
use crate::kit::exchange::Content;
use crate::kit::query::Query;
use crate::kit::refusal::{Answer, Refusal, header};
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use moorage_domain::tenant::Actor;
use moorage_domain::{Problem, ProblemCode, Timestamp};
use serde_json::{Map, Value, json};

/// Every method of every path. `{id}` is a number.
pub(crate) const OPERATIONS: &[(&str, &str)] = &[
    ("GET", "/api/"),
    ("GET", "/api/database/"),
    ("POST", "/api/database/"),
    ("GET", "/api/database/{id}/"),
    ("PUT", "/api/database/{id}/"),
    ("PATCH", "/api/database/{id}/"),
    ("DELETE", "/api/database/{id}/"),
    ("POST", "/api/database/{id}/restore_from_quarantine/"),
    ("GET", "/api/credential/"),
    ("POST", "/api/credential/"),
    ("GET", "/api/credential/{id}/"),
    ("PUT", "/api/credential/{id}/"),
    ("DELETE", "/api/credential/{id}/"),
    ("POST", "/api/credential/{id}/reset_password/"),
    ("GET", "/api/project/"),
    ("POST", "/api/project/"),
    ("GET", "/api/project/{id}/"),
    ("PUT", "/api/project/{id}/"),
    ("PATCH", "/api/project/{id}/"),
    ("DELETE", "/api/project/{id}/"),
    ("GET", "/api/plan/"),
    ("GET", "/api/plan/{id}/"),
    ("GET", "/api/environment/"),
    ("GET", "/api/environment/{id}/"),
    ("GET", "/api/engine/"),
    ("GET", "/api/engine/{id}/"),
    ("GET", "/api/engine_type/"),
    ("GET", "/api/engine_type/{id}/"),
    ("GET", "/api/team/"),
    ("GET", "/api/team/{id}/"),
    ("GET", "/api/user/"),
    ("GET", "/api/user/{id}/"),
    ("GET", "/api/task/"),
    ("GET", "/api/task/{id}/"),
    ("GET", "/api/snapshot/"),
    ("GET", "/api/snapshot/{id}/"),
    ("GET", "/api/database_history/"),
    ("GET", "/api/database_history/{id}/"),
];

/// All routes of the family.
pub(crate) fn router(kit: &Kit) -> Router<Kit> {
    let router = Router::new().route("/api", any(dispatch)).route("/api/", any(dispatch)).route("/api/{*path}", any(dispatch));
    let router = router.route_layer(from_fn_with_state(kit.clone(), admit)).route_layer(from_fn_with_state(kit.clone(), pages::around));
    router.merge(pages::session_router())
}

/// What a request is about.
pub(crate) struct Asked {
    pub(crate) kit: Kit,
    pub(crate) actor: Actor,
    pub(crate) site: Site,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
    pub(crate) content: Content,
    pub(crate) now: Timestamp,
}

pub(crate) fn not_found() -> Refusal {
    Problem::new(ProblemCode::PathNotFound, "Not found").into()
}

impl From<NoSuchPage> for Refusal {
    fn from(_: NoSuchPage) -> Self {
        not_found()
    }
}

/// The parts of a path below the base, without what says the format.
pub(super) fn parts(uri: &Uri) -> Vec<String> {
    let path = uri.path().trim_start_matches("/api").trim_matches('/');
    let path = path.strip_suffix(".json").unwrap_or(path);
    path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The path in the table that a request is for, and the number in it.
fn find(parts: &[String]) -> Option<(&'static str, Option<u64>)> {
    let paths = OPERATIONS.iter().map(|(_, path)| *path);
    for path in paths {
        let wanted: Vec<&str> = path.trim_start_matches("/api").split('/').filter(|part| !part.is_empty()).collect();
        if wanted.len() != parts.len() {
            continue;
        }
        let mut number = None;
        let fits = wanted.iter().zip(parts).all(|(wanted, given)| match *wanted {
            "{id}" => {
                number = ids::number(given);
                number.is_some()
            }
            fixed => fixed == given,
        });
        if fits {
            return Some((path, number));
        }
    }
    None
}

fn acceptable(headers: &HeaderMap, query: &Query) -> bool {
    let format = query.get("format").is_none_or(|format| ["json", "api"].contains(&format));
    let accept = header(headers, "accept").unwrap_or("*/*");
    format
        && accept
            .split(',')
            .map(|kind| kind.split(';').next().unwrap_or_default().trim())
            .any(|kind| ["*/*", "application/*", "application/json", "text/html", "text/*", ""].contains(&kind) || kind.ends_with("+json"))
}

async fn dispatch(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    Extension(site): Extension<Site>,
    query: Query,
    content: Content,
    request: Request,
) -> Answer {
    let parts = parts(request.uri());
    let (path, number) = find(&parts).ok_or_else(not_found)?;
    let method = if *request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let allowed: Vec<&str> = OPERATIONS.iter().filter(|(_, known)| *known == path).map(|(method, _)| *method).collect();
    if !acceptable(request.headers(), &query) {
        return Err(Problem::new(ProblemCode::NotAcceptable, "Could not satisfy the request's Accept header").into());
    }
    if method == Method::OPTIONS {
        return Ok(described(&site, path, &allowed));
    }
    if !allowed.contains(&method.as_str()) {
        let mut refusal =
            Refusal::from(Problem::new(ProblemCode::MethodNotAllowed, format!("Method '{method}' not allowed."))).into_response();
        let allow = allowed.iter().copied().chain(["HEAD", "OPTIONS"]).collect::<Vec<_>>().join(", ");
        if let Ok(value) = HeaderValue::from_str(&allow) {
            refusal.headers_mut().insert(http::header::ALLOW, value);
        }
        return Ok(refusal);
    }
    let now = kit.now();
    let mut headers = request.headers().clone();
    let content = in_one_part(content, &mut headers).await?;
    let asked = Asked { kit, actor, site, headers, query, content, now };
    match (method.as_str(), path, number) {
        ("GET", "/api/", _) => Ok(asked.index()),
        ("GET", "/api/database/", _) => asked.list_databases().await,
        ("POST", "/api/database/", _) => asked.create_database().await,
        ("GET", "/api/database/{id}/", Some(number)) => asked.show_database(number).await,
        ("PUT" | "PATCH", "/api/database/{id}/", Some(number)) => asked.change_database(number).await,
        ("DELETE", "/api/database/{id}/", Some(number)) => asked.remove_database(number).await,
        ("POST", "/api/database/{id}/restore_from_quarantine/", Some(number)) => asked.restore_database(number).await,
        ("GET", "/api/credential/", _) => asked.list_credentials().await,
        ("POST", "/api/credential/", _) => asked.create_credential().await,
        ("GET" | "PUT", "/api/credential/{id}/", Some(number)) => asked.show_credential(number, StatusCode::OK).await,
        ("DELETE", "/api/credential/{id}/", Some(number)) => asked.remove_credential(number).await,
        ("POST", "/api/credential/{id}/reset_password/", Some(number)) => asked.reset_password(number).await,
        ("GET", "/api/project/", _) => asked.listed("project", asked.projects().await?),
        ("POST", "/api/project/", _) => asked.create_project().await,
        ("GET", "/api/project/{id}/", Some(number)) => asked.one(asked.projects().await?, number),
        ("PUT" | "PATCH", "/api/project/{id}/", Some(number)) => asked.change_project(number).await,
        ("DELETE", "/api/project/{id}/", Some(number)) => asked.remove_project(number).await,
        ("GET", "/api/plan/", _) => asked.listed("plan", asked.plans().await?),
        ("GET", "/api/plan/{id}/", Some(number)) => asked.one(asked.plans().await?, number),
        ("GET", "/api/environment/", _) => asked.listed("environment", asked.environments().await?),
        ("GET", "/api/environment/{id}/", Some(number)) => asked.one(asked.environments().await?, number),
        ("GET", "/api/engine/", _) => asked.listed("engine", asked.engines().await?),
        ("GET", "/api/engine/{id}/", Some(number)) => asked.one(asked.engines().await?, number),
        ("GET", "/api/engine_type/", _) => asked.listed("enginetype", asked.engine_types()),
        ("GET", "/api/engine_type/{id}/", Some(number)) => asked.one(asked.engine_types(), number),
        ("GET", "/api/team/", _) => asked.listed("team", asked.teams().await?),
        ("GET", "/api/team/{id}/", Some(number)) => asked.one(asked.teams().await?, number),
        ("GET", "/api/user/", _) => asked.listed("accountuser", asked.users().await?),
        ("GET", "/api/user/{id}/", Some(number)) => asked.one(asked.users().await?, number),
        ("GET", "/api/task/", _) => asked.list_tasks().await,
        ("GET", "/api/task/{id}/", Some(number)) => asked.show_task(number).await,
        // There are none until there are backups.
        ("GET", "/api/snapshot/", _) => asked.listed("snapshot", Vec::new()),
        ("GET", "/api/database_history/", _) => asked.list_history().await,
        ("GET", "/api/database_history/{id}/", Some(number)) => asked.show_history(number).await,
        _ => Err(not_found()),
    }
}

/// What the original calls a list of a kind, or one of it.
pub(super) fn called(kind: &str, one: bool) -> String {
    if kind.is_empty() {
        return "Api Root".to_owned();
    }
    let capital = |word: &str| word.get(..1).unwrap_or_default().to_uppercase() + word.get(1..).unwrap_or_default();
    let words: Vec<String> = kind.split('_').map(capital).collect();
    format!("{} {}", words.join(" "), if one { "Instance" } else { "List" })
}

/// What `OPTIONS` says of a path.
fn described(site: &Site, path: &str, allowed: &[&str]) -> Response {
    let kind = path.trim_start_matches("/api/").split('/').next().unwrap_or_default();
    let name = called(kind, path.contains("{id}"));
    let mut document = Map::new();
    document.insert("name".into(), json!(name));
    document.insert("description".into(), json!(""));
    document.insert("renders".into(), json!(["application/json", "text/html"]));
    document.insert("parses".into(), json!(["application/json", "application/x-www-form-urlencoded", "multipart/form-data"]));
    let fields: &[(&str, &str, bool, bool)] = match kind {
        "database" => &[
            ("id", "field", false, true),
            ("name", "string", true, false),
            ("endpoint", "string", false, true),
            ("plan", "field", true, false),
            ("environment", "field", true, false),
            ("project", "field", false, false),
            ("team", "field", false, false),
            ("description", "string", false, false),
            ("quarantine_dt", "date", false, true),
            ("total_size_in_bytes", "field", false, true),
            ("used_size_in_bytes", "field", false, true),
            ("credentials", "field", false, true),
        ],
        "credential" => &[
            ("id", "field", false, true),
            ("user", "string", true, false),
            ("database", "field", true, false),
            ("password", "string", false, true),
        ],
        "project" => &[("id", "field", false, true), ("name", "string", true, false), ("description", "string", false, false)],
        _ => &[],
    };
    let described: Map<String, Value> = fields
        .iter()
        .map(|(name, kind, required, read_only)| {
            let label = name.replace('_', " ");
            ((*name).to_owned(), json!({"type": kind, "required": required, "read_only": read_only, "label": label}))
        })
        .collect();
    let actions: Map<String, Value> = allowed
        .iter()
        .filter(|method| ["POST", "PUT"].contains(method) && !described.is_empty())
        .map(|method| ((*method).to_owned(), json!(described)))
        .collect();
    if !actions.is_empty() {
        document.insert("actions".into(), json!(actions));
    }
    let mut response = answer(StatusCode::OK, &Linked::at(site.own(), document));
    let allow = allowed.iter().copied().chain(["HEAD", "OPTIONS"]).collect::<Vec<_>>().join(", ");
    if let Ok(value) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(http::header::ALLOW, value);
    }
    response
}
