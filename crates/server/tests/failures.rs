//! What cannot work ends with its reason, is cleaned up, and touches nobody else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::{Installation, PASSWORD};

fn body(name: &str, engine: &str) -> Value {
    json!({"name": name, "engine": engine, "database": {"name": "shop", "owner": "keeper", "password": PASSWORD}})
}

/// The ended operation and what the cluster looks like then.
fn fails(installation: &Installation, body: Value) -> (Value, Value) {
    let (status, accepted) = installation.native("POST", "/moorage/v1/clusters", Some(body));
    assert_eq!(status, 202, "{accepted}");
    let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an operation"));
    assert_eq!(ended["status"], "failed", "{ended}");
    let (_, shown) =
        installation.native("GET", &format!("/moorage/v1/clusters/{}", accepted["cluster"]["id"].as_str().expect("an id")), None);
    assert_eq!(shown["state"], "FAILED", "{shown}");
    (ended, shown)
}

fn only_row_is_left(installation: &Installation, shown: &Value, neighbours: usize) {
    assert_eq!(installation.instance_directories().len(), neighbours);
    let id = shown["id"].as_str().expect("an id");
    assert!(
        !installation
            .processes()
            .iter()
            .any(|pid| { String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).contains(id) })
    );
    let path = format!("/moorage/v1/clusters/{id}");
    let (status, taken) =
        installation.native("POST", "/moorage/v1/clusters", Some(body(shown["name"].as_str().expect("a name"), "postgresql")));
    assert_eq!(status, 409, "its name stays taken: {taken}");
    let (status, accepted) = installation.native("DELETE", &path, None);
    assert_eq!(status, 202, "it can be deleted: {accepted}");
    installation.ended(accepted["operation"]["id"].as_str().expect("an operation"));
    assert_eq!(installation.native("GET", &path, None).0, 404);
}

/// A PostgreSQL 15.99 whose server refuses to start while a file says so.
struct BrokenEngine {
    prefix: PathBuf,
}

impl BrokenEngine {
    fn make() -> Self {
        let prefix = std::env::temp_dir().join(format!("moorage-broken-{}-{:x}", std::process::id(), support::rand()));
        let bin = prefix.join("usr/lib/postgresql/15/bin");
        std::fs::create_dir_all(&bin).expect("a prefix");
        for entry in std::fs::read_dir("/usr/lib/postgresql/15/bin").expect("PostgreSQL").flatten() {
            if entry.file_name() != "postgres" {
                symlink(entry.path(), bin.join(entry.file_name())).expect("a link");
            }
        }
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = --version ] && {{ echo 'postgres (PostgreSQL) 15.99'; exit 0; }}\n\
             [ -e {0}/broken ] && {{ echo 'FATAL:  unrecognized configuration parameter \"shared_bufers\"' >&2; exit 1; }}\n\
             exec /usr/lib/postgresql/15/bin/postgres \"$@\"\n",
            prefix.display()
        );
        std::fs::write(bin.join("postgres"), script).expect("a script");
        std::fs::set_permissions(bin.join("postgres"), std::fs::Permissions::from_mode(0o755)).expect("executable");
        Self { prefix }
    }
    fn breaks(&self, broken: bool) {
        let mark = self.prefix.join("broken");
        if broken { std::fs::write(mark, "").expect("written") } else { drop(std::fs::remove_file(mark)) }
    }
    fn configuration(&self) -> PathBuf {
        let path = self.prefix.join("moorage.toml");
        std::fs::write(&path, format!("[engines]\nprefixes = [{:?}]\n", self.prefix)).expect("written");
        path
    }
}
impl Drop for BrokenEngine {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.prefix));
    }
}

#[test]
fn an_engine_that_will_not_start_fails_with_its_own_words() {
    let engine = BrokenEngine::make();
    let configuration = engine.configuration();
    let installation = Installation::start_with(&["--config", &configuration.to_string_lossy()]);
    let neighbour = installation.create("mariadb", "neighbour");
    let mut wanted = body("broken", "postgresql");
    wanted["version"] = json!("15.99");
    // While it works, it works: the failure below is the engine's alone.
    let (_, accepted) = installation.native("POST", "/moorage/v1/clusters", Some(wanted.clone()));
    let works = installation.running(accepted["cluster"]["id"].as_str().expect("an id"));
    engine.breaks(true);
    wanted["name"] = json!("broken2");
    let (ended, shown) = fails(&installation, wanted);
    let told = ended["problem"].to_string();
    assert!(told.contains("shared_bufers"), "{told}");
    only_row_is_left(&installation, &shown, 2);

    // Stopping and starting an existing one: the start fails, the cluster is STOPPED with its data, and starts once mended.
    let path = format!("/moorage/v1/clusters/{}", works.id);
    let (_, accepted) = installation.native("POST", &format!("{path}/stop"), None);
    installation.ended(accepted["operation"]["id"].as_str().expect("an operation"));
    let (_, accepted) = installation.native("POST", &format!("{path}/start"), None);
    let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an operation"));
    assert_eq!(ended["status"], "failed", "{ended}");
    assert!(ended["problem"].to_string().contains("shared_bufers"));
    assert_eq!(installation.native("GET", &path, None).1["state"], "STOPPED");
    engine.breaks(false);
    let (_, accepted) = installation.native("POST", &format!("{path}/start"), None);
    assert_eq!(installation.ended(accepted["operation"]["id"].as_str().expect("an operation"))["status"], "succeeded");
    assert_eq!(works.sql("SELECT 1"), Ok("1".into()));
    assert_eq!(neighbour.sql("SELECT 1"), Ok("1".into()));

    // A running one whose engine dies and does not come back: a loop that ends visibly.
    engine.breaks(true);
    support::kill(works.engine_pid(&installation), 9);
    let shown = installation.until(Duration::from_secs(60), "the crash loop ends visibly", |this| {
        let (_, shown) = this.native("GET", &path, None);
        shown["state_reason"].as_str().is_some_and(|why| why.contains("not restarted any more")).then_some(shown)
    });
    assert_eq!(shown["state"], "ERROR", "{shown}");
    let (_, log) = installation.native("GET", &format!("{path}/logs"), None);
    assert!(log.as_str().is_some_and(|log| log.contains("shared_bufers")), "{log}");

    // The same through the vendor's API: its request fails, and its cluster is FAILED with the engine's own words.
    const SERVICE: &str = "postgresql 1.1";
    let (_, versions) = installation.scp(SERVICE, "GET", "/v1/engine-versions", None);
    let id = versions["contents"].as_array().expect("versions").iter().find(|version| version["software_version"] == "15.99");
    let wanted = json!({
        "name": "vendors", "instance_name_prefix": "vendors", "subnet_id": "default", "timezone": "", "dbaas_engine_version_id": id.expect("15.99")["id"],
        "init_config_option": {"database_name": "shop", "database_user_name": "keeper", "database_user_password": PASSWORD},
        "instance_groups": [{"role_type": "ACTIVE", "server_type_name": "db1v1m2", "block_storage_groups": [{"role_type": "OS", "size_gb": 104}]}],
    });
    let (status, accepted) = installation.scp(SERVICE, "POST", "/v1/clusters", Some(wanted));
    assert_eq!(status, 202, "{accepted}");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let (request, cluster) = (text(&accepted["request_id"]), text(&accepted["resource"]["id"]));
    installation.until(Duration::from_secs(60), "the request fails", |this| {
        (this.scp(SERVICE, "GET", &format!("/v1/requests/{request}"), None).1["state"] == "FAIL").then_some(())
    });
    let (_, shown) = installation.scp(SERVICE, "GET", &format!("/v1/clusters/{cluster}"), None);
    assert_eq!(shown["service_state"], "FAILED", "{shown}");
    let (_, shown) = installation.native("GET", &format!("/moorage/v1/clusters/{cluster}"), None);
    only_row_is_left(&installation, &shown, 2);
    engine.breaks(false);
    let (_, accepted) = installation.native("POST", &format!("{path}/restart"), None);
    assert_eq!(installation.ended(accepted["operation"]["id"].as_str().expect("an operation"))["status"], "succeeded");
    assert_eq!(works.sql("SELECT 1"), Ok("1".into()));
}

/// A cluster that is stopped, damaged and started: the start fails with these words, the neighbour notices nothing, and mended it
/// starts again with its row.
fn fails_to_start(installation: &Installation, engine: &str, words: &str, damage: impl Fn(&Path), mend: impl Fn(&Path)) {
    let neighbour = installation.create(engine, &format!("near{engine}"));
    let cluster = installation.create(engine, &format!("bad{engine}"));
    cluster.sql("CREATE TABLE t (n INT PRIMARY KEY)").expect("a table");
    cluster.sql("INSERT INTO t VALUES (1)").expect("a row");
    let path = format!("/moorage/v1/clusters/{}", cluster.id);
    let ends = |verb: &str| {
        let (status, accepted) = installation.native("POST", &format!("{path}/{verb}"), None);
        assert_eq!(status, 202, "{accepted}");
        installation.ended(accepted["operation"]["id"].as_str().expect("an operation"))
    };
    assert_eq!(ends("stop")["status"], "succeeded");
    let instance = cluster.shown["instances"][0]["id"].as_str().expect("an instance");
    let volume = installation.directory.join("instances").join(instance).join("volume");
    damage(&volume);
    let ended = ends("start");
    assert!(ended["status"] == "failed" && ended["problem"]["detail"].to_string().contains(words), "{ended}");
    assert_eq!(installation.native("GET", &path, None).1["state"], "STOPPED");
    neighbour.sql("CREATE TABLE t (n INT PRIMARY KEY)").expect("the neighbour works");
    mend(&volume);
    assert_eq!(ends("start")["status"], "succeeded");
    assert_eq!(cluster.sql("SELECT count(*) FROM t"), Ok("1".into()));
}

#[test]
fn a_setting_or_a_file_that_the_real_engine_refuses_is_told_in_its_own_words() {
    let installation = Installation::start();
    fails_to_start(
        &installation,
        "postgresql",
        "shared_bufers",
        |volume| std::fs::write(volume.join("postgresql.auto.conf"), "shared_bufers = '1GB'\n").expect("written"),
        |volume| std::fs::write(volume.join("postgresql.auto.conf"), "").expect("written"),
    );
    let mode = |volume: &Path, mode| {
        std::fs::set_permissions(volume.join("ibdata1"), std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    fails_to_start(&installation, "mariadb", "ibdata1", |volume| mode(volume, 0o000), |volume| mode(volume, 0o600));
}

#[test]
fn a_missing_binary_is_named() {
    let engine = BrokenEngine::make();
    let configuration = engine.configuration();
    let installation = Installation::start_with(&["--config", &configuration.to_string_lossy()]);
    let mut wanted = body("gone", "postgresql");
    wanted["version"] = json!("15.99");
    let (_, accepted) = installation.native("POST", "/moorage/v1/clusters", Some(wanted));
    let cluster = installation.running(accepted["cluster"]["id"].as_str().expect("an id"));
    let path = format!("/moorage/v1/clusters/{}", cluster.id);
    let (_, accepted) = installation.native("POST", &format!("{path}/stop"), None);
    installation.ended(accepted["operation"]["id"].as_str().expect("an operation"));
    std::fs::remove_file(engine.prefix.join("usr/lib/postgresql/15/bin/postgres")).expect("removed");
    let (_, accepted) = installation.native("POST", &format!("{path}/start"), None);
    let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an operation"));
    assert_eq!(ended["status"], "failed", "{ended}");
    assert!(ended["problem"].to_string().contains("15.99"), "{ended}");
    // Nothing new is made of it either.
    let mut wanted = body("another", "postgresql");
    wanted["version"] = json!("15.99");
    let (status, refused) = installation.native("POST", "/moorage/v1/clusters", Some(wanted));
    assert!(status == 400 && refused["code"] == "engine-version-not-installed", "{refused}");
}

#[test]
fn a_taken_port_is_stepped_around_unless_the_user_insisted_on_the_address() {
    let installation = Installation::start();
    let first = installation.create("postgresql", "first");
    let next = |n: u32| std::net::Ipv4Addr::from(u32::from(first.address.parse::<std::net::Ipv4Addr>().expect("an address")) + n);
    let squatter = std::net::TcpListener::bind((next(1), first.port)).expect("free");
    let second = installation.create("postgresql", "second");
    assert_eq!(second.address, next(2).to_string());
    drop(squatter);
    let _squatter = std::net::TcpListener::bind((next(7), first.port)).expect("free");
    let mut wanted = body("insists", "postgresql");
    wanted["address"] = json!(next(7).to_string());
    let (ended, shown) = fails(&installation, wanted);
    assert!(ended["problem"].to_string().contains("is not available"), "{ended}");
    only_row_is_left(&installation, &shown, 2);
    for (address, status) in [(first.address.clone(), 409), ("192.0.2.1".into(), 400)] {
        let mut wanted = body("wrong", "postgresql");
        wanted["address"] = json!(address);
        let (got, problem) = installation.native("POST", "/moorage/v1/clusters", Some(wanted));
        assert_eq!(got, status, "{problem}");
    }
}

/// A small file system of this test's own.
struct SmallDisk {
    path: PathBuf,
}
impl SmallDisk {
    fn mount(megabytes: u32) -> Self {
        let path = std::env::temp_dir().join(format!("moorage-disk-{}-{:x}", std::process::id(), support::rand()));
        std::fs::create_dir_all(&path).expect("a mount point");
        let options = format!("size={megabytes}m,mode=0755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).status().expect("mount runs");
        assert!(mounted.success());
        Self { path }
    }
    fn fill(&self) -> PathBuf {
        let file = self.path.join("ballast");
        drop(Command::new("dd").args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}", file.display())).output());
        // Room for the control plane's own few rows, and for nothing else.
        let ballast = std::fs::OpenOptions::new().write(true).open(&file).expect("the ballast");
        let length = ballast.metadata().expect("its length").len();
        ballast.set_len(length.saturating_sub(4 << 20)).expect("shortened");
        file
    }
}
impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.path).status());
        drop(std::fs::remove_dir(&self.path));
    }
}

#[test]
fn a_full_volume_fails_the_newcomer_and_spares_the_neighbour() {
    let disk = SmallDisk::mount(700);
    // No spares, and no reserve that keeps newcomers out: a half-made one that is cleaned up again gives space back at a moment of its own.
    let configuration = disk.path.join("moorage.toml");
    std::fs::write(&configuration, "[storage]\nspares = 0\n[limits]\nreserve_gb = 0\ndisk_overcommit = 100\n").expect("written");
    let installation = Installation::start_in(&disk.path.join("data"), &["--config", &configuration.to_string_lossy()]);
    let neighbour = installation.create("postgresql", "neighbour");
    let ballast = disk.fill();
    let (ended, shown) = fails(&installation, body("late", "mariadb"));
    let told = ended["problem"].to_string().to_lowercase();
    assert!(["space", "full", "errno"].iter().any(|word| told.contains(word)), "{told}");
    assert_eq!(neighbour.sql("SELECT 1"), Ok("1".into()));
    std::fs::remove_file(ballast).expect("removed");
    neighbour.sql("CREATE TABLE t (n INT PRIMARY KEY)").expect("the neighbour works");
    only_row_is_left(&installation, &shown, 1);
    let late = installation.create("mariadb", "late");
    assert_eq!(late.sql("SELECT 1"), Ok("1".into()));
}
