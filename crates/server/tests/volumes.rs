//! Volumes with a ceiling, with real engines: a full one stops its own tenant only, who recovers by deleting. And a full disk
//! under the control plane, which does not keep anybody from deleting a cluster.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::{Cluster, Installation, PASSWORD};

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A file system of this test's own, gone when the test ends.
struct Disk {
    room: PathBuf,
}

impl Disk {
    /// Nothing but a directory.
    fn none() -> Self {
        let room = std::env::temp_dir().join(format!("moorage-volumes-{}-{:x}", std::process::id(), support::rand()));
        std::fs::create_dir_all(room.join("mounted")).expect("made");
        Self { room }
    }
    fn btrfs() -> Self {
        let disk = Self::none();
        let image = disk.room.join("disk");
        std::fs::File::create(&image).expect("made").set_len(60 << 30).expect("sized");
        run("mkfs.btrfs", &["-q", &image.to_string_lossy()]);
        run("mount", &["-oloop", &image.to_string_lossy(), &disk.path().to_string_lossy()]);
        disk
    }
    fn tmpfs(megabytes: u32) -> Self {
        let disk = Self::none();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=0755"), "tmpfs", &disk.path().to_string_lossy()]);
        disk
    }
    fn path(&self) -> PathBuf {
        self.room.join("mounted")
    }
    fn config(&self, text: &str) -> String {
        let file = self.room.join("moorage.toml");
        std::fs::write(&file, text).expect("written");
        file.to_string_lossy().into_owned()
    }
}
impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.path()).output());
        let left = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let left: Vec<&str> = left.lines().filter(|line| line.contains(&*self.room.to_string_lossy())).collect();
        assert!(left.is_empty() || std::thread::panicking(), "still mounted: {left:?}");
        drop(std::fs::remove_dir_all(&self.room));
    }
}

fn volume_of(installation: &Installation, cluster: &Cluster) -> PathBuf {
    let instance = cluster.shown["instances"][0]["id"].as_str().expect("an instance");
    installation.directory.join("instances").join(instance).join("volume")
}

/// Takes all room of a volume but so many megabytes, without writing it.
fn occupy(volume: &Path, leave_megabytes: u64) -> PathBuf {
    let file = volume.join("occupied");
    std::fs::File::create(&file).expect("made");
    let mut length = 0_u64;
    for step in [1_024_u64, 128, 16, 1] {
        while Command::new("fallocate")
            .args(["-n", "-o", &(length << 20).to_string(), "-l", &format!("{step}MiB")])
            .arg(&file)
            .output()
            .expect("fallocate runs")
            .status
            .success()
        {
            length += step;
        }
    }
    assert!(length > 10_000, "{length} MiB of 16 GiB");
    // What was beyond the end goes with it.
    std::fs::OpenOptions::new().write(true).open(&file).expect("opened").set_len(0).expect("emptied");
    run("fallocate", &["-n", "-l", &format!("{}MiB", length - leave_megabytes), &file.to_string_lossy()]);
    file
}

/// Writes until the engine refuses; what it says then.
fn fill(cluster: &Cluster) -> String {
    let (make, insert) = if cluster.engine == "postgresql" {
        (
            "CREATE TABLE large (n int, text text); ALTER TABLE large ALTER text SET STORAGE PLAIN",
            "INSERT INTO large SELECT n, repeat('x', 7000) FROM generate_series(1, 1000) n",
        )
    } else {
        ("CREATE TABLE large (n int, text longtext)", "INSERT INTO large SELECT seq, repeat('x', 7000) FROM seq_1_to_1000")
    };
    cluster.sql(make).expect("there is room");
    (0..400).find_map(|_| cluster.sql(insert).err()).expect("the ceiling holds")
}

fn recovers_by_a_delete(installation: &Installation, full: &Cluster) {
    // Whatever became of the engine, its tenant gets it back without anybody's help but a delete.
    installation.until(Duration::from_secs(120), "the tenant can delete", |_| full.sql("DROP TABLE large").ok());
    installation.until(Duration::from_secs(60), "the tenant writes again", |_| {
        full.sql("CREATE TABLE IF NOT EXISTS small (n int); INSERT INTO small VALUES (1)").ok()
    });
    installation.until(Duration::from_secs(60), "it is not said any more", |this| {
        let (_, shown) = this.native("GET", &format!("/moorage/v1/clusters/{}", full.id), None);
        (shown["state"] == "RUNNING" && shown["state_reason"] == Value::Null).then_some(())
    });
}

fn a_full_volume_stops_only_its_tenant(engine: &str, installation: &Installation) {
    let (full, neighbour) = (installation.create(engine, "full"), installation.create("postgresql", "neighbour"));
    let (_, shown) = installation.native("GET", &format!("/moorage/v1/clusters/{}", full.id), None);
    assert_eq!(shown["limits"]["disk"], json!({"value": 16, "unit": "GiB", "enforced": true}));
    assert_eq!(shown["state_reason"], Value::Null);
    occupy(&volume_of(installation, &full), 500);
    let told = fill(&full).to_lowercase();
    if told.contains("crash of another server process") {
        // A PostgreSQL whose log is refused ends all sessions, whichever one is writing; then it is its log that says why.
        let log = String::from_utf8_lossy(&installation.cli(&["cluster", "logs", "full"]).stdout).to_lowercase();
        assert!(["no space left on device", "disk quota exceeded"].iter().any(|word| log.contains(word)), "{told}\n{log}");
    } else {
        assert!(["full", "space", "quota", "wrote only"].iter().any(|word| told.contains(word)), "{told}");
    }
    neighbour.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)").expect("the neighbour writes");
    installation.until(Duration::from_secs(60), "it is said that the volume is full", |this| {
        let (_, shown) = this.native("GET", &format!("/moorage/v1/clusters/{}", full.id), None);
        shown["state_reason"].as_str().is_some_and(|why| why.to_lowercase().contains("full")).then_some(())
    });
    recovers_by_a_delete(installation, &full);
    assert_eq!(neighbour.sql("SELECT count(*) FROM t"), Ok("1".into()));
    let (status, accepted) = installation.native("DELETE", &format!("/moorage/v1/clusters/{}", full.id), None);
    assert_eq!(status, 202, "{accepted}");
    assert_eq!(installation.ended(accepted["operation"]["id"].as_str().expect("an operation"))["status"], "succeeded");
    assert!(!volume_of(installation, &full).exists());
}

#[test]
fn a_full_image_stops_only_its_postgresql_tenant() {
    let disk = Disk::none();
    let config = disk.config("[storage]\ndriver = 'image'\nspares = 1\n");
    a_full_volume_stops_only_its_tenant("postgresql", &Installation::start_in(&disk.path(), &["--config", &config]));
}

#[test]
fn a_full_image_stops_only_its_mariadb_tenant() {
    let disk = Disk::none();
    let config = disk.config("[storage]\ndriver = 'image'\nspares = 1\n");
    a_full_volume_stops_only_its_tenant("mariadb", &Installation::start_in(&disk.path(), &["--config", &config]));
}

#[test]
fn a_full_subvolume_stops_only_its_postgresql_tenant() {
    let disk = Disk::btrfs();
    a_full_volume_stops_only_its_tenant("postgresql", &Installation::start_in(&disk.path().join("data"), &[]));
}

#[test]
fn a_full_subvolume_stops_only_its_mariadb_tenant() {
    let disk = Disk::btrfs();
    a_full_volume_stops_only_its_tenant("mariadb", &Installation::start_in(&disk.path().join("data"), &[]));
}

#[test]
fn a_full_disk_under_the_control_plane_keeps_nobody_from_deleting_a_cluster() {
    let disk = Disk::tmpfs(700);
    let config = disk.config("[storage]\nspares = 0\n[limits]\ndisk_overcommit = 100\n");
    let installation = Installation::start_in(&disk.path().join("data"), &["--config", &config]);
    let cluster = installation.create("postgresql", "shop");
    let reserve = installation.directory.join("reserve");
    installation.until(Duration::from_secs(10), "space is put aside", |_| reserve.exists().then_some(()));
    let ballast = disk.path().join("ballast");
    drop(Command::new("dd").args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}", ballast.display())).output());
    let body = json!({"name": "late", "engine": "postgresql", "database": {"name": "shop", "owner": "keeper", "password": PASSWORD}});
    let (status, problem) = installation.native("POST", "/moorage/v1/clusters", Some(body));
    assert_eq!(problem["code"], "not-enough-space", "{status} {problem}");
    let accepted = installation.until(Duration::from_secs(10), "the delete is taken in", |this| {
        let (status, accepted) = this.native("DELETE", &format!("/moorage/v1/clusters/{}", cluster.id), None);
        (status == 202).then_some(accepted)
    });
    assert_eq!(installation.ended(accepted["operation"]["id"].as_str().expect("an operation"))["status"], "succeeded");
    assert!(installation.instance_directories().is_empty() && !reserve.exists());
    std::fs::remove_file(ballast).expect("removed");
    installation.until(Duration::from_secs(10), "space is put aside again", |_| reserve.exists().then_some(()));
}

#[test]
fn more_than_there_is_to_promise_is_refused_with_figures() {
    let disk = Disk::none();
    let config = disk.config("[storage]\nspares = 0\n[limits]\nmemory_overcommit = 0.1\ndisk_overcommit = 0.5\n");
    let installation = Installation::start_in(&disk.path(), &["--config", &config]);
    let refused = |more: Value| {
        let mut body =
            json!({"name": "shop", "engine": "postgresql", "database": {"name": "shop", "owner": "keeper", "password": PASSWORD}});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let (status, problem) = installation.native("POST", "/moorage/v1/clusters", Some(body));
        assert!(status >= 400, "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|told| told.contains("were asked for")) && problem["hint"].is_string(), "{problem}");
        problem["code"].clone()
    };
    assert_eq!(refused(json!({"server_type": "db1v16m128"})), "not-enough-memory");
    assert_eq!(refused(json!({"server_type": "db1v1m1", "size_gb": 5120})), "not-enough-space");
}
