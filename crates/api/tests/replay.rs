//! A signed change is carried out once, whoever sends it again.

#[allow(dead_code)]
mod support;

use axum::body::Body;
use http::Request;
use moorage_domain::{Timestamp, TokenId, UserId};
use moorage_store::{NewCredential, StoredValue, Transfer};
use serde_json::{Value, json};
use support::{ACCESS_KEY, ControlPlane, HOST, TOKEN, millis, signature};

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

/// Lets every credential of a kind have ended a second ago.
async fn let_expire(plane: &ControlPlane, table: &'static str) {
    let mut rows = Vec::new();
    let mut look = plane.store().look().await.expect("a look");
    look.each_row(table, |row| {
        rows.push(row);
        Ok(())
    })
    .await
    .expect("rows");
    drop(look);
    let ended = support::now().0 - 1_000_000;
    let mut uow = plane.store().begin().await.expect("begun");
    for mut row in rows {
        let owner = UserId::parse(row.text("account_id").expect("an owner")).expect("an id");
        match table {
            "token" => assert!(uow.remove_token(&owner, row.text("id").expect("an id")).await.expect("removed")),
            _ => assert!(uow.remove_access_key(&owner, row.text("access_key").expect("a key")).await.expect("removed")),
        }
        row.set("expires_at", StoredValue::Number(ended));
        uow.insert_row(&row).await.expect("inserted");
    }
    uow.commit().await.expect("committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_or_was_ended_proves_nothing() {
    let plane = ControlPlane::start().await;
    let later = |milliseconds: i64| (support::now().0 / 1000 + milliseconds).to_string();
    assert_eq!(send(&plane, "GET", "/v1/clusters", &later(0), None).await.0, 200);
    let_expire(&plane, "access_key").await;
    let (status, refused) = send(&plane, "GET", "/v1/clusters", &later(0), None).await;
    assert_eq!((status, refused["errors"][0]["code"].as_str()), (401, Some("Dbaas.Unauthorized.AuthNFailed")), "{refused}");
    assert_eq!(plane.ask("GET", "/moorage/v1/users/me", Some(TOKEN)).await.status(), 200);
    let_expire(&plane, "token").await;
    assert_eq!(plane.ask("GET", "/moorage/v1/users/me", Some(TOKEN)).await.status(), 401);
    assert_eq!(plane.ask("GET", "/v1/clusters", Some(TOKEN)).await.status(), 401, "nor in another family");
    // A clock that is an hour off is told, with what the server's says.
    let plane = ControlPlane::start().await;
    for (off, word) in [(-3_600_000, "old"), (3_600_000, "in the future")] {
        let (status, refused) = send(&plane, "GET", "/v1/clusters", &later(off), None).await;
        let detail = refused["errors"][0]["detail"].as_str().expect("a reason").to_owned();
        assert!(status == 401 && detail.contains(word) && detail.contains("server's clock says"), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_have_expired_keep_nobody_from_making_another() {
    let plane = ControlPlane::start().await;
    let (me, at) = (UserId::from_bits(1), support::now());
    let ended = NewCredential { account: &me, name: None, expires_at: Some(Timestamp(at.0 - 1_000_000)) };
    let mut uow = plane.store().begin().await.expect("begun");
    for number in 1000..1150_u32 {
        uow.insert_token(&ended, &TokenId::from_bits(number.into()), &format!("digest {number}"), at).await.expect("a token");
    }
    uow.commit().await.expect("committed");
    let wish = json!({"name": "job"});
    let make = || plane.ask_with("POST", "/moorage/v1/tokens", TOKEN, &wish);
    // One that is good was there.
    for number in 1..100 {
        assert_eq!(make().await.status(), 201, "{number}");
    }
    assert_eq!(make().await.status(), 409, "of those that are good there is an end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_asks_for_one_change_and_for_as_many_looks_as_one_likes() {
    let plane = ControlPlane::start().await;
    let at = millis();
    let rules = json!({"add_ip_addresses": ["192.0.2.7"], "del_ip_addresses": []});
    let path = format!("/v1/clusters/{}/security-group-rules", "0".repeat(32));
    let others = |address: &str| Some(json!({"add_ip_addresses": [address], "del_ip_addresses": []}));
    assert_eq!(send(&plane, "POST", &path, &at, Some(rules.clone())).await.0, 404, "signed well, and about nothing");
    // The body is not part of a signature: a client that asks for two things at once signs them alike.
    assert_eq!(send(&plane, "POST", &path, &at, others("192.0.2.8")).await.0, 404, "another request");
    for body in [Some(rules), others("192.0.2.8")] {
        let (status, refused) = send(&plane, "POST", &path, &at, body).await;
        assert_eq!(status, 401, "{refused}");
        assert!(refused["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains("used already")), "{refused}");
    }
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert_eq!(send(&plane, "POST", &path, &at, others("0.0.0.0/0")).await.0, 401, "somebody who saw it go by");
    let later = (at.parse::<i64>().expect("a time") + 1).to_string();
    assert_eq!(send(&plane, "POST", &path, &later, Some(json!({}))).await.0, 404, "signed anew");
    for _ in 0..2 {
        assert_eq!(send(&plane, "GET", "/v1/clusters", &at, None).await.0, 200);
    }
}
