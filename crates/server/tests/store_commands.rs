//! What the control plane keeps can be backed up, restored, moved to PostgreSQL and rebuilt, and no database notices.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use moorage_testkit::TestPostgreSql;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use std::time::Duration;
use support::steady::Steady;
use support::{Cluster, Installation, PROGRAM};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

fn remove_store(installation: &Installation) {
    for file in ["store.db", "store.db-wal", "store.db-shm"] {
        drop(std::fs::remove_file(installation.directory.join(file)));
    }
}

/// Waits until what is kept beside the databases says so, as it does within seconds of a change.
fn until_kept(installation: &Installation, file: &Path, words: &str) {
    installation.until(Duration::from_secs(10), "the manifest is kept", |_| {
        std::fs::read_to_string(file).is_ok_and(|text| text.contains(words)).then_some(())
    });
}

fn manifest_of(installation: &Installation, cluster: &Cluster) -> std::path::PathBuf {
    let instance = cluster.shown["instances"][0]["id"].as_str().expect("an instance");
    installation.directory.join("instances").join(instance).join("manifest.json")
}

fn stop(installation: &Installation, cluster: &Cluster) {
    assert_eq!(installation.native("POST", &format!("/moorage/v1/clusters/{}/stop", cluster.id), None).0, 202);
    installation.reaches(&cluster.id, "STOPPED");
}

fn of_user(installation: &Installation, user: &str, password: &str) -> u16 {
    let basic = reqwest::blocking::Client::new()
        .get(format!("{}/moorage/v1/clusters", installation.bootstrap()["base_url"].as_str().expect("a URL")))
        .basic_auth(user, Some(password));
    basic.send().expect("an answer").status().as_u16()
}

fn refused_to_serve(installation: &Installation) -> String {
    let output = installation.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(!output.status.success(), "{}", said(&output));
    said(&output)
}

#[test]
fn a_lost_store_is_rebuilt_while_its_databases_run() {
    let mut installation = Installation::start();
    let orders = installation.create("postgresql", "orders");
    let shop = installation.create("mariadb", "shop");
    let asleep = installation.create("postgresql", "asleep");
    orders.sql("CREATE TABLE kept (n INT)").expect("a table");
    let clients = [Steady::connecting(shop.clone()), Steady::holding(&orders)];
    let user = json!({"name": "anna", "email": "anna@example.com", "password": "Anna's long password 1", "role": "operator"});
    assert_eq!(installation.native("POST", "/moorage/v1/users", Some(user)).0, 201);
    stop(&installation, &asleep);
    until_kept(&installation, &installation.directory.join("manifest.json"), "anna@example.com");
    until_kept(&installation, &manifest_of(&installation, &asleep), "\"wish\":\"stop\"");
    let before = installation.inventory()["clusters"].clone();
    let kept_by_mode = std::fs::metadata(installation.directory.join("manifest.json")).expect("kept");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept_by_mode.permissions()) & 0o777, 0o600);

    installation.kill_server();
    remove_store(&installation);
    let told = refused_to_serve(&installation);
    assert!(told.contains("3 databases") && told.contains("moorage store rebuild"), "{told}");
    let told = succeeded(&installation.cli(&["store", "rebuild"]));
    assert!(told.contains("3 databases are in the store again"), "{told}");
    let told = succeeded(&installation.cli(&["store", "rebuild"]));
    assert!(told.contains("0 databases are in the store again, 3 were in it already"), "{told}");
    installation.serve();

    assert_eq!(installation.inventory()["clusters"], before);
    for cluster in [&orders, &shop] {
        let again = installation.running(&cluster.id);
        assert_eq!((&again.address, again.port), (&cluster.address, cluster.port));
        assert_eq!(again.sql("SELECT 1"), Ok("1".into()), "with the password its owner had");
    }
    assert_eq!(orders.sql("SELECT count(*) FROM kept"), Ok("0".into()));
    assert_eq!(installation.reaches(&asleep.id, "STOPPED").shown["name"], "asleep");
    assert_eq!((of_user(&installation, "anna", "Anna's long password 1"), of_user(&installation, "anna", "another")), (200, 401));
    for seen in clients.map(Steady::end) {
        assert!(seen.errors == 0 && seen.answers > 10, "{seen:?}");
    }

    // What came back is whole: it can be started, changed and deleted.
    assert_eq!(installation.native("POST", &format!("/moorage/v1/clusters/{}/start", asleep.id), None).0, 202);
    assert_eq!(installation.running(&asleep.id).sql("SELECT 1"), Ok("1".into()));
    let (status, accepted) = installation.native("DELETE", &format!("/moorage/v1/clusters/{}", asleep.id), None);
    assert_eq!(status, 202, "{accepted}");
    assert_eq!(installation.ended(accepted["operation"]["id"].as_str().expect("an id"))["status"], "succeeded");
    assert_eq!(installation.instance_directories().len(), 2);
}

#[test]
fn a_backup_made_while_serving_is_restored_and_later_databases_are_added() {
    let mut installation = Installation::start();
    let early = installation.create("mariadb", "early");
    let file = installation.directory.join("backup");
    let path = file.to_string_lossy().into_owned();
    let told = succeeded(&installation.cli(&["store", "backup", &path]));
    assert!(told.contains("with the master key"), "{told}");
    assert!(!installation.cli(&["store", "backup", &path]).status.success(), "a backup is never overwritten");
    let late = installation.create("postgresql", "late");
    let bootstrap = installation.bootstrap();

    let told = said(&installation.cli(&["store", "restore", &path]));
    assert!(told.contains("in use"), "{told}");
    installation.kill_server();
    let told = said(&installation.cli(&["store", "restore", &path]));
    assert!(told.contains("already") && told.contains("store.db"), "{told}");
    remove_store(&installation);
    std::fs::remove_file(installation.directory.join("master.key")).expect("removed");

    // One that is not whole changes nothing.
    let text = std::fs::read_to_string(&file).expect("read");
    let cut = installation.directory.join("cut");
    std::fs::write(&cut, &text[..text.len() / 2]).expect("written");
    let told = said(&installation.cli(&["store", "restore", &cut.to_string_lossy()]));
    assert!(told.contains("not a whole backup"), "{told}");
    assert!(!installation.directory.join("store.db").exists() && !installation.directory.join("master.key").exists());

    succeeded(&installation.cli(&["store", "restore", &path]));
    let told = succeeded(&installation.cli(&["store", "rebuild"]));
    assert!(told.contains("1 databases are in the store again, 1 were in it already"), "{told}");
    installation.serve();
    assert_eq!(installation.bootstrap()["token"], bootstrap["token"]);
    for cluster in [early, late] {
        assert_eq!(installation.running(&cluster.id).sql("SELECT 1"), Ok("1".into()));
    }
}

#[test]
fn a_store_moves_from_its_file_to_postgresql() {
    let store = TestPostgreSql::start();
    let mut installation = Installation::start();
    let orders = installation.create("postgresql", "orders");
    installation.end_server();
    let told = said(&installation.cli(&["store", "copy"]));
    assert!(told.contains("MOORAGE_DATABASE_URL"), "{told}");
    installation.keep_store_at(&store.url());
    succeeded(&installation.cli(&["store", "copy"]));
    installation.serve();
    assert_eq!(installation.running(&orders.id).sql("SELECT 1"), Ok("1".into()));
    let again: Value = installation.native("GET", "/moorage/v1/operations", None).1;
    assert_eq!(again["items"][0]["kind"], "cluster.provision", "its history came along: {again}");

    // Without the URL there is no store, and nothing begins anew.
    installation.end_server();
    let output = std::process::Command::new(PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&installation.directory)
        .output()
        .expect("the program runs");
    assert!(!output.status.success() && said(&output).contains("The store is missing"), "{}", said(&output));
    // Another installation's store is not written over.
    let other = Installation::start();
    let taken = std::process::Command::new(PROGRAM)
        .args(["store", "copy", "--data-dir"])
        .arg(&other.directory)
        .env("MOORAGE_DATABASE_URL", store.url())
        .output()
        .expect("the program runs");
    assert!(!taken.status.success(), "{}", said(&taken));
    installation.serve();
    assert_eq!(installation.running(&orders.id).sql("SELECT 1"), Ok("1".into()));
}
