//! Clusters of two instances, struck in every way while many clients write: what was acknowledged is there afterwards, never two accept
//! writes at once, and everything comes to rest by itself.
//!
//! `make chaos` deals many more blows: `MOORAGE_CHAOS` says how many of each, the primary is killed five times as often.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod blows;
mod clients;
mod requests;

use blows::{Blow, instance, shown, socket};
use clients::{MANY, Prober, Writers};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use support::{Cluster, Installation, PASSWORD};

/// Acknowledged writes between two strikes.
const ENOUGH: usize = 100;

fn make(installation: &Installation, engine: &str) -> Cluster {
    let body = json!({"name": format!("ha{engine}"), "engine": engine, "highly_available": true,
        "database": {"name": "shop", "owner": "keeper", "password": PASSWORD}});
    let (status, accepted) = installation.native("POST", "/moorage/v1/clusters", Some(body));
    assert_eq!(status, 202, "{accepted}");
    installation.running(accepted["cluster"]["id"].as_str().expect("an id"))
}

/// The cluster once it runs and its standby is in sync.
fn in_sync(installation: &Installation, cluster: &Cluster) -> Value {
    installation.until(Duration::from_secs(120), "the standby is in sync", |this| {
        let shown = shown(this, cluster);
        (shown["state"] == "RUNNING" && shown["state_reason"].is_null()).then_some(shown)
    })
}

/// Every blow once; for chaos many of each, in an order that differs from run to run.
fn blows() -> Vec<Blow> {
    let Some(rounds) = std::env::var("MOORAGE_CHAOS").ok().and_then(|rounds| rounds.parse::<usize>().ok()) else {
        return Blow::ALL.to_vec();
    };
    let count = |blow: &Blow| if *blow == Blow::PrimaryKilled { 5 * rounds } else { rounds };
    let mut blows: Vec<Blow> = Blow::ALL.iter().flat_map(|blow| std::iter::repeat_n(*blow, count(blow))).collect();
    for at in (1..blows.len()).rev() {
        blows.swap(at, usize::try_from(support::rand()).unwrap_or_default() % (at + 1));
    }
    blows
}

fn nothing_acknowledged_is_lost(engine: &str) {
    let mut installation = Installation::start();
    let cluster = make(&installation, engine);
    let tables = [
        "CREATE TABLE written (writer INT, number INT, PRIMARY KEY (writer, number))",
        "CREATE TABLE long_written (transaction INT, number INT, PRIMARY KEY (transaction, number))",
        "CREATE TABLE probed (instance INT)",
    ];
    tables.iter().for_each(|table| drop(cluster.sql(table).expect("a table")));
    let before = shown(&installation, &cluster);
    let sockets = ["ACTIVE", "STANDBY"].map(|role| socket(&installation, &instance(&before, role)));
    let (writers, prober) = (Writers::start(&cluster), Prober::start(engine, sockets));
    let mut pauses: BTreeMap<Blow, Vec<Duration>> = BTreeMap::new();
    for blow in blows() {
        let before = in_sync(&installation, &cluster);
        if !blow.is_possible(&installation, &cluster) {
            eprintln!("{engine}: {blow:?}: not possible here");
            continue;
        }
        let enough = writers.count() + ENOUGH;
        installation.until(Duration::from_secs(60), "enough is written", |_| (writers.count() >= enough).then_some(()));
        in_sync(&installation, &cluster);
        let struck = Instant::now();
        blow.strike(&mut installation, &cluster, &writers);
        if blow.moves() {
            let moved = || instance(&shown(&installation, &cluster), "ACTIVE") != instance(&before, "ACTIVE");
            let until = Instant::now() + Duration::from_secs(60);
            while !moved() {
                assert!(Instant::now() < until, "{engine}: {blow:?}: no other primary\n{}", story(&installation, &cluster));
                std::thread::sleep(Duration::from_millis(20));
            }
        } else {
            std::thread::sleep(Duration::from_secs(1));
        }
        let after = in_sync(&installation, &cluster);
        let moved = instance(&after, "ACTIVE") != instance(&before, "ACTIVE");
        assert_eq!(moved, blow.moves(), "{engine}: {blow:?}: {after}\n{}", story(&installation, &cluster));
        let enough = writers.count() + 1;
        installation.until(Duration::from_secs(60), "it is written on", |_| (writers.count() >= enough).then_some(()));
        if blow.is_planned() {
            assert_eq!(writers.failed(struck), Vec::<&str>::new(), "{engine}: {blow:?}");
        }
        let pause = writers.longest_pause(struck);
        eprintln!("{engine}: {blow:?}: longest pause {pause:?}");
        if pause > Duration::from_secs(5) {
            eprintln!("{}", story(&installation, &cluster));
        }
        pauses.entry(blow).or_default().push(pause);
    }
    let (accepted, overlaps) = prober.end();
    let (rows, long) = writers.end();
    let found = numbers(&cluster, "SELECT writer, number FROM written");
    let lost: Vec<_> = rows.difference(&found).collect();
    let long_found: BTreeMap<u32, u32> =
        numbers(&cluster, "SELECT transaction, count(*) FROM long_written GROUP BY transaction").into_iter().collect();
    let long_lost: Vec<_> = long.iter().filter(|transaction| long_found.get(transaction) != Some(&MANY)).collect();
    let halves: Vec<_> = long_found.iter().filter(|(_, count)| **count != MANY).collect();
    for (blow, pauses) in &pauses {
        let (count, worst) = (pauses.len(), pauses.iter().max().copied().unwrap_or_default());
        eprintln!("{engine}: {blow:?} x {count}: longest pause, median {:?}, worst {worst:?}", support::median(pauses.clone()));
    }
    eprintln!(
        "{engine}: {} rows acknowledged, {} missing; the instances accepted {accepted:?}, {overlaps} at once",
        rows.len(),
        lost.len()
    );
    assert!(rows.len() > pauses.len() * ENOUGH && lost.is_empty(), "lost: {lost:?}");
    assert!(long_lost.is_empty() && halves.is_empty(), "long transactions lost: {long_lost:?}, in part: {halves:?}");
    assert!(accepted.iter().all(|count| *count > 0) && overlaps == 0, "two accepted writes at once");
    a_failover_is_explained(&installation, &cluster);
    the_rest_of_its_life(&installation, &cluster, found.len());
}

/// What was done of late, and why.
fn story(installation: &Installation, cluster: &Cluster) -> String {
    let list = installation.native("GET", &format!("/moorage/v1/operations?cluster={}&limit=4", cluster.id), None).1;
    let ids = list["items"].as_array().into_iter().flatten().filter_map(|operation| operation["id"].as_str());
    ids.map(|id| format!("{:#}\n", installation.native("GET", &format!("/moorage/v1/operations/{id}"), None).1)).collect()
}

fn numbers(cluster: &Cluster, query: &str) -> BTreeSet<(u32, u32)> {
    let rows = cluster.sql(query).expect("an answer");
    let pairs = rows.lines().filter_map(|line| line.split_once(['|', '\t']));
    pairs.map(|(first, second)| (first.parse().expect("a number"), second.parse().expect("a number"))).collect()
}

fn a_failover_is_explained(installation: &Installation, cluster: &Cluster) {
    let (status, list) = installation.native("GET", &format!("/moorage/v1/operations?cluster={}&limit=100", cluster.id), None);
    assert_eq!(status, 200, "{list}");
    let failover = list["items"].as_array().expect("items").iter().find(|one| one["kind"] == "cluster.failover").expect("one").clone();
    let operation = installation.native("GET", &format!("/moorage/v1/operations/{}", failover["id"].as_str().expect("an id")), None).1;
    let words: Vec<_> = operation["events"].as_array().expect("events").iter().filter_map(|event| event["detail"].as_str()).collect();
    assert!(
        words.iter().any(|words| words.contains("takes over from") && words.contains("has everything that was acknowledged")),
        "{words:?}"
    );
    assert!(words.iter().any(|words| words.contains("nothing that was acknowledged is lost")), "{words:?}");
}

fn the_rest_of_its_life(installation: &Installation, cluster: &Cluster, rows: usize) {
    let act = |verb: &str, state: &str| {
        let (status, accepted) = installation.native("POST", &format!("/moorage/v1/clusters/{}/{verb}", cluster.id), None);
        assert_eq!(status, 202, "{verb}: {accepted}");
        let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an id"));
        assert_eq!(ended["status"], "succeeded", "{verb}: {ended}");
        installation.reaches(&cluster.id, state)
    };
    for (verb, state) in [("restart", "RUNNING"), ("stop", "STOPPED"), ("start", "RUNNING")] {
        act(verb, state);
        if state == "RUNNING" {
            in_sync(installation, cluster);
        }
    }
    assert_eq!(cluster.sql("SELECT count(*) FROM written"), Ok(rows.to_string()));
    let shown = shown(installation, cluster);
    let instances = [instance(&shown, "ACTIVE"), instance(&shown, "STANDBY")];
    let (status, accepted) = installation.native("DELETE", &format!("/moorage/v1/clusters/{}", cluster.id), None);
    assert_eq!(status, 202, "{accepted}");
    let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an id"));
    assert_eq!(ended["status"], "succeeded", "{ended}");
    for instance in instances {
        assert_eq!(installation.traces_of(&instance), Vec::<String>::new());
    }
    assert_eq!(installation.traces_of(&cluster.id), Vec::<String>::new(), "its network, too");
}

/// Both at once: each waits for the other's machine as for a busy neighbour's.
#[test]
fn nothing_acknowledged_is_lost_whoever_dies() {
    let engines = ["postgresql", "mariadb"].map(|engine| std::thread::spawn(move || nothing_acknowledged_is_lost(engine)));
    for engine in engines {
        if let Err(panic) = engine.join() {
            std::panic::resume_unwind(panic);
        }
    }
}
