//! The calls that the vendor's provider for Terraform makes, in its order: create, read, update, destroy.

#[allow(dead_code)]
mod support;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::time::Duration;
use support::{ACCESS_KEY, ControlPlane, FOREIGN_TOKEN, HOST, VIEWERS_TOKEN, millis, signature};

/// A call as the provider signs it.
async fn call(plane: &ControlPlane, service: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let at = millis();
    let mut request = Request::builder().method(method).uri(path).header("host", HOST);
    request = request
        .header("Scp-AccessKey", ACCESS_KEY)
        .header("Scp-Signature", signature(method, &format!("http://{HOST}{path}"), &at))
        .header("Scp-Timestamp", &at)
        .header("Scp-ClientType", "Openapi")
        .header("Scp-AccountId", "")
        .header("Scp-API-Version", service);
    if body.is_some() {
        request = request.header("Content-Type", "application/json");
    }
    let body = body.map_or_else(Body::empty, |body| Body::from(format!("{body}\n")));
    let response = plane.send(request.body(body).expect("a request")).await;
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
}

async fn document(plane: &ControlPlane, base: &str) -> Vec<String> {
    let response = plane.ask("GET", base, None).await;
    assert_eq!(response.status(), 200, "{base} is not signed");
    let document: Value = serde_json::from_slice(response.body()).expect("JSON");
    document["versions"].as_array().expect("versions").iter().filter_map(|v| v["id"].as_str().map(str::to_owned)).collect()
}

fn tags_path(account: &str, cluster: &str) -> String {
    let srn = STANDARD.encode(format!("srn:e::{account}:kr-west1::mariadb:mariadb/{cluster}"));
    format!("/v1/tags/{}", utf8_percent_encode(&srn, NON_ALPHANUMERIC))
}

/// Polls as the provider does, only faster.
async fn reaches(plane: &ControlPlane, path: &str, state: &str) -> Value {
    for _ in 0..1000 {
        let (status, shown) = call(plane, "mariadb 1.1", "GET", path, None).await;
        assert_eq!(status, 200, "{shown}");
        if shown["service_state"] == state {
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{path} does not become {state}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_lives_through_the_providers_whole_sequence_of_calls() {
    lives_through_it("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_of_one_engine_serves_what_the_provider_asks_of_all_services() {
    lives_through_it("/mariadb").await;
}

/// With one base for all services (`endpoint_override`), as the provider's documents offer it with or without a path.
async fn lives_through_it(base: &str) {
    let at = |path: &str| format!("{base}{path}");
    let mut plane = ControlPlane::start().await;
    plane.let_operations_run().await;

    // Configuring the provider: versions per service, the catalogue, whose key it is.
    for (base, needed) in [
        (&*at(if base.is_empty() { "/" } else { "" }), "v1.1"),
        (&*at("/"), "v1.4"),
        ("/mariadb", "v1.1"),
        ("/iam", "v1.4"),
        ("/resourcemanager", "v1.0"),
    ] {
        assert!(document(&plane, base).await.iter().any(|id| id == needed), "{base} lists {needed}");
    }
    let (status, catalogue) = call(&plane, "iam 1.4", "GET", &at("/v1/endpoints"), None).await;
    assert_eq!(status, 200, "{catalogue}");
    let url = |service: &str| {
        let found = catalogue["endpoints"].as_array().expect("endpoints").iter().find(|e| e["service_type"] == service).cloned();
        found.expect(service)["url"].clone()
    };
    assert_eq!((url("scp-mariadb"), url("scp-iam")), (json!(format!("http://{HOST}/mariadb")), json!(format!("http://{HOST}/iam"))));
    let (status, keys) = call(&plane, "iam 1.4", "GET", &at("/v1/access-keys"), None).await;
    assert_eq!(status, 200, "{keys}");
    let key = &keys["access_keys"][0];
    assert_eq!((&key["access_key"], &key["access_key_type"]), (&json!(ACCESS_KEY), &json!("PERMANENT")));
    assert!(!keys.to_string().contains(support::SECRET_KEY), "the secret is masked");
    let account = key["account_id"].as_str().expect("an account").to_owned();

    // Create, with tags.
    let (_, versions) = call(&plane, "mariadb 1.1", "GET", &at("/v1/engine-versions"), None).await;
    let body = json!({
        "allowable_ip_addresses": ["192.0.2.1"], "dbaas_engine_version_id": versions["contents"][0]["id"], "ha_enabled": false,
        "init_config_option": {
            "audit_enabled": false, "backup_option": null, "database_character_set": "utf8", "database_name": "shop", "database_port": 2866,
            "database_user_name": "keeper", "database_user_password": "Passw0rd!x",
        },
        "instance_groups": [{
            "block_storage_groups": [{"role_type": "OS", "size_gb": 104, "volume_type": "SSD"}, {"role_type": "DATA", "size_gb": 16, "volume_type": "SSD"}],
            "instances": [{"role_type": "ACTIVE", "service_ip_address": "", "public_ip_id": ""}],
            "role_type": "ACTIVE", "server_type_name": "db1v1m2",
        }],
        "instance_name_prefix": "shop", "maintenance_option": null, "name": "Shop", "nat_enabled": false, "origin_cluster_id": null,
        "service_watch_log_collection": null, "subnet_id": "default", "tags": [{"key": "team", "value": "blue"}], "timezone": "Asia/Seoul",
        "vip_public_ip_id": null, "virtual_ip_address": null,
    });
    let (status, accepted) = call(&plane, "mariadb 1.1", "POST", &at("/v1/clusters"), Some(body)).await;
    assert_eq!(status, 202, "{accepted}");
    let id = accepted["resource"]["id"].as_str().expect("an id").to_owned();
    let path = at(&format!("/v1/clusters/{id}"));
    let shown = reaches(&plane, &path, "RUNNING").await;
    assert_eq!(shown["maintenance_option"]["use_maintenance_option"], false, "always an object");

    // Read: the cluster and its tags.
    let tags = at(&tags_path(&account, &id));
    let read = format!("{tags}?size=2147483647");
    let (status, seen) = call(&plane, "resourcemanager 1.0", "GET", &read, None).await;
    assert_eq!((status, &seen["content"]["tags"]), (200, &json!([{"key": "team", "value": "blue"}])));

    // Update: stop, start, rules, tags.
    for (verb, then) in [("stop", "STOPPED"), ("start", "RUNNING")] {
        assert_eq!(call(&plane, "mariadb 1.1", "POST", &format!("{path}/{verb}"), None).await.0, 202);
        reaches(&plane, &path, then).await;
    }
    let rules = json!({"add_ip_addresses": ["192.0.2.2"], "del_ip_addresses": ["192.0.2.1"]});
    assert_eq!(call(&plane, "mariadb 1.1", "POST", &format!("{path}/security-group-rules"), Some(rules)).await.0, 202);
    assert_eq!(reaches(&plane, &path, "RUNNING").await["allowable_ip_addresses"], json!(["192.0.2.2"]));
    let bulk = format!("{tags}/bulk");
    let new = json!({"tags": [{"key": "team", "value": null}, {"key": "cost", "value": "7"}]});
    let (status, set) = call(&plane, "resourcemanager 1.0", "PUT", &bulk, Some(new)).await;
    assert_eq!(status, 200, "{set}");
    let (_, seen) = call(&plane, "resourcemanager 1.0", "GET", &read, None).await;
    assert_eq!(seen["content"]["tags"], json!([{"key": "team", "value": ""}, {"key": "cost", "value": "7"}]));
    for wrong in [json!({}), json!({"tags": 5}), json!({"tags": [{"value": "x"}]}), json!({"tags": [], "more": 1})] {
        assert_eq!(call(&plane, "resourcemanager 1.0", "PUT", &bulk, Some(wrong.clone())).await.0, 400, "{wrong}");
    }

    // Somebody else's cluster has no tags, and nobody who only looks changes any.
    let foreign = plane.ask("GET", &tags, Some(FOREIGN_TOKEN)).await;
    assert!(foreign.status() == 200 && !String::from_utf8_lossy(foreign.body()).contains("cost"));
    for token in [FOREIGN_TOKEN, VIEWERS_TOKEN] {
        let request = Request::builder().method("PUT").uri(&bulk).header("host", HOST).header("authorization", format!("Bearer {token}"));
        let response = plane.send(request.body(Body::from(json!({"tags": []}).to_string())).expect("a request")).await;
        assert!([403, 404].contains(&response.status().as_u16()), "{}", response.status());
    }
    for (method, target) in [("GET", &*at("/v1/endpoints")), ("GET", "/iam/v1/access-keys"), ("GET", tags.as_str()), ("PUT", bulk.as_str())]
    {
        assert_eq!(plane.ask(method, target, None).await.status(), 401, "{method} {target}");
    }

    // Destroy: done when it is not found, by status and reason.
    assert_eq!(call(&plane, "mariadb 1.1", "DELETE", &path, None).await.0, 202);
    for _ in 0..1000 {
        if call(&plane, "mariadb 1.1", "GET", &path, None).await.0 == 404 {
            assert_eq!(call(&plane, "resourcemanager 1.0", "GET", &read, None).await.1["content"]["tags"], json!([]));
            plane.hold_operations().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it is still there");
}
