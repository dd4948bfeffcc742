//! Clusters of two instances, struck in every way while many clients write: what was acknowledged is there afterwards, and everything
//! comes to rest by itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::{Cluster, Installation, PASSWORD, kill, processes_in};

const WRITERS: u32 = 8;
/// Acknowledged writes between two strikes.
const ENOUGH: usize = 100;

/// One client that writes row after row, each in a transaction of its own, and remembers what was acknowledged.
async fn write(cluster: &Cluster, writer: u32, stop: &AtomicBool, acknowledged: &Mutex<Vec<(u32, u32, Instant)>>) {
    let mut row = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut session = match Session::open(cluster).await {
            Some(session) => session,
            None => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        while !stop.load(Ordering::Relaxed) {
            row += 1;
            if !session.run(&format!("INSERT INTO written VALUES ({writer}, {row})")).await {
                break;
            }
            acknowledged.lock().expect("no writer panicked").push((writer, row, Instant::now()));
        }
    }
}

enum Session {
    PostgreSql(tokio_postgres::Client, tokio::task::JoinHandle<()>),
    MariaDb(mysql_async::Conn),
}

impl Session {
    async fn open(cluster: &Cluster) -> Option<Self> {
        let opened = tokio::time::timeout(Duration::from_secs(3), async {
            if cluster.engine == "postgresql" {
                let target = format!("host={} port={} user=keeper password={PASSWORD} dbname=shop", cluster.address, cluster.port);
                let (client, connection) = tokio_postgres::connect(&target, tokio_postgres::NoTls).await.ok()?;
                Some(Self::PostgreSql(client, tokio::spawn(async move { drop(connection.await) })))
            } else {
                let options = mysql_async::OptsBuilder::default()
                    .ip_or_hostname(cluster.address.clone())
                    .tcp_port(cluster.port)
                    .user(Some("keeper"))
                    .pass(Some(PASSWORD))
                    .db_name(Some("shop"))
                    .prefer_socket(Some(false))
                    .max_allowed_packet(Some(1 << 20))
                    .wait_timeout(Some(600));
                mysql_async::Conn::new(options).await.ok().map(Self::MariaDb)
            }
        });
        opened.await.ok().flatten()
    }

    async fn run(&mut self, statement: &str) -> bool {
        match self {
            Self::PostgreSql(client, _) => client.simple_query(statement).await.is_ok(),
            Self::MariaDb(connection) => connection.query_drop(statement).await.is_ok(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Self::PostgreSql(_, connection) = self {
            connection.abort();
        }
    }
}

/// Many clients that write until they are told to end.
struct Writers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<(u32, u32, Instant)>>>,
    thread: JoinHandle<()>,
}

impl Writers {
    fn start(cluster: &Cluster) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<_>>>::default());
        let (cluster, stopping, writing) = (cluster.clone(), stop.clone(), acknowledged.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let writers = (0..WRITERS).map(|writer| write(&cluster, writer, &stopping, &writing));
                futures::future::join_all(writers).await;
            });
        });
        Self { stop, acknowledged, thread }
    }
    fn count(&self) -> usize {
        self.acknowledged.lock().expect("no writer panicked").len()
    }
    /// The longest time without an acknowledgement from then on.
    fn longest_pause(&self, since: Instant) -> Duration {
        let acknowledged = self.acknowledged.lock().expect("no writer panicked");
        let times: Vec<_> = std::iter::once(since).chain(acknowledged.iter().map(|(.., at)| *at).filter(|at| *at >= since)).collect();
        times.windows(2).map(|pair| pair[1].duration_since(pair[0])).max().unwrap_or_default()
    }
    fn end(self) -> BTreeSet<(u32, u32)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("they end");
        self.acknowledged.lock().expect("no writer panicked").iter().map(|(writer, row, _)| (*writer, *row)).collect()
    }
}

fn make(installation: &Installation, engine: &str) -> Cluster {
    let body = json!({"name": format!("ha{engine}"), "engine": engine, "highly_available": true,
        "database": {"name": "shop", "owner": "keeper", "password": PASSWORD}});
    let (status, accepted) = installation.native("POST", "/moorage/v1/clusters", Some(body));
    assert_eq!(status, 202, "{accepted}");
    installation.running(accepted["cluster"]["id"].as_str().expect("an id"))
}

fn shown(installation: &Installation, cluster: &Cluster) -> Value {
    installation.native("GET", &format!("/moorage/v1/clusters/{}", cluster.id), None).1
}

/// The cluster once it runs and its standby is in sync.
fn in_sync(installation: &Installation, cluster: &Cluster) -> Value {
    installation.until(Duration::from_secs(120), "the standby is in sync", |this| {
        let shown = shown(this, cluster);
        (shown["state"] == "RUNNING" && shown["state_reason"].is_null()).then_some(shown)
    })
}

fn instance(shown: &Value, role: &str) -> String {
    let all = shown["instances"].as_array().expect("instances");
    let of_role: Vec<_> = all.iter().filter(|instance| instance["role"] == role).collect();
    assert_eq!((all.len(), of_role.len()), (2, 1), "{shown}");
    of_role[0]["id"].as_str().expect("an id").to_owned()
}

/// The main process of an instance: the oldest in its directory.
fn main_process(installation: &Installation, instance: &str) -> u32 {
    let volume = installation.directory.join("instances").join(instance).join("volume");
    installation.until(Duration::from_secs(10), "it has a process", |_| processes_in(&volume).into_iter().min())
}

fn freezer(instance: &str) -> Option<PathBuf> {
    let found =
        std::process::Command::new("find").args(["/sys/fs/cgroup", "-path", &format!("*{instance}*"), "-name", "cgroup.freeze"]).output();
    String::from_utf8_lossy(&found.expect("find runs").stdout).lines().next().map(PathBuf::from)
}

fn strike(installation: &mut Installation, cluster: &Cluster, blow: &str) {
    let before = shown(installation, cluster);
    let (primary, standby) = (instance(&before, "ACTIVE"), instance(&before, "STANDBY"));
    match blow {
        "primary killed" => kill(main_process(installation, &primary), 9),
        "standby killed" => kill(main_process(installation, &standby), 9),
        "both killed" => {
            let both = [main_process(installation, &primary), main_process(installation, &standby)];
            both.into_iter().for_each(|pid| kill(pid, 9));
        }
        "primary frozen" => std::fs::write(freezer(&primary).expect("a switch"), "1").expect("frozen"),
        "primary frozen for two seconds" => {
            let switch = freezer(&primary).expect("a switch");
            std::fs::write(&switch, "1").expect("frozen");
            std::thread::sleep(Duration::from_secs(2));
            std::fs::write(&switch, "0").expect("thawed");
        }
        "server killed during a failover" => {
            kill(main_process(installation, &primary), 9);
            std::thread::sleep(Duration::from_millis(support::rand() % 200));
            installation.kill_server();
            installation.serve();
        }
        other => panic!("{other}"),
    }
}

/// Each blow, and whether another instance is the primary afterwards.
const BLOWS: [(&str, bool); 7] = [
    ("primary killed", true),
    ("standby killed", false),
    ("primary frozen", true),
    ("primary frozen for two seconds", false),
    ("both killed", false),
    ("server killed during a failover", true),
    ("primary killed", true),
];

fn nothing_acknowledged_is_lost(engine: &str) {
    let mut installation = Installation::start();
    let cluster = make(&installation, engine);
    cluster.sql("CREATE TABLE written (writer INT, number INT, PRIMARY KEY (writer, number))").expect("a table");
    let writers = Writers::start(&cluster);
    for (blow, moves) in BLOWS {
        if blow.contains("frozen") && freezer(&instance(&shown(&installation, &cluster), "ACTIVE")).is_none() {
            eprintln!("{engine}: {blow}: not here, groups cannot be frozen");
            continue;
        }
        let before = in_sync(&installation, &cluster);
        let enough = writers.count() + ENOUGH;
        installation.until(Duration::from_secs(60), "enough is written", |_| (writers.count() >= enough).then_some(()));
        let struck = Instant::now();
        strike(&mut installation, &cluster, blow);
        if moves {
            installation.until(Duration::from_secs(60), "another is the primary", |this| {
                (instance(&shown(this, &cluster), "ACTIVE") != instance(&before, "ACTIVE")).then_some(())
            });
        } else {
            std::thread::sleep(Duration::from_secs(1));
        }
        let after = in_sync(&installation, &cluster);
        assert_eq!(instance(&after, "ACTIVE") != instance(&before, "ACTIVE"), moves, "{blow}: {after}");
        let enough = writers.count() + 1;
        installation.until(Duration::from_secs(60), "it is written on", |_| (writers.count() >= enough).then_some(()));
        eprintln!("{engine}: {blow}: longest pause {:?}", writers.longest_pause(struck));
    }
    let acknowledged = writers.end();
    let rows = cluster.sql("SELECT writer, number FROM written").expect("an answer");
    let found: BTreeSet<(u32, u32)> = rows
        .lines()
        .filter_map(|line| line.split_once(['|', '\t']))
        .map(|(writer, number)| (writer.parse().expect("a number"), number.parse().expect("a number")))
        .collect();
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(acknowledged.len() > BLOWS.len() * ENOUGH && lost.is_empty(), "{} lost of {}: {lost:?}", lost.len(), acknowledged.len());
    a_failover_is_explained(&installation, &cluster);
    the_rest_of_its_life(&installation, &cluster, found.len());
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

#[test]
fn nothing_acknowledged_by_postgresql_is_lost_whoever_dies() {
    nothing_acknowledged_is_lost("postgresql");
}

#[test]
fn nothing_acknowledged_by_mariadb_is_lost_whoever_dies() {
    nothing_acknowledged_is_lost("mariadb");
}
