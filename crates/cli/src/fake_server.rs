//! A server that answers like the real one, remembers what it was asked, and can be told to misbehave.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What the fake remembers and how it behaves.
#[derive(Default)]
pub struct Behaviour {
    /// Method and path with query of every request.
    pub asked: Vec<String>,
    /// The last body of a create.
    pub created: Value,
    /// How often an operation is still running when asked for.
    pub polls_left: u32,
    /// How often a poll is answered 503.
    pub outages_left: u32,
    /// How operations end.
    pub ends: &'static str,
}

/// A running fake.
pub struct FakeServer {
    /// Its base URL.
    pub url: String,
    /// Shared with the handlers.
    pub behaviour: Arc<Mutex<Behaviour>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Shared = State<Arc<Mutex<Behaviour>>>;

/// The only token it knows.
pub const TOKEN: &str = "moorage_test";
/// The only login it knows: moorage / pass word.
const BASIC: &str = "Basic bW9vcmFnZTpwYXNzIHdvcmQ=";

impl FakeServer {
    /// Starts on a free port.
    pub async fn start() -> Self {
        let behaviour = Arc::new(Mutex::new(Behaviour { ends: "succeeded", ..Behaviour::default() }));
        let routes = Router::new()
            .route("/clusters", get(list).post(create))
            .route("/clusters/{cluster}", get(show).delete(accept))
            .route("/clusters/{cluster}/logs", get(|| async { "first line\nlast line\n" }))
            .route("/clusters/{cluster}/{verb}", post(accept))
            .route("/operations", get(operations))
            .route("/operations/{id}", get(operation))
            .route("/operations/{id}/{verb}", post(|| async { axum::Json(json!({})) }))
            .route("/ca", get(|| async { "-----BEGIN CERTIFICATE-----\n" }))
            .fallback(any(|| async { problem(404, "path-not-found", "There is no such path.", None) }))
            .with_state(behaviour.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().nest("/moorage/v1", routes).layer(middleware::from_fn_with_state(behaviour.clone(), remember));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("served") });
        Self { url, behaviour, task }
    }

    /// What it was asked, one line per request.
    pub fn asked(&self) -> Vec<String> {
        self.behaviour.lock().expect("not poisoned").asked.clone()
    }
}

fn problem(status: u16, code: &str, title: &str, hint: Option<&str>) -> Response {
    let body = json!({"type": format!("/docs/problems/{code}"), "title": title, "status": status, "code": code,
        "detail": "Because it is a test.", "hint": hint});
    (StatusCode::from_u16(status).expect("a status"), [("content-type", "application/problem+json")], body.to_string()).into_response()
}

async fn remember(State(behaviour): Shared, request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    behaviour.lock().expect("not poisoned").asked.push(format!("{} {target}", request.method()));
    let credential = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if credential != Some(&format!("Bearer {TOKEN}")) && credential != Some(BASIC) {
        return problem(401, "unauthenticated", "Nobody proved who they are.", Some("Give a token."));
    }
    next.run(request).await
}

fn cluster(name: &str, state: &str) -> Value {
    json!({
        "id": format!("id-of-{name}"), "name": name, "engine": "mariadb", "version": "10.11.19", "state": state, "state_reason": null,
        "address": "127.64.0.10", "port": 2866, "database": "shop", "owner": "keeper", "server_type": "db1v1m2", "size_gb": 20,
        "timezone": "Asia/Seoul", "allow": ["10.0.0.0/8"], "protection": "none yet", "limits": {"connections": {"value": 100, "unit": "connections", "enforced": true}, "memory": {"value": 2, "unit": "GiB", "enforced": true}, "disk": {"value": 20, "unit": "GiB", "enforced": false}},
        "isolation": {"tenants": true, "network": false},
        "instances": [{"id": "i", "name": "demo-1", "role": "ACTIVE", "state": state, "address": "127.64.0.10", "restarts": 1,
            "last_restart_reason": "killed by signal 9"}],
        "created_at": "2026-11-21T04:00:00Z", "a_field_of_the_future": {"x": 1},
    })
}

async fn list(Query(query): Query<HashMap<String, String>>) -> Response {
    let page = match query.get("cursor").map(String::as_str) {
        None => json!({"items": [cluster("one", "RUNNING")], "next": "second page"}),
        Some("second page") => json!({"items": [cluster("two", "STOPPED")], "next": null}),
        Some(_) => return problem(400, "invalid-request", "There is no such page.", None),
    };
    axum::Json(page).into_response()
}

async fn create(State(behaviour): Shared, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    if body["name"] == "taken" {
        return problem(409, "name-taken", "The name 'taken' is in use.", Some("Choose another name."));
    }
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    behaviour.lock().expect("not poisoned").created = body;
    let answer = json!({"cluster": cluster(&name, "CREATING"), "operation": {"id": "op-1"}});
    (StatusCode::ACCEPTED, axum::Json(answer)).into_response()
}

async fn show(Path(name): Path<String>) -> Response {
    if name == "missing" {
        return problem(404, "cluster-not-found", "There is no cluster 'missing'.", None);
    }
    axum::Json(cluster(name.trim_start_matches("id-of-"), "RUNNING")).into_response()
}

async fn accept(method: Method, Path(path): Path<HashMap<String, String>>) -> Response {
    let name = &path["cluster"];
    if name == "busy" {
        return problem(409, "wrong-state", "The cluster is being restarted.", Some("Wait until it is RUNNING."));
    }
    let state = if method == Method::DELETE { "TERMINATING" } else { "STARTING" };
    (StatusCode::ACCEPTED, axum::Json(json!({"cluster": cluster(name, state), "operation": {"id": "op-1"}}))).into_response()
}

async fn operations() -> Response {
    axum::Json(
        json!({"items": [{"id": "op-1", "kind": "cluster.provision", "cluster": "id-of-one", "status": "running", "step": "start-engine",
        "created_at": "2026-11-21T04:00:00Z", "finished_at": null}], "next": null}),
    )
    .into_response()
}

async fn operation(State(behaviour): Shared, Path(id): Path<String>) -> Response {
    let mut behaviour = behaviour.lock().expect("not poisoned");
    if behaviour.outages_left > 0 {
        behaviour.outages_left -= 1;
        return problem(503, "engine-unreachable", "The server is stopping.", None);
    }
    let mut document = json!({"id": id, "kind": "cluster.provision", "cluster": "id-of-one", "status": "running", "step": "start-engine",
        "attempt": 2, "waiting_for": "the engine is starting", "problem": null, "requested_by": "moorage",
        "created_at": "2026-11-21T04:00:00Z", "finished_at": null,
        "events": [{"at": "2026-11-21T04:00:00Z", "step": "choose-address", "kind": "step-done", "detail": "127.64.0.10"}]});
    if behaviour.polls_left > 0 {
        behaviour.polls_left -= 1;
        return axum::Json(document).into_response();
    }
    document["status"] = json!(behaviour.ends);
    if behaviour.ends != "succeeded" {
        document["problem"] =
            json!({"code": "engine-start-failed", "message": "The engine did not start.", "detail": "unknown variable 'x'"});
    }
    axum::Json(document).into_response()
}
