//! Engine versions side by side, from real packages and without touching the system.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use support::{Installation, PASSWORD, PROGRAM};

fn engine(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("engine").args(arguments).arg("--data-dir").arg(directory).output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the package tool believes to be installed.
fn packages() -> String {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Package} ${Version} ${Status}\n"]).output().expect("dpkg-query runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A version that is on offer beside the system's; the system's own where the registries have no other.
fn another(directory: &Path, name: &str) -> (String, String) {
    let output = engine(directory, &["list", "--available", "--output", "json"]);
    assert!(output.status.success(), "{}", said(&output));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let of = |wanted: bool| {
        let found = rows.iter().filter(|row| row["engine"] == name && (row["place"] == "can be installed") == wanted);
        found.map(|row| row["version"].as_str().expect("a version").to_owned()).next()
    };
    let system = of(false).expect("the system has one");
    (of(true).unwrap_or_else(|| system.clone()), system)
}

#[test]
fn two_versions_of_each_engine_live_side_by_side_and_one_in_use_is_not_removed() {
    let before = packages();
    let installation = Installation::start();
    for name in ["mariadb", "postgresql"] {
        let (version, system) = another(&installation.directory, name);
        let label = format!("{name}@{version}");
        let installed = engine(&installation.directory, &["install", &label]);
        assert!(installed.status.success(), "{}", said(&installed));
        assert_eq!(String::from_utf8_lossy(&installed.stdout).trim(), label);
        let of_version = |version: &str, cluster: &str| {
            let database = json!({"name": "shop", "owner": "keeper", "password": PASSWORD});
            let body = json!({"name": cluster, "engine": name, "version": version, "database": database});
            let (status, accepted) = installation.native("POST", "/moorage/v1/clusters", Some(body));
            assert_eq!(status, 202, "{accepted}");
            installation.running(accepted["cluster"]["id"].as_str().expect("an id"))
        };
        let (new, old) = (of_version(&version, &format!("{name}-new")), of_version(&system, &format!("{name}-old")));
        for (cluster, version) in [(&new, &version), (&old, &system)] {
            let runs = cluster.sql(if name == "mariadb" { "SELECT version()" } else { "SHOW server_version" }).expect("it answers");
            assert!(runs.starts_with(version.as_str()), "{runs} is not {version}");
        }
        let binary = std::fs::read_link(format!("/proc/{}/exe", new.engine_pid(&installation))).expect("a program");
        assert!(binary.starts_with(installation.directory.join("engines").join(name).join(&version)), "{}", binary.display());

        // In use it stays, said with who uses it; afterwards it goes, and twice is an error.
        let refused = engine(&installation.directory, &["remove", &label]);
        assert!(!refused.status.success() && said(&refused).contains(&format!("{name}-new")), "{}", said(&refused));
        assert_eq!(new.sql("SELECT 1"), Ok("1".into()));
        let (_, accepted) = installation.native("DELETE", &format!("/moorage/v1/clusters/{}", new.id), None);
        installation.ended(accepted["operation"]["id"].as_str().expect("an operation"));
        let removed = engine(&installation.directory, &["remove", &label]);
        assert!(removed.status.success(), "{}", said(&removed));
        assert!(!engine(&installation.directory, &["remove", &label]).status.success());
        assert_eq!(old.sql("SELECT 1"), Ok("1".into()));
    }
    assert_eq!(packages(), before, "the system's packages are as they were");
}
