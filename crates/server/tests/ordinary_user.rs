//! Everything works without root; what cannot be enforced then is said.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use support::{Cluster, Installation, PROGRAM};

/// An account without any privilege that is in the account database everywhere.
const NOBODY: u32 = 65_534;

fn asked(installation: &Installation, cluster: &Cluster, method: &str, verb: &str) {
    let (status, accepted) = installation.native(method, &format!("/moorage/v1/clusters/{}{verb}", cluster.id), None);
    assert_eq!(status, 202, "{accepted}");
    let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an operation"));
    assert_eq!(ended["status"], "succeeded", "{ended}");
}

#[test]
fn the_whole_life_of_a_cluster_passes_without_root() {
    // Only root can become somebody else; anybody else runs every other test as an ordinary user.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let room = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().expect("a directory");
    let program = room.path().join("moorage");
    std::fs::copy(PROGRAM, &program).expect("copied");
    let mut installation = Installation::start_as(NOBODY, &program);
    let mut clusters = Vec::new();
    for engine in ["postgresql", "mariadb"] {
        let cluster = installation.create(engine, engine);
        for limit in ["cpu", "memory", "disk"] {
            assert_eq!(cluster.shown["limits"][limit]["enforced"], false, "{engine} {limit}");
        }
        assert_eq!(cluster.shown["isolation"], json!({"tenants": false, "network": false}));
        let pid = cluster.engine_pid(&installation);
        assert_eq!(std::fs::metadata(format!("/proc/{pid}")).expect("it runs").uid(), NOBODY);
        cluster.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").expect("its owner writes");
        clusters.push(cluster);
    }
    let shown = installation.cli(&["cluster", "show", "postgresql"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("memory 1 GiB (not enforced)") && shown.contains("disk 16 GiB (not enforced)"), "{shown}");

    // The server dies; databases go on, and the next one takes them over.
    installation.kill_server();
    let pids: Vec<u32> = clusters.iter().map(|cluster| cluster.engine_pid(&installation)).collect();
    assert!(clusters.iter().all(|cluster| cluster.sql("SELECT n FROM t") == Ok("7".into())));
    installation.serve();
    for (cluster, pid) in clusters.iter().zip(pids) {
        assert_eq!(installation.running(&cluster.id).engine_pid(&installation), pid);
        asked(&installation, cluster, "POST", "/stop");
        assert!(cluster.sql("SELECT 1").is_err());
        asked(&installation, cluster, "POST", "/start");
        let again = installation.running(&cluster.id);
        assert_eq!(again.sql("SELECT n FROM t"), Ok("7".into()));
        // An engine that dies comes back without anybody asking.
        support::kill(again.engine_pid(&installation), 9);
        installation.until(std::time::Duration::from_secs(30), "it serves again", |_| again.sql("SELECT n FROM t").ok());
        asked(&installation, cluster, "DELETE", "");
    }
    assert!(installation.instance_directories().is_empty());
    let stopped = installation.cli(&["stop", "--all"]);
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    assert_eq!(installation.processes(), Vec::<u32>::new());
}
