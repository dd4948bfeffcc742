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

/// Where an installation keeps its store: in its directory, or in a PostgreSQL database.
struct Keeping(Option<TestPostgreSql>);

impl Keeping {
    fn in_a_file() -> Self {
        Self(None)
    }
    fn on_postgresql() -> Self {
        Self(Some(TestPostgreSql::start()))
    }
    fn start(&self) -> Installation {
        self.0.as_ref().map_or_else(Installation::start, |database| Installation::start_sharing(&database.url(), None))
    }
    fn lose(&self, installation: &Installation) {
        match &self.0 {
            Some(database) => database.lose_everything(),
            None => remove_store(installation),
        }
    }
    /// What is said about a store that is there.
    fn is_there(&self) -> &'static str {
        if self.0.is_some() { "database already has the store of an installation" } else { "store.db" }
    }
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

fn add_anna(installation: &Installation) {
    let user = json!({"name": "anna", "email": "anna@example.com", "password": "Anna's long password 1", "role": "operator"});
    assert_eq!(installation.native("POST", "/moorage/v1/users", Some(user)).0, 201);
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
    is_rebuilt_while_databases_run(&Keeping::in_a_file());
}

#[test]
fn a_lost_store_on_postgresql_is_rebuilt_while_its_databases_run() {
    is_rebuilt_while_databases_run(&Keeping::on_postgresql());
}

fn is_rebuilt_while_databases_run(keeping: &Keeping) {
    let mut installation = keeping.start();
    let orders = installation.create("postgresql", "orders");
    let shop = installation.create("mariadb", "shop");
    let asleep = installation.create("postgresql", "asleep");
    orders.sql("CREATE TABLE kept (n INT)").expect("a table");
    let clients = [Steady::connecting(shop.clone()), Steady::holding(&orders)];
    add_anna(&installation);
    stop(&installation, &asleep);
    until_kept(&installation, &installation.directory.join("manifest.json"), "anna@example.com");
    until_kept(&installation, &manifest_of(&installation, &asleep), "\"wish\":\"stop\"");
    let before = installation.inventory()["clusters"].clone();
    let kept_by_mode = std::fs::metadata(installation.directory.join("manifest.json")).expect("kept");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept_by_mode.permissions()) & 0o777, 0o600);

    installation.kill_server();
    keeping.lose(&installation);
    let told = refused_to_serve(&installation);
    assert!(told.contains("3 databases") && told.contains("moorage store rebuild"), "{told}");
    // A key that is not the one changes nothing, as it says.
    let key = installation.directory.join("master.key");
    let right = std::fs::read(&key).expect("a key");
    std::fs::copy(Installation::start().directory.join("master.key"), &key).expect("another key");
    let refused = installation.cli(&["store", "rebuild"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("master key is not the one") && told.contains("nothing was changed"), "{told}");
    assert!(!installation.directory.join("store.db").exists(), "no file is left for the next one to find");
    std::fs::write(&key, right).expect("the right key");
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
    is_restored_and_later_databases_are_added(&Keeping::in_a_file());
}

#[test]
fn a_backup_made_while_serving_is_restored_on_postgresql_and_later_databases_are_added() {
    is_restored_and_later_databases_are_added(&Keeping::on_postgresql());
}

fn is_restored_and_later_databases_are_added(keeping: &Keeping) {
    let mut installation = keeping.start();
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
    assert!(told.contains("already") && told.contains(keeping.is_there()), "{told}");
    keeping.lose(&installation);
    std::fs::remove_file(installation.directory.join("master.key")).expect("removed");

    // One that is not whole changes nothing.
    let text = std::fs::read_to_string(&file).expect("read");
    let cut = installation.directory.join("cut");
    std::fs::write(&cut, &text[..text.len() / 2]).expect("written");
    let told = said(&installation.cli(&["store", "restore", &cut.to_string_lossy()]));
    assert!(told.contains("not a whole backup"), "{told}");
    assert!(!installation.directory.join("store.db").exists() && !installation.directory.join("master.key").exists());

    if let Keeping(Some(database)) = keeping {
        refuses_older_rows_in_newer_tables(&installation, &text);
        database.lose_everything();
    }

    succeeded(&installation.cli(&["store", "restore", &path]));
    let told = succeeded(&installation.cli(&["store", "rebuild"]));
    assert!(told.contains("1 databases are in the store again, 1 were in it already"), "{told}");
    installation.serve();
    assert_eq!(installation.bootstrap()["token"], bootstrap["token"]);
    for cluster in [early, late] {
        assert_eq!(installation.running(&cluster.id).sql("SELECT 1"), Ok("1".into()));
    }
}

/// A server that was started on the empty database made tables in it before it refused.
fn refuses_older_rows_in_newer_tables(installation: &Installation, backup: &str) {
    assert!(refused_to_serve(installation).contains("The store is missing"));
    let (rows, end) = backup.trim_end().rsplit_once('\n').expect("an end");
    let newest = moorage_store::SCHEMA_VERSION;
    let rows = rows.replacen(&format!("\"schema\":{newest}"), &format!("\"schema\":{}", newest - 1), 1) + "\n";
    let mut end: Value = serde_json::from_str(end).expect("a document");
    end["sha256"] = json!(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&rows)));
    let older = installation.directory.join("older");
    std::fs::write(&older, format!("{rows}{end}\n")).expect("written");
    let told = said(&installation.cli(&["store", "restore", &older.to_string_lossy()]));
    assert!(told.contains(&format!("tables of schema version {newest}")), "{told}");
}

#[test]
fn machines_that_lost_the_store_they_share_each_add_their_own_databases() {
    let database = TestPostgreSql::start();
    let mut first = Installation::start_sharing(&database.url(), None);
    let here = first.create("postgresql", "here");
    until_kept(&first, &manifest_of(&first, &here), "\"here\"");
    until_kept(&first, &first.directory.join("manifest.json"), "account");
    // What it keeps of people dates from before the other one joined.
    first.end_server();
    let mut second = Installation::start_sharing(&database.url(), Some(&first));
    let there = second.create("mariadb", "there");
    add_anna(&second);
    until_kept(&second, &second.directory.join("manifest.json"), "anna@example.com");
    until_kept(&second, &manifest_of(&second, &there), "\"there\"");
    let mut without_databases = Installation::start_sharing(&database.url(), Some(&first));
    until_kept(&without_databases, &without_databases.directory.join("manifest.json"), "anna@example.com");
    without_databases.kill_server();
    let clients = [Steady::holding(&here), Steady::connecting(there.clone())];
    second.kill_server();
    database.lose_everything();
    for machine in [&first, &second] {
        let told = refused_to_serve(machine);
        assert!(told.contains("1 databases") && told.contains("moorage store rebuild"), "{told}");
    }
    // One that has nothing to lose begins no other installation where the others look for theirs.
    let told = refused_to_serve(&without_databases);
    assert!(told.contains("The store is missing") && told.contains("moorage store rebuild"), "{told}");

    let told = succeeded(&first.cli(&["store", "rebuild"]));
    assert!(told.contains("1 databases are in the store again, 0 were in it already"), "{told}");
    let told = succeeded(&second.cli(&["store", "rebuild"]));
    assert!(told.contains("1 databases are in the store again, 0 were in it already"), "{told}");
    assert!(told.contains("account anna") && told.contains("not in the store"), "who is not back is told: {told}");
    for machine in [&first, &second] {
        let told = succeeded(&machine.cli(&["store", "rebuild"]));
        assert!(told.contains("0 databases are in the store again, 1 were in it already"), "{told}");
    }
    first.serve();
    second.serve();
    for machine in [&first, &second] {
        for cluster in [&here, &there] {
            let again = machine.running(&cluster.id);
            assert_eq!((&again.address, again.port), (&cluster.address, cluster.port));
            assert_eq!(again.sql("SELECT 1"), Ok("1".into()), "with the password its owner had");
        }
    }
    for seen in clients.map(Steady::end) {
        assert!(seen.errors == 0 && seen.answers > 10, "{seen:?}");
    }
    // Each is its own machine's again, whichever is asked.
    assert_eq!(first.native("POST", &format!("/moorage/v1/clusters/{}/stop", there.id), None).0, 202);
    first.reaches(&there.id, "STOPPED");
    assert!(there.sql("SELECT 1").is_err());
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
