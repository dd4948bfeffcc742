//! `make bench-footprint`: what server, gateway and shims keep in memory after work and a rest.

use super::api::client::{self, Signer};
use super::engines::Engine;
use super::installation::{Cluster, Installation, PASSWORD};
use super::load::{self, Target, Way};
use super::report::{Report, middle};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

/// Running clusters, half of each engine.
const CLUSTERS: usize = 20;
/// Requests before the rest.
const REQUESTS: usize = 10_000;
/// Idle connections of each kind.
const IDLE: usize = 1000;
/// What two clusters admit, so that each can take all connections of a kind.
const MOST_CONNECTIONS: usize = IDLE + 100;

/// Kibibytes of proportional set size.
#[derive(Default)]
struct Seen {
    serve: f64,
    gateway: f64,
    shims: Vec<f64>,
    with_plain: f64,
    with_tls: f64,
}

/// Measures and prints; the figures go to `target/bench/footprint.json`.
pub fn run(rest: u64, program: &Path, under: &Path) -> Result<ExitCode> {
    let by_hand = under.join(format!("moorage-bench-hand-{}", std::process::id()));
    std::fs::create_dir_all(&by_hand)?;
    let seen = measure(Duration::from_secs(rest), program, under, &by_hand);
    drop(std::fs::remove_dir_all(&by_hand));
    let seen = seen?;

    let heading = format!("Memory (PSS) with {CLUSTERS} running clusters, after {REQUESTS} signed requests and {rest} s of rest");
    let mut report = Report::new("footprint", &heading);
    let mib = |kib: f64| kib / 1024.0;
    report.section("memory");
    report.at_most("serve", mib(seen.serve), 80.0, "MiB");
    report.at_most("gateway, no connections", mib(seen.gateway), 25.0, "MiB");
    let plain = (seen.with_plain - seen.gateway) / IDLE as f64;
    report.at_most(&format!("gateway, each of {IDLE} idle plain connections"), plain, 40.0, "KiB");
    let tls = (seen.with_tls - seen.with_plain) / IDLE as f64;
    report.at_most(&format!("gateway, each of {IDLE} idle TLS connections"), tls, 80.0, "KiB");
    report.row("gateway with all of them", &format!("{:.2} MiB", mib(seen.with_tls)));
    let largest = seen.shims.iter().copied().fold(0.0, f64::max);
    report.at_most(&format!("the largest of {} shims", seen.shims.len()), mib(largest), 3.0, "MiB");
    report.row("the median shim", &format!("{:.2} MiB", mib(middle(&seen.shims))));
    for (what, kib) in [
        ("serve, KiB", vec![seen.serve]),
        ("gateway, KiB", vec![seen.gateway]),
        ("gateway with idle plain connections, KiB", vec![seen.with_plain]),
        ("gateway with idle plain and TLS connections, KiB", vec![seen.with_tls]),
        ("shims, KiB", seen.shims),
    ] {
        report.keep(what, &kib);
    }
    report.finish()
}

fn measure(rest: Duration, program: &Path, under: &Path, by_hand: &Path) -> Result<Seen> {
    let mut installation = Installation::start_configured(program, under, &format!("[limits]\nconnections = {MOST_CONNECTIONS}\n"))?;
    let mut clusters = Vec::new();
    for number in 0..CLUSTERS / 2 {
        for engine in Engine::ALL {
            let id = installation.ask(engine.name(), &format!("{}-{number}", engine.name()))?;
            clusters.push((engine, installation.running(&id)?));
        }
    }
    let signer = Signer::new(&installation.bootstrap()?)?;
    let ids = client::cluster_ids(&signer)?;
    client::load(&signer, &ids, 8, Duration::from_secs(600), REQUESTS / 8)?;
    std::thread::sleep(rest);

    let directory = installation.directory();
    let gateway = *processes(directory, "gateway")?.first().context("no gateway")?;
    let mut seen = Seen {
        serve: pss(installation.server_process())?,
        gateway: pss(gateway)?,
        shims: processes(directory, "shim")?.into_iter().map(pss).collect::<Result<_>>()?,
        ..Seen::default()
    };
    let mut mariadb = clusters.iter().filter(|(engine, _)| *engine == Engine::MariaDb).map(|(_, cluster)| cluster);
    let tls = load::tls_files(by_hand, &installation.authority()?)?;
    let alone = descriptors(gateway)?;
    let _plain = Idle::open(mariadb.next(), None)?;
    seen.with_plain = settled(gateway, alone + 2 * IDLE)?;
    let _tls = Idle::open(mariadb.next(), Some(&tls))?;
    seen.with_tls = settled(gateway, alone + 4 * IDLE)?;
    Ok(seen)
}

/// Clients that are logged in and say hardly anything; they go when this goes out of scope.
struct Idle(Child);

impl Drop for Idle {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Idle {
    fn open(cluster: Option<&Cluster>, tls: Option<&Path>) -> Result<Self> {
        let cluster = cluster.context("no cluster")?;
        let way = Way::Tcp(cluster.address.clone(), u16::try_from(cluster.port)?);
        let target = Target { engine: Engine::MariaDb, way, tls: tls.map(Path::to_owned) };
        load::prepare(&Target { tls: None, ..target.clone() }, PASSWORD)?;
        Ok(Self(load::idle(&target, PASSWORD, IDLE)?))
    }
}

/// The gateway's memory once it has so many descriptors and a moment has passed.
fn settled(gateway: u32, wanted: usize) -> Result<f64> {
    let begun = Instant::now();
    while descriptors(gateway)? < wanted {
        if begun.elapsed() > Duration::from_secs(120) {
            bail!("the gateway has {} descriptors instead of {wanted}", descriptors(gateway)?);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(5));
    pss(gateway)
}

fn descriptors(process: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{process}/fd"))?.count())
}

/// Proportional set size in kibibytes: what is shared is divided among those who share it.
fn pss(process: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no PSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// Processes of an installation that were started with this command.
fn processes(directory: &Path, command: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end while it is looked at.
        let Ok(line) = std::fs::read_to_string(entry.path().join("cmdline")) else { continue };
        let mut words = line.split('\0').skip(1);
        if words.next() == Some(command) && words.next().is_some_and(|of| Path::new(of).starts_with(directory)) {
            found.push(process);
        }
    }
    Ok(found)
}
