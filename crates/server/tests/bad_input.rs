//! Whatever is wrong with a request is said in its family's own dialect, makes nothing and loses nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::{Cluster, Installation, PASSWORD, Reply};

const MARIADB: &str = "mariadb 1.0";
const POSTGRESQL: &str = "postgresql 1.1";

/// Values that are not there but stand for a change of the body.
const ABSENT: &str = "(absent)";

fn body(version: &str, version_id: &str) -> Value {
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
fn with(body: &Value, place: &str, value: &Value) -> Value {
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

fn engine_version(installation: &Installation, version: &str) -> String {
    let (status, versions) = installation.scp(version, "GET", "/v1/engine-versions", None);
    assert_eq!(status, 200, "{versions}");
    versions["contents"][0]["id"].as_str().expect("a version").to_owned()
}

/// Nobody outside learns from an answer how the server is made.
fn tells_nothing_of_the_inside(text: &str) {
    for inside in ["panicked", "sqlx", "serde", "rusqlite", "src/", ".rs:", "store.db", "unwrap", "Some(", "stack backtrace", PASSWORD] {
        assert!(!text.contains(inside), "the answer shows '{inside}': {text}");
    }
}

/// The envelope has every key of the vendor's and only those; returns the error and its text.
#[track_caller]
fn vendor_error<'a>(reply: &'a Reply, status: u16, code: &str) -> (&'a Value, String) {
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
fn native_error(reply: &Reply, status: u16, code: &str) -> String {
    let body = &reply.body;
    assert_eq!((reply.status, reply.content_type.as_str()), (status, "application/problem+json"), "{body}");
    assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(status)), "{body}");
    assert!(body["title"].as_str().is_some_and(|title| title.len() > 5), "{body}");
    assert_eq!(body["type"], format!("/docs/problems/{code}"));
    let text = body.to_string();
    tells_nothing_of_the_inside(&text);
    text
}

fn bearer(installation: &Installation) -> Vec<(String, String)> {
    let token = installation.bootstrap()["token"].as_str().expect("a token").to_owned();
    vec![("Authorization".into(), format!("Bearer {token}"))]
}

fn signed(installation: &Installation, version: &str, method: &str, path: &str, body: Option<Value>) -> Reply {
    installation.exchange(method, path, &installation.signature(version, method, path), body.map(|body| body.to_string().into_bytes()))
}

/// Nothing was made, nothing was lost.
#[track_caller]
fn untouched(installation: &Installation, before: &Value, good: &[&Cluster]) {
    assert_eq!(installation.inventory(), *before);
    for cluster in good {
        assert_eq!(cluster.sql("SELECT 1"), Ok("1".into()), "the good cluster answers");
    }
}

fn replaced(headers: &[(String, String)], name: &str, value: Option<&str>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = headers.iter().filter(|(n, _)| n != name).cloned().collect();
    headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    headers
}

#[test]
fn whoever_is_not_known_gets_nowhere() {
    let installation = Installation::start();
    let before = installation.inventory();
    let create = body(MARIADB, &engine_version(&installation, MARIADB)).to_string().into_bytes();
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis()).expect("a time");
    let path = "/v1/clusters";
    let good = installation.signature(MARIADB, "POST", path);
    let other_method = installation.signature(MARIADB, "GET", path);
    let other_path = installation.signature(MARIADB, "POST", "/v1/clusters/1/stop");
    let old = installation.signature_at(now - 16 * 60 * 1000, MARIADB, "POST", path);
    let early = installation.signature_at(now + 16 * 60 * 1000, MARIADB, "POST", path);
    let seconds = installation.signature_at(now / 1000, MARIADB, "POST", path);
    let signature = good.iter().find(|(name, _)| name == "Scp-Signature").map(|(_, value)| value.clone()).expect("a signature");
    let cut = &signature[..signature.len() - 1];
    for (what, headers, told) in [
        ("no credentials", vec![], "credentials"),
        ("no signature", replaced(&good, "Scp-Signature", None), "Scp-Signature"),
        ("a blank signature", replaced(&good, "Scp-Signature", Some("")), "Scp-Signature"),
        ("a wrong signature", replaced(&good, "Scp-Signature", Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")), "not valid"),
        ("a shortened signature", replaced(&good, "Scp-Signature", Some(cut)), "not valid"),
        ("a signature of another method", other_method, "not valid"),
        ("a signature of another path", other_path, "not valid"),
        ("a signature over another client type", replaced(&good, "Scp-ClientType", Some("Other")), "not valid"),
        ("a signature over another account", replaced(&good, "Scp-AccountId", Some("someone")), "not valid"),
        ("an unknown access key", replaced(&good, "Scp-AccessKey", Some("AKUNKNOWNUNKNOWNUNKN")), "not valid"),
        ("an access key with odd characters", replaced(&good, "Scp-AccessKey", Some("' OR 1=1 --")), "not valid"),
        ("no access key", replaced(&good, "Scp-AccessKey", None), "Scp-AccessKey"),
        ("no timestamp", replaced(&good, "Scp-Timestamp", None), "Scp-Timestamp"),
        ("another timestamp", replaced(&good, "Scp-Timestamp", Some(&(now + 1).to_string())), "not valid"),
        ("a timestamp that is none", replaced(&good, "Scp-Timestamp", Some("yesterday")), "milliseconds"),
        ("an old timestamp", old, "old"),
        ("a timestamp of the future", early, "in the future"),
        ("a timestamp in seconds", seconds, "milliseconds"),
        ("an unknown token", vec![("Authorization".into(), "Bearer nobody".into())], "not valid"),
        ("basic credentials", vec![("Authorization".into(), "Basic bW9vcmFnZTp4".into())], "credentials"),
    ] {
        let reply = installation.exchange("POST", path, &headers, Some(create.clone()));
        let (_, text) = vendor_error(&reply, 401, "Dbaas.Unauthorized.AuthNFailed");
        assert!(text.contains(told), "{what}: {text}");
    }
    for (headers, told) in [
        (vec![], "credentials"),
        (vec![("Authorization".to_owned(), "Bearer nobody".to_owned())], "not valid"),
        (vec![("Authorization".to_owned(), "Bearer".to_owned())], "Authorization"),
        (vec![("Authorization".to_owned(), "Basic bW9vcmFnZTp4".to_owned())], "not valid"),
        (vec![("Authorization".to_owned(), "Basic %%%".to_owned())], "Authorization header"),
        (vec![("Authorization".to_owned(), "Digest x".to_owned())], "Authorization"),
        (good, "credentials"),
    ] {
        for (method, path) in [("POST", "/moorage/v1/clusters"), ("GET", "/moorage/v1/clusters"), ("POST", "/moorage/v1/tokens")] {
            let reply = installation.exchange(method, path, &headers, Some(b"{}".to_vec()));
            let text = native_error(&reply, 401, "unauthenticated");
            assert!(text.contains(told), "{headers:?}: {text}");
        }
    }
    let output = Command::new(support::PROGRAM)
        .args(["cluster", "list", "--server", installation.bootstrap()["base_url"].as_str().expect("a URL")])
        .env("MOORAGE_TOKEN", "nobody")
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("not valid") && output.stdout.is_empty(), "{said}");
    assert_eq!(installation.inventory(), before);
}

#[test]
fn every_wrong_field_of_a_create_request_is_named_and_makes_nothing() {
    let installation = Installation::start();
    let good = installation.create("postgresql", "good");
    let before = installation.inventory();
    let ids = [engine_version(&installation, MARIADB), engine_version(&installation, POSTGRESQL)];
    for (version, own, other) in [(MARIADB, &ids[0], &ids[1]), (POSTGRESQL, &ids[1], &ids[0])] {
        let whole = body(version, own);
        let refused = |changed: &Value, code: &str, told: &str| {
            let reply = signed(&installation, version, "POST", "/v1/clusters", Some(changed.clone()));
            assert_eq!(reply.status, 400, "{told}: {changed}");
            let (_, text) = vendor_error(&reply, 400, code);
            assert!(text.contains(told), "'{told}' in: {text}");
            text
        };

        for required in [
            "/name",
            "/instance_name_prefix",
            "/subnet_id",
            "/dbaas_engine_version_id",
            "/init_config_option",
            "/init_config_option/database_name",
            "/init_config_option/database_user_name",
            "/init_config_option/database_user_password",
            "/instance_groups",
            "/instance_groups/0/role_type",
            "/instance_groups/0/server_type_name",
            "/instance_groups/0/block_storage_groups",
            "/instance_groups/0/block_storage_groups/0/role_type",
            "/instance_groups/0/block_storage_groups/0/size_gb",
            "/instance_groups/0/instances/0/role_type",
        ] {
            let name = required[1..].replace('/', ".");
            let text = refused(&with(&whole, required, &json!(ABSENT)), "ValidationError", &name);
            assert!(text.contains("Field required"), "{text}");
            for wrong_type in [json!(null), json!(true), json!({"$ne": 1}).clone(), json!([[]])] {
                if !(required.ends_with("init_config_option") && wrong_type.is_object()) {
                    refused(&with(&whole, required, &wrong_type), "ValidationError", &name);
                }
            }
        }

        let long = "a".repeat(10_000);
        let mut wrong: Vec<(&str, Vec<Value>)> = vec![
            (
                "/name",
                vec![
                    json!(""),
                    json!("ab"),
                    json!("a".repeat(21)),
                    json!(long),
                    json!("shop1"),
                    json!("sh-op"),
                    json!("sh op"),
                    json!("shop\n"),
                    json!("shöp"),
                    json!("ѕhор"),
                    json!("sh\u{0}op"),
                    json!("'; DROP TABLE cluster; --"),
                    json!("../../etc"),
                    json!(7),
                ],
            ),
            (
                "/instance_name_prefix",
                vec![
                    json!(""),
                    json!("ab"),
                    json!("a".repeat(14)),
                    json!("Shop"),
                    json!("1shop"),
                    json!("sh_op"),
                    json!("shop\n"),
                    json!("sh/op"),
                    json!("-shop"),
                ],
            ),
            ("/subnet_id", vec![json!(""), json!(5), json!("x".repeat(65)), json!("def\u{1}ault")]),
            (
                "/timezone",
                vec![
                    json!("Mars/Olympus"),
                    json!("../../etc/passwd"),
                    json!("Asia/Seoul'"),
                    json!("Asia/Seoul "),
                    json!(9),
                    json!("KST9"),
                    json!("x".repeat(65)),
                    json!("Etc/Unknown"),
                ],
            ),
            (
                "/allowable_ip_addresses",
                vec![
                    json!("10.0.0.1"),
                    json!(["everyone"]),
                    json!(["10.0.0.0/33"]),
                    json!(["10.0.0.1/8"]),
                    json!(["300.0.0.1"]),
                    json!(["10.0.0.1", "10.0.0.1/32"]),
                    json!([5]),
                    json!([null]),
                    json!([" 10.0.0.1"]),
                    json!(["10.0.0.1\n"]),
                    json!(["10.0.0.0/-1"]),
                    json!((0..201).map(|n| format!("10.0.0.{n}")).collect::<Vec<_>>()),
                    json!({}),
                ],
            ),
            ("/ha_enabled", vec![json!("true"), json!(1)]),
            ("/nat_enabled", vec![json!("false"), json!(0)]),
            ("/origin_cluster_id", vec![json!(5)]),
            (
                "/tags",
                vec![
                    json!("x"),
                    json!([{"value": "x"}]),
                    json!([{"key": ""}]),
                    json!([{"key": "k", "value": "x".repeat(257)}]),
                    json!([{"key": "k"}, {"key": "k"}]),
                    json!([{"key": "k", "v": 1}]),
                    json!(vec![json!({"key": "k"}); 51]),
                ],
            ),
            (
                "/maintenance_option",
                vec![
                    json!("MON"),
                    json!({"period_hour": "25"}),
                    json!({"period_hour": 1}),
                    json!({"starting_day_of_week": "Monday"}),
                    json!({"starting_time": "2460"}),
                    json!({"starting_time": "2400"}),
                    json!({"starting_time": "1"}),
                    json!({"often": true}),
                ],
            ),
            ("/init_config_option/audit_enabled", vec![json!("no")]),
            (
                "/init_config_option/backup_option",
                vec![
                    json!("daily"),
                    json!({"archive_frequency_minute": "7"}),
                    json!({"archive_frequency_minute": 60}),
                    json!({"retention_period_day": "6"}),
                    json!({"retention_period_day": "36"}),
                    json!({"starting_time_hour": "24"}),
                    json!({"starting_time_hour": "02"}),
                    json!({"depth": "1"}),
                ],
            ),
            (
                "/init_config_option/database_name",
                vec![
                    json!(""),
                    json!("ab"),
                    json!("a".repeat(21)),
                    json!("1shop"),
                    json!("sh_op"),
                    json!("sh`op"),
                    json!("sh\"op"),
                    json!("shop\n"),
                    json!("mysql"),
                    json!("MySQL"),
                    json!("postgres"),
                    json!("sys"),
                    json!("test"),
                    json!("template1"),
                ],
            ),
            (
                "/init_config_option/database_port",
                vec![
                    json!(0),
                    json!(-1),
                    json!(22),
                    json!(1023),
                    json!(65536),
                    json!(1e300),
                    json!(3306.5),
                    json!("2866"),
                    json!(true),
                    json!([2866]),
                ],
            ),
            (
                "/init_config_option/database_user_name",
                vec![
                    json!(""),
                    json!("k"),
                    json!("a".repeat(21)),
                    json!("Keeper"),
                    json!("keeper1"),
                    json!("keeper@x"),
                    json!("kee'per"),
                    json!("keeper\n"),
                    json!("root"),
                    json!("postgres"),
                    json!("mysql"),
                    json!("mariadb"),
                    json!("moorage"),
                    json!("public"),
                    json!("none"),
                ],
            ),
            (
                "/init_config_option/database_user_password",
                vec![
                    json!(""),
                    json!("Str0ng!"),
                    json!(format!("S1!{}", "x".repeat(28))),
                    json!("Strong!pass"),
                    json!("12345678!"),
                    json!("Str0ngpass"),
                    json!("Str0ng'pass!"),
                    json!("Str0ng\"pass!"),
                    json!("Str0ng`pass!"),
                    json!("Str0ng! pass"),
                    json!("Str0ng!pass\n"),
                    json!("Str0ng!päss"),
                    json!(12_345_678),
                ],
            ),
            ("/instance_groups", vec![json!([]), json!({}), json!([5]), json!([null]), json!("ACTIVE")]),
            ("/instance_groups/0/role_type", vec![json!("ACTIVE_STANDBY"), json!("MASTER"), json!("active"), json!("")]),
            ("/instance_groups/0/server_type_name", vec![json!(""), json!("x".repeat(65))]),
            (
                "/instance_groups/0/block_storage_groups",
                vec![
                    json!([]),
                    json!([{"role_type": "ARCHIVE", "size_gb": 16}]),
                    json!(vec![json!({"role_type": "DATA", "size_gb": 16}); 10]),
                    json!(vec![json!({"role_type": "OS", "size_gb": 104}); 2]),
                    json!("SSD"),
                ],
            ),
            ("/instance_groups/0/block_storage_groups/0/role_type", vec![json!("SYSTEM"), json!("os"), json!("")]),
            (
                "/instance_groups/0/block_storage_groups/1/size_gb",
                vec![json!(15), json!(5121), json!(-16), json!(0), json!(16.5), json!("104"), json!(1e300), json!(u64::MAX)],
            ),
            ("/instance_groups/0/block_storage_groups/1/volume_type", vec![json!("NVME"), json!("ssd"), json!(1)]),
            ("/instance_groups/0/instances", vec![json!({}), json!([{"role_type": "ACTIVE"}, {"role_type": "ACTIVE"}]), json!(["ACTIVE"])]),
            ("/instance_groups/0/instances/0/role_type", vec![json!("STANDBY"), json!("MASTER")]),
            (
                "/instance_groups/0/instances/0/service_ip_address",
                vec![json!("here"), json!("10.0.0"), json!("10.0.0.256"), json!("::1"), json!("10.0.0.1/32"), json!(167_772_161)],
            ),
        ];
        if version == POSTGRESQL {
            wrong.push((
                "/init_config_option/database_encoding",
                vec![json!("klingon"), json!("utf8mb4"), json!("SJIS"), json!("UTF-8'; DROP DATABASE x"), json!(8), json!("x".repeat(65))],
            ));
            wrong.push(("/init_config_option/database_locale", vec![json!("xx_XX"), json!("C'; --"), json!("../../tmp"), json!(1)]));
        } else {
            wrong.push((
                "/init_config_option/database_character_set",
                vec![
                    json!("klingon"),
                    json!("UTF-8"),
                    json!("utf8; DROP DATABASE x"),
                    json!("utf8 COLLATE x"),
                    json!(8),
                    json!("x".repeat(65)),
                ],
            ));
        }
        for (place, values) in &wrong {
            let name = place[1..].replace('/', ".");
            for value in values {
                refused(&with(&whole, place, value), "ValidationError", &name);
            }
        }

        // Keys that nobody asked for, at every level, the sibling's own among them.
        let sibling =
            if version == POSTGRESQL { "/init_config_option/database_character_set" } else { "/init_config_option/database_encoding" };
        for place in [
            "/colour",
            "/Name",
            "/init_config_option/colour",
            sibling,
            "/init_config_option/backup_option/colour",
            "/maintenance_option/colour",
            "/instance_groups/0/colour",
            "/instance_groups/0/block_storage_groups/0/colour",
            "/instance_groups/0/instances/0/colour",
            "/tags/0/colour",
        ] {
            let name = place[1..].replace('/', ".");
            let text = refused(&with(&whole, place, &json!("utf8")), "ValidationError", &name);
            assert!(text.contains("not permitted"), "{text}");
        }

        // What is well-formed but not to be had.
        let network = good.address.parse::<std::net::Ipv4Addr>().map(|address| u32::from(address) & 0xFFFF_F000).expect("an address");
        let network = std::net::Ipv4Addr::from(network).to_string();
        for (place, value, code, told) in [
            ("/dbaas_engine_version_id", json!("0".repeat(32)), "Dbaas.ValidationError.InvalidEngineVersion", "Invalid Engine Version."),
            ("/dbaas_engine_version_id", json!("../clusters"), "Dbaas.ValidationError.InvalidEngineVersion", "Invalid Engine Version."),
            ("/dbaas_engine_version_id", json!(other), "Dbaas.ValidationError.InvalidEngineVersion", "Invalid Engine Version."),
            ("/instance_groups/0/server_type_name", json!("db9v9m9"), "Dbaas.ValidationError.InvalidServerType", "db9v9m9"),
            (
                "/instance_groups/0/server_type_name",
                json!("redis1v2m4"),
                "Dbaas.ValidationError.InvalidServerType",
                "invalid data (Server type)",
            ),
            ("/subnet_id", json!("nowhere"), "Dbaas.ValidationError.InvalidSubnet", "default"),
            (
                "/instance_groups/0/instances/0/service_ip_address",
                json!("192.0.2.1"),
                "Dbaas.ValidationError.InvalidIpAddress",
                "192.0.2.1",
            ),
            (
                "/instance_groups/0/instances/0/service_ip_address",
                json!(network),
                "Dbaas.ValidationError.InvalidIpAddress",
                network.as_str(),
            ),
            (
                "/instance_groups/0/instances/0/service_ip_address",
                json!(good.address),
                "Dbaas.ValidationError.IpAddressNotAvailable",
                "is not available",
            ),
            ("/instance_groups/0/instances/0/public_ip_id", json!("pip"), "Dbaas.ValidationError.NotSupportedYet", "public_ip_id"),
            ("/name", json!("good"), "Dbaas.ValidationError.DuplicatedClusterName", "already exists"),
            ("/ha_enabled", json!(true), "Dbaas.ValidationError.NotSupportedYet", "ha_enabled"),
            ("/nat_enabled", json!(true), "Dbaas.ValidationError.NotSupportedYet", "nat_enabled"),
            ("/init_config_option/audit_enabled", json!(true), "Dbaas.ValidationError.NotSupportedYet", "audit_enabled"),
            ("/origin_cluster_id", json!(good.id), "Dbaas.ValidationError.NotSupportedYet", "origin_cluster_id"),
            ("/vip_public_ip_id", json!("pip"), "Dbaas.ValidationError.NotSupportedYet", "vip_public_ip_id"),
            ("/virtual_ip_address", json!("10.0.0.1"), "Dbaas.ValidationError.NotSupportedYet", "virtual_ip_address"),
        ] {
            refused(&with(&whole, place, &value), code, told);
        }

        // Everything at once is told at once.
        let mut several = with(&whole, "/name", &json!("1"));
        several = with(&several, "/timezone", &json!(5));
        several = with(&several, "/init_config_option/database_port", &json!(80));
        let text = refused(&several, "ValidationError", "name: ");
        assert!(text.contains("timezone: ") && text.contains("init_config_option.database_port: "), "{text}");
    }
    // The newest version of MariaDB's service asks for one key more, whatever its value.
    let newest = body(MARIADB, &ids[0]);
    let (_, text) = {
        let reply = signed(&installation, "mariadb 1.1", "POST", "/v1/clusters", Some(newest.clone()));
        let (error, text) = vendor_error(&reply, 400, "ValidationError");
        (error.clone(), text)
    };
    assert!(text.contains("service_watch_log_collection: Field required"), "{text}");
    untouched(&installation, &before, &[&good]);
}

#[test]
fn bodies_that_are_no_request_at_all_are_refused() {
    let installation = Installation::start();
    let good = installation.create("mariadb", "good");
    let before = installation.inventory();
    let whole = body(MARIADB, &engine_version(&installation, MARIADB)).to_string();
    let padded = format!("{{\"pad\": \"{}\", {}", "x".repeat(3 << 20), &whole[1..]);
    let deep_object = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    let many_keys = format!("{{{}\"z\": 1}}", (0..60_000).map(|n| format!("\"k{n}\": 1, ")).collect::<String>());
    let rules = format!("/v1/clusters/{}/security-group-rules", good.id);
    for (bytes, status, told) in [
        (Vec::new(), 400, "no body"),
        (b" \r\n\t".to_vec(), 400, "no body"),
        (b"null".to_vec(), 400, "not an object"),
        (b"[]".to_vec(), 400, "not an object"),
        (b"\"name\"".to_vec(), 400, "not an object"),
        (b"5".to_vec(), 400, "not an object"),
        (b"name=shop&size=5".to_vec(), 400, "not JSON"),
        (b"<cluster/>".to_vec(), 400, "not JSON"),
        (whole.as_bytes()[..whole.len() - 1].to_vec(), 400, "not JSON"),
        (format!("{whole}x").into_bytes(), 400, "not JSON"),
        (format!("\u{feff}{whole}").into_bytes(), 400, "not JSON"),
        (whole.replace("newcomer", "new\\ud800comer").into_bytes(), 400, "not JSON"),
        (vec![0xff, 0xfe, b'{', b'}'], 400, "not JSON"),
        (vec![0; 4096], 400, "not JSON"),
        ("[".repeat(500_000).into_bytes(), 400, "not JSON"),
        (deep_object.into_bytes(), 400, "not JSON"),
        (many_keys.into_bytes(), 400, "not permitted"),
        (padded.into_bytes(), 413, "larger than"),
        (vec![b'{'; 3 << 20], 413, "larger than"),
    ] {
        for path in ["/v1/clusters", &rules] {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            let headers = installation.signature(MARIADB, "POST", path);
            let reply = installation.exchange("POST", path, &headers, Some(bytes.clone()));
            let (_, text) = vendor_error(&reply, status, "ValidationError");
            assert!(text.contains(told), "{path} {shown}: {text}");
        }
        let code = if status == 413 {
            "body-too-large"
        } else if told == "not permitted" {
            "invalid-request"
        } else {
            "malformed-body"
        };
        let reply = installation.exchange("POST", "/moorage/v1/clusters", &bearer(&installation), Some(bytes));
        native_error(&reply, status, code);
    }
    // Three megabytes that never say how long they are, and a length that is a lie.
    let token = installation.bootstrap()["token"].as_str().expect("a token").to_owned();
    let head = format!("POST /v1/clusters HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n");
    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..3 {
        chunked.extend_from_slice(b"100000\r\n");
        chunked.extend_from_slice(&vec![b'['; 0x10_0000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let reply = installation.raw(&chunked);
    assert!(reply.starts_with("HTTP/1.1 413") && reply.contains("ValidationError"), "{reply}");
    let reply = installation.raw(format!("{head}Content-Length: 5\r\n\r\n{{}}   GET /v1/clusters HTTP/1.1\r\n\r\n").as_bytes());
    assert!(reply.starts_with("HTTP/1.1 400") && reply.matches("HTTP/1.1").count() == 1, "{reply}");
    let reply = installation
        .raw(format!("{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n").as_bytes());
    assert!(reply.starts_with("HTTP/1.1 400") && reply.matches("HTTP/1.1").count() == 1, "{reply}");
    untouched(&installation, &before, &[&good]);
}

#[test]
fn what_is_not_there_is_not_found_and_what_cannot_be_now_is_refused() {
    let installation = Installation::start();
    let good = installation.create("mariadb", "good");
    let own = format!("/v1/clusters/{}", good.id);
    let before = installation.inventory();
    let unknown = "0".repeat(32);
    let not_found = "Dbaas.NotFound.Cluster";
    for id in [unknown.as_str(), "x", "%00", "..%2F..%2Fetc%2Fpasswd", "%ff%fe", "good", "GOOD", "1%27%20OR%201=1", &"9".repeat(3000)] {
        let path = format!("/v1/clusters/{id}");
        for (method, path) in [
            ("GET", path.clone()),
            ("DELETE", path.clone()),
            ("POST", format!("{path}/start")),
            ("POST", format!("{path}/stop")),
            ("POST", format!("{path}/restart")),
        ] {
            vendor_error(&signed(&installation, MARIADB, method, &path, None), 404, not_found);
        }
        let rules = Some(json!({"add_ip_addresses": ["10.0.0.1"]}));
        vendor_error(&signed(&installation, MARIADB, "POST", &format!("{path}/security-group-rules"), rules), 404, not_found);
        vendor_error(
            &signed(&installation, MARIADB, "GET", &format!("/v1/requests/{id}"), None),
            400,
            "Dbaas.ValidationError.InvalidRequestId",
        );
        vendor_error(
            &signed(&installation, MARIADB, "GET", &format!("/v1/engine-versions/{id}/properties"), None),
            404,
            "Dbaas.NotFound.EngineVersion",
        );
    }
    // A request id that looks right, and one whose operation is another engine's or nobody's.
    for id in ["req-00000000-0000-0000-0000-000000000000", "req-", "req-x"] {
        vendor_error(
            &signed(&installation, MARIADB, "GET", &format!("/v1/requests/{id}"), None),
            400,
            "Dbaas.ValidationError.InvalidRequestId",
        );
    }
    // Under another engine's name the cluster is not there (decisions 20).
    for (version, path) in [(POSTGRESQL, own.clone()), (MARIADB, format!("/postgresql{own}"))] {
        for (method, path) in [("GET", path.clone()), ("DELETE", path.clone()), ("POST", format!("{path}/stop"))] {
            vendor_error(&signed(&installation, version, method, &path, None), 404, not_found);
        }
    }
    for (method, path, status, code) in [
        ("GET", "/v1", 404, "Dbaas.NotFound.Path"),
        ("GET", "/v1/", 404, "Dbaas.NotFound.Path"),
        ("GET", "/v2/clusters", 404, "Dbaas.NotFound.Path"),
        ("GET", "/mysql/v1/clusters", 404, "Dbaas.NotFound.Path"),
        ("GET", "/v1/clusters/", 404, "Dbaas.NotFound.Path"),
        ("GET", "/v1//clusters", 404, "Dbaas.NotFound.Path"),
        ("GET", "//v1/clusters", 404, "Dbaas.NotFound.Path"),
        ("GET", "/v1%2Fclusters", 404, "Dbaas.NotFound.Path"),
        ("GET", "/V1/Clusters", 404, "Dbaas.NotFound.Path"),
        ("PUT", "/v1/clusters", 405, "Dbaas.MethodNotAllowed"),
        ("PATCH", "/v1/clusters", 405, "Dbaas.MethodNotAllowed"),
        ("DELETE", "/v1/clusters", 405, "Dbaas.MethodNotAllowed"),
        ("TRACE", "/v1/clusters", 405, "Dbaas.MethodNotAllowed"),
        ("BREW", "/v1/clusters", 405, "Dbaas.MethodNotAllowed"),
        ("GET", "/v1/clusters/x/start", 405, "Dbaas.MethodNotAllowed"),
        ("POST", "/v1/requests/x", 405, "Dbaas.MethodNotAllowed"),
        ("POST", "/", 405, "Dbaas.MethodNotAllowed"),
    ] {
        let reply = signed(&installation, MARIADB, method, path, None);
        let (_, text) = vendor_error(&reply, status, code);
        assert!(text.contains(path.split('/').next_back().unwrap_or_default()), "{text}");
    }
    // Dots are not walked, slashes are not joined: a request goes where it says or nowhere.
    let token = installation.bootstrap()["token"].as_str().expect("a token").to_owned();
    for target in [
        "/x/../v1/clusters",
        "/v1/clusters/../clusters",
        "//v1/clusters",
        "/moorage/../v1/clusters",
        "/v1/./clusters",
        "/v1/clusters;x=1",
        "/v1/clusters%3Fsize=1",
    ] {
        let reply = installation
            .raw(format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(reply.starts_with("HTTP/1.1 404"), "{target}: {reply}");
    }
    // Native paths speak their own dialect.
    for (method, path, status, code) in [
        ("GET", "/moorage/v1/nothing", 404, "path-not-found"),
        ("GET", "/moorage", 404, "path-not-found"),
        ("PUT", "/moorage/v1/clusters", 405, "method-not-allowed"),
        ("GET", "/moorage/v1/clusters/nobody", 404, "cluster-not-found"),
        ("DELETE", "/moorage/v1/clusters/%00", 404, "cluster-not-found"),
        ("GET", "/moorage/v1/operations/nobody", 404, "operation-not-found"),
        ("POST", "/moorage/v1/operations/nobody/cancel", 404, "operation-not-found"),
        ("POST", "/moorage/v1/operations/nobody/abandon", 404, "operation-not-found"),
        ("GET", "/moorage/v1/clusters?limit=0", 400, "invalid-request"),
        ("GET", "/moorage/v1/clusters?limit=1001", 400, "invalid-request"),
        ("GET", "/moorage/v1/clusters?cursor=x", 400, "invalid-request"),
        ("GET", "/moorage/v1/clusters?state=happy", 400, "invalid-request"),
        ("GET", "/moorage/v1/clusters?engine=oracle", 400, "invalid-request"),
        ("GET", "/moorage/v1/operations?status=sad", 400, "invalid-request"),
    ] {
        native_error(&installation.exchange(method, path, &bearer(&installation), None), status, code);
    }
    // Pages, sorts and filters.
    for query in [
        "size=-1",
        "size=1001",
        "size=x",
        "size=1.5",
        "size=99999999999999999999999",
        "size=%2B5",
        "page=-1",
        "page=x",
        "page=2147483648",
        "page=%00",
        "sort=name",
        "sort=name:up",
        "sort=id:asc",
        "sort=name:asc,created_at:asc",
        "sort=name%3Aasc%3B%20DROP",
        "service_state=running",
        "service_state=NOWHERE",
    ] {
        let reply = signed(&installation, MARIADB, "GET", &format!("/v1/clusters?{query}"), None);
        let (_, text) = vendor_error(&reply, 400, "ValidationError");
        assert!(text.starts_with(query.split('=').next().expect("a key")), "{query}: {text}");
    }
    let (status, far) = installation.scp(MARIADB, "GET", "/v1/clusters?page=2147483647&size=1000&sort=created_at:desc", None);
    assert_eq!((status, far["contents"].as_array().map(Vec::len)), (200, Some(0)), "{far}");
    for query in ["product_image_type=Oracle", "eos_included=perhaps"] {
        vendor_error(&signed(&installation, MARIADB, "GET", &format!("/v1/engine-versions?{query}"), None), 400, "ValidationError");
    }
    let long = format!("/v1/clusters?name={}", "x".repeat(12_000));
    assert_eq!(signed(&installation, MARIADB, "GET", &long, None).status, 200);
    let endless = format!("/v1/clusters?name={}", "x".repeat(60_000));
    let status = signed(&installation, MARIADB, "GET", &endless, None).status;
    assert!((400..500).contains(&status), "{status}");
    // Services and versions nobody speaks here.
    for version in ["mariadb 1.2", "mysql 1.1", "mariadb", "mariadb 1.1 beta", "1.1", "mariadb one"] {
        let reply = signed(&installation, version, "GET", &own, None);
        if version == "mariadb" {
            assert_eq!(reply.status, 200, "a service without a version means its newest: {}", reply.body);
        } else {
            let (_, text) = vendor_error(&reply, 400, "ValidationError");
            assert!(text.contains("Supported are"), "{text}");
        }
    }
    // Rules that change nothing or cannot be.
    let rules = format!("{own}/security-group-rules");
    for wrong in [
        json!({}),
        json!({"add_ip_addresses": [], "del_ip_addresses": null}),
        json!({"add_ip_addresses": ["10.0.0.1/8"]}),
        json!({"add_ip_addresses": ["::/129"]}),
        json!({"add_ip_addresses": ["10.0.0.1", "10.0.0.1"]}),
        json!({"add_ip_addresses": "10.0.0.1"}),
        json!({"del_ip_addresses": ["10.9.9.9"]}),
        json!({"add": ["10.0.0.1"]}),
    ] {
        vendor_error(&signed(&installation, MARIADB, "POST", &rules, Some(wrong)), 400, "ValidationError");
    }
    untouched(&installation, &before, &[&good]);

    // In the wrong state.
    let wrong_state = |method: &str, path: &str| {
        let body = path.ends_with("rules").then(|| json!({"add_ip_addresses": ["10.0.0.1"]}));
        let reply = signed(&installation, MARIADB, method, path, body);
        let (_, text) = vendor_error(&reply, 400, "Dbaas.ValidationError.InvalidServiceState");
        assert!(text.starts_with("Invalid service state."), "{text}");
        text
    };
    let (start, stop, restart) = (format!("{own}/start"), format!("{own}/stop"), format!("{own}/restart"));
    assert!(wrong_state("POST", &start).contains("RUNNING"));
    untouched(&installation, &before, &[&good]);
    let ends = |accepted: &Value| {
        let request = accepted["request_id"].as_str().expect("a request").to_owned();
        installation.until(Duration::from_secs(60), "the request ends", |this| {
            let (status, state) = this.scp(MARIADB, "GET", &format!("/v1/requests/{request}"), None);
            assert_eq!(status, 200, "{state}");
            (state["state"] != "PROCESSING").then(|| state["state"].clone())
        })
    };
    let state = || installation.scp(MARIADB, "GET", &own, None).1["service_state"].clone();
    for (path, passing, then) in [(&stop, "STOPPING", "STOPPED"), (&start, "STARTING", "RUNNING"), (&restart, "RESTARTING", "RUNNING")] {
        let (status, accepted) = installation.scp(MARIADB, "POST", path, None);
        assert_eq!(status, 202, "{accepted}");
        assert_eq!(state(), passing, "right after the 202");
        for other in [&start, &stop, &restart, &rules] {
            wrong_state("POST", other);
        }
        wrong_state("DELETE", &own);
        assert_eq!(ends(&accepted), "SUCCESS");
        assert_eq!(state(), then);
        if then == "STOPPED" {
            wrong_state("POST", &stop);
            wrong_state("POST", &restart);
        }
    }
    let (status, accepted) = installation.scp(MARIADB, "POST", &rules, Some(json!({"add_ip_addresses": ["127.0.0.0/8"]})));
    assert_eq!(status, 202, "{accepted}");
    assert_eq!(state(), "EDITING", "right after the 202");
    assert_eq!(ends(&accepted), "SUCCESS");
    assert_eq!(good.sql("SELECT 1"), Ok("1".into()));
    let (status, accepted) = installation.scp(MARIADB, "DELETE", &own, None);
    assert_eq!(status, 202, "{accepted}");
    for _ in 0..20 {
        match installation.scp(MARIADB, "GET", &own, None) {
            (404, _) => break,
            (_, shown) => assert_eq!(shown["service_state"], "TERMINATING", "right after the 202"),
        }
    }
    assert_eq!(ends(&accepted), "SUCCESS");
    vendor_error(&signed(&installation, MARIADB, "DELETE", &own, None), 404, not_found);
}

#[test]
fn null_blank_and_absent_options_make_the_same_cluster() {
    let installation = Installation::start();
    let optional = [
        "/allowable_ip_addresses",
        "/ha_enabled",
        "/nat_enabled",
        "/origin_cluster_id",
        "/vip_public_ip_id",
        "/virtual_ip_address",
        "/maintenance_option",
        "/tags",
        "/timezone",
        "/init_config_option/audit_enabled",
        "/init_config_option/backup_option",
        "/init_config_option/database_port",
        "/init_config_option/database_encoding",
        "/init_config_option/database_locale",
        "/instance_groups/0/instances/0/public_ip_id",
        "/instance_groups/0/instances/0/service_ip_address",
        "/instance_groups/0/block_storage_groups/0/volume_type",
    ];
    let id = engine_version(&installation, POSTGRESQL);
    let mut shown = Vec::new();
    let mut requests = Vec::new();
    for (name, blank) in [("absent", json!(ABSENT)), ("null", json!(null)), ("blank", json!(""))] {
        let mut wanted = with(&body(POSTGRESQL, &id), "/name", &json!(name));
        for place in optional {
            wanted = with(&wanted, place, &blank);
        }
        if name == "null" {
            wanted = with(&wanted, "/instance_groups/0/instances", &json!(null));
        }
        let (status, accepted) = installation.scp(POSTGRESQL, "POST", "/v1/clusters", Some(wanted));
        assert_eq!(status, 202, "{accepted}");
        let (_, now) =
            installation.scp(POSTGRESQL, "GET", &format!("/v1/clusters/{}", accepted["resource"]["id"].as_str().expect("an id")), None);
        assert_eq!(now["service_state"], "CREATING", "right after the 202");
        requests.push(accepted);
    }
    for accepted in requests {
        let id = accepted["resource"]["id"].as_str().expect("an id").to_owned();
        let cluster = installation.running(&id);
        assert_eq!(cluster.sql("SHOW timezone"), Ok("Asia/Seoul".into()));
        let (_, mut now) = installation.scp(POSTGRESQL, "GET", &format!("/v1/clusters/{id}"), None);
        let group = &mut now["instance_groups"][0];
        group["id"] = json!(0);
        for volume in group["block_storage_groups"].as_array_mut().expect("volumes") {
            volume["id"] = json!(0);
        }
        group["instances"][0]["service_ip_address"] = json!(0);
        for key in ["id", "name", "created_at", "modified_at"] {
            now[key] = json!(0);
        }
        shown.push(now);
    }
    assert_eq!(shown[0], shown[1]);
    assert_eq!(shown[0], shown[2]);
}

#[test]
fn the_command_line_says_what_is_wrong_and_makes_nothing() {
    let installation = Installation::start();
    let password = installation.directory.join("password");
    std::fs::write(&password, PASSWORD).expect("written");
    let password = password.to_string_lossy().into_owned();
    let before = installation.inventory();
    let create = |change: &[&str]| {
        let mut arguments = vec![
            "cluster",
            "create",
            "shop",
            "--engine",
            "postgresql",
            "--database",
            "shop",
            "--owner",
            "keeper",
            "--password-file",
            &password,
        ];
        for pair in change.chunks(2) {
            match arguments.iter().position(|argument| *argument == pair[0]) {
                Some(at) => arguments[at + 1] = pair[1],
                None => arguments.extend(pair),
            }
        }
        installation.cli(&arguments)
    };
    let short = installation.directory.join("short");
    std::fs::write(&short, "short").expect("written");
    let short = short.to_string_lossy().into_owned();
    for (change, told) in [
        (&["--engine", "oracle"][..], "oracle"),
        (&["--version", "99.1"], "99.1"),
        (&["--version", "newest"], "version"),
        (&["--database", "sh;op"], "database.name"),
        (&["--database", "postgres"], "reserved"),
        (&["--owner", "root"], "reserved"),
        (&["--owner", "moorage_admin"], "reserved"),
        (&["--owner", "pg_monitor"], "reserved"),
        (&["--port", "80"], "port"),
        (&["--port", "70000"], "70000"),
        (&["--allow", "everyone"], "everyone"),
        (&["--server-type", "db9v9m9"], "db9v9m9"),
        (&["--size-gb", "1"], "size_gb"),
        (&["--timezone", "Mars/Olympus"], "time zone"),
        (&["--character-set", "klingon"], "klingon"),
        (&["--locale", "xx_XX"], "xx_XX"),
        (&["--subnet", "nowhere"], "nowhere"),
        (&["--address", "192.0.2.1"], "192.0.2.1"),
        (&["--address", "here"], "address"),
        (&["--password-file", short.as_str()], "password"),
        (&["--password-file", "/nonexistent"], "/nonexistent"),
    ] {
        let output = create(change);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{change:?}: {said}");
        assert!(said.contains(told), "{change:?}: {said}");
        tells_nothing_of_the_inside(&said);
    }
    for (arguments, told) in [
        (&["cluster", "show", "nobody"][..], "no such cluster"),
        (&["cluster", "stop", "nobody"], "no such cluster"),
        (&["cluster", "terminate", "nobody"], "no such cluster"),
        (&["operation", "show", "nobody"], "operation"),
        (&["connect", "nobody"], "no such cluster"),
    ] {
        let output = installation.cli(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty() && said.contains(told), "{arguments:?}: {said}");
    }
    assert_eq!(installation.inventory(), before);
}

/// `serve` with these arguments; what it said, after it refused.
fn refuses_to_serve(arguments: &[&str]) -> String {
    let output = Command::new("timeout").arg("20").arg(support::PROGRAM).arg("serve").args(arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    for inside in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!said.contains(inside), "{said}");
    }
    said
}

#[test]
fn a_directory_that_cannot_be_served_is_refused_with_the_reason_and_left_alone() {
    let mut installation = Installation::start();
    let good = installation.create("postgresql", "good");
    let directory = installation.directory.to_string_lossy().into_owned();

    // Somebody else serves it.
    let said = refuses_to_serve(&["--listen", "127.0.0.1:0", "--data-dir", &directory]);
    assert!(said.contains(&format!("process {}", installation.server_pid())) && said.contains("--data-dir"), "{said}");
    assert_eq!(installation.native("GET", "/moorage/v1/clusters", None).0, 200);

    // The port is taken by the first one.
    let taken = installation.bootstrap()["base_url"].as_str().expect("a URL").trim_start_matches("http://").to_owned();
    let second = tempfile::tempdir().expect("a directory");
    open(second.path());
    let second = second.path().to_string_lossy().into_owned();
    let said = refuses_to_serve(&["--listen", &taken, "--data-dir", &second]);
    assert!(said.contains(&taken) && said.contains("--listen"), "{said}");

    // A newer program wrote its store.
    installation.end_server();
    let store = installation.directory.join("store.db");
    change_store(&store, "INSERT INTO schema_version (version) VALUES (4711)");
    let said = refuses_to_serve(&["--listen", "127.0.0.1:0", "--data-dir", &directory]);
    assert!(said.contains("4711") && said.contains("newer program"), "{said}");
    assert_eq!(good.sql("SELECT 1"), Ok("1".into()), "a refused server takes nothing down");
    change_store(&store, "DELETE FROM schema_version WHERE version = 4711");

    // A key that opens nothing.
    let key = installation.directory.join("master.key");
    let kept = std::fs::read(&key).expect("a key");
    std::fs::write(&key, "not a key").expect("written");
    let said = refuses_to_serve(&["--listen", "127.0.0.1:0", "--data-dir", &directory]);
    assert!(said.contains("master key"), "{said}");
    std::fs::write(&key, kept).expect("written");
    installation.serve();
    assert_eq!(installation.running(&good.id).sql("SELECT 1"), Ok("1".into()));

    // Places nothing can be written to.
    let file = std::path::Path::new(&second).join("file");
    std::fs::write(&file, "").expect("written");
    for place in [
        format!("{second}/file"),
        format!("{second}/file/below"),
        "/proc/moorage".to_owned(),
        "/sys/moorage".to_owned(),
        "/dev/null".to_owned(),
    ] {
        let said = refuses_to_serve(&["--listen", "127.0.0.1:0", "--data-dir", &place]);
        assert!(said.contains("cannot be used") && said.contains(&place), "{said}");
    }

    // Configuration that is none.
    for (text, told) in [
        ("listen = ", "line 1"),
        ("[server]\nlissten = 'x'", "lissten"),
        ("[network]\nsubnets = [{id = 'a', cidr = '10.0.0.0/99'}]", "cidr"),
        ("[limits]\nconnections = -5", "connections"),
    ] {
        std::fs::write(&file, text).expect("written");
        let said = refuses_to_serve(&["--listen", "127.0.0.1:0", "--config", &file.to_string_lossy(), "--data-dir", &second]);
        assert!(said.contains(told), "{said}");
    }
    for address in ["127.0.0.1", "nowhere:1", "127.0.0.1:99999", ""] {
        let said = refuses_to_serve(&["--listen", address, "--data-dir", &second]);
        assert!(said.contains("is not an address and port") || address.is_empty(), "{said}");
    }
}

/// What only a newer program or somebody's hands do to a store.
fn change_store(store: &std::path::Path, sql: &'static str) {
    use sqlx::{ConnectOptions, Connection};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(store).connect().await.expect("the store opens");
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("it is changed");
        connection.close().await.expect("closed");
    });
}

/// Lets other accounts pass through.
fn open(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("opened");
}
