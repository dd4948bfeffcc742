use super::*;
use moorage_domain::ProblemCode;
use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

fn dialect(header: &str) -> Dialect {
    Dialect::choose(None, Some(header)).expect("a dialect")
}

/// The seed's body with its required blanks filled in, its optional ones left blank.
fn body() -> Value {
    json!({
        "allowable_ip_addresses": [],
        "dbaas_engine_version_id": "109a585ae67b4e8482fdafc8a4a5be74",
        "ha_enabled": false,
        "init_config_option": {
            "audit_enabled": false,
            "backup_option": {"archive_frequency_minute": "60", "retention_period_day": "7", "starting_time_hour": "2"},
            "database_character_set": "utf8",
            "database_name": "shop",
            "database_port": 2866,
            "database_user_name": "keeper",
            "database_user_password": "Passw0rd!x"
        },
        "instance_groups": [{
            "block_storage_groups": [{"role_type": "OS", "size_gb": 104, "volume_type": "SSD"}],
            "instances": [{"public_ip_id": "", "role_type": "ACTIVE", "service_ip_address": ""}],
            "role_type": "ACTIVE",
            "server_type_name": "db1v1m2"
        }],
        "instance_name_prefix": "shop",
        "maintenance_option": {"period_hour": "", "starting_day_of_week": "MON", "starting_time": ""},
        "name": "Shop",
        "nat_enabled": false,
        "origin_cluster_id": "",
        "subnet_id": "default",
        "tags": [],
        "timezone": "",
        "vip_public_ip_id": "",
        "virtual_ip_address": ""
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut body = body();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = body.pointer_mut(parent).expect("a parent");
    match parent {
        Value::Array(items) => items[key.parse::<usize>().expect("an index")] = value,
        other => other[key] = value,
    }
    body
}

fn without(key: &str) -> Value {
    let mut body = body();
    body.as_object_mut().expect("an object").remove(key);
    body
}

fn read(body: &Value) -> Result<CreateCluster, Refusal> {
    create_cluster(body.to_string().as_bytes(), dialect("mariadb 1.0"))
}

fn refused(body: &Value) -> Vec<(ProblemCode, String)> {
    let refusal = read(body).expect_err("refused");
    refusal.problems().map(|problem| (problem.code, problem.field.clone().unwrap_or_default())).collect()
}

#[test]
fn the_seeds_body_with_its_blanks_filled_in_is_accepted() {
    let command = read(&body()).expect("valid");
    assert_eq!(command.name, "Shop");
    assert_eq!(command.timezone, "Asia/Seoul");
    assert_eq!(command.port, Some(2866));
    assert_eq!(command.database.password.expose_secret(), "Passw0rd!x");
    assert_eq!(command.backup.expect("a backup wish").retention_period_day.as_deref(), Some("7"));
    assert_eq!(command.groups[0].instances, [CreateInstance { role: "ACTIVE".into(), service_address: None }]);
    let window = command.maintenance.expect("a window");
    assert_eq!((window.starting_day_of_week.as_deref(), window.starting_time), (Some("MON"), None));
}

#[test]
fn null_blank_and_absent_optionals_are_alike() {
    let optional = [
        "allowable_ip_addresses",
        "ha_enabled",
        "maintenance_option",
        "nat_enabled",
        "origin_cluster_id",
        "tags",
        "vip_public_ip_id",
        "virtual_ip_address",
    ];
    for key in optional {
        let absent = format!("{:?}", read(&without(key)).expect(key));
        for blank in [json!(null), json!("")] {
            assert_eq!(format!("{:?}", read(&with(&format!("/{key}"), blank)).expect(key)), absent, "{key}");
        }
    }
    for pointer in [
        "/init_config_option/audit_enabled",
        "/init_config_option/backup_option",
        "/init_config_option/database_character_set",
        "/init_config_option/database_port",
        "/init_config_option/backup_option/starting_time_hour",
        "/maintenance_option/starting_day_of_week",
        "/instance_groups/0/instances",
        "/instance_groups/0/instances/0/public_ip_id",
        "/instance_groups/0/instances/0/service_ip_address",
        "/instance_groups/0/block_storage_groups/0/volume_type",
    ] {
        let null = format!("{:?}", read(&with(pointer, json!(null))).expect(pointer));
        assert_eq!(format!("{:?}", read(&with(pointer, json!(""))).expect(pointer)), null, "{pointer}");
    }
    let blank = json!({"archive_frequency_minute": "", "retention_period_day": null});
    assert_eq!(read(&with("/init_config_option/backup_option", blank)).expect("valid").backup, None);
}

#[test]
fn every_required_field_is_missed_by_name() {
    let required =
        ["dbaas_engine_version_id", "name", "instance_name_prefix", "subnet_id", "timezone", "init_config_option", "instance_groups"];
    for key in required {
        assert_eq!(refused(&without(key)), [(ProblemCode::InvalidRequest, key.to_owned())]);
    }
    let fields: Vec<String> = refused(&json!({})).into_iter().map(|(_, field)| field).collect();
    assert_eq!(fields, required);
}

#[test]
fn values_outside_the_documented_patterns_are_refused() {
    for (pointer, bad) in [
        (
            "/name",
            vec![
                json!("ab"),
                json!("abcdefghijklmnopqrstu"),
                json!("a-b-c"),
                json!("abc1"),
                json!("äbc"),
                json!(7),
                json!(""),
                json!(null),
            ],
        ),
        ("/instance_name_prefix", vec![json!("Abc"), json!("ab"), json!("a_b"), json!("abcdefghijklmn"), json!("-ab")]),
        ("/subnet_id", vec![json!(""), json!(null), json!([])]),
        ("/dbaas_engine_version_id", vec![json!(""), json!(5)]),
        ("/timezone", vec![json!(5), json!("x".repeat(65))]),
        ("/init_config_option/database_name", vec![json!("1ab"), json!("a-b"), json!("ab"), json!("a".repeat(21)), json!("a;b c")]),
        ("/init_config_option/database_user_name", vec![json!("a"), json!("Abc"), json!("a1"), json!("a".repeat(21))]),
        (
            "/init_config_option/database_user_password",
            vec![
                json!("Sh0rt!"),
                json!("a".repeat(31)),
                json!("abcdefgh!"),
                json!("12345678!"),
                json!("abcd1234"),
                json!("abcd123'!"),
                json!("abcd123\"!"),
                json!("abcd 123!"),
                json!("abcd123!\u{0}"),
                json!("pässw0rd!"),
                json!(null),
            ],
        ),
        ("/init_config_option/database_port", vec![json!(1023), json!(65536), json!(-1), json!("2866"), json!(2866.5)]),
        ("/init_config_option/backup_option/archive_frequency_minute", vec![json!("7"), json!(60), json!("05")]),
        ("/init_config_option/backup_option/retention_period_day", vec![json!("6"), json!("36"), json!("07")]),
        ("/init_config_option/backup_option/starting_time_hour", vec![json!("24"), json!("02"), json!("-1")]),
        ("/maintenance_option/period_hour", vec![json!("0"), json!("25"), json!("6.5"), json!("0.4"), json!(1)]),
        ("/maintenance_option/starting_day_of_week", vec![json!("MONDAY"), json!("mon")]),
        ("/maintenance_option/starting_time", vec![json!("2400"), json!("0060"), json!("000"), json!("+1+2")]),
        ("/instance_groups", vec![json!([]), json!({}), json!([1])]),
        ("/instance_groups/0/role_type", vec![json!("ACTIVE_STANDBY"), json!("BROKER"), json!("")]),
        ("/instance_groups/0/server_type_name", vec![json!(""), json!(null)]),
        ("/instance_groups/0/block_storage_groups", vec![json!([]), json!(null)]),
        ("/instance_groups/0/block_storage_groups/0/size_gb", vec![json!(15), json!(5121), json!("104"), json!(""), json!(1e30)]),
        ("/instance_groups/0/block_storage_groups/0/role_type", vec![json!("SYSTEM"), json!("")]),
        ("/instance_groups/0/block_storage_groups/0/volume_type", vec![json!("NVME")]),
        ("/instance_groups/0/instances/0/role_type", vec![json!("STANDBY"), json!("")]),
        ("/instance_groups/0/instances/0/service_ip_address", vec![json!("10.0.0"), json!("::1"), json!("10.0.0.1/32")]),
        ("/allowable_ip_addresses", vec![json!(["10.0.0.1/8"]), json!(["x"]), json!("10.0.0.1"), json!(["10.0.0.1", "10.0.0.1"])]),
        ("/tags", vec![json!([{"value": "v"}]), json!([{"key": "k"}, {"key": "k"}]), json!([{"key": "k", "colour": "red"}])]),
    ] {
        for value in bad {
            let refusals = refused(&with(pointer, value.clone()));
            assert!(!refusals.is_empty(), "{pointer}: {value}");
            let path = pointer.trim_start_matches('/').replace('/', ".");
            assert!(refusals[0].1.starts_with(&path), "{pointer}: {value}: {refusals:?}");
        }
    }
    assert!(refused(&with("/ha_enabled", json!("yes")))[0].0 == ProblemCode::InvalidRequest);
}

#[test]
fn two_groups_two_instances_two_os_volumes_and_no_usable_volume_are_refused() {
    let group = body()["instance_groups"][0].clone();
    assert_eq!(refused(&with("/instance_groups", json!([group, group])))[0].1, "instance_groups");
    let instance = group["instances"][0].clone();
    assert_eq!(refused(&with("/instance_groups/0/instances", json!([instance, instance])))[0].1, "instance_groups.0.instances");
    let volume = |role: &str| json!({"role_type": role, "size_gb": 16});
    let volumes = |volumes: Value| read(&with("/instance_groups/0/block_storage_groups", volumes));
    assert!(volumes(json!([volume("OS"), volume("OS")])).is_err());
    assert!(volumes(json!([volume("ARCHIVE")])).is_err());
    assert!(volumes(json!([volume("OS"), volume("DATA"), volume("DATA"), volume("BACKUP")])).is_ok());
    assert!(volumes(Value::Array(vec![volume("DATA"); 10])).is_err());
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    for (pointer, value) in [
        ("/nat_enabled", json!(true)),
        ("/init_config_option/audit_enabled", json!(true)),
        ("/origin_cluster_id", json!("109a585ae67b4e8482fdafc8a4a5be74")),
        ("/vip_public_ip_id", json!("x")),
        ("/instance_groups/0/instances/0/public_ip_id", json!("x")),
    ] {
        let path = pointer.trim_start_matches('/').replace('/', ".");
        assert_eq!(refused(&with(pointer, value)), [(ProblemCode::NotSupportedYet, path)]);
    }
}

/// As a client asks for a highly available cluster.
fn highly_available() -> Value {
    let mut body = with("/ha_enabled", json!(true));
    body["instance_groups"][0]["role_type"] = json!("ACTIVE_STANDBY");
    let instance = |role: &str| json!({"role_type": role, "service_ip_address": null, "public_ip_id": null});
    body["instance_groups"][0]["instances"] = json!([instance("ACTIVE"), instance("STANDBY")]);
    body
}

#[test]
fn a_highly_available_cluster_is_one_group_of_two_with_a_virtual_address() {
    let instance = |role: &str, address: Option<&str>| CreateInstance {
        role: role.into(),
        service_address: address.map(|address| address.parse().expect("an address")),
    };
    let command = read(&highly_available()).expect("valid");
    assert!(command.highly_available && command.virtual_address.is_none());
    assert_eq!(command.groups[0].instances, [instance("ACTIVE", None), instance("STANDBY", None)]);
    let mut body = highly_available();
    body["virtual_ip_address"] = json!("127.64.0.40");
    body["instance_groups"][0]["instances"][1]["service_ip_address"] = json!("127.64.0.41");
    let command = read(&body).expect("valid");
    assert_eq!(command.virtual_address, "127.64.0.40".parse().ok());
    assert_eq!(command.groups[0].instances[1], instance("STANDBY", Some("127.64.0.41")));
    let invalid = |change: &dyn Fn(&mut Value)| {
        let mut body = highly_available();
        change(&mut body);
        let refused = refused(&body);
        assert!(refused.iter().all(|(code, _)| *code == ProblemCode::InvalidRequest), "{refused:?}");
        refused.into_iter().map(|(_, field)| field).collect::<Vec<_>>()
    };
    let instances = "instance_groups.0.instances";
    assert_eq!(invalid(&|body| body["instance_groups"][0]["role_type"] = json!("ACTIVE")), ["instance_groups.0.role_type"]);
    assert_eq!(invalid(&|body| body["instance_groups"][0]["instances"][1]["role_type"] = json!("ACTIVE")), [instances]);
    assert_eq!(invalid(&|body| drop(body["instance_groups"][0]["instances"].as_array_mut().expect("a list").pop())), [instances]);
    assert_eq!(invalid(&|body| body["virtual_ip_address"] = json!("10.0.0")), ["virtual_ip_address"]);
    assert!(invalid(&|body| body["ha_enabled"] = json!(false)).len() >= 2, "the group and its instances");
}

#[test]
fn a_time_zone_may_be_blank_but_not_missing() {
    for blank in [json!(null), json!("")] {
        assert_eq!(read(&with("/timezone", blank)).expect("the default").timezone, "Asia/Seoul");
    }
    assert_eq!(refused(&without("timezone")), [(ProblemCode::InvalidRequest, "timezone".into())]);
}

#[test]
fn a_maintenance_window_is_read_in_parts_and_shown_as_one_time() {
    let read = |body: Value| maintenance_window(body.to_string().as_bytes());
    let body = json!({"start_day_of_week": "SUN", "start_time": "03", "start_minute": "30", "term_hour": "0.5"});
    let window = read(body.clone()).expect("valid");
    assert_eq!((window.starting_day_of_week.as_deref(), window.starting_time.as_deref()), (Some("SUN"), Some("0330")));
    for (key, bad) in [
        ("start_day_of_week", json!("SOMEDAY")),
        ("start_time", json!("24")),
        ("start_time", json!("3")),
        ("start_minute", json!("60")),
        ("start_minute", json!("+1")),
        ("term_hour", json!("25")),
        ("term_hour", json!(1)),
        ("colour", json!("red")),
    ] {
        let mut body = body.clone();
        body[key] = bad.clone();
        assert!(read(body).is_err(), "{key}: {bad}");
    }
    assert_eq!(read(json!({})).expect_err("refused").problems().count(), 4);
}

#[test]
fn malformed_fields_go_before_unsupported_ones() {
    let mut body = with("/nat_enabled", json!(true));
    body["name"] = json!("1");
    let refusals = refused(&body);
    assert_eq!(refusals[0], (ProblemCode::InvalidRequest, "name".into()));
    assert_eq!(refusals[1], (ProblemCode::NotSupportedYet, "nat_enabled".into()));
}

#[test]
fn unknown_keys_are_refused_at_every_depth() {
    for pointer in [
        "/colour",
        "/init_config_option/colour",
        "/init_config_option/backup_option/colour",
        "/maintenance_option/colour",
        "/instance_groups/0/colour",
        "/instance_groups/0/block_storage_groups/0/colour",
        "/instance_groups/0/instances/0/colour",
    ] {
        let path = pointer.trim_start_matches('/').replace('/', ".");
        assert_eq!(refused(&with(pointer, json!("red"))), [(ProblemCode::InvalidRequest, path)]);
    }
}

#[test]
fn versions_and_services_differ_where_the_vendors_do() {
    let watched = with("/service_watch_log_collection", json!(null));
    let read = |body: &Value, header: &str| create_cluster(body.to_string().as_bytes(), dialect(header));
    assert!(read(&body(), "mariadb 1.0").is_ok() && read(&watched, "mariadb 1.0").is_err());
    assert!(read(&body(), "mariadb 1.1").is_err() && read(&watched, "mariadb 1.1").is_ok());
    assert!(read(&with("/service_watch_log_collection", json!(true)), "mariadb 1.1").expect("valid").service_watch_log_collection);
    let unstated = Dialect::choose(None, None).expect("a dialect");
    assert!(create_cluster(body().to_string().as_bytes(), unstated).is_ok());

    let mut postgresql = body();
    let init = postgresql["init_config_option"].as_object_mut().expect("an object");
    init.remove("database_character_set");
    init.insert("database_encoding".into(), json!("UTF-8"));
    init.insert("database_locale".into(), json!("C"));
    for header in ["postgresql 1.0", "postgresql 1.1"] {
        let command = read(&postgresql, header).expect(header);
        assert_eq!((command.database.character_set.as_deref(), command.database.locale.as_deref()), (Some("UTF-8"), Some("C")));
        assert!(read(&body(), header).is_err());
        assert!(
            read(
                &{
                    let mut b = postgresql.clone();
                    b["service_watch_log_collection"] = json!(null);
                    b
                },
                header
            )
            .is_err()
        );
    }
    assert!(read(&postgresql, "mariadb 1.0").is_err());
}

#[test]
fn order_is_kept() {
    let body = with("/allowable_ip_addresses", json!(["10.0.0.9", "10.0.0.1", "192.0.2.0/24"]));
    assert_eq!(read(&body).expect("valid").allow_list, ["10.0.0.9", "10.0.0.1", "192.0.2.0/24"]);
}

#[test]
fn documented_patterns_accept_exactly_what_they_say() {
    for good in ["0.5", "1.5", "5.5", "1", "9", "10", "19", "24"] {
        assert!(period_hours(good), "{good}");
    }
    for good in ["0", "9", "10", "23"] {
        assert!(plain_number(good, 0..=23), "{good}");
    }
    assert!(time_of_day("0000") && time_of_day("2359"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z_]{1,12}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_anywhere_is_read_or_refused_without_a_panic(index in 0_usize..24, value in any_json()) {
        let pointers = [
            "/allowable_ip_addresses", "/dbaas_engine_version_id", "/ha_enabled", "/init_config_option", "/instance_groups",
            "/instance_name_prefix", "/maintenance_option", "/name", "/nat_enabled", "/origin_cluster_id", "/subnet_id", "/tags",
            "/timezone", "/vip_public_ip_id", "/virtual_ip_address", "/init_config_option/backup_option",
            "/init_config_option/database_port", "/init_config_option/database_user_password", "/instance_groups/0",
            "/instance_groups/0/instances", "/instance_groups/0/instances/0", "/instance_groups/0/block_storage_groups/0",
            "/instance_groups/0/block_storage_groups", "/instance_groups/0/server_type_name",
        ];
        let _ = read(&with(pointers[index], value));
    }
    #[test]
    fn names_that_are_accepted_match_the_documented_pattern(name in "[ -~]{0,24}") {
        let ok = read(&with("/name", Value::from(name.clone()))).is_ok();
        prop_assert_eq!(ok, (3..=20).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphabetic()));
    }
}
