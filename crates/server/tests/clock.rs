//! A machine's clock that is moved by an hour, forwards and backwards, while the server serves and operations run.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::Installation;

const HOUR: Duration = Duration::from_secs(3600);

/// The library that shows a program another time than the machine's; Debian puts it where the machine's architecture says.
fn library() -> PathBuf {
    let places = std::fs::read_dir("/usr/lib").expect("read").flatten();
    let found = places.map(|entry| entry.path().join("faketime/libfaketime.so.1")).find(|path| path.is_file());
    found.expect("faketime is installed by scripts/install-missing")
}

/// The server's clock, as far from the machine's as the file says.
struct Clock {
    file: PathBuf,
}

impl Clock {
    fn set(&self, seconds: i64) {
        let draft = self.file.with_extension("draft");
        std::fs::write(&draft, format!("{seconds:+}\n")).expect("written");
        std::fs::rename(&draft, &self.file).expect("in place");
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }
}

fn millis() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis()).expect("a time")
}

fn signed_at(installation: &Installation, millis: i64) -> u16 {
    let path = "/mariadb/v1/clusters";
    let headers = installation.signature_at(millis, "1.0", "GET", path);
    installation.exchange("GET", path, &headers, None).status
}

#[test]
fn a_clock_that_is_moved_by_an_hour_stops_nothing_and_ends_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Clock { file: directory.path().join("clock") };
    clock.set(0);
    let installation = Installation::start_with_environment(&clock.environment());
    let cluster = installation.create("postgresql", "shop");
    let pid = cluster.engine_pid(&installation);
    cluster.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").expect("its owner writes");
    let session = std::thread::spawn({
        let cluster = cluster.clone();
        move || cluster.sql("SELECT n FROM t, pg_sleep(25)")
    });
    for seconds in [3600, 0, -3600, 0] {
        clock.set(seconds);
        // Long enough for every watcher that looks every few seconds to have looked with the other time.
        std::thread::sleep(Duration::from_secs(5));
        let (status, shown) = installation.native("GET", &format!("/moorage/v1/clusters/{}", cluster.id), None);
        assert_eq!((status, &shown["state"], &shown["instances"][0]["restarts"]), (200, &json!("RUNNING"), &json!(0)), "{shown}");
        let there = millis() + 1000 * seconds;
        assert_eq!(signed_at(&installation, there), 200, "who has the server's time");
        if seconds != 0 {
            assert_eq!(signed_at(&installation, millis()), 401, "who does not");
        }
    }
    assert_eq!(session.join().expect("a session"), Ok("7".into()), "a session lives through all of it");
    assert_eq!(cluster.engine_pid(&installation), pid);

    // Moved while an operation is under way, whatever it waits for just then.
    for (before, after) in [(0, 3600), (3600, 0), (0, -3600), (-3600, 0)] {
        for delay in [0, 40, 150] {
            clock.set(before);
            let path = format!("/moorage/v1/clusters/{}/restart", cluster.id);
            let (status, accepted) = installation.native("POST", &path, Some(json!({})));
            assert_eq!(status, 202, "{accepted}");
            std::thread::sleep(Duration::from_millis(delay));
            clock.set(after);
            let id = accepted["operation"]["id"].as_str().expect("an id").to_owned();
            let ended = installation.until(HOUR / 60, "the operation ends although the clock moved", |this| {
                let (_, shown) = this.native("GET", &format!("/moorage/v1/operations/{id}"), None);
                matches!(shown["status"].as_str(), Some("succeeded" | "failed")).then_some(shown)
            });
            assert_eq!(ended["status"], "succeeded", "{ended}");
        }
    }
    assert_eq!(cluster.sql("SELECT n FROM t"), Ok("7".into()));
}
