//! The same request twice, and two people at one thing.

#[allow(dead_code)]
mod support;

use axum::body::Body;
use http::{Request, Response};
use moorage_api::ApiOptions;
use moorage_domain::{Timestamp, UserId};
use moorage_store::IdempotencyKeys;
use serde_json::{Value, json};
use std::time::Duration;
use support::{ControlPlane, FOREIGN_TOKEN, HOST, OPERATORS_TOKEN, TOKEN, now};

type Headers<'a> = &'a [(&'a str, &'a str)];

async fn ask(plane: &ControlPlane, token: &str, method: &str, path: &str, headers: Headers<'_>, body: Option<Value>) -> Response<Vec<u8>> {
    let mut request = Request::builder().method(method).uri(format!("/moorage/v1{path}")).header("host", HOST);
    request = request.header("authorization", format!("Bearer {token}"));
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    plane.send(request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_string()))).expect("a request")).await
}

fn json_of(response: &Response<Vec<u8>>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_default()
}

fn tag(response: &Response<Vec<u8>>) -> String {
    response.headers()["etag"].to_str().expect("a tag").to_owned()
}

fn body_of(name: &str) -> Value {
    json!({"name": name, "engine": "postgresql", "database": {"name": "shop", "owner": "keeper", "password": "Str0ng!pass"}})
}

async fn running(plane: &mut ControlPlane, name: &str) {
    assert_eq!(ask(plane, TOKEN, "POST", "/clusters", &[], Some(body_of(name))).await.status(), 202);
    plane.let_operations_run().await;
    for _ in 0..1000 {
        if json_of(&ask(plane, TOKEN, "GET", &format!("/clusters/{name}"), &[], None).await)["state"] == "RUNNING" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} does not run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_key_is_carried_out_once_and_answered_the_same() {
    let plane = ControlPlane::start().await;
    let key: Headers<'_> = &[("idempotency-key", "3f0c-1")];
    let first = ask(&plane, TOKEN, "POST", "/clusters", key, Some(body_of("shop"))).await;
    let again = ask(&plane, TOKEN, "POST", "/clusters", key, Some(body_of("shop"))).await;
    assert_eq!((first.status(), again.status()), (http::StatusCode::ACCEPTED, http::StatusCode::ACCEPTED));
    assert_eq!(json_of(&first), json_of(&again));
    assert!(!first.headers().contains_key("idempotent-replayed") && again.headers()["idempotent-replayed"] == "true");
    assert_eq!(json_of(&ask(&plane, TOKEN, "GET", "/operations", &[], None).await)["items"].as_array().map(Vec::len), Some(1));
    // Without a key it is another request.
    assert_eq!(ask(&plane, TOKEN, "POST", "/clusters", &[], Some(body_of("shop"))).await.status(), 409);
    // The key stands for this request only, and for this user only.
    let other = ask(&plane, TOKEN, "POST", "/clusters", key, Some(body_of("books"))).await;
    assert_eq!((other.status().as_u16(), json_of(&other)["code"].as_str()), (422, Some("idempotency-key-reused")));
    let other = ask(&plane, TOKEN, "POST", "/projects", key, Some(json!({"name": "x"}))).await;
    assert_eq!(other.status(), 422);
    let theirs = ask(&plane, FOREIGN_TOKEN, "POST", "/clusters", key, Some(body_of("books"))).await;
    assert_eq!(theirs.status(), 202, "another user's key is another key");
    for bad in ["", " ", "two words", &"x".repeat(129)] {
        let refused = ask(&plane, TOKEN, "POST", "/clusters", &[("idempotency-key", bad)], Some(body_of("bad"))).await;
        assert_eq!((refused.status().as_u16(), json_of(&refused)["field"].as_str()), (400, Some("Idempotency-Key")), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_shown_once_is_shown_again_to_who_repeats_the_request_and_is_sealed() {
    let plane = ControlPlane::start().await;
    let key: Headers<'_> = &[("idempotency-key", "token-1")];
    let ask_for = || ask(&plane, TOKEN, "POST", "/tokens", key, Some(json!({"name": "laptop"})));
    let (first, again) = (ask_for().await, ask_for().await);
    let token = json_of(&first)["token"].as_str().expect("a token").to_owned();
    assert_eq!(json_of(&again)["token"], token.as_str());
    assert_eq!(ask(&plane, &token, "GET", "/users/me", &[], None).await.status(), 200);
    let tokens = json_of(&ask(&plane, TOKEN, "GET", "/users/me/tokens", &[], None).await);
    assert_eq!(tokens["items"].as_array().map(|list| list.iter().filter(|token| token["name"] == "laptop").count()), Some(1));
    let stored = std::fs::read(plane.store_path()).expect("the store");
    assert!(!stored.windows(token.len()).any(|window| window == token.as_bytes()), "not in the clear");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_was_refused_may_be_made_again_with_its_key() {
    let mut plane = ControlPlane::start().await;
    let key: Headers<'_> = &[("idempotency-key", "stop-1")];
    assert_eq!(ask(&plane, TOKEN, "POST", "/clusters/shop/stop", key, None).await.status(), 404);
    running(&mut plane, "shop").await;
    assert_eq!(ask(&plane, TOKEN, "POST", "/clusters/shop/stop", key, None).await.status(), 202);
    assert_eq!(ask(&plane, TOKEN, "POST", "/clusters/shop/stop", key, None).await.status(), 202, "the same answer, not a second stop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_longer_than_it_may_is_brought_to_its_end_and_its_answer_is_there_for_who_repeats_it() {
    let plane = ControlPlane::start_with(ApiOptions { request_timeout: Duration::from_millis(300), ..ApiOptions::default() }).await;
    let key: Headers<'_> = &[("idempotency-key", "slow-1")];
    let make = || ask(&plane, TOKEN, "POST", "/users", key, Some(json!({"name": "ann", "role": "viewer", "password": "correct horse"})));
    // Nobody else writes for longer than that.
    let writing = plane.store().begin().await.expect("a transaction");
    let written = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        drop(writing);
    };
    let (given_up, ()) = tokio::join!(make(), written);
    assert_eq!((given_up.status().as_u16(), json_of(&given_up)["code"].as_str()), (500, Some("internal")));
    let mut again = make().await;
    while json_of(&again)["code"] == "idempotency-key-in-use" {
        tokio::time::sleep(Duration::from_millis(5)).await;
        again = make().await;
    }
    assert_eq!((again.status().as_u16(), &json_of(&again)["name"]), (201, &json!("ann")));
    assert_eq!(again.headers()["idempotent-replayed"], "true", "it was made by the first request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_broke_off_is_not_carried_out_a_second_time() {
    let plane = ControlPlane::start().await;
    let key: Headers<'_> = &[("idempotency-key", "token-2")];
    let ask_for = || ask(&plane, TOKEN, "POST", "/tokens", key, Some(json!({"name": "laptop"})));
    assert_eq!(ask_for().await.status(), 201);
    let me = UserId::parse(&format!("{:032x}", 1)).expect("an identifier");
    // As a server leaves it that ends before it has kept the answer.
    let mut uow = plane.store().begin().await.expect("a transaction");
    let known = uow.keyed_request(&me, "token-2").await.expect("read").expect("known");
    uow.forget_keyed(&me, "token-2").await.expect("forgotten");
    assert!(uow.begin_keyed(&me, "token-2", &known.request, Timestamp(0), now()).await.expect("begun"));
    uow.commit().await.expect("kept");
    let broke_off = async |ago: i64| {
        let mut uow = plane.store().begin().await.expect("a transaction");
        uow.date_keyed_back(&me, "token-2", Timestamp(now().0 - ago * 1_000_000)).await.expect("noted");
        uow.commit().await.expect("kept");
    };
    for (ago, code) in [(10, "idempotency-key-in-use"), (600, "outcome-unknown"), (23 * 3600, "outcome-unknown")] {
        broke_off(ago).await;
        let told = ask_for().await;
        assert_eq!((told.status().as_u16(), json_of(&told)["code"].as_str()), (409, Some(code)), "{ago} s ago");
    }
    let tokens = json_of(&ask(&plane, TOKEN, "GET", "/users/me/tokens", &[], None).await);
    assert_eq!(tokens["items"].as_array().map(|list| list.iter().filter(|token| token["name"] == "laptop").count()), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_people_at_one_cluster_the_second_is_told_who_was_first() {
    let mut plane = ControlPlane::start().await;
    running(&mut plane, "shop").await;
    let read = ask(&plane, TOKEN, "GET", "/clusters/shop", &[], None).await;
    let seen = tag(&read);
    let protect = |token, seen: String, on: bool| {
        let plane = &plane;
        async move {
            let body = Some(json!({"deletion_protection": on}));
            ask(plane, token, "PATCH", "/clusters/shop", &[("if-match", &seen)], body).await
        }
    };
    let first = protect(OPERATORS_TOKEN, seen.clone(), true).await;
    assert_eq!(first.status(), 200);
    let second = protect(TOKEN, seen.clone(), false).await;
    let problem = json_of(&second);
    assert_eq!((second.status().as_u16(), problem["code"].as_str()), (412, Some("precondition-failed")), "{problem}");
    let me = json_of(&ask(&plane, OPERATORS_TOKEN, "GET", "/users/me", &[], None).await);
    assert!(problem["title"].as_str().is_some_and(|text| text.contains(me["name"].as_str().expect("a name"))), "{problem}");
    for (method, path) in [("DELETE", ""), ("POST", "/stop"), ("POST", "/restart")] {
        let refused = ask(&plane, TOKEN, method, &format!("/clusters/shop{path}"), &[("if-match", &seen)], None).await;
        assert_eq!(refused.status(), 412, "{method} {path}");
    }
    // With what is there now it works; what is not a tag of ours matches nothing; a star matches anything.
    assert_eq!(protect(TOKEN, "\"what\"".into(), false).await.status(), 412);
    assert_eq!(protect(TOKEN, tag(&first), false).await.status(), 200);
    assert_eq!(protect(TOKEN, "*".into(), true).await.status(), 200);
    // Who comes while it is being changed is told by whom.
    plane.hold_operations().await;
    assert_eq!(ask(&plane, OPERATORS_TOKEN, "POST", "/clusters/shop/restart", &[], None).await.status(), 202);
    let busy = ask(&plane, TOKEN, "PATCH", "/clusters/shop", &[], Some(json!({"deletion_protection": false}))).await;
    let problem = json_of(&busy);
    assert_eq!((busy.status().as_u16(), problem["code"].as_str()), (409, Some("cluster-busy")));
    let said = problem["title"].as_str().expect("a title");
    assert!(said.contains("cluster.restart") && said.contains(me["name"].as_str().expect("a name")), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_not_sent_again() {
    let plane = ControlPlane::start().await;
    let read = ask(&plane, TOKEN, "GET", "/users/me", &[], None).await;
    let again = ask(&plane, TOKEN, "GET", "/users/me", &[("if-none-match", &tag(&read))], None).await;
    assert_eq!((again.status().as_u16(), again.body().len()), (304, 0));
    let user = json!({"name": "ann", "role": "viewer", "password": "correct horse battery"});
    assert_eq!(ask(&plane, TOKEN, "POST", "/users", &[], Some(user)).await.status(), 201);
    let read = ask(&plane, TOKEN, "GET", "/users/ann", &[], None).await;
    let change = |role: &str| Some(json!({"role": role}));
    let changed = ask(&plane, TOKEN, "PATCH", "/users/ann", &[("if-match", &tag(&read))], change("operator")).await;
    assert_eq!((changed.status().as_u16(), json_of(&changed)["role"].as_str()), (200, Some("operator")));
    let late = ask(&plane, TOKEN, "PATCH", "/users/ann", &[("if-match", &tag(&read))], change("administrator")).await;
    assert_eq!((late.status().as_u16(), json_of(&late)["code"].as_str()), (412, Some("precondition-failed")));
    let keyed = |plane| ask(plane, TOKEN, "PATCH", "/users/ann", &[("idempotency-key", "k")], change("operator"));
    let (first, again) = (keyed(&plane).await, keyed(&plane).await);
    assert_eq!((tag(&first), first.body()), (tag(&again), again.body()), "a repeated answer is whole");
    assert_eq!(ask(&plane, TOKEN, "DELETE", "/users/ann", &[("if-match", &tag(&read))], None).await.status(), 412);
    assert_eq!(ask(&plane, TOKEN, "DELETE", "/users/ann", &[("if-match", &tag(&changed))], None).await.status(), 204);
}
