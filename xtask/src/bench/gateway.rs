//! `make bench-gateway`: what stands between a client and its engine, and what it costs.

use super::engines::{Engine, Server};
use super::haproxy::{HaProxy, free_port};
use super::installation::{Installation, PASSWORD};
use super::load::{self, Figures, Target, Way};
use super::report::{Report, middle, middle_ratio};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// As many processors as the machine that the limits are for: what is measured is the way, not a limit of the cluster.
const SERVER_TYPE: &str = "db1v2m4";
/// Clients where there are many.
const MANY: u32 = 8;

/// Ways from a client to an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Through {
    Gateway,
    GatewayTls,
    HaProxyOneThread,
    HaProxyTwoThreads,
    Nothing,
    NothingTcp,
}

impl Through {
    const ALL: [Through; 6] = [
        Through::Gateway,
        Through::HaProxyOneThread,
        Through::HaProxyTwoThreads,
        Through::Nothing,
        Through::NothingTcp,
        Through::GatewayTls,
    ];

    fn name(self) -> &'static str {
        match self {
            Through::Gateway => "gateway",
            Through::GatewayTls => "gateway, TLS",
            Through::HaProxyOneThread => "haproxy, one thread",
            Through::HaProxyTwoThreads => "haproxy, two threads",
            Through::Nothing => "direct, the engine's Unix socket",
            Through::NothingTcp => "direct, TCP, an engine by hand",
        }
    }
}

/// An engine and every way to it.
struct Subject {
    engine: Engine,
    ways: Vec<(Through, Target)>,
    /// Kept running.
    _by_hand: Server,
}

/// What was seen of one engine with one number of clients.
struct Seen {
    engine: Engine,
    clients: u32,
    figures: Vec<(Through, Vec<Figures>)>,
}

impl Seen {
    fn rates(&self, through: Through) -> Vec<f64> {
        self.of(through, |figures| figures.per_second)
    }
    fn microseconds(&self, through: Through) -> Vec<f64> {
        self.of(through, |figures| figures.microseconds)
    }
    fn of(&self, through: Through, which: impl Fn(&Figures) -> f64) -> Vec<f64> {
        self.figures.iter().filter(|(of, _)| *of == through).flat_map(|(_, figures)| figures.iter().map(&which)).collect()
    }
    /// The better of HAProxy's two.
    fn peer(&self) -> Through {
        let rate = |through| middle(&self.rates(through));
        match rate(Through::HaProxyTwoThreads) > rate(Through::HaProxyOneThread) {
            true => Through::HaProxyTwoThreads,
            false => Through::HaProxyOneThread,
        }
    }
}

/// Measures and prints; the figures go to `target/bench/gateway.json`.
pub fn run(rounds: usize, seconds: u64, program: &Path, under: &Path) -> Result<ExitCode> {
    let by_hand = under.join(format!("moorage-bench-hand-{}", std::process::id()));
    std::fs::create_dir_all(&by_hand)?;
    let seen = measure(rounds, seconds, program, under, &by_hand);
    drop(std::fs::remove_dir_all(&by_hand));
    print(&seen?, rounds, seconds)
}

fn measure(rounds: usize, seconds: u64, program: &Path, under: &Path, by_hand: &Path) -> Result<Vec<Seen>> {
    let mut installation = Installation::start(program, under, 0)?;
    let mut clusters = Vec::new();
    for engine in Engine::ALL {
        let id = installation.ask_for(engine.name(), &format!("bench-{}", engine.name()), SERVER_TYPE)?;
        let cluster = installation.running(&id)?;
        let socket = installation.engine_socket(&id)?;
        clusters.push((engine, cluster, socket));
    }
    let sockets: Vec<(Engine, &Path)> = clusters.iter().map(|(engine, _, socket)| (*engine, socket.as_path())).collect();
    let one = HaProxy::start(1, &sockets, by_hand)?;
    let two = HaProxy::start(2, &sockets, by_hand)?;

    let tls_files = load::tls_files(by_hand, &installation.authority()?)?;

    let mut subjects = Vec::new();
    for (engine, cluster, socket) in &clusters {
        let (engine, local) = (*engine, "127.0.0.1");
        let port = free_port()?;
        let directory: PathBuf = by_hand.join(engine.name());
        engine.initialise(&directory)?;
        let first = engine.start(&directory)?;
        engine.first_query(&directory)?;
        engine.make_database(&directory)?;
        drop(first);
        let hand = engine.start_on(&directory, Some(port))?;
        engine.first_query_at(local, port.into(), PASSWORD)?;
        let way = |way| Target { engine, way, tls: None };
        let at = |address: &str, port| way(Way::Tcp(address.to_owned(), port));
        let gateway = at(&cluster.address, u16::try_from(cluster.port)?);
        let direct = at(local, port);
        for target in [&gateway, &direct] {
            load::prepare(target, PASSWORD)?;
        }
        let tls = Target { tls: Some(tls_files.clone()), ..gateway.clone() };
        let ways = Through::ALL.map(|through| {
            let target = match through {
                Through::Gateway => gateway.clone(),
                Through::GatewayTls => tls.clone(),
                Through::HaProxyOneThread => at(local, one.port(engine)),
                Through::HaProxyTwoThreads => at(local, two.port(engine)),
                Through::Nothing => way(Way::Unix(socket.clone())),
                Through::NothingTcp => direct.clone(),
            };
            (through, target)
        });
        subjects.push(Subject { engine, ways: ways.into(), _by_hand: hand });
    }

    let mut seen = Vec::new();
    for subject in &subjects {
        for clients in [MANY, 1] {
            let mut figures: Vec<_> = Through::ALL.map(|through| (through, Vec::new())).into();
            // One round that is not counted warms every way alike.
            for round in 0..=rounds {
                for (index, (_, target)) in subject.ways.iter().enumerate() {
                    let one = load::run(target, PASSWORD, clients, if round == 0 { 1 } else { seconds })?;
                    if round > 0 {
                        figures[index].1.push(one);
                    }
                }
            }
            seen.push(Seen { engine: subject.engine, clients, figures });
        }
    }
    Ok(seen)
}

fn print(seen: &[Seen], rounds: usize, seconds: u64) -> Result<ExitCode> {
    let heading = format!(
        "Point selects with prepared statements, medians of {rounds} alternations of {seconds} s; clients, gateway and engines share the machine"
    );
    let mut report = Report::new("gateway", &heading);
    for one in seen {
        let (engine, clients) = (one.engine.name(), one.clients);
        report.section(&format!("{engine}, {clients} {}", if clients == 1 { "client" } else { "clients" }));
        for through in Through::ALL {
            let (rates, times) = (one.rates(through), one.microseconds(through));
            report.row(through.name(), &format!("{:.0} /s, {:.0} us", middle(&rates), middle(&times)));
            report.keep(&format!("{engine}, {clients} clients, {}, per second", through.name()), &rates);
        }
        let ratio = |ours: Through, peer: Through| middle_ratio(&one.rates(ours), &one.rates(peer));
        let peer = one.peer();
        if clients == MANY {
            report.at_least(&format!("gateway / {}", peer.name()), ratio(Through::Gateway, peer), 1.0, "");
        } else {
            report.row(&format!("gateway / {}", peer.name()), &format!("{:.2}", ratio(Through::Gateway, peer)));
            let added = |through, to| middle(&one.microseconds(through)) - middle(&one.microseconds(to));
            for through in [Through::Gateway, peer] {
                let microseconds = format!("{:.0} us", added(through, Through::Nothing));
                report.row(&format!("added to one query by {}, against the Unix socket", through.name()), &microseconds);
            }
        }
        for (what, ours, peer) in [
            ("gateway / direct, Unix socket", Through::Gateway, Through::Nothing),
            ("haproxy / direct, Unix socket", peer, Through::Nothing),
            ("gateway / direct, TCP", Through::Gateway, Through::NothingTcp),
            ("haproxy / direct, TCP", peer, Through::NothingTcp),
            ("cost of TLS: gateway with TLS / without", Through::GatewayTls, Through::Gateway),
        ] {
            report.row(what, &format!("{:.2}", ratio(ours, peer)));
        }
    }
    report.finish()
}
