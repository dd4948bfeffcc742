//! `make bench-limits`: what a neighbour feels of a cluster that eats memory, and how clusters share processors.

use super::engines::Engine;
use super::haproxy::free_port;
use super::installation::{Cluster, Installation, PASSWORD};
use super::load::{self, Target, Way};
use super::report::{Report, middle, middle_ratio};
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The smallest type: one processor, one GiB.
const SMALLEST: &str = "db1v1m1";
/// Queries a second that the neighbour answers: a database that is used and not worn out.
const RATE: u32 = 500;
const CLIENTS: u32 = 4;
/// Clusters that share the processors.
const SHARING: usize = 3;

/// The same without the limit that kills it: about as much memory as a cluster of the smallest type has.
const EAT_A_GIBIBYTE: &str = "SELECT length(array_agg(repeat('x', 1000) || n)::text) FROM generate_series(1, 500000) n";
const EAT: &str = "SELECT length(array_agg(repeat('x', 1000) || n)::text) FROM generate_series(1, 5000000) n";
const BURN: &str = "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000) b";

/// Measures and prints; the figures go to `target/bench/limits.json`.
pub fn run(rounds: usize, seconds: u64, program: &Path, under: &Path) -> Result<ExitCode> {
    let scratch = under.join(format!("moorage-bench-hand-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let measured = measure(rounds, seconds, program, under, &scratch);
    drop(std::fs::remove_dir_all(&scratch));
    let Measured { quiet, written, floor, once, beside, killed, alone, shared } = measured?;

    let processors = std::thread::available_parallelism()?.get() as f64;
    let heading =
        format!("Limits of clusters of one vCPU and one GiB, PostgreSQL, {rounds} alternations of {seconds} s, {processors} processors");
    let mut report = Report::new("limits", &heading);
    report.section(&format!("a neighbour with {RATE} point selects a second, in ms"));
    report.row("99th percentile by itself", &format!("{:.2}", middle(&quiet)));
    report.row("99th percentile beside a query that eats memory until it is killed", &format!("{:.2}", middle(&once)));
    report.at_most("how much more", middle_ratio(&once, &quiet), 2.0, "");
    report.row("99th percentile beside such queries without a pause", &format!("{:.2}", middle(&beside)));
    report.row("how much more", &format!("{:.2}", middle_ratio(&beside, &quiet)));
    report.at_least("such queries that were killed, in each round", killed / rounds as f64, 1.0, "");
    report.row("99th percentile beside an engine by hand that eats a GiB without a pause", &format!("{:.2}", middle(&floor)));
    report.row("how much more, which no limit has to do with", &format!("{:.2}", middle_ratio(&floor, &quiet)));
    report.row("99th percentile beside a loop that writes to a GiB of memory, without an engine", &format!("{:.2}", middle(&written)));
    report.row("how much more, which no database has to do with", &format!("{:.2}", middle_ratio(&written, &quiet)));
    report.section("processors");
    report.at_most("used by one cluster that wants more than one vCPU", middle(&alone), 1.05, "");
    let fair = (processors / SHARING as f64).min(1.0);
    for (number, used) in shared.iter().enumerate() {
        let share = middle(used) / fair;
        report.at_least(&format!("cluster {} of {SHARING}, of its fair share of {fair:.2}", number + 1), share, 0.9, "");
        report.keep(&format!("processors used by cluster {} of {SHARING}", number + 1), used);
    }
    report.keep("99th percentile by itself, ms", &quiet);
    report.keep("99th percentile beside an engine by hand, ms", &floor);
    report.keep("99th percentile beside a loop that writes to memory, ms", &written);
    report.keep("99th percentile beside a query that eats memory, ms", &once);
    report.keep("99th percentile beside such queries without a pause, ms", &beside);
    report.keep("processors used by one cluster", &alone);
    report.finish()
}

/// What was seen, round by round.
struct Measured {
    quiet: Vec<f64>,
    written: Vec<f64>,
    floor: Vec<f64>,
    once: Vec<f64>,
    beside: Vec<f64>,
    killed: f64,
    alone: Vec<f64>,
    shared: Vec<Vec<f64>>,
}

fn measure(rounds: usize, seconds: u64, program: &Path, under: &Path, scratch: &Path) -> Result<Measured> {
    let mut installation = Installation::start(program, under, 0)?;
    let mut clusters = Vec::new();
    for number in 0..SHARING {
        let id = installation.ask_for("postgresql", &format!("limits-{number}"), SMALLEST)?;
        clusters.push(installation.running(&id)?);
    }
    let [eater, neighbour, ..] = clusters.as_slice() else { bail!("no clusters") };

    let target = Target { engine: Engine::PostgreSql, way: Way::Tcp(neighbour.address.clone(), u16::try_from(neighbour.port)?), tls: None };
    load::prepare(&target, PASSWORD)?;
    let by_hand = scratch.join("engine");
    let (engine, port) = (Engine::PostgreSql, free_port()?);
    engine.initialise(&by_hand)?;
    let first = engine.start(&by_hand)?;
    engine.first_query(&by_hand)?;
    engine.make_database(&by_hand)?;
    drop(first);
    let _hand = engine.start_on(&by_hand, Some(port))?;
    engine.first_query_at("127.0.0.1", port.into(), PASSWORD)?;
    let hand = Cluster { id: String::new(), address: "127.0.0.1".into(), port: port.into() };
    let logs = scratch.join("logs");
    std::fs::create_dir_all(&logs)?;
    let p99 = || load::paced_p99(&target, PASSWORD, CLIENTS, RATE, seconds, &logs);

    let (mut quiet, mut written, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    let (mut once, mut beside, mut killed) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        quiet.push(p99()?);
        written.push(while_memory_is_written(p99)?);
        floor.push(while_it_eats(&hand, EAT_A_GIBIBYTE, usize::MAX, p99)?.0);
        let (seen, kills) = while_it_eats(eater, EAT, 1, p99)?;
        if kills != 1 {
            bail!("a query that ate more than there is was not killed");
        }
        once.push(seen);
        let (seen, kills) = while_it_eats(eater, EAT, usize::MAX, p99)?;
        beside.push(seen);
        killed += kills;
    }

    let mut alone = Vec::new();
    let mut shared = vec![Vec::new(); SHARING];
    for _ in 0..rounds {
        alone.extend(processors_used(&installation, &clusters[..1], seconds)?);
        for (all, used) in shared.iter_mut().zip(processors_used(&installation, &clusters, seconds)?) {
            all.push(used);
        }
    }
    Ok(Measured { quiet, written, floor, once, beside, killed: killed as f64, alone, shared })
}

/// Measures while an engine is asked for much memory, so many times at most; how often it refused or was killed.
fn while_it_eats(eater: &Cluster, sql: &str, times: usize, measure: impl FnOnce() -> Result<f64>) -> Result<(f64, usize)> {
    let (stop, kills) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..times {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let fed = query(eater, sql).status().is_ok_and(|status| status.success());
                kills.fetch_add(usize::from(!fed), Ordering::Relaxed);
                // The engine recovers from that; only then is the next one a query that eats.
                while !query(eater, "SELECT 1").status().is_ok_and(|status| status.success()) {
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        });
        let seen = measure();
        stop.store(true, Ordering::Relaxed);
        seen
    });
    Ok((seen?, kills.into_inner()))
}

/// Measures while one thread writes to the same GiB over and over: what the machine's memory alone does to a neighbour.
fn while_memory_is_written(measure: impl FnOnce() -> Result<f64>) -> Result<f64> {
    let mut memory = vec![1_u8; 1 << 30];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in (0..=u8::MAX).cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                memory.fill(value);
                std::hint::black_box(&mut memory);
            }
        });
        let seen = measure();
        stop.store(true, Ordering::Relaxed);
        seen
    })
}

fn query(cluster: &Cluster, sql: &str) -> Command {
    let mut command = Command::new("/usr/lib/postgresql/15/bin/psql");
    command.env("PGPASSWORD", PASSWORD).args(["-X", "-q", "-A", "-t", "-d"]);
    command.arg(format!("host={} port={} dbname=bench user=keeper sslmode=disable", cluster.address, cluster.port)).args(["-c", sql]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Sessions that want all the processors they can get; they end when this goes out of scope.
struct Burning(Vec<Child>);

impl Drop for Burning {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Processors that each of some clusters used while all of them wanted two.
fn processors_used(installation: &Installation, clusters: &[Cluster], seconds: u64) -> Result<Vec<f64>> {
    let groups = clusters.iter().map(|cluster| group(installation, cluster)).collect::<Result<Vec<_>>>()?;
    let started = clusters.iter().flat_map(|cluster| [query(cluster, BURN).spawn(), query(cluster, BURN).spawn()]);
    let burning = Burning(started.collect::<Result<_, _>>()?);
    std::thread::sleep(Duration::from_secs(1));
    let (before, begun) = (groups.iter().map(|group| used(group)).collect::<Result<Vec<_>>>()?, Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let after = groups.iter().map(|group| used(group)).collect::<Result<Vec<_>>>()?;
    let elapsed = begun.elapsed().as_secs_f64();
    drop(burning);
    // A query ends when its client is found to be gone.
    for cluster in clusters {
        query(cluster, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%generate_series(1, 1000)%' AND pid <> pg_backend_pid()")
            .status()?;
    }
    let of_one = |(before, after): (&HashMap<u32, Duration>, &HashMap<u32, Duration>)| {
        let used = |(process, after): (&u32, &Duration)| after.saturating_sub(before.get(process).copied().unwrap_or_default());
        after.iter().map(used).sum::<Duration>().as_secs_f64() / elapsed
    };
    Ok(before.iter().zip(&after).map(of_one).collect())
}

/// The list of a cluster's processes: the control group that limits its engine's first process.
fn group(installation: &Installation, cluster: &Cluster) -> Result<PathBuf> {
    let socket = installation.engine_socket(&cluster.id)?;
    let lock = PathBuf::from(format!("{}.lock", socket.display()));
    let text = std::fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
    let process = text.lines().next().context("a process")?;
    let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup"))?;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if controllers.split(',').any(|controller| controller == "cpu") {
            return Ok(PathBuf::from(format!("/sys/fs/cgroup/cpu{path}/cgroup.procs")));
        }
    }
    let path = groups.lines().find_map(|line| line.strip_prefix("0::")).context("no control group")?;
    Ok(PathBuf::from(format!("/sys/fs/cgroup{path}/cgroup.procs")))
}

/// Processor time that each process of a control group has used.
fn used(group: &Path) -> Result<HashMap<u32, Duration>> {
    /// Of a second, what `/proc` counts in.
    const TICK: Duration = Duration::from_millis(10);
    let processes = std::fs::read_to_string(group).with_context(|| group.display().to_string())?;
    // One that ends while it is looked at has used little: those that burn do not end.
    let found = processes.lines().filter_map(|process| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let ticks = fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?;
        Some((process.parse().ok()?, TICK * ticks))
    });
    Ok(found.collect())
}
