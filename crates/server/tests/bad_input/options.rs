//! Optional fields.

use crate::answers::{ABSENT, MARIADB, POSTGRESQL, body, engine_version, with};
use crate::support::Installation;
use serde_json::json;

#[test]
fn null_blank_and_absent_options_make_the_same_cluster() {
    let installation = Installation::start();
    the_same(&installation, POSTGRESQL, &["/init_config_option/database_encoding", "/init_config_option/database_locale"], "SHOW timezone");
    the_same(&installation, MARIADB, &["/init_config_option/database_character_set"], "SELECT @@time_zone");
}

fn the_same(installation: &Installation, service: &str, more: &[&'static str], time_zone: &str) {
    let engine = service.split(' ').next().expect("a service");
    let optional = [
        "/allowable_ip_addresses",
        "/ha_enabled",
        "/nat_enabled",
        "/origin_cluster_id",
        "/vip_public_ip_id",
        "/virtual_ip_address",
        "/maintenance_option",
        "/tags",
        "/init_config_option/audit_enabled",
        "/init_config_option/backup_option",
        "/init_config_option/database_port",
        "/instance_groups/0/instances/0/public_ip_id",
        "/instance_groups/0/instances/0/service_ip_address",
        "/instance_groups/0/block_storage_groups/0/volume_type",
    ];
    let id = engine_version(installation, service);
    let mut shown = Vec::new();
    let mut requests = Vec::new();
    for (name, blank) in [("absent", json!(ABSENT)), ("null", json!(null)), ("blank", json!(""))] {
        let mut wanted = with(&body(service, &id), "/name", &json!(format!("{name}{engine}")));
        for place in optional.iter().chain(more) {
            wanted = with(&wanted, place, &blank);
        }
        if name == "null" {
            wanted = with(&wanted, "/instance_groups/0/instances", &json!(null));
        }
        let (status, accepted) = installation.scp(service, "POST", "/v1/clusters", Some(wanted));
        assert_eq!(status, 202, "{accepted}");
        let (_, now) =
            installation.scp(service, "GET", &format!("/v1/clusters/{}", accepted["resource"]["id"].as_str().expect("an id")), None);
        assert_eq!(now["service_state"], "CREATING", "right after the 202");
        requests.push(accepted);
    }
    for accepted in requests {
        let id = accepted["resource"]["id"].as_str().expect("an id").to_owned();
        let cluster = installation.running(&id);
        assert_eq!(cluster.sql(time_zone), Ok("Asia/Seoul".into()));
        let (_, mut now) = installation.scp(service, "GET", &format!("/v1/clusters/{id}"), None);
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
