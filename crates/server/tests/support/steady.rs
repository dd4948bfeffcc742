//! Clients that ask a running database again and again and remember their longest wait.

use super::{Cluster, PASSWORD};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The program itself: `psql` on Debian's path is a script that looks for it.
const PSQL: &str = "/usr/lib/postgresql/15/bin/psql";

/// What a client lived through.
#[derive(Debug, Default)]
pub struct Seen {
    /// The longest time from asking to an answer, one that never came included.
    pub longest: Duration,
    /// Answers.
    pub answers: u64,
    /// Questions that were answered with an error.
    pub errors: u64,
}

/// A client program that ends with its owner.
struct Session(Child);

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Answers that say something about a database that serves.
const ENOUGH: u64 = 11;

/// A client that asks until it is told to end.
pub struct Steady {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

impl Steady {
    /// Connects anew for every question.
    pub fn connecting(cluster: Cluster) -> Self {
        Self::asking(move || cluster.sql("SELECT 1").is_ok())
    }

    /// Keeps one session of PostgreSQL for all questions.
    pub fn holding(cluster: &Cluster) -> Self {
        let target = format!("host={} port={} dbname=shop user=keeper sslmode=disable", cluster.address, cluster.port);
        let mut session = Command::new(PSQL)
            .args(["-X", "-A", "-t", "-q", "-d", &target])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let mut input = session.stdin.take().expect("piped");
        let mut output = BufReader::new(session.stdout.take().expect("piped"));
        let session = Session(session);
        Self::asking(move || {
            let _kept = &session;
            let mut line = String::new();
            writeln!(input, "SELECT 1;").is_ok() && output.read_line(&mut line).is_ok() && line.trim() == "1"
        })
    }

    fn asking(mut ask: impl FnMut() -> bool + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            // A client that takes long to start has asked little by the time the test is done.
            while !stopping.load(Ordering::Relaxed) || seen.answers < ENOUGH {
                let begun = Instant::now();
                while !ask() {
                    seen.errors += 1;
                    if stopping.load(Ordering::Relaxed) {
                        seen.longest = seen.longest.max(begun.elapsed());
                        return seen;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                seen.answers += 1;
                seen.longest = seen.longest.max(begun.elapsed());
                std::thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it; what it saw.
    pub fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("it ends")
    }
}
