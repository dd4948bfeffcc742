//! People: projects, users, what proves them, and the record of what they asked for.

#[allow(dead_code)]
mod support;

use axum::body::Body;
use axum::extract::ConnectInfo;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::{Value, json};
use std::net::SocketAddr;
use support::{ControlPlane, FOREIGN_TOKEN, HOST, TOKEN};

const PASSWORD: &str = "correct horse battery";

async fn ask(plane: &ControlPlane, authorization: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(format!("/moorage/v1{path}")).header("host", HOST);
    request = request.header("authorization", authorization);
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    request = request.extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 9], 4000))));
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let response = plane.send(request.body(body).expect("a request")).await;
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// A user of the first tenant.
async fn user(plane: &ControlPlane, name: &str, role: &str) {
    let body = json!({"name": name, "role": role, "password": PASSWORD});
    let (status, made) = ask(plane, &bearer(TOKEN), "POST", "/users", Some(body)).await;
    assert_eq!(status, 201, "{made}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_signs_in_by_password_token_and_access_key_until_each_is_ended() {
    let plane = ControlPlane::start().await;
    user(&plane, "ann", "operator").await;
    let (status, me) = ask(&plane, &basic("ann", PASSWORD), "GET", "/users/me", None).await;
    assert_eq!((status, me["name"].as_str(), me["role"].as_str()), (200, Some("ann"), Some("operator")));
    assert_eq!(ask(&plane, &basic("ann@localhost", PASSWORD), "GET", "/users/me", None).await.0, 200);
    assert_eq!(ask(&plane, &basic("ann", "wrong"), "GET", "/users/me", None).await.0, 401);

    let (status, made) =
        ask(&plane, &basic("ann", PASSWORD), "POST", "/tokens", Some(json!({"name": "laptop", "expires_in_seconds": 3600}))).await;
    assert_eq!(status, 201, "{made}");
    let token = bearer(made["token"].as_str().expect("shown once"));
    assert_eq!(ask(&plane, &token, "GET", "/users/me", None).await.1["name"], "ann");
    let (_, tokens) = ask(&plane, &token, "GET", "/users/me/tokens", None).await;
    assert_eq!((tokens["items"][0]["name"].as_str(), tokens["items"][0].get("token")), (Some("laptop"), None));
    assert!(tokens["items"][0]["expires_at"].is_string());
    let path = format!("/users/me/tokens/{}", made["id"].as_str().expect("an id"));
    assert_eq!(ask(&plane, &token, "DELETE", &path, None).await.0, 204);
    assert_eq!(ask(&plane, &token, "GET", "/users/me", None).await.0, 401, "an ended token opens nothing");
    assert_eq!(ask(&plane, &basic("ann", PASSWORD), "DELETE", &path, None).await.1["code"], "credential-not-found");

    let (status, made) = ask(&plane, &basic("ann", PASSWORD), "POST", "/users/me/access-keys", None).await;
    assert!(status == 201 && made["secret_key"].is_string(), "{made}");
    let (_, keys) = ask(&plane, &bearer(TOKEN), "GET", "/users/ann/access-keys", None).await;
    assert_eq!((&keys["items"][0]["access_key"], keys["items"][0].get("secret_key")), (&made["access_key"], None));
    let path = format!("/users/ann/access-keys/{}", made["access_key"].as_str().expect("a key"));
    assert_eq!(ask(&plane, &bearer(TOKEN), "DELETE", &path, None).await.0, 204);
    assert_eq!(ask(&plane, &bearer(TOKEN), "GET", "/users/ann/access-keys", None).await.1["items"], json!([]));

    for wrong in [json!({"expires_in_seconds": 5}), json!({"expires_in_seconds": "soon"}), json!({"colour": "red"}), json!([])] {
        assert_eq!(ask(&plane, &bearer(TOKEN), "POST", "/users/ann/tokens", Some(wrong.clone())).await.0, 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_by_its_owner_or_an_administrator_and_ends_tokens() {
    let plane = ControlPlane::start().await;
    user(&plane, "ann", "viewer").await;
    user(&plane, "bob", "operator").await;
    let (_, made) = ask(&plane, &basic("ann", PASSWORD), "POST", "/tokens", None).await;
    let token = bearer(made["token"].as_str().expect("a token"));
    let change = |current: Option<&str>, new: &str| Some(json!({"current": current, "password": new}));
    let path = "/users/me/password";
    assert_eq!(ask(&plane, &token, "PUT", path, change(None, "another password")).await.1["field"], "current");
    assert_eq!(ask(&plane, &token, "PUT", path, change(Some("wrong one"), "another password")).await.1["field"], "current");
    assert_eq!(ask(&plane, &token, "PUT", path, change(Some(PASSWORD), "short")).await.1["field"], "password");
    assert_eq!(ask(&plane, &token, "PUT", path, change(Some(PASSWORD), "another password")).await.0, 204);
    assert_eq!(ask(&plane, &token, "GET", "/users/me", None).await.0, 401, "tokens end with the password");
    assert_eq!(ask(&plane, &basic("ann", PASSWORD), "GET", "/users/me", None).await.0, 401);
    assert_eq!(ask(&plane, &basic("ann", "another password"), "GET", "/users/me", None).await.0, 200);
    // Somebody else's: nobody but an administrator, and not another tenant's.
    let theirs = "/users/ann/password";
    assert_eq!(ask(&plane, &basic("bob", PASSWORD), "PUT", theirs, change(None, "a third password")).await.1["code"], "user-not-found");
    assert_eq!(ask(&plane, &bearer(FOREIGN_TOKEN), "PUT", theirs, change(None, "a third password")).await.1["code"], "user-not-found");
    assert_eq!(ask(&plane, &bearer(TOKEN), "PUT", theirs, change(None, "a third password")).await.0, 204);
    assert_eq!(ask(&plane, &basic("ann", "a third password"), "GET", "/users/me", None).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_at_a_password_locks_its_name_for_a_while_whether_or_not_it_exists() {
    let plane = ControlPlane::start().await;
    user(&plane, "ann", "viewer").await;
    // The first wait is a second: what is asked about it is asked at once, however slow the machine is.
    for (name, alias) in [("ann", "ann@localhost"), ("nobody-of-that-name", "nobody-of-that-name")] {
        for _ in 0..5 {
            assert_eq!(ask(&plane, &basic(name, "guess"), "GET", "/users/me", None).await.1["code"], "unauthenticated");
        }
        let (status, locked) = ask(&plane, &basic(alias, PASSWORD), "GET", "/users/me", None).await;
        assert_eq!((status, locked["code"].as_str()), (401, Some("login-locked")), "{locked}");
    }
    assert_eq!(ask(&plane, &bearer(TOKEN), "GET", "/users/me", None).await.0, 200, "tokens are not affected");
    // Who guesses many times at once gets no further: two are checked at a time.
    user(&plane, "bob", "viewer").await;
    let guess = basic("bob", "guess");
    let guesses = (0..40).map(|_| ask(&plane, &guess, "GET", "/users/me", None));
    let begun = std::time::Instant::now();
    let answers = futures::future::join_all(guesses).await;
    // Each wait that runs out meanwhile lets one more in.
    let most = 7 + usize::try_from(begun.elapsed().as_secs()).expect("a few");
    let checked = answers.iter().filter(|(_, answer)| answer["code"] == "unauthenticated").count();
    assert!((5..=most).contains(&checked), "{checked} guesses were checked");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(ask(&plane, &basic("ann", PASSWORD), "GET", "/users/me", None).await.0, 200, "the first wait is short");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_made_changed_and_removed_within_the_rules() {
    let plane = ControlPlane::start().await;
    user(&plane, "ann", "viewer").await;
    let create = |body: Value| ask(&plane, "Bearer token-of-the-first-tenant", "POST", "/users", Some(body));
    for (wrong, field) in [
        (json!({"name": "Ann!", "role": "viewer", "password": PASSWORD}), "name"),
        (json!({"name": "me", "role": "viewer", "password": PASSWORD}), "name"),
        (json!({"name": "bob", "role": "king", "password": PASSWORD}), "role"),
        (json!({"name": "bob", "role": "viewer", "password": "short"}), "password"),
        (json!({"name": "bob", "role": "viewer", "password": PASSWORD, "email": "not one"}), "email"),
        (json!({"name": "bob", "role": "viewer"}), "password"),
    ] {
        let (status, refused) = create(wrong.clone()).await;
        assert_eq!((status, refused["field"].as_str()), (400, Some(field)), "{wrong}: {refused}");
    }
    assert_eq!(create(json!({"name": "ann", "role": "viewer", "password": PASSWORD})).await.1["code"], "name-taken");
    let taken = json!({"name": "bob", "role": "viewer", "password": PASSWORD, "email": "ann@localhost"});
    assert_eq!(create(taken).await.1["code"], "name-taken");
    assert_eq!(create(json!({"name": "bob", "project": "project of stranger", "role": "viewer", "password": PASSWORD})).await.0, 201);

    let admin = bearer(TOKEN);
    let role = |role: &str| Some(json!({"role": role}));
    assert_eq!(ask(&plane, &admin, "PATCH", "/users/me", role("viewer")).await.1["code"], "last-administrator");
    assert_eq!(ask(&plane, &admin, "DELETE", "/users/me", None).await.1["code"], "last-administrator");
    assert_eq!(ask(&plane, &basic("ann", PASSWORD), "PATCH", "/users/me", role("administrator")).await.1["code"], "forbidden");
    assert_eq!(ask(&plane, &admin, "PATCH", "/users/ann", role("administrator")).await.1["role"], "administrator");
    assert_eq!(ask(&plane, &admin, "PATCH", "/users/me", role("viewer")).await.0, 200);
    let ann = basic("ann", PASSWORD);
    assert_eq!(ask(&plane, &ann, "DELETE", "/users/moorage", None).await.0, 204);
    assert_eq!(ask(&plane, &admin, "GET", "/users/me", None).await.0, 401, "whoever is removed is out");
    // Another tenant's administrator sees its own people only.
    let (_, seen) = ask(&plane, &bearer(FOREIGN_TOKEN), "GET", "/users", None).await;
    let names: Vec<&str> = seen["items"].as_array().expect("users").iter().filter_map(|user| user["name"].as_str()).collect();
    assert_eq!(names, ["bob", "stranger"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn projects_belong_to_the_installation_and_end_only_when_they_are_empty() {
    let plane = ControlPlane::start().await;
    let (admin, foreign) = (bearer(TOKEN), bearer(FOREIGN_TOKEN));
    assert_eq!(ask(&plane, &foreign, "POST", "/projects", Some(json!({"name": "mine"}))).await.1["code"], "forbidden");
    let (status, made) = ask(&plane, &admin, "POST", "/projects", Some(json!({"name": "blue"}))).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(ask(&plane, &admin, "POST", "/projects", Some(json!({"name": "blue"}))).await.1["code"], "name-taken");
    let body = json!({"name": "blues", "project": "blue", "role": "administrator", "password": PASSWORD});
    assert_eq!(ask(&plane, &admin, "POST", "/users", Some(body)).await.0, 201);
    let blue = basic("blues", PASSWORD);
    let database = json!({"name": "shop", "owner": "keeper", "password": PASSWORD});
    let cluster = json!({"name": "shop-1", "engine": "mariadb", "database": database});
    assert_eq!(ask(&plane, &blue, "POST", "/clusters", Some(cluster)).await.0, 202);
    assert_eq!(ask(&plane, &foreign, "GET", "/clusters/shop-1", None).await.0, 404);
    assert_eq!(ask(&plane, &blue, "GET", "/projects", None).await.1["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(ask(&plane, &admin, "DELETE", "/projects/blue", None).await.1["code"], "project-not-empty");
    assert_eq!(ask(&plane, &admin, "DELETE", &format!("/projects/{:032x}", 0xa), None).await.1["code"], "forbidden");
    let (_, empty) = ask(&plane, &admin, "POST", "/projects", Some(json!({"name": "empty"}))).await;
    assert_eq!(ask(&plane, &admin, "DELETE", &format!("/projects/{}", empty["id"].as_str().expect("an id")), None).await.0, 204);
    assert_eq!(ask(&plane, &admin, "GET", "/projects/empty", None).await.1["code"], "project-not-found");
    assert_eq!(ask(&plane, &admin, "POST", "/projects", Some(json!({"name": "empty"}))).await.0, 201, "its name is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_changes_something_or_tries_to_is_on_record() {
    let plane = ControlPlane::start().await;
    user(&plane, "ann", "viewer").await;
    let ann = basic("ann", PASSWORD);
    assert_eq!(ask(&plane, &ann, "POST", "/clusters/shop/stop", None).await.0, 403);
    assert_eq!(ask(&plane, &ann, "GET", "/clusters", None).await.0, 200);
    assert_eq!(ask(&plane, &ann, "GET", "/actions", None).await.1["code"], "forbidden");
    let (_, record) = ask(&plane, &bearer(TOKEN), "GET", "/actions", None).await;
    let lines = record["items"].as_array().expect("actions");
    assert_eq!(lines.len(), 2, "looking is not on record: {record}");
    let line = |at: usize| (lines[at]["user"].clone(), lines[at]["method"].clone(), lines[at]["path"].clone(), lines[at]["status"].clone());
    assert_eq!(line(0), (json!("ann"), json!("POST"), json!("/moorage/v1/clusters/shop/stop"), json!(403)));
    assert_eq!(line(1), (json!("moorage"), json!("POST"), json!("/moorage/v1/users"), json!(201)));
    assert_eq!(
        (&lines[0]["problem"], &lines[0]["source"], &lines[0]["family"]),
        (&json!("forbidden"), &json!("192.0.2.9"), &json!("native"))
    );
    assert!(!record.to_string().contains(PASSWORD));
    assert_eq!(ask(&plane, &bearer(TOKEN), "GET", "/actions?user=ann", None).await.1["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(ask(&plane, &bearer(FOREIGN_TOKEN), "GET", "/actions", None).await.1["items"], json!([]), "each tenant has its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_protected_cluster_is_not_terminated_by_any_api_and_its_owner_gets_another_password() {
    let mut plane = ControlPlane::start().await;
    let admin = bearer(TOKEN);
    let database = json!({"name": "shop", "owner": "keeper", "password": PASSWORD});
    let body = json!({"name": "shop-1", "engine": "mariadb", "database": database, "deletion_protection": true});
    let (status, made) = ask(&plane, &admin, "POST", "/clusters", Some(body)).await;
    assert_eq!((status, &made["cluster"]["deletion_protection"]), (202, &json!(true)));
    let password = Some(json!({"password": "another battery"}));
    assert_eq!(ask(&plane, &admin, "PUT", "/clusters/shop-1/owner-password", password.clone()).await.1["code"], "wrong-state");
    plane.let_operations_run().await;
    for _ in 0..500 {
        if ask(&plane, &admin, "GET", "/clusters/shop-1", None).await.1["state"] == "RUNNING" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let id = made["cluster"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(ask(&plane, &admin, "DELETE", "/clusters/shop-1", None).await.1["code"], "deletion-protected");
    let scp = plane.ask("DELETE", &format!("/v1/clusters/{id}"), Some(TOKEN)).await;
    assert!(scp.status() == 400 && String::from_utf8_lossy(scp.body()).contains("DeletionProtected"));
    assert_eq!(
        ask(&plane, &admin, "PUT", "/clusters/shop-1/owner-password", Some(json!({"password": "short"}))).await.1["field"],
        "password"
    );
    let (status, changed) = ask(&plane, &admin, "PUT", "/clusters/shop-1/owner-password", password).await;
    assert_eq!(status, 202, "{changed}");
    let operation = format!("/operations/{}", changed["operation"]["id"].as_str().expect("an id"));
    for _ in 0..500 {
        if ask(&plane, &admin, "GET", &operation, None).await.1["status"] == "succeeded" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(ask(&plane, &admin, "GET", &operation, None).await.1["status"], "succeeded");
    let off = Some(json!({"deletion_protection": false}));
    assert_eq!(ask(&plane, &admin, "PATCH", "/clusters/shop-1", off).await.1["deletion_protection"], false);
    assert_eq!(ask(&plane, &admin, "DELETE", "/clusters/shop-1", None).await.0, 202);
    plane.hold_operations().await;
}
