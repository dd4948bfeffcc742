//! `make bench-api`: signed requests against a store with ten thousand clusters.

pub mod client;

use super::engines::Engine;
use super::haproxy::free_port;
use super::installation::{Installation, PASSWORD};
use super::report::{Report, middle};
use anyhow::{Context, Result, bail, ensure};
use client::{Answers, Signer};
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// The clusters, in one text for both databases.
const FILL: &str = include_str!("fill.sql");
/// How many there are then, beside the two they were copied from.
const CLUSTERS: u64 = 10_000;
/// Connections that are kept alive.
const CONNECTIONS: usize = 8;

/// What was seen of one store.
struct Seen {
    store: &'static str,
    ready: Vec<f64>,
    per_second: Vec<f64>,
    show: Vec<f64>,
    show_p99: Vec<f64>,
    list: Vec<f64>,
    list_p99: Vec<f64>,
}

/// Measures and prints; the figures go to `target/bench/api.json`.
pub fn run(rounds: usize, seconds: u64, program: &Path, under: &Path) -> Result<ExitCode> {
    let by_hand = under.join(format!("moorage-bench-hand-{}", std::process::id()));
    std::fs::create_dir_all(&by_hand)?;
    let seen = both(rounds, seconds, program, under, &by_hand);
    drop(std::fs::remove_dir_all(&by_hand));
    let seen = seen?;
    let heading = format!(
        "Signed SCP requests, 80 % show and 20 % list with filter and sort, {CLUSTERS} clusters on a host that is not this one, \
         {CONNECTIONS} connections kept alive, medians of {rounds} rounds of {seconds} s; the generator shares the machine"
    );
    let mut report = Report::new("api", &heading);
    for seen in &seen {
        let limits = seen.store == "sqlite";
        report.section(seen.store);
        for (what, values, limit, unit) in [
            ("ready after a restart", &seen.ready, 5.0, "s"),
            ("list, 99th percentile", &seen.list_p99, 10.0, "ms"),
            ("list, median", &seen.list, f64::INFINITY, "ms"),
            ("show, 99th percentile", &seen.show_p99, f64::INFINITY, "ms"),
            ("show, median", &seen.show, f64::INFINITY, "ms"),
        ] {
            match limits && limit.is_finite() {
                true => report.at_most(what, middle(values), limit, unit),
                false => report.row(what, &format!("{:.2} {unit}", middle(values))),
            }
            report.keep(&format!("{}, {what}, {unit}", seen.store), values);
        }
        match limits {
            true => report.at_least("requests", middle(&seen.per_second), 3000.0, "/s"),
            false => report.row("requests", &format!("{:.0} /s", middle(&seen.per_second))),
        }
        report.keep(&format!("{}, requests per second", seen.store), &seen.per_second);
    }
    if let [ours, other] = &seen[..] {
        report.section(&format!("{} / {}", other.store, ours.store));
        for (what, of) in [("requests", other.per_second.as_slice()), ("list, 99th percentile", other.list_p99.as_slice())] {
            let against = if what == "requests" { &ours.per_second } else { &ours.list_p99 };
            report.row(what, &format!("{:.2}", middle(of) / middle(against)));
        }
    }
    report.finish()
}

/// One store after the other; the PostgreSQL for the second is made by hand, with its own defaults.
fn both(rounds: usize, seconds: u64, program: &Path, under: &Path, by_hand: &Path) -> Result<Vec<Seen>> {
    let sqlite = measure(rounds, seconds, program, under, None)?;
    let (engine, port, directory) = (Engine::PostgreSql, free_port()?, by_hand.join("store"));
    engine.initialise(&directory)?;
    let first = engine.start(&directory)?;
    engine.first_query(&directory)?;
    engine.make_database(&directory)?;
    drop(first);
    let server = engine.start_on(&directory, Some(port))?;
    engine.first_query_at("127.0.0.1", port.into(), PASSWORD)?;
    let url = format!("postgres://keeper:{}@127.0.0.1:{port}/bench", PASSWORD.replace('!', "%21"));
    let postgresql = measure(rounds, seconds, program, under, Some(&url))?;
    drop(server);
    Ok(vec![sqlite, postgresql])
}

fn measure(rounds: usize, seconds: u64, program: &Path, under: &Path, database_url: Option<&str>) -> Result<Seen> {
    let store = if database_url.is_some() { "postgresql" } else { "sqlite" };
    let mut installation = Installation::start_on(program, under, database_url)?;
    // Real rows to copy, so that the others are as long, as nested and as finished as real ones.
    for engine in Engine::ALL {
        let id = installation.ask(engine.name(), &format!("model-{}", engine.name()))?;
        installation.running(&id)?;
    }
    installation.stop_server()?;
    fill(&installation.directory().join("store.db"), database_url)?;
    let mut ready = vec![installation.start_server()?.as_secs_f64()];
    for _ in 1..3 {
        installation.stop_server()?;
        ready.push(installation.start_server()?.as_secs_f64());
    }

    let signer = Signer::new(&installation.bootstrap()?)?;
    let ids = client::cluster_ids(&signer)?;
    ensure!(ids.len() as u64 >= CLUSTERS, "{} clusters are listed", ids.len());
    let mut seen = Seen { store, ready, per_second: vec![], show: vec![], show_p99: vec![], list: vec![], list_p99: vec![] };
    // One round that is not counted warms the caches.
    for round in 0..=rounds {
        let for_long = Duration::from_secs(if round == 0 { 1 } else { seconds });
        let Answers { mut show, mut list, took } = client::load(&signer, &ids, CONNECTIONS, for_long, usize::MAX)?;
        if round == 0 {
            continue;
        }
        seen.per_second.push((show.len() + list.len()) as f64 / took.as_secs_f64());
        seen.show.push(percentile(&mut show, 0.5));
        seen.show_p99.push(percentile(&mut show, 0.99));
        seen.list.push(percentile(&mut list, 0.5));
        seen.list_p99.push(percentile(&mut list, 0.99));
    }
    Ok(seen)
}

/// Milliseconds that this part of the answers did not exceed.
fn percentile(times: &mut [Duration], part: f64) -> f64 {
    times.sort_unstable();
    let index = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
    times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// Fills the store of a server that does not run. Python has SQLite with it, and PostgreSQL has its own client.
fn fill(file: &Path, database_url: Option<&str>) -> Result<()> {
    let mut command = match database_url {
        Some(url) => {
            let mut command = Command::new("/usr/lib/postgresql/15/bin/psql");
            command.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", url]);
            command
        }
        None => {
            let script =
                "import sqlite3, sys; store = sqlite3.connect(sys.argv[1]); store.executescript('BEGIN;' + sys.stdin.read() + 'COMMIT;')";
            let mut command = Command::new("python3");
            command.args(["-c", script]).arg(file);
            command
        }
    };
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().context("filling the store")?;
    let mut way_in = child.stdin.take().context("no way in")?;
    way_in.write_all(FILL.as_bytes())?;
    if database_url.is_some() {
        // PostgreSQL does this by itself within a minute.
        way_in.write_all(b"ANALYZE;\n")?;
    }
    drop(way_in);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the store could not be filled: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
