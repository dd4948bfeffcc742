//! Over-long everything, in the native family: every text, every list, every part of an address and every header.

use crate::answers::{bearer, native_error, untouched};
use crate::support::{Installation, PASSWORD, Reply};
use serde_json::{Value, json};

/// Far more than anything allows, and less than the limit on bodies and headers, so that the rule of the field itself answers.
const LONG: usize = 4_000;

/// Every text in a body, as the way to it.
fn texts(value: &Value, way: &str) -> Vec<String> {
    match value {
        Value::String(_) => vec![way.to_owned()],
        Value::Object(fields) => fields.iter().flat_map(|(name, value)| texts(value, &format!("{way}/{name}"))).collect(),
        Value::Array(items) => items.iter().enumerate().flat_map(|(index, value)| texts(value, &format!("{way}/{index}"))).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn over_long_input_is_refused_by_name_and_makes_nothing() {
    let installation = Installation::start();
    let good = installation.create("postgresql", "good");
    let user = json!({"name": "ann", "role": "operator", "password": "correct horse battery"});
    let (status, shown) = installation.native("POST", "/moorage/v1/users", Some(user.clone()));
    assert_eq!(status, 201, "{shown}");
    let before = installation.inventory();
    let ask = |method: &str, path: &str, headers: &[(String, String)], body: Option<&Value>| -> Reply {
        let reply = installation.exchange(method, path, headers, body.map(|body| body.to_string().into_bytes()));
        assert!((400..500).contains(&reply.status), "{method} {} with {} bytes: {reply:?}", &path[..path.len().min(80)], LONG);
        reply
    };
    let token = bearer(&installation);
    let long = "a".repeat(LONG);

    let cluster = json!({
        "name": "books", "engine": "postgresql", "version": "15", "server_type": "db1v1m1", "timezone": "UTC", "subnet": "default",
        "address": "127.64.0.77", "instance_name_prefix": "books", "allow": ["192.0.2.0/24"], "tags": {"team": "books"},
        "database": {"name": "books", "owner": "keeper", "password": PASSWORD, "character_set": "UTF8", "locale": "C.UTF-8"},
    });
    let password = json!({"password": PASSWORD});
    let at = |rest: &str| format!("/moorage/v1/{rest}");
    let (of_cluster, mine) = (at(&format!("clusters/{}", good.id)), at("users/me"));
    for (method, path, body) in [
        ("POST", at("clusters"), cluster.clone()),
        ("POST", format!("{of_cluster}/allow-list"), json!({"add": ["192.0.2.7"], "remove": ["192.0.2.8"]})),
        ("PUT", format!("{of_cluster}/owner-password"), password.clone()),
        ("POST", at("projects"), json!({"name": "team"})),
        (
            "POST",
            at("users"),
            json!({"name": "bob", "role": "viewer", "password": "correct horse", "email": "b@example.org", "project": "default"}),
        ),
        ("PATCH", at("users/ann"), json!({"role": "viewer", "email": "a@example.org"})),
        ("PUT", at("users/ann/password"), json!({"password": "correct horse battery"})),
        ("POST", format!("{mine}/tokens"), json!({"name": "laptop"})),
        ("POST", format!("{mine}/access-keys"), json!({"name": "laptop"})),
    ] {
        for way in texts(&body, "") {
            let mut changed = body.clone();
            *changed.pointer_mut(&way).expect("a text") = json!(long);
            let reply = ask(method, &path, &token, Some(&changed));
            let text = reply.body.to_string();
            let names = way.split('/').filter(|part| !part.is_empty() && part.parse::<usize>().is_err());
            // What is in a tag is its user's own.
            let name = names.take_while(|name| *name != "team").last().expect("a name");
            assert!(text.contains(name), "{method} {path} {way}: '{name}' is not named in {text}");
            assert!(text.len() < 2_000, "{way}: what was too long is not given back: {} bytes", text.len());
        }
    }

    // Lists with far too many entries, keys that are too long, and numbers without end.
    let many: Vec<String> = (0..LONG).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
    for (key, value) in [
        ("allow", json!(many)),
        ("tags", (0..LONG).map(|n| (n.to_string(), json!("x"))).collect::<serde_json::Map<_, _>>().into()),
        ("tags", json!({long.clone(): "x"})),
        ("port", json!(10_u64.pow(19))),
        ("size_gb", json!(u64::MAX)),
        (&*long, json!(1)),
    ] {
        let mut changed = cluster.clone();
        changed[key] = value;
        let text = native_error(&ask("POST", &at("clusters"), &token, Some(&changed)), 400, "invalid-request");
        assert!(text.len() < 20_000, "{} bytes", text.len());
    }
    let deep = format!("{}{}", "[".repeat(LONG), "]".repeat(LONG));
    let json_type = ("Content-Type".to_owned(), "application/json".to_owned());
    let reply = installation.exchange("POST", &at("clusters"), &[token[0].clone(), json_type], Some(deep.into_bytes()));
    native_error(&reply, 400, "malformed-body");
    let reply = installation.exchange("POST", &at("clusters"), &token, Some(vec![b' '; 3 << 20]));
    native_error(&reply, 413, "body-too-large");

    // Parts of addresses.
    for path in [
        "clusters/{}",
        "clusters/{}/logs",
        "clusters/{}/parameters",
        "parameter-groups/{}",
        "instances/{}",
        "operations/{}",
        "users/{}",
        "projects/{}",
    ] {
        ask("GET", &at(&path.replace("{}", &long)), &token, None);
    }
    for query in
        ["clusters?name={}", "clusters?state={}", "clusters?engine={}", "clusters?cursor={}", "clusters?limit={}", "operations?cluster={}"]
    {
        let reply = installation.exchange("GET", &at(&query.replace("{}", &long)), &token, None);
        // Nothing has so long a name: an empty list is an answer, too.
        assert!((400..500).contains(&reply.status) || reply.body["items"] == json!([]), "{query}: {reply:?}");
    }

    // Headers.
    let with = |name: &str, value: &str| [token.clone(), vec![(name.to_owned(), value.to_owned())]].concat();
    native_error(&ask("POST", &at("clusters"), &with("Idempotency-Key", &long), Some(&cluster)), 400, "invalid-request");
    ask("PATCH", &of_cluster, &with("If-Match", &format!("\"{long}\"")), Some(&json!({"deletion_protection": true})));
    for credential in [format!("Bearer {long}"), format!("Basic {long}"), long.clone()] {
        let reply = ask("GET", &at("clusters"), &[("Authorization".to_owned(), credential)], None);
        native_error(&reply, 401, "unauthenticated");
    }
    untouched(&installation, &before, &[&good]);
}
