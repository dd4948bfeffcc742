//! `/healthz`: the process is up. `/readyz`: it can serve.

use super::Kit;
use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use std::time::Duration;

/// How long the store may take to answer.
const STORE_LIMIT: Duration = Duration::from_secs(2);

pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

pub(crate) async fn ready(State(kit): State<Kit>) -> impl IntoResponse {
    let answer = match (kit.options.ready)() {
        Ok(()) => tokio::time::timeout(STORE_LIMIT, kit.app.store_answers()).await,
        Err(why) => return (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    };
    match answer {
        Ok(Ok(())) => (StatusCode::OK, String::from("ready\n")),
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, String::from("not ready: the store does not answer\n")),
    }
}
