//! Memory limits with real engines: whoever eats too much is killed inside its own cluster, and the neighbour's sessions live.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;
use support::{Cluster, Installation};

/// Eats far more than the smallest type has.
fn eat(cluster: &Cluster) -> Result<String, String> {
    let sql = if cluster.engine == "postgresql" {
        "SELECT length(array_agg(repeat('x', 1000) || n)::text) FROM generate_series(1, 5000000) n"
    } else {
        "SET max_heap_table_size = 8000000000, tmp_memory_table_size = 8000000000; \
         CREATE TEMPORARY TABLE eaten (n int, a char(255), b char(255), c char(255), d char(255)) ENGINE = MEMORY CHARACTER SET latin1; \
         INSERT INTO eaten SELECT seq, 'a', 'b', 'c', 'd' FROM seq_1_to_5000000"
    };
    cluster.sql(sql)
}

fn whoever_eats_memory_is_killed_alone(engine: &str) {
    let installation = Installation::start();
    let (eater, neighbour) = (installation.create(engine, "eater"), installation.create("postgresql", "neighbour"));
    if eater.shown["limits"]["memory"]["enforced"] == false {
        return;
    }
    eater.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").expect("its owner writes");
    let pids = [&eater, &neighbour].map(|cluster| cluster.engine_pid(&installation));
    let session = std::thread::spawn({
        let neighbour = neighbour.clone();
        // One statement, one transaction, one session: it would end with its engine.
        move || neighbour.sql("SELECT count(*) FROM generate_series(1, 60) n, LATERAL (SELECT pg_sleep(0.1 + n * 0)) s")
    });
    let told = eat(&eater).expect_err("there is not so much memory");
    assert!(["closed", "terminat", "Lost connection", "gone away"].iter().any(|word| told.contains(word)), "{told}");
    installation.until(Duration::from_secs(60), "the eater serves again", |_| {
        eater.sql("SELECT n FROM t").is_ok_and(|rows| rows == "7").then_some(())
    });
    assert_eq!(session.join().expect("a session"), Ok("60".into()), "the neighbour's session lived");
    assert_eq!(neighbour.engine_pid(&installation), pids[1]);
    if engine == "mariadb" {
        assert_ne!(eater.engine_pid(&installation), pids[0], "one process for all sessions: it was killed");
        let shown = installation.until(Duration::from_secs(30), "the reason is shown", |this| {
            let (_, shown) = this.native("GET", &format!("/moorage/v1/clusters/{}", eater.id), None);
            (shown["instances"][0]["restarts"] == 1).then_some(shown)
        });
        let reason = shown["instances"][0]["last_restart_reason"].as_str().expect("a reason");
        assert!(reason.contains("out of memory"), "{reason}");
    } else {
        assert_eq!(eater.engine_pid(&installation), pids[0], "only the session's own process was killed");
    }
    let (_, shown) = installation.native("GET", &format!("/moorage/v1/clusters/{}", neighbour.id), None);
    assert_eq!((&shown["state"], &shown["instances"][0]["restarts"]), (&"RUNNING".into(), &0.into()), "{shown}");
}

#[test]
fn a_query_that_eats_memory_is_killed_inside_its_own_postgresql() {
    whoever_eats_memory_is_killed_alone("postgresql");
}

#[test]
fn a_mariadb_that_eats_memory_is_killed_alone_and_says_why_it_was_restarted() {
    whoever_eats_memory_is_killed_alone("mariadb");
}
