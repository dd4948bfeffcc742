//! What a refusal looks like in each dialect, and how to tell that it changed nothing.

use crate::support::{Cluster, Installation, PASSWORD, Reply};
use serde_json::{Value, json};

/// The older version of the service.
pub const MARIADB: &str = "mariadb 1.0";

/// The newer version of its sibling.
pub const POSTGRESQL: &str = "postgresql 1.1";

/// Values that are not there but stand for a change of the body.
pub const ABSENT: &str = "(absent)";

/// A create request with everything in it.
pub fn body(version: &str, version_id: &str) -> Value {
    let mut body = json!({
        "allowable_ip_addresses": ["127.0.0.0/8"],
        "dbaas_engine_version_id": version_id,
        "ha_enabled": false,
        "init_config_option": {
            "audit_enabled": false,
            "backup_option": {"archive_frequency_minute": "60", "retention_period_day": "7", "starting_time_hour": "2"},
            "database_name": "shop",
            "database_port": 2866,
            "database_user_name": "keeper",
            "database_user_password": PASSWORD
        },
        "instance_groups": [{
            "block_storage_groups": [{"role_type": "OS", "size_gb": 104, "volume_type": "SSD"}, {"role_type": "DATA", "size_gb": 16, "volume_type": "SSD"}],
            "instances": [{"public_ip_id": "", "role_type": "ACTIVE", "service_ip_address": ""}],
            "role_type": "ACTIVE",
            "server_type_name": "db1v1m2"
        }],
        "instance_name_prefix": "shop",
        "maintenance_option": {"period_hour": "1", "starting_day_of_week": "MON", "starting_time": "0000"},
        "name": "newcomer",
        "nat_enabled": false,
        "subnet_id": "default",
        "tags": [{"key": "team", "value": "blue"}],
        "timezone": "Asia/Seoul"
    });
    let options = body["init_config_option"].as_object_mut().expect("options");
    if version == POSTGRESQL {
        options.insert("database_encoding".into(), json!("UTF-8"));
        options.insert("database_locale".into(), json!("C"));
    } else {
        options.insert("database_character_set".into(), json!("utf8"));
    }
    body
}

/// The body with the value at this place changed, added or taken out.
pub fn with(body: &Value, place: &str, value: &Value) -> Value {
    let mut body = body.clone();
    let (parent, key) = place.rsplit_once('/').expect("a pointer");
    let parent = body.pointer_mut(parent).unwrap_or_else(|| panic!("{place} is in the body"));
    match parent {
        Value::Object(object) if value == ABSENT => drop(object.remove(key)),
        Value::Object(object) => drop(object.insert(key.to_owned(), value.clone())),
        Value::Array(items) => items[key.parse::<usize>().expect("an index")] = value.clone(),
        _ => panic!("{place} is in the body"),
    }
    body
}

/// Identifier of the newest version of the service's engine.
pub fn engine_version(installation: &Installation, version: &str) -> String {
    let (status, versions) = installation.scp(version, "GET", "/v1/engine-versions", None);
    assert_eq!(status, 200, "{versions}");
    versions["contents"][0]["id"].as_str().expect("a version").to_owned()
}

/// Nobody outside learns from an answer how the server is made.
pub fn tells_nothing_of_the_inside(text: &str) {
    for inside in ["panicked", "sqlx", "serde", "rusqlite", "src/", ".rs:", "store.db", "unwrap", "Some(", "stack backtrace", PASSWORD] {
        assert!(!text.contains(inside), "the answer shows '{inside}': {text}");
    }
}

/// The envelope has every key of the vendor's and only those; returns the error and its text.
#[track_caller]
pub fn vendor_error<'a>(reply: &'a Reply, status: u16, code: &str) -> (&'a Value, String) {
    let body = &reply.body;
    assert_eq!((reply.status, reply.content_type.as_str()), (status, "application/json"), "{body}");
    let errors = body["errors"].as_array().unwrap_or_else(|| panic!("the vendor's envelope: {body}"));
    assert_eq!((errors.len(), body.as_object().map(serde_json::Map::len)), (1, Some(1)), "{body}");
    let error = &errors[0];
    let keys: Vec<&str> = error.as_object().expect("an error").keys().map(String::as_str).collect();
    let wanted = ["code", "detail", "global_request_id", "links", "related_resources", "request_id", "response", "status", "title"];
    assert_eq!(keys, wanted, "{body}");
    assert_eq!((&error["code"], &error["title"], &error["status"]), (&json!(code), &json!(code), &json!(status)), "{body}");
    assert!(reply.request_id.starts_with("req-") && error["request_id"] == reply.request_id.as_str(), "{body}");
    let text = match &error["detail"] {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().map(|line| line.as_str().expect("a line")).collect::<Vec<_>>().join("\n"),
        other => panic!("a detail is text or lines: {other}"),
    };
    assert!(text.len() > 10 && text.len() < 20_000, "{text}");
    tells_nothing_of_the_inside(&text);
    (error, text)
}

/// The same for the native family: problem+json with a code, a title and mostly a hint.
#[track_caller]
pub fn native_error(reply: &Reply, status: u16, code: &str) -> String {
    let body = &reply.body;
    assert_eq!((reply.status, reply.content_type.as_str()), (status, "application/problem+json"), "{body}");
    assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(status)), "{body}");
    assert!(body["title"].as_str().is_some_and(|title| title.len() > 5), "{body}");
    assert_eq!(body["type"], format!("/docs/problems/{code}"));
    let text = body.to_string();
    tells_nothing_of_the_inside(&text);
    text
}

/// The administrator's token.
pub fn bearer(installation: &Installation) -> Vec<(String, String)> {
    let token = installation.bootstrap()["token"].as_str().expect("a token").to_owned();
    vec![("Authorization".into(), format!("Bearer {token}"))]
}

/// A request that is signed as it should be.
pub fn signed(installation: &Installation, version: &str, method: &str, path: &str, body: Option<Value>) -> Reply {
    installation.exchange(method, path, &installation.signature(version, method, path), body.map(|body| body.to_string().into_bytes()))
}

/// Nothing was made, nothing was lost.
#[track_caller]
pub fn untouched(installation: &Installation, before: &Value, good: &[&Cluster]) {
    assert_eq!(installation.inventory(), *before);
    for cluster in good {
        assert_eq!(cluster.sql("SELECT 1"), Ok("1".into()), "the good cluster answers");
    }
}

/// The headers with this one changed or left out.
pub fn replaced(headers: &[(String, String)], name: &str, value: Option<&str>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = headers.iter().filter(|(n, _)| n != name).cloned().collect();
    headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    headers
}
