//! Clients that write row after row, each in a transaction of its own, and remember what was acknowledged and when.

use super::super::engines::Engine;
use super::super::installation::PASSWORD;
use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(10);
/// An attempt to connect that takes longer is given up.
const CONNECT: Duration = Duration::from_secs(3);

/// Where a database is written to: at the only address, or at the one of several that takes writes.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Which engine.
    pub engine: Engine,
    /// Addresses and ports.
    pub addresses: Vec<(String, u16)>,
}

impl Endpoint {
    /// All addresses, and all ports, separated by commas, as PostgreSQL's clients take them.
    pub fn lists(&self) -> (String, String) {
        let addresses: Vec<_> = self.addresses.iter().map(|(address, _)| address.as_str()).collect();
        let ports: Vec<_> = self.addresses.iter().map(|(_, port)| port.to_string()).collect();
        (addresses.join(","), ports.join(","))
    }
}

enum Session {
    PostgreSql(tokio_postgres::Client, tokio::task::JoinHandle<()>),
    MariaDb(mysql_async::Conn),
}

impl Session {
    async fn open(endpoint: &Endpoint) -> Result<Self> {
        tokio::time::timeout(CONNECT, Self::connect(endpoint)).await.context("no answer")?
    }

    async fn connect(endpoint: &Endpoint) -> Result<Self> {
        if endpoint.engine == Engine::PostgreSql {
            let (addresses, ports) = endpoint.lists();
            let which = if endpoint.addresses.len() > 1 { "target_session_attrs=read-write" } else { "" };
            let target = format!("host={addresses} port={ports} user=keeper password={PASSWORD} dbname=bench {which}");
            let (client, connection) = tokio_postgres::connect(&target, tokio_postgres::NoTls).await?;
            return Ok(Self::PostgreSql(client, tokio::spawn(async move { drop(connection.await) })));
        }
        let (address, port) = endpoint.addresses.first().context("no address")?;
        // What is given here is not asked of the server first.
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname(address.clone())
            .tcp_port(*port)
            .user(Some("keeper"))
            .pass(Some(PASSWORD))
            .db_name(Some("bench"))
            .prefer_socket(Some(false))
            .max_allowed_packet(Some(1 << 20))
            .wait_timeout(Some(600));
        Ok(Self::MariaDb(mysql_async::Conn::new(options).await?))
    }

    async fn run(&mut self, statement: &str) -> Result<()> {
        match self {
            Self::PostgreSql(client, _) => drop(client.simple_query(statement).await?),
            Self::MariaDb(connection) => connection.query_drop(statement).await?,
        }
        Ok(())
    }

    /// The rows a query answers with, as text.
    async fn rows(&mut self, query: &str) -> Result<Vec<Vec<String>>> {
        match self {
            Self::PostgreSql(client, _) => {
                let answer = client.simple_query(query).await?;
                let rows = answer.iter().filter_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                Ok(rows.map(|row| (0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect()).collect())
            }
            Self::MariaDb(connection) => {
                let text = |value| match value {
                    mysql_async::Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    other => other.as_sql(true),
                };
                let rows: Vec<mysql_async::Row> = connection.query(query).await?;
                Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect())
            }
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

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// The answer to a query, by a connection of its own.
pub fn ask(endpoint: &Endpoint, query: &str) -> Result<Vec<Vec<String>>> {
    runtime()?.block_on(async {
        let begun = Instant::now();
        loop {
            let answer = async { Session::open(endpoint).await?.rows(query).await }.await;
            match answer {
                Err(_) if begun.elapsed() < Duration::from_secs(10) => tokio::time::sleep(RETRY).await,
                answer => return answer.with_context(|| query.to_owned()),
            }
        }
    })
}

/// An acknowledged row.
#[derive(Clone, Copy)]
struct Acknowledged {
    writer: u32,
    number: u32,
    at: Instant,
}

/// What the clients remember.
#[derive(Default)]
struct Memory {
    acknowledged: Vec<Acknowledged>,
    /// Rows of clients with a lasting connection that it was lost with.
    lost: Vec<(u32, u32)>,
    /// Transactions that failed of clients with a connection for each.
    failed: usize,
}

type Diary = Arc<Mutex<Memory>>;

fn open(diary: &Diary) -> MutexGuard<'_, Memory> {
    diary.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was written in the end.
pub struct Written {
    /// Rows that were acknowledged.
    pub acknowledged: usize,
    /// Those of them that are not there.
    pub missing: usize,
    /// Rows that are there although their connection was lost before they were acknowledged: it did not end between two transactions.
    pub cut_within: usize,
    /// Transactions that failed of clients with a connection for each.
    pub failed: usize,
}

/// How many clients write.
#[derive(Clone, Copy)]
pub struct Crew {
    /// With a lasting connection; the first of them is the one that is measured.
    pub lasting: u32,
    /// With a connection for each transaction.
    pub per_transaction: u32,
}

/// Clients that write into a table of their own until they are told to end.
pub struct Writers {
    endpoint: Endpoint,
    stop: Arc<AtomicBool>,
    diary: Diary,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Writers {
    /// Makes the table and begins to write.
    pub fn start(endpoint: &Endpoint, crew: Crew) -> Result<Self> {
        ask(endpoint, "DROP TABLE IF EXISTS written")?;
        ask(endpoint, "CREATE TABLE IF NOT EXISTS written (writer INT, number INT, PRIMARY KEY (writer, number))")?;
        let (stop, diary) = (Arc::new(AtomicBool::new(false)), Diary::default());
        let (place, stopping, writing) = (endpoint.clone(), stop.clone(), diary.clone());
        let thread = std::thread::spawn(move || runtime()?.block_on(write_all(place, crew, stopping, writing)));
        Ok(Self { endpoint: endpoint.clone(), stop, diary, thread: Some(thread) })
    }

    /// How many writes of the measured client were acknowledged.
    pub fn count(&self) -> usize {
        open(&self.diary).acknowledged.iter().filter(|one| one.writer == 0).count()
    }

    /// The longest time between two acknowledgements of the measured client, the second of which came after this moment.
    pub fn longest_pause(&self, since: Instant) -> Duration {
        let times: Vec<_> = open(&self.diary).acknowledged.iter().filter(|one| one.writer == 0).map(|one| one.at).collect();
        let pauses = times.windows(2).filter(|pair| pair[1] >= since).map(|pair| pair[1].duration_since(pair[0]));
        pauses.max().unwrap_or_default()
    }

    /// Ends them and looks whether everything that was acknowledged is there.
    pub fn end(mut self) -> Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended?,
            _ => bail!("the clients ended in a panic"),
        }
        let found = ask(&self.endpoint, "SELECT writer, number FROM written")?;
        let found = rows(&found);
        let memory = open(&self.diary);
        Ok(Written {
            acknowledged: memory.acknowledged.len(),
            missing: missing(&memory.acknowledged, &found),
            cut_within: memory.lost.iter().filter(|row| found.contains(row)).count(),
            failed: memory.failed,
        })
    }
}

fn rows(found: &[Vec<String>]) -> BTreeSet<(u32, u32)> {
    let row = |row: &Vec<String>| match row.as_slice() {
        [writer, number] => Some((writer.parse().ok()?, number.parse().ok()?)),
        _ => None,
    };
    found.iter().filter_map(row).collect()
}

/// How many rows of those that were acknowledged are not among those that were found.
fn missing(acknowledged: &[Acknowledged], found: &BTreeSet<(u32, u32)>) -> usize {
    acknowledged.iter().filter(|one| !found.contains(&(one.writer, one.number))).count()
}

async fn write_all(endpoint: Endpoint, crew: Crew, stop: Arc<AtomicBool>, diary: Diary) -> Result<()> {
    let mut all = JoinSet::new();
    for writer in 0..crew.lasting + crew.per_transaction {
        let (endpoint, stop, diary) = (endpoint.clone(), stop.clone(), diary.clone());
        all.spawn(async move {
            match writer < crew.lasting {
                true => write(&endpoint, writer, &stop, &diary).await,
                false => write_and_leave(&endpoint, writer, &stop, &diary).await,
            }
        });
    }
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(RETRY).await;
    }
    // A write that hangs was not acknowledged: it is left behind.
    drop(tokio::time::timeout(Duration::from_secs(5), all.join_all()).await);
    Ok(())
}

fn insertion(writer: u32, number: u32) -> String {
    format!("INSERT INTO written VALUES ({writer}, {number})")
}

async fn write(endpoint: &Endpoint, writer: u32, stop: &AtomicBool, diary: &Diary) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut session) = Session::open(endpoint).await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            if session.run(&insertion(writer, number)).await.is_err() {
                open(diary).lost.push((writer, number));
                break;
            }
            open(diary).acknowledged.push(Acknowledged { writer, number, at: Instant::now() });
        }
        if !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Connects, writes a row and leaves, again and again.
async fn write_and_leave(endpoint: &Endpoint, writer: u32, stop: &AtomicBool, diary: &Diary) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let written = async { Session::open(endpoint).await?.run(&insertion(writer, number)).await };
        if written.await.is_err() {
            open(diary).failed += 1;
            tokio::time::sleep(RETRY).await;
            continue;
        }
        open(diary).acknowledged.push(Acknowledged { writer, number, at: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledged_row_that_was_not_found_is_missing_and_one_more_is_not() {
        let acknowledged = |writer, number| Acknowledged { writer, number, at: Instant::now() };
        let row = |writer: &str, number: &str| vec![writer.to_owned(), number.to_owned()];
        let diary = [acknowledged(0, 1), acknowledged(0, 2), acknowledged(1, 1)];
        let all = [row("0", "1"), row("0", "2"), row("0", "3"), row("1", "1")];
        let missing_of = |found: &[Vec<String>]| missing(&diary, &rows(found));
        assert_eq!((missing_of(&all), missing_of(&all[..3]), missing_of(&[])), (0, 1, 3));
    }
}
