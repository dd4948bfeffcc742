//! Clusters of another machine of the installation, asked about here.

#[allow(dead_code)]
mod support;

use moorage_domain::HostId;
use moorage_domain::cluster::Cluster;
use moorage_testkit::a_cluster;
use serde_json::{Value, json};
use support::{ControlPlane, TOKEN};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_binds_is_said_of_the_machine_a_cluster_is_on() {
    let plane = ControlPlane::start().await;
    let enforcement = json!({
        "abilities": {
            "tenants_isolated": false, "network_isolated": false, "groups_tracked": false, "limits_enforced": false,
            "volume_driver": "image", "volume_size_enforced": true, "atomic_snapshots": false,
        },
        "most_connections": 7,
    });
    for (number, noted) in [(1, Some(enforcement)), (2, None)] {
        let cluster = Cluster { host: HostId::from_bits(0xc0 + u128::from(number)), ..a_cluster(number) };
        moorage_testkit::insert(plane.store(), &cluster).await;
        if let Some(noted) = noted {
            let mut uow = plane.store().begin().await.expect("a transaction");
            uow.set_enforcement(&cluster.host, &noted.to_string()).await.expect("noted");
            uow.commit().await.expect("kept");
        }
    }
    let read = async |path: &str| {
        let response = plane.ask("GET", &format!("/moorage/v1{path}"), Some(TOKEN)).await;
        assert_eq!(response.status(), 200, "{path}");
        serde_json::from_slice::<Value>(response.body()).expect("JSON")
    };
    let limits = |cluster: &Value| {
        let of = |limit: &str| (cluster["limits"][limit]["value"].clone(), cluster["limits"][limit]["enforced"] == true);
        (of("memory"), of("disk").1, of("connections"), cluster["isolation"]["tenants"] == true)
    };
    let here = json!({"name": "here", "engine": "mariadb", "database": {"name": "shop", "owner": "keeper", "password": "Str0ng!pass"}});
    assert_eq!(plane.ask_with("POST", "/moorage/v1/clusters", TOKEN, &here).await.status(), 202);
    assert_eq!(limits(&read("/clusters/here").await), ((json!(1), true), false, (json!(100), true), true), "as this machine can");
    assert_eq!(limits(&read("/clusters/orders1").await), ((json!(2), false), true, (json!(7), true), false), "as its own server noted");
    assert_eq!(limits(&read("/clusters/orders2").await), ((json!(2), false), false, (Value::Null, false), false), "nothing is promised");
    let volumes = read("/volumes").await;
    let volume = volumes["items"].as_array().expect("volumes").iter().find(|volume| volume["cluster_name"] == "orders1").expect("a volume");
    assert_eq!(
        (&volume["driver"], &volume["enforced"]),
        (&json!("image"), &json!(false)),
        "a volume for the operating system is book-keeping"
    );
    assert_eq!(read("/clusters").await["items"].as_array().map(Vec::len), Some(3));
    assert_eq!(read("/host").await["abilities"]["volume_driver"], "fake", "this machine's own");
}
