//! Every route of every family: nobody gets in without credentials, and another tenant's things are not there. The lists
//! of operations are taken from the documents, not from the code.

#[allow(dead_code)]
mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Response;
use serde_json::{Value, json};
use support::{ControlPlane, FOREIGN_TOKEN, OPERATORS_TOKEN, TOKEN, VIEWERS_TOKEN};

const SCP: &str = include_str!("wire/scp/operations.txt");
const NATIVE: &str = include_str!("wire/native/operations.txt");

/// What is served of the Samsung family, and the least role that may; the rest says that it is not there yet.
const SERVED: &[(&str, &str, &str)] = &[
    ("POST", "/v1/clusters", "operator"),
    ("GET", "/v1/clusters", "viewer"),
    ("GET", "/v1/clusters/{cluster_id}", "viewer"),
    ("DELETE", "/v1/clusters/{cluster_id}", "operator"),
    ("POST", "/v1/clusters/{cluster_id}/start", "operator"),
    ("POST", "/v1/clusters/{cluster_id}/stop", "operator"),
    ("POST", "/v1/clusters/{cluster_id}/restart", "operator"),
    ("POST", "/v1/clusters/{cluster_id}/switchover", "operator"),
    ("POST", "/v1/clusters/{cluster_id}/security-group-rules", "operator"),
    ("POST", "/v1/clusters/{cluster_id}/maintenance", "operator"),
    ("DELETE", "/v1/clusters/{cluster_id}/maintenance", "operator"),
    ("GET", "/v1/clusters/{cluster_id}/parameters", "viewer"),
    ("POST", "/v1/clusters/{cluster_id}/parameters/sync", "operator"),
    ("POST", "/v1/clusters/{cluster_id}/sync-state", "operator"),
    ("GET", "/v1/parameter-groups", "viewer"),
    ("GET", "/v1/parameters", "viewer"),
    ("GET", "/v1/requests/{request_id}", "viewer"),
    ("GET", "/v1/engine-versions", "viewer"),
    ("GET", "/v1/engine-versions/{dbaas_engine_version_id}/properties", "viewer"),
    ("GET", "/v1/server-types", "viewer"),
];

/// What the vendor's provider asks of other services, at every base.
const COMPANIONS: &[(&str, &str, &str)] = &[
    ("GET", "/v1/endpoints", "viewer"),
    ("GET", "/v1/access-keys", "viewer"),
    ("GET", "/v1/tags/{srn}", "viewer"),
    ("PUT", "/v1/tags/{srn}/bulk", "operator"),
];
const COMPANIONS_BASES: &[&str] = &["", "/iam", "/resourcemanager", "/mariadb", "/postgresql"];

/// What every signed-in caller of any tenant may see.
const FOR_EVERYBODY: &[&str] = &[
    "/v1/engine-versions",
    "/v1/engine-versions/{dbaas_engine_version_id}/properties",
    "/v1/server-types",
    "/moorage/v1/parameter-groups/{group}",
    "/moorage/v1/tokens",
    "/moorage/v1/projects",
    "/moorage/v1/users",
    "/moorage/v1/engine-versions",
    "/moorage/v1/server-types",
    "/moorage/v1/subnets",
    "/moorage/v1/host",
];

fn operations(list: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    list.lines().filter_map(|line| {
        let mut words = line.split(' ');
        words.next().zip(words.next())
    })
}

fn filled(path: &str, id: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { id.to_owned() } else { segment.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn body(response: &Response<Vec<u8>>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_default()
}

fn code(response: &Response<Vec<u8>>) -> String {
    let body = body(response);
    let code = body.pointer("/errors/0/code").or_else(|| body.pointer("/code"));
    code.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A body that is well-formed, for operations that take one.
fn sensible_body(method: &str, path: &str) -> Option<Value> {
    match (method, path.rsplit('/').next().unwrap_or_default()) {
        ("POST", "allow-list") => Some(json!({"add": ["192.0.2.7"]})),
        ("PUT", "owner-password") => Some(json!({"password": "another battery"})),
        ("PUT", "password") => Some(json!({"password": "another battery"})),
        ("PATCH", "{cluster}") => Some(json!({"deletion_protection": true})),
        ("PATCH", "{user}") => Some(json!({"role": "viewer"})),
        ("POST", "environments") => Some(json!({"name": "laboratory"})),
        ("POST", "plans") => Some(json!({"name": "small", "engine": "mariadb"})),
        ("POST", "teams") => Some(json!({"name": "blue"})),
        ("POST", "databases") => Some(json!({"name": "stock"})),
        ("POST", "credentials") => Some(json!({"user": "reader", "privileges": "read-only"})),
        ("POST", "users") => Some(json!({"name": "newcomer", "role": "viewer", "password": "correct horse battery"})),
        ("POST", "projects") => Some(json!({"name": "another"})),
        ("POST", "clusters") => {
            let database = json!({"name": "shop", "owner": "keeper", "password": "correct horse battery"});
            Some(json!({"name": "shop-2", "engine": "mariadb", "database": database}))
        }
        _ => None,
    }
}

/// The same for the Samsung family.
fn scp_body(method: &str, path: &str, version: &Value) -> Option<Value> {
    match (method, path.rsplit('/').next().unwrap_or_default()) {
        ("POST", "clusters") => Some(json!({
            "name": "Shop", "dbaas_engine_version_id": version, "ha_enabled": false, "nat_enabled": false, "allowable_ip_addresses": [],
            "instance_name_prefix": "shop", "subnet_id": "default", "timezone": "Asia/Seoul",
            "init_config_option": {
                "audit_enabled": false, "database_character_set": "utf8", "database_name": "shop", "database_port": 2866,
                "database_user_name": "keeper", "database_user_password": "Passw0rd!x",
            },
            "instance_groups": [{
                "block_storage_groups": [{"role_type": "OS", "size_gb": 104, "volume_type": "SSD"}, {"role_type": "DATA", "size_gb": 16, "volume_type": "SSD"}],
                "instances": [{"role_type": "ACTIVE"}], "role_type": "ACTIVE", "server_type_name": "db1v1m2",
            }],
        })),
        ("PUT", "bulk") => Some(json!({"tags": [{"key": "team", "value": "blue"}]})),
        ("POST", "security-group-rules") => Some(json!({"add_ip_addresses": ["192.0.2.7"]})),
        ("POST", "maintenance") => Some(json!({"start_day_of_week": "MON", "start_time": "03", "start_minute": "00", "term_hour": "1"})),
        _ => None,
    }
}

async fn sent(plane: &ControlPlane, method: &str, target: &str, token: &str, body: Option<Value>) -> Response<Vec<u8>> {
    match body {
        Some(body) => plane.ask_with(method, target, token, &body).await,
        None => plane.ask(method, target, Some(token)).await,
    }
}

/// A cluster's name among all resources, as a segment of a path.
fn srn(cluster: &str) -> String {
    let name = STANDARD.encode(format!("srn:e::a:kr-west1::mariadb:mariadb/{cluster}"));
    percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

async fn cluster_of_the_first_tenant(plane: &ControlPlane) -> (String, String) {
    let database = json!({"name": "shop", "owner": "keeper", "password": "correct horse battery"});
    let made =
        plane.ask_with("POST", "/moorage/v1/clusters", TOKEN, &json!({"name": "shop-1", "engine": "mariadb", "database": database})).await;
    assert_eq!(made.status(), 202, "{:?}", body(&made));
    let id = |pointer: &str| body(&made).pointer(pointer).and_then(Value::as_str).expect("an id").to_owned();
    (id("/cluster/id"), id("/operation/id"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_route_lets_anybody_in_without_credentials() {
    let plane = ControlPlane::start().await;
    let id = "109a585ae67b4e8482fdafc8a4a5be74";
    for base in ["", "/mariadb", "/postgresql"] {
        for (method, path) in operations(SCP) {
            let target = format!("{base}{}", filled(path, id));
            for token in [None, Some("wrong")] {
                let response = plane.ask(method, &target, token).await;
                assert_eq!(
                    (response.status().as_u16(), code(&response).as_str()),
                    (401, "Dbaas.Unauthorized.AuthNFailed"),
                    "{method} {target}"
                );
            }
        }
    }
    for (method, path) in operations(NATIVE) {
        for token in [None, Some("wrong")] {
            let response = plane.ask(method, &filled(path, id), token).await;
            assert_eq!((response.status().as_u16(), code(&response).as_str()), (401, "unauthenticated"), "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_of_the_vendors_documents_is_there_or_says_that_it_is_not_yet() {
    let plane = ControlPlane::start().await;
    assert!(operations(SCP).count() >= 44);
    for (method, path) in operations(SCP) {
        let response = plane.ask(method, &filled(path, "109a585ae67b4e8482fdafc8a4a5be74"), Some(TOKEN)).await;
        let served = SERVED.iter().any(|(served, at, _)| (*served, *at) == (method, path));
        let code = code(&response);
        assert_ne!(code, "Dbaas.NotFound.Path", "{method} {path}");
        assert_ne!(response.status(), 405, "{method} {path}");
        assert_eq!(code == "Dbaas.ValidationError.NotSupportedYet", !served, "{method} {path}: {code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_things_are_not_there() {
    let plane = ControlPlane::start().await;
    let (cluster, operation) = cluster_of_the_first_tenant(&plane).await;
    for &(method, path, _) in SERVED.iter().filter(|(_, path, _)| path.contains('{') && !FOR_EVERYBODY.contains(path)) {
        let (id, expected) = match path {
            "/v1/requests/{request_id}" => (format!("req-{operation}"), (400, "Dbaas.ValidationError.InvalidRequestId")),
            _ => (cluster.clone(), (404, "Dbaas.NotFound.Cluster")),
        };
        let target = filled(path, &id);
        let response = sent(&plane, method, &target, FOREIGN_TOKEN, scp_body(method, path, &Value::Null)).await;
        assert_eq!((response.status().as_u16(), code(&response).as_str()), expected, "{method} {path}");
    }
    for base in COMPANIONS_BASES {
        let tags = format!("{base}/v1/tags/{}", srn(&cluster));
        let change = sent(&plane, "PUT", &format!("{tags}/bulk"), FOREIGN_TOKEN, scp_body("PUT", "bulk", &Value::Null)).await;
        assert_eq!(change.status(), 404, "{base}");
        // Somebody else's cluster is one that is gone: it has no tags.
        assert_eq!(body(&plane.ask("GET", &tags, Some(FOREIGN_TOKEN)).await)["content"]["tags"], json!([]), "{base}");
        let keys = plane.ask("GET", &format!("{base}/v1/access-keys"), Some(FOREIGN_TOKEN)).await;
        assert_eq!(body(&keys)["access_keys"], json!([]), "{base}");
    }
    let (user, project) = (format!("{:032x}", 1), format!("{:032x}", 0xa));
    for (method, path) in operations(NATIVE).filter(|(_, path)| path.contains('{') && !FOR_EVERYBODY.contains(path)) {
        let (id, expected) = match path.split('/').nth(3) {
            Some("operations") => (&operation, (404, "operation-not-found")),
            Some("instances") => (&cluster, (404, "instance-not-found")),
            Some("users") => (&user, (404, "user-not-found")),
            Some("teams") => (&user, (404, "team-not-found")),
            // Projects are the installation's business: a foreign administrator may not even ask for their end.
            Some("projects") if method == "DELETE" => (&project, (403, "forbidden")),
            Some("projects") => (&project, (404, "project-not-found")),
            _ => (&cluster, (404, "cluster-not-found")),
        };
        let response = sent(&plane, method, &filled(path, id), FOREIGN_TOKEN, sensible_body(method, path)).await;
        assert_eq!((response.status().as_u16(), code(&response).as_str()), expected, "{method} {path}");
    }
    let by_name = plane.ask("GET", "/moorage/v1/clusters/shop-1", Some(FOREIGN_TOKEN)).await;
    assert_eq!(by_name.status(), 404);
    let of_the_cluster = format!("/moorage/v1/operations?cluster={cluster}");
    let native = ["clusters", "operations", "instances", "volumes", "endpoints"].map(|list| format!("/moorage/v1/{list}"));
    for list in native.iter().map(String::as_str).chain(["/v1/clusters", &of_the_cluster]) {
        let response = plane.ask("GET", list, Some(FOREIGN_TOKEN)).await;
        let body = body(&response);
        let rows = body.get("contents").or_else(|| body.get("items")).and_then(Value::as_array).map(Vec::len);
        assert_eq!(rows, Some(0), "{list}");
    }
    let still = plane.ask("GET", &format!("/v1/clusters/{cluster}"), Some(TOKEN)).await;
    assert_eq!((still.status().as_u16(), body(&still)["service_state"].clone()), (200, json!("CREATING")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_authority_is_for_everybody() {
    let plane = ControlPlane::start().await;
    let response = plane.ask("GET", "/moorage/v1/ca", None).await;
    assert_eq!(response.status(), 200);
    assert!(response.body().starts_with(b"-----BEGIN CERTIFICATE-----"));
}

/// Paths and methods as the source says them, whatever their handlers are called.
fn routes_of(source: &str) -> std::collections::BTreeSet<String> {
    let mut found = std::collections::BTreeSet::new();
    let source = source.replace(".route(\n            \"", ".route(\"");
    for route in source.split(".route(\"").skip(1) {
        let Some((path, rest)) = route.split_once('"') else { continue };
        let handlers = rest.split("\n        .").next().and_then(|handlers| handlers.split("\n}").next()).unwrap_or(rest);
        for method in ["get", "post", "put", "patch", "delete"] {
            let called = [format!(" {method}("), format!(".{method}(")];
            let decides = method == "post" && handlers.contains(" decision(");
            if decides || called.iter().any(|call| handlers.contains(call.as_str())) {
                found.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    found
}

#[test]
fn every_route_is_in_the_table_that_says_who_may_use_it() {
    let sources =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/native")).expect("sources").map(|file| file.expect("a file").path());
    let sources = sources.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let served: std::collections::BTreeSet<String> =
        sources.flat_map(|path| routes_of(&std::fs::read_to_string(path).expect("a source"))).collect();
    let listed = operations(NATIVE).map(|(method, path)| format!("{method} {path}")).chain(["GET /moorage/v1/ca".to_owned()]).collect();
    assert_eq!(served, listed);
    assert!(served.len() > 30);
    let companions =
        include_str!("../src/scp/companions.rs").replace(".route(&format!(\"{base}", ".route(\"").replace("{{", "{").replace("}}", "}");
    let listed = COMPANIONS.iter().map(|(method, path, _)| format!("{method} {path}"));
    assert_eq!(routes_of(&companions), listed.chain(["GET /".to_owned()]).collect());
}

/// What comes back when nobody in particular asks for everything there is.
async fn asked(plane: &ControlPlane, method: &str, path: &str, token: &str, cluster: &str, operation: &str) -> (u16, String) {
    let target = path
        .replace("{cluster}", cluster)
        .replace("{operation}", operation)
        .replace("{user}", "moorage")
        // The installation's own cannot be removed.
        .replace("{project}", &format!("{:032x}", if method == "DELETE" { 0xb } else { 0xa }))
        .replace("{token}", &format!("{:032x}", 9))
        .replace("{access_key}", "AKNONE")
        .replace("{database}", "shop")
        .replace("{credential}", "keeper");
    let response = sent(plane, method, &target, token, sensible_body(method, path)).await;
    (response.status().as_u16(), code(&response))
}

const ROLES: [(&str, &str); 3] = [("viewer", VIEWERS_TOKEN), ("operator", OPERATORS_TOKEN), ("administrator", TOKEN)];

fn rank(role: &str) -> usize {
    ROLES.iter().position(|(known, _)| *known == role).expect("a role")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_asks_for_its_role_and_no_more() {
    for line in NATIVE.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [method, path, least] = words[..] else { panic!("{line}") };
        let plane = ControlPlane::start().await;
        let (cluster, operation) = cluster_of_the_first_tenant(&plane).await;
        for (role, token) in ROLES {
            let (status, code) = asked(&plane, method, path, token, &cluster, &operation).await;
            // Other people are not there for those who may not manage them.
            let refused = code == "forbidden" || code == "user-not-found";
            assert_eq!(refused, rank(role) < rank(least), "{method} {path} as {role}: {status} {code}");
            assert!(status != 401 && status < 500, "{method} {path} as {role}: {status} {code}");
        }
    }
    let bases = |of: &'static [&'static str], table: &'static [(&'static str, &'static str, &'static str)]| {
        table.iter().flat_map(move |row| of.iter().map(move |base| (*base, *row)))
    };
    for (base, (method, path, least)) in bases(&["", "/mariadb"], SERVED).chain(bases(COMPANIONS_BASES, COMPANIONS)) {
        let plane = ControlPlane::start().await;
        let (cluster, operation) = cluster_of_the_first_tenant(&plane).await;
        let versions = body(&plane.ask("GET", "/mariadb/v1/engine-versions", Some(TOKEN)).await);
        let version = &versions["contents"][0]["id"];
        let target = path.replace("{cluster_id}", &cluster).replace("{request_id}", &format!("req-{operation}"));
        let target = target.replace("{srn}", &srn(&cluster)).replace("{dbaas_engine_version_id}", version.as_str().expect("an id"));
        for (role, token) in ROLES {
            let wish = scp_body(method, path, version);
            let response = sent(&plane, method, &format!("{base}{target}"), token, wish).await;
            let (status, code) = (response.status().as_u16(), code(&response));
            assert_eq!(code == "Dbaas.Forbidden.AuthZFailed", rank(role) < rank(least), "{method} {base}{path} as {role}: {status} {code}");
            // The first who may, does; what is refused then is that it was done.
            let done = status < 300 || code.ends_with("ValidationError") || code.starts_with("Dbaas.ValidationError");
            assert_eq!(done, rank(role) >= rank(least), "{method} {base}{path} as {role}: {status} {code}");
        }
        assert_eq!(plane.ask(method, &format!("{base}{target}"), None).await.status(), 401, "{method} {base}{path}");
    }
}
