//! Every field of a create request.

use crate::answers::{ABSENT, MARIADB, POSTGRESQL, body, engine_version, signed, untouched, vendor_error, with};
use crate::support::Installation;
use serde_json::{Value, json};

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
            ("/ha_enabled", json!(true), "ValidationError", "instance_groups.0.role_type"),
            ("/nat_enabled", json!(true), "Dbaas.ValidationError.NotSupportedYet", "nat_enabled"),
            ("/init_config_option/audit_enabled", json!(true), "Dbaas.ValidationError.NotSupportedYet", "audit_enabled"),
            ("/origin_cluster_id", json!(good.id), "Dbaas.ValidationError.NotSupportedYet", "origin_cluster_id"),
            ("/vip_public_ip_id", json!("pip"), "Dbaas.ValidationError.NotSupportedYet", "vip_public_ip_id"),
            ("/virtual_ip_address", json!("10.0.0.1"), "ValidationError", "virtual_ip_address"),
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
