//! `/healthz`: the process is up. `/readyz`: it can serve.

use super::Kit;
use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;

pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

pub(crate) async fn ready(State(kit): State<Kit>) -> impl IntoResponse {
    match (kit.options.ready)() {
        Ok(()) => (StatusCode::OK, String::from("ready\n")),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}
