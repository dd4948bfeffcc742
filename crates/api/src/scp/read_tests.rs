use super::*;
use moorage_domain::cluster::{ACTIVE_STANDBY, BackupWish, DatabaseSpec, InstanceGroup, InstanceWish, MaintenanceWindow, VolumeSpec, Wish};
use moorage_domain::engine::Version;
use moorage_domain::instance::{Endpoint, Instance as InstanceRow, Observed};
use moorage_domain::service_state::ServiceState;
use moorage_domain::{ClusterId, GroupId, HostId, InstanceId, OperationId, ProjectId, Timestamp, VolumeId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn view(engine: EngineName, state: ServiceState) -> ClusterView {
    let spec = ClusterSpec {
        instance_name_prefix: "shop".into(),
        subnet: "default".into(),
        timezone: "Asia/Seoul".into(),
        allow_list: vec!["10.0.0.9".into(), "10.0.0.1".into()],
        database: DatabaseSpec { name: "shop".into(), owner: "keeper".into(), character_set: "utf8".into(), locale: Some("C".into()) },
        port: 2866,
        groups: vec![InstanceGroup {
            id: GroupId::from_bits(2),
            role: "ACTIVE".into(),
            server_type: "db1v1m2".into(),
            volumes: vec![
                VolumeSpec { id: VolumeId::from_bits(3), role: "OS".into(), size_gb: 104, volume_type: "SSD".into() },
                VolumeSpec { id: VolumeId::from_bits(4), role: "DATA".into(), size_gb: 16, volume_type: "HDD".into() },
            ],
            instances: vec![InstanceWish { role: "ACTIVE".into(), service_address: None }],
        }],
        maintenance: None,
        backup: None,
        tags: vec![],
        service_watch_log_collection: true,
        deletion_protection: false,
        virtual_address: None,
        strict: false,
    };
    let cluster = Cluster {
        id: ClusterId::from_bits(1),
        project: ProjectId::from_bits(9),
        name: "Shop".into(),
        engine,
        version: Version::parse("10.11.19").expect("a version"),
        wish: Wish::Run,
        term: 1,
        spec,
        host: HostId::from_bits(8),
        state,
        state_reason: None,
        operation: None,
        created_at: Timestamp(1_715_905_397_000_000),
        created_by: "u".into(),
        modified_at: Timestamp(1_715_905_397_000_000),
        modified_by: "u".into(),
    };
    ClusterView { cluster, instances: vec![], endpoint: None, enforcement: std::sync::Arc::new(moorage_app::Enforcement::unknown()) }
}

fn made(mut view: ClusterView) -> ClusterView {
    let id = view.cluster.id.clone();
    let row = InstanceRow {
        id: InstanceId::from_bits(5),
        cluster: id.clone(),
        host: view.cluster.host.clone(),
        name: "shop-1".into(),
        role: "ACTIVE".into(),
        uid: None,
        number: 1,
        slot: 0,
        observed: Observed::default(),
        observed_at: None,
    };
    view.instances = vec![(row, view.cluster.state)];
    let address = "127.64.0.10".parse().expect("an address");
    view.endpoint = Some(Endpoint { cluster: id, address, port: 2866, public: None, instances: BTreeMap::new() });
    view
}

fn shown(view: &ClusterView, header: &str) -> Value {
    serde_json::to_value(cluster(view, Dialect::choose(None, Some(header)).expect("a dialect"))).expect("JSON")
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

const DETAIL_1_0: &[&str] = &[
    "account_id",
    "allowable_ip_addresses",
    "created_at",
    "created_by",
    "dbaas_engine",
    "dbaas_engine_version_name",
    "ha_enabled",
    "id",
    "init_config_option",
    "instance_count",
    "instance_groups",
    "maintenance_option",
    "modified_at",
    "modified_by",
    "name",
    "nat_enabled",
    "origin_cluster_id",
    "product_image_type",
    "product_type",
    "replicas",
    "role_type",
    "service_state",
    "software_version",
    "subnet_id",
    "timezone",
    "vip_public_ip_address",
    "vip_public_ip_id",
    "virtual_ip_address",
];

#[test]
fn each_version_of_each_service_has_exactly_its_keys() {
    let base: BTreeSet<&str> = DETAIL_1_0.iter().copied().collect();
    let plus = |more: &[&'static str]| base.iter().copied().chain(more.iter().copied()).collect::<BTreeSet<&str>>();
    for (engine, header, expected) in [
        (EngineName::MariaDb, "mariadb 1.0", plus(&[])),
        (EngineName::MariaDb, "mariadb 1.1", plus(&["is_kernel_patchable", "service_watch_log_collection"])),
        (EngineName::PostgreSql, "postgresql 1.0", plus(&[])),
        (EngineName::PostgreSql, "postgresql 1.1", plus(&["is_kernel_patchable"])),
    ] {
        assert_eq!(keys(&shown(&view(engine, ServiceState::Running), header)), expected, "{header}");
    }
}

#[test]
fn the_services_differ_in_how_they_call_the_character_set() {
    let mariadb = shown(&view(EngineName::MariaDb, ServiceState::Running), "mariadb 1.1");
    let common = ["audit_enabled", "backup_option", "database_name", "database_port", "database_user_name"];
    let with = |more: &[&'static str]| common.iter().copied().chain(more.iter().copied()).collect::<BTreeSet<&str>>();
    assert_eq!(keys(&mariadb["init_config_option"]), with(&["database_character_set"]));
    let postgresql = shown(&view(EngineName::PostgreSql, ServiceState::Running), "postgresql 1.1");
    assert_eq!(keys(&postgresql["init_config_option"]), with(&["database_encoding", "database_locale"]));
    assert_eq!((&mariadb["product_type"], &postgresql["product_type"]), (&json!("MariaDB"), &json!("PostgreSQL Community")));
}

#[test]
fn a_cluster_that_is_being_made_or_could_not_be_made_is_shown_in_full() {
    for state in [ServiceState::Creating, ServiceState::Failed] {
        let body = shown(&view(EngineName::MariaDb, state), "mariadb 1.0");
        let instance = &body["instance_groups"][0]["instances"][0];
        assert_eq!(instance["name"], "shop-1");
        assert_eq!(instance["service_state"], state.as_str());
        assert_eq!(instance["service_ip_address"], Value::Null);
        assert_eq!((&body["instance_count"], &body["service_state"]), (&json!(1), &json!(state.as_str())));
    }
}

#[test]
fn names_and_order_are_the_same_once_the_instance_is_made() {
    let before = shown(&view(EngineName::MariaDb, ServiceState::Creating), "mariadb 1.0");
    let after = shown(&made(view(EngineName::MariaDb, ServiceState::Running)), "mariadb 1.0");
    let group = |body: &Value| body["instance_groups"][0].clone();
    assert_eq!(group(&before)["instances"][0]["name"], group(&after)["instances"][0]["name"]);
    assert_eq!(group(&before)["block_storage_groups"], group(&after)["block_storage_groups"]);
    assert_eq!(group(&after)["instances"][0]["service_ip_address"], "127.64.0.10");
    let roles: Vec<Value> =
        group(&after)["block_storage_groups"].as_array().expect("a list").iter().map(|v| v["role_type"].clone()).collect();
    assert_eq!(roles, [json!("OS"), json!("DATA")]);
    assert_eq!(after["allowable_ip_addresses"], json!(["10.0.0.9", "10.0.0.1"]));
    assert_eq!(
        keys(&group(&after)["instances"][0]),
        ["name", "public_ip_address", "public_ip_id", "role_type", "service_ip_address", "service_state"].into()
    );
    assert_eq!(keys(&group(&after)["block_storage_groups"][0]), ["id", "name", "role_type", "size_gb", "volume_type"].into());
}

#[test]
fn a_highly_available_cluster_has_a_virtual_address_and_one_for_each_instance() {
    let mut view = view(EngineName::MariaDb, ServiceState::Creating);
    view.cluster.spec.groups[0].role = ACTIVE_STANDBY.into();
    view.cluster.spec.groups[0].instances.push(InstanceWish { role: "STANDBY".into(), service_address: "127.64.0.30".parse().ok() });
    view.cluster.spec.virtual_address = "127.64.0.10".parse().ok();
    let instances = |body: &Value| body["instance_groups"][0]["instances"].clone();
    let wished = shown(&view, "mariadb 1.0");
    assert_eq!((&wished["ha_enabled"], &wished["virtual_ip_address"]), (&json!(true), &json!("127.64.0.10")));
    assert_eq!(instances(&wished)[1]["service_ip_address"], "127.64.0.30");

    let mut view = made(view);
    let mut standby = view.instances[0].clone();
    (standby.0.id, standby.0.slot, standby.0.role) = (InstanceId::from_bits(6), 1, "STANDBY".into());
    view.instances.push(standby);
    let endpoint = view.endpoint.as_mut().expect("an endpoint");
    for (instance, address) in view.instances.iter().zip(["127.64.0.20", "127.64.0.30"]) {
        endpoint.instances.insert(instance.0.id.clone(), address.parse().expect("an address"));
    }
    // They have changed places.
    (view.instances[0].0.role, view.instances[1].0.role) = ("STANDBY".into(), "ACTIVE".into());
    let body = shown(&view, "mariadb 1.0");
    assert_eq!(body["virtual_ip_address"], "127.64.0.10");
    assert_eq!((&body["instance_groups"][0]["role_type"], &body["instance_count"]), (&json!("ACTIVE_STANDBY"), &json!(2)));
    let pairs = |key: &str| instances(&body).as_array().expect("a list").iter().map(|one| one[key].clone()).collect::<Vec<_>>();
    assert_eq!(pairs("role_type"), [json!("STANDBY"), json!("ACTIVE")]);
    assert_eq!(pairs("service_ip_address"), [json!("127.64.0.20"), json!("127.64.0.30")]);
}

#[test]
fn options_are_echoed_verbatim_and_unset_ones_are_shown_as_unset() {
    let mut view = view(EngineName::MariaDb, ServiceState::Running);
    let unset = shown(&view, "mariadb 1.0");
    assert_eq!(
        unset["maintenance_option"],
        json!({"period_hour": null, "starting_day_of_week": null, "starting_time": null, "use_maintenance_option": false})
    );
    assert_eq!(unset["init_config_option"]["backup_option"], Value::Null);
    view.cluster.spec.maintenance = Some(MaintenanceWindow {
        starting_day_of_week: Some("MON".into()),
        starting_time: Some("0300".into()),
        period_hour: Some("0.5".into()),
    });
    view.cluster.spec.backup = Some(BackupWish {
        archive_frequency_minute: Some("60".into()),
        retention_period_day: Some("7".into()),
        starting_time_hour: Some("2".into()),
    });
    let set = shown(&view, "mariadb 1.0");
    assert_eq!(
        set["maintenance_option"],
        json!({"period_hour": "0.5", "starting_day_of_week": "MON", "starting_time": "0300", "use_maintenance_option": true})
    );
    assert_eq!(
        set["init_config_option"]["backup_option"],
        json!({"archive_frequency_minute": "60", "retention_period_day": "7", "starting_time_hour": "2"})
    );
}

#[test]
fn a_request_is_processing_until_it_has_ended() {
    let operation = |status| OperationView {
        id: OperationId::from_bits(0x4f66_8846_8a3d_49f1_8111_451e_bccf_445c),
        kind: "cluster.stop".into(),
        cluster: ClusterId::from_bits(1),
        engine: EngineName::MariaDb,
        status,
        step: "x".into(),
        attempt: 0,
        waiting_for: None,
        problem: None,
        requested_by: "u".into(),
        created_at: Timestamp(0),
        finished_at: None,
        events: vec![],
    };
    use OperationStatus as S;
    for (status, state) in [
        (S::Queued, "PROCESSING"),
        (S::Running, "PROCESSING"),
        (S::CleaningUp, "PROCESSING"),
        (S::Succeeded, "SUCCESS"),
        (S::Failed, "FAIL"),
        (S::Cancelled, "FAIL"),
        (S::NeedsOperator, "FAIL"),
    ] {
        let body = serde_json::to_value(request(&operation(status))).expect("JSON");
        assert_eq!(body, json!({"request_id": "req-4f668846-8a3d-49f1-8111-451ebccf445c", "state": state}));
    }
}

#[test]
fn the_version_document_lists_what_clients_look_for() {
    let document = serde_json::to_value(versions("http://h:1/mariadb")).expect("JSON");
    let ids: Vec<&str> = document["versions"].as_array().expect("a list").iter().filter_map(|entry| entry["id"].as_str()).collect();
    assert_eq!(ids, ["v1.4", "v1.3", "v1.2", "v1.1", "v1.0"]);
    assert_eq!(
        document["versions"][3],
        json!({"id": "v1.1", "links": [{"href": "http://h:1/mariadb/v1", "rel": "self"}], "not_before": "", "status": "CURRENT"})
    );
}
