//! A signed change is carried out once, whoever sends it again.

#[allow(dead_code)]
mod support;

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use support::{ACCESS_KEY, ControlPlane, HOST, millis, signature};

async fn send(plane: &ControlPlane, method: &str, path: &str, at: &str, body: Option<Value>) -> (u16, Value) {
    let signed = signature(method, &format!("http://{HOST}{path}"), at);
    let request = Request::builder().method(method).uri(path).header("host", HOST);
    let request = request
        .header("scp-accesskey", ACCESS_KEY)
        .header("scp-signature", signed)
        .header("scp-timestamp", at)
        .header("scp-clienttype", "Openapi")
        .header("scp-api-version", "mariadb 1.0")
        .header("content-type", "application/json");
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let response = plane.send(request.body(body).expect("a request")).await;
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_asks_for_one_change_and_for_as_many_looks_as_one_likes() {
    let plane = ControlPlane::start().await;
    let at = millis();
    let rules = json!({"add_ip_addresses": ["192.0.2.7"], "del_ip_addresses": []});
    let path = format!("/v1/clusters/{}/security-group-rules", "0".repeat(32));
    assert_eq!(send(&plane, "POST", &path, &at, Some(rules)).await.0, 404, "signed well, and about nothing");
    // The same signature over another body: the body is not part of it.
    let (status, refused) =
        send(&plane, "POST", &path, &at, Some(json!({"add_ip_addresses": ["0.0.0.0/0"], "del_ip_addresses": []}))).await;
    assert_eq!(status, 401, "{refused}");
    assert!(refused["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains("used already")), "{refused}");
    let later = (at.parse::<i64>().expect("a time") + 1).to_string();
    assert_eq!(send(&plane, "POST", &path, &later, Some(json!({}))).await.0, 404, "signed anew");
    for _ in 0..2 {
        assert_eq!(send(&plane, "GET", "/v1/clusters", &at, None).await.0, 200);
    }
}
