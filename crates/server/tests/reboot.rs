//! After a reboot everything that ran runs again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Cluster, Installation, directories_named};

/// Power goes: every process at once, and everything the kernel forgets. The files say then that they were written in another
/// boot, as they do after a real one.
fn lose_power(installation: &mut Installation) {
    installation.kill_server();
    for _ in 0..100 {
        let pids: Vec<String> = installation.processes().iter().map(ToString::to_string).collect();
        if pids.is_empty() {
            break;
        }
        drop(Command::new("kill").arg("-9").args(&pids).output());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(installation.processes(), Vec::<u32>::new());
    let mark = installation.mark();
    // A process that is ending has no command line any more and is in its control group still.
    installation.until(Duration::from_secs(30), "a reboot leaves nothing of these", |_| {
        for path in directories_named(Path::new("/sys/fs/cgroup"), &mark) {
            drop(std::fs::remove_dir(path));
        }
        for path in directories_named(Path::new("/run/moorage"), &mark) {
            drop(std::fs::remove_dir_all(path));
        }
        let left = ["/sys/fs/cgroup", "/run/moorage"].map(|root| directories_named(Path::new(root), &mark));
        left.concat().is_empty().then_some(())
    });
    let boot = moorage_host_local::identity::boot();
    let wishes = Command::new("find").arg(&installation.directory).args(["-name", "wanted.json"]).output().expect("find runs");
    let wishes = String::from_utf8_lossy(&wishes.stdout).into_owned();
    let mut rewritten = 0;
    for path in wishes.lines() {
        let text = std::fs::read_to_string(path).expect("a wish");
        if text.contains(&boot) {
            std::fs::write(path, text.replace(&boot, &"0".repeat(boot.len()))).expect("written");
            rewritten += 1;
        }
    }
    assert!(rewritten >= 3, "engines and gateway were wished for in this boot");
}

#[test]
fn after_a_reboot_everything_that_ran_runs_again_with_every_row() {
    let mut installation = Installation::start();
    let clusters: Vec<Cluster> =
        ["mariadb", "postgresql"].iter().map(|engine| installation.create(engine, &format!("boot{engine}"))).collect();
    for cluster in &clusters {
        cluster.sql("CREATE TABLE t (n INT PRIMARY KEY)").expect("a table");
        cluster.sql("INSERT INTO t VALUES (1), (2)").expect("rows");
    }
    let rests = installation.create("postgresql", "rests");
    let (_, accepted) = installation.native("POST", &format!("/moorage/v1/clusters/{}/stop", rests.id), None);
    installation.ended(accepted["operation"]["id"].as_str().expect("an operation"));
    // One that is being made when it happens, and one that is being stopped.
    let halfway = installation.ask_for("mariadb", "halfway");
    let stopping = installation.create("postgresql", "stopping");
    let (status, stop) = installation.native("POST", &format!("/moorage/v1/clusters/{}/stop", stopping.id), None);
    assert_eq!(status, 202, "{stop}");
    lose_power(&mut installation);

    let begun = Instant::now();
    installation.serve();
    for cluster in &clusters {
        let now = installation.reaches(&cluster.id, "RUNNING");
        installation
            .until(Duration::from_secs(30), "every row is there", |_| (now.sql("SELECT count(*) FROM t") == Ok("2".into())).then_some(()));
        assert_eq!((&now.address, now.port), (&cluster.address, cluster.port));
    }
    eprintln!("reboot: both engines answering {:?} after the start of serve", begun.elapsed());
    assert_eq!(installation.reaches(&rests.id, "STOPPED").id, rests.id);
    assert_eq!(installation.ended(stop["operation"]["id"].as_str().expect("an operation"))["status"], "succeeded");
    assert_eq!(installation.reaches(&stopping.id, "STOPPED").id, stopping.id);
    let made = installation.ended(halfway["operation"]["id"].as_str().expect("an operation"));
    assert_eq!(made["status"], "succeeded", "{made}");
    let halfway = installation.running(halfway["cluster"]["id"].as_str().expect("an id"));
    assert_eq!(halfway.sql("SELECT 1"), Ok("1".into()));
}
