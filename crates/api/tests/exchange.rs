//! What happens around a request: signatures through the whole stack, clocks, limits, panics, and pages for browsers.

#[allow(dead_code)]
mod support;

use axum::body::Body;
use futures::stream;
use http::{Request, Response};
use moorage_api::ApiOptions;
use moorage_domain::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use support::{ACCESS_KEY, ControlPlane, HOST, TOKEN, millis, now, signature};

fn code(response: &Response<Vec<u8>>) -> String {
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let code = body.pointer("/errors/0/code").or_else(|| body.pointer("/code"));
    code.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn signed(target: &str, signed_url: &str, timestamp: &str) -> Request<Body> {
    let request = Request::builder().method("GET").uri(target).header("Host", HOST);
    let request = request.header("Scp-AccessKey", ACCESS_KEY).header("Scp-Signature", signature("GET", signed_url, timestamp));
    let request = request.header("Scp-Timestamp", timestamp).header("Scp-ClientType", "Openapi");
    request.body(Body::empty()).expect("a request")
}

async fn status(plane: &ControlPlane, target: &str, signed_url: &str) -> u16 {
    plane.send(signed(target, signed_url, &millis())).await.status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_verifies_as_sent_and_decoded_and_not_otherwise() {
    let plane = ControlPlane::start().await;
    let target = "/mariadb/v1/clusters?size=20&page=0&sort=name%3Aasc";
    for good in [
        format!("http://{HOST}{target}"),
        format!("https://{HOST}{target}"),
        format!("http://{HOST}/mariadb/v1/clusters?size=20&page=0&sort=name:asc"),
    ] {
        assert_eq!(status(&plane, target, &good).await, 200, "{good}");
    }
    for bad in [
        format!("http://{HOST}/mariadb/v1/clusters"),
        format!("http://{HOST}/v1/clusters?size=20&page=0&sort=name%3Aasc"),
        format!("http://elsewhere{target}"),
        format!("http://{HOST}/mariadb/v1/clusters?size=20&page=0&sort=name%253Aasc"),
        target.to_owned(),
    ] {
        assert_eq!(status(&plane, target, &bad).await, 401, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_is_good_for_fifteen_minutes_of_the_clock_that_was_handed_in() {
    for (minutes, expected) in [(0, 200), (14, 200), (16, 401), (-14, 200), (-16, 401)] {
        let clock = move || Timestamp(now().0 + minutes * 60_000_000);
        let plane = ControlPlane::start_with(ApiOptions { clock: Some(Arc::new(clock)), ..ApiOptions::default() }).await;
        assert_eq!(status(&plane, "/v1/clusters", &format!("http://{HOST}/v1/clusters")).await, expected, "{minutes} minutes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_the_public_base_is_what_clients_sign_and_are_shown() {
    let options = ApiOptions { public_base: Some("https://db.example.org/moor/".into()), ..ApiOptions::default() };
    let plane = ControlPlane::start_with(options).await;
    assert_eq!(status(&plane, "/v1/clusters", "https://db.example.org/moor/v1/clusters").await, 200);
    let document: Value = serde_json::from_slice(plane.ask("GET", "/mariadb", None).await.body()).expect("JSON");
    assert_eq!(document["versions"][0]["links"][0]["href"], "https://db.example.org/moor/mariadb/v1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_browser_gets_a_page() {
    let plane = ControlPlane::start().await;
    let ask = |accept: &'static str| {
        let request = Request::builder().uri("/").header("host", HOST).header("accept", accept).body(Body::empty()).expect("a request");
        plane.send(request)
    };
    let page = ask("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8").await;
    assert!(page.headers()["content-type"].to_str().is_ok_and(|kind| kind.starts_with("text/html")));
    for accept in ["*/*", "application/json"] {
        assert_eq!(ask(accept).await.headers()["content-type"], "application/json", "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_never_ends_is_refused_in_time_and_in_the_right_dialect() {
    let options = ApiOptions { request_timeout: Duration::from_millis(200), ..ApiOptions::default() };
    let plane = ControlPlane::start_with(options).await;
    for (path, expected) in [("/v1/clusters", "ValidationError"), ("/moorage/v1/clusters", "malformed-body")] {
        let never = Body::from_stream(stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        let request = Request::builder().method("POST").uri(path).header("authorization", format!("Bearer {TOKEN}"));
        let response = plane.send(request.header("content-type", "application/json").body(never).expect("a request")).await;
        assert_eq!((response.status().as_u16(), code(&response).as_str()), (400, expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_is_refused() {
    let plane = ControlPlane::start().await;
    let broken = stream::iter([Ok(bytes::Bytes::from_static(b"{\"name\":")), Err(std::io::Error::other("gone"))]);
    let request = Request::builder().method("POST").uri("/v1/clusters").header("authorization", format!("Bearer {TOKEN}"));
    let response = plane.send(request.body(Body::from_stream(broken)).expect("a request")).await;
    assert_eq!((response.status().as_u16(), code(&response).as_str()), (400, "ValidationError"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_becomes_an_error_with_an_id_and_the_server_goes_on() {
    let ready = || panic!("a bug");
    let plane = ControlPlane::start_with(ApiOptions { ready: Arc::new(ready), ..ApiOptions::default() }).await;
    let response = plane.ask("GET", "/readyz", None).await;
    assert_eq!((response.status().as_u16(), code(&response).as_str()), (500, "ContactAdminForAssistance"));
    assert!(!String::from_utf8_lossy(response.body()).contains("a bug"));
    let id = response.headers()["x-request-id"].to_str().expect("an id");
    assert!(String::from_utf8_lossy(response.body()).contains(id));
    assert_eq!(plane.ask("GET", "/healthz", None).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ready_says_why() {
    let options = ApiOptions { ready: Arc::new(|| Err("the gateway is starting".into())), ..ApiOptions::default() };
    let plane = ControlPlane::start_with(options).await;
    let response = plane.ask("GET", "/readyz", None).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.body().as_slice(), b"not ready: the gateway is starting\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_kept_by_a_cache() {
    let plane = ControlPlane::start().await;
    for path in ["/", "/v1/clusters", "/moorage/v1/clusters"] {
        assert_eq!(plane.ask("GET", path, Some(TOKEN)).await.headers()["cache-control"], "no-store", "{path}");
    }
}
