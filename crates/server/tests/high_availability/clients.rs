//! Clients that write all the while and remember what was acknowledged.

use crate::support::{Cluster, PASSWORD};
use mysql_async::prelude::Queryable;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Clients that keep their connection.
const WITH_POOL: u32 = 6;
/// Clients that connect for each transaction.
const WITHOUT_POOL: u32 = 4;
/// Rows of a long transaction.
pub const MANY: u32 = 10_000;

pub enum Session {
    PostgreSql(tokio_postgres::Client, tokio::task::JoinHandle<()>),
    MariaDb(mysql_async::Conn),
}

impl Session {
    /// Through the endpoint.
    pub async fn open(cluster: &Cluster) -> Option<Self> {
        if cluster.engine == "postgresql" {
            Self::postgresql(&format!("host={} port={}", cluster.address, cluster.port)).await
        } else {
            let options = mysql_async::OptsBuilder::default().ip_or_hostname(cluster.address.clone()).tcp_port(cluster.port);
            Self::mariadb(options.prefer_socket(Some(false))).await
        }
    }
    /// Through the socket of one instance.
    pub async fn open_socket(engine: &str, socket: &std::path::Path) -> Option<Self> {
        if engine == "postgresql" {
            Self::postgresql(&format!("host={} port=5432", socket.parent()?.display())).await
        } else {
            Self::mariadb(mysql_async::OptsBuilder::default().socket(Some(socket.to_string_lossy()))).await
        }
    }
    async fn postgresql(place: &str) -> Option<Self> {
        let target = format!("{place} user=keeper password={PASSWORD} dbname=shop");
        let (client, connection) = tokio_postgres::connect(&target, tokio_postgres::NoTls).await.ok()?;
        Some(Self::PostgreSql(client, tokio::spawn(async move { drop(connection.await) })))
    }
    async fn mariadb(options: mysql_async::OptsBuilder) -> Option<Self> {
        let options = options.user(Some("keeper")).pass(Some(PASSWORD)).db_name(Some("shop"));
        let options = options.max_allowed_packet(Some(1 << 20)).wait_timeout(Some(600));
        mysql_async::Conn::new(options).await.ok().map(Self::MariaDb)
    }

    pub async fn run(&mut self, statement: &str) -> bool {
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

/// What the clients saw.
#[derive(Default)]
pub struct Seen {
    acknowledged: Mutex<Vec<(u32, u32, Instant)>>,
    /// Transactions that were begun and ended otherwise than by their client; connections that were refused.
    failed: Mutex<Vec<(Instant, &'static str)>>,
    /// Long transactions that were acknowledged.
    long: Mutex<Vec<u32>>,
    /// Raised whenever a long transaction is about to be committed.
    about_to_commit: AtomicU32,
}

async fn transaction(session: &mut Session, writer: u32, row: u32) -> Result<(), &'static str> {
    for (stage, statement) in
        [("begin", "BEGIN"), ("write", &format!("INSERT INTO written VALUES ({writer}, {row})")), ("commit", "COMMIT")]
    {
        if !session.run(statement).await {
            return Err(stage);
        }
    }
    Ok(())
}

/// Writes row after row, each in a transaction of its own.
async fn write(cluster: &Cluster, writer: u32, stop: &AtomicBool, seen: &Seen) {
    let mut row = 0;
    let mut kept: Option<Session> = None;
    let failed = |stage| seen.failed.lock().expect("no writer panicked").push((Instant::now(), stage));
    while !stop.load(Ordering::Relaxed) {
        let opened = match kept.take() {
            Some(session) => Some(session),
            None => tokio::time::timeout(Duration::from_secs(10), Session::open(cluster)).await.ok().flatten(),
        };
        let Some(mut session) = opened else {
            failed("connect");
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        row += 1;
        match transaction(&mut session, writer, row).await {
            Ok(()) => {
                seen.acknowledged.lock().expect("no writer panicked").push((writer, row, Instant::now()));
                kept = (writer < WITH_POOL).then_some(session);
            }
            // Closed between two transactions, as pools have to expect.
            Err("begin") if writer < WITH_POOL => {}
            Err(stage) => {
                failed(stage);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Writes many rows in one transaction, again and again while it is wanted.
async fn write_much(cluster: &Cluster, wanted: &AtomicBool, stop: &AtomicBool, seen: &Seen) {
    let numbers = if cluster.engine == "postgresql" {
        format!("generate_series(1, {MANY}) AS number")
    } else {
        format!("(SELECT seq AS number FROM seq_1_to_{MANY}) numbers")
    };
    let mut transaction = 0;
    while !stop.load(Ordering::Relaxed) {
        if !wanted.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        transaction += 1;
        let Some(mut session) = Session::open(cluster).await else { continue };
        let insert = format!("INSERT INTO long_written SELECT {transaction}, number FROM {numbers}");
        if !session.run("BEGIN").await || !session.run(&insert).await {
            continue;
        }
        seen.about_to_commit.fetch_add(1, Ordering::Relaxed);
        if session.run("COMMIT").await {
            seen.long.lock().expect("no writer panicked").push(transaction);
        }
    }
}

/// Many clients that write until they are told to end.
pub struct Writers {
    stop: Arc<AtomicBool>,
    long: Arc<AtomicBool>,
    seen: Arc<Seen>,
    thread: JoinHandle<()>,
}

impl Writers {
    pub fn start(cluster: &Cluster) -> Self {
        let (stop, long, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), Arc::<Seen>::default());
        let (cluster, stopping, wanted, seeing) = (cluster.clone(), stop.clone(), long.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let writers = (0..WITH_POOL + WITHOUT_POOL).map(|writer| write(&cluster, writer, &stopping, &seeing));
                tokio::join!(futures::future::join_all(writers), write_much(&cluster, &wanted, &stopping, &seeing));
            });
        });
        Self { stop, long, seen, thread }
    }
    pub fn count(&self) -> usize {
        self.seen.acknowledged.lock().expect("no writer panicked").len()
    }
    /// The longest time without an acknowledgement from then on.
    pub fn longest_pause(&self, since: Instant) -> Duration {
        let acknowledged = self.seen.acknowledged.lock().expect("no writer panicked");
        let times: Vec<_> = std::iter::once(since).chain(acknowledged.iter().map(|(.., at)| *at).filter(|at| *at >= since)).collect();
        times.windows(2).map(|pair| pair[1].duration_since(pair[0])).max().unwrap_or_default()
    }
    /// What failed from then on, other than a connection that was closed between two transactions.
    pub fn failed(&self, since: Instant) -> Vec<&'static str> {
        let failed = self.seen.failed.lock().expect("no writer panicked");
        failed.iter().filter(|(at, _)| *at >= since).map(|(_, stage)| *stage).collect()
    }
    /// Lets a long transaction get to its commit, does something at that moment, and lets no more begin.
    pub fn at_a_long_commit(&self, act: impl FnOnce()) {
        let before = self.seen.about_to_commit.load(Ordering::Relaxed);
        self.long.store(true, Ordering::Relaxed);
        let until = Instant::now() + Duration::from_secs(60);
        while self.seen.about_to_commit.load(Ordering::Relaxed) == before {
            assert!(Instant::now() < until, "no long transaction got to its commit");
            std::thread::sleep(Duration::from_micros(200));
        }
        act();
        self.long.store(false, Ordering::Relaxed);
    }
    /// Everything that was acknowledged: rows, and long transactions.
    pub fn end(self) -> (BTreeSet<(u32, u32)>, BTreeSet<u32>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("they end");
        let rows = self.seen.acknowledged.lock().expect("no writer panicked").iter().map(|(writer, row, _)| (*writer, *row)).collect();
        let long = self.seen.long.lock().expect("no writer panicked").iter().copied().collect();
        (rows, long)
    }
}

/// Writes to every instance over its own socket, all the time: one of them accepts it, never two at once.
pub struct Prober {
    stop: Arc<AtomicBool>,
    accepted: Arc<Mutex<Vec<(usize, Instant, Instant)>>>,
    thread: JoinHandle<()>,
}

const PROBE_EVERY: Duration = Duration::from_millis(20);
const PROBE_LIMIT: Duration = Duration::from_millis(500);

impl Prober {
    pub fn start(engine: &str, sockets: [PathBuf; 2]) -> Self {
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<_>>>::default());
        let (stopping, accepting, engine) = (stop.clone(), accepted.clone(), engine.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let probes = sockets.iter().enumerate().map(|(number, socket)| probe(&engine, number, socket, &stopping, &accepting));
            runtime.block_on(futures::future::join_all(probes));
        });
        Self { stop, accepted, thread }
    }
    /// How many writes each instance accepted, and how many times two accepted at once.
    pub fn end(self) -> ([usize; 2], usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it ends");
        let mut accepted = self.accepted.lock().expect("it did not panic").clone();
        accepted.sort_by_key(|(_, begun, _)| *begun);
        let (mut counts, mut overlaps, mut ended) = ([0, 0], 0, [None::<Instant>; 2]);
        for (number, begun, end) in accepted {
            counts[number] += 1;
            if ended[1 - number].is_some_and(|other| other > begun) {
                overlaps += 1;
            }
            ended[number] = ended[number].max(Some(end));
        }
        (counts, overlaps)
    }
}

async fn probe(engine: &str, number: usize, socket: &std::path::Path, stop: &AtomicBool, accepted: &Mutex<Vec<(usize, Instant, Instant)>>) {
    let mut kept: Option<Session> = None;
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(PROBE_EVERY).await;
        let mut session = match kept.take() {
            Some(session) => session,
            None => match tokio::time::timeout(PROBE_LIMIT, Session::open_socket(engine, socket)).await {
                Ok(Some(session)) => session,
                _ => continue,
            },
        };
        let begun = Instant::now();
        match tokio::time::timeout(PROBE_LIMIT, session.run(&format!("INSERT INTO probed VALUES ({number})"))).await {
            Ok(true) => {
                accepted.lock().expect("nobody panicked").push((number, begun, Instant::now()));
                kept = Some(session);
            }
            // A standby that says no is asked again over the same connection.
            Ok(false) => kept = matches!(tokio::time::timeout(PROBE_LIMIT, session.run("SELECT 1")).await, Ok(true)).then_some(session),
            Err(_) => {}
        }
    }
}
