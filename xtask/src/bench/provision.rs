//! `make bench-provision`: how long from asking to the first query.

use super::engines::Engine;
use super::installation::{Installation, PASSWORD};
use super::median;
use anyhow::Result;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Spares per engine: enough for ten creates at once.
const SPARES: usize = 10;

#[derive(Default)]
struct Figures {
    ours: Vec<Duration>,
    bare: Vec<Duration>,
    stock: Vec<Duration>,
    without_spare: Vec<Duration>,
    ten_at_once: Vec<Duration>,
}

/// Measures and prints; the figures go to `target/bench/provision.json`.
pub fn run(rounds: usize, program: &Path, under: &Path) -> Result<ExitCode> {
    let by_hand = under.join(format!("moorage-bench-hand-{}", std::process::id()));
    std::fs::create_dir_all(&by_hand)?;
    let measured = measure(rounds, program, under, &by_hand);
    drop(std::fs::remove_dir_all(&by_hand));
    let measured = measured?;
    let met = print(&measured, under)?;
    let file = serde_json::Map::from_iter(measured.iter().map(|(engine, figures)| (engine.name().to_owned(), as_json(figures))));
    std::fs::create_dir_all("target/bench")?;
    std::fs::write("target/bench/provision.json", serde_json::to_string_pretty(&file)?)?;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(rounds: usize, program: &Path, under: &Path, by_hand: &Path) -> Result<Vec<(Engine, Figures)>> {
    let mut installation = Installation::start(program, under, SPARES)?;
    let mut bare_one = Installation::start(program, under, 0)?;
    let mut measured = Vec::new();
    for engine in Engine::ALL {
        let existing = by_hand.join(format!("{}-existing", engine.name()));
        engine.initialise(&existing)?;
        drop(engine.start(&existing)?);
        let mut figures = Figures::default();
        // One round that is not counted warms the caches of every way alike.
        for round in 0..=rounds {
            let ours = ours(&mut installation, engine, &format!("round{round}"))?;
            let bare = timed(|| {
                let server = engine.start(&existing)?;
                engine.first_query(&existing)?;
                Ok(server)
            })?;
            let fresh = by_hand.join(format!("{}-{round}", engine.name()));
            let stock = timed(|| {
                engine.initialise(&fresh)?;
                let server = engine.start(&fresh)?;
                engine.first_query(&fresh)?;
                engine.make_database(&fresh)?;
                Ok(server)
            })?;
            std::fs::remove_dir_all(&fresh)?;
            let without = self::ours(&mut bare_one, engine, &format!("bare{round}"))?;
            installation.until_spares_wait(SPARES)?;
            if round > 0 {
                figures.ours.push(ours);
                figures.bare.push(bare);
                figures.stock.push(stock);
                figures.without_spare.push(without);
            }
        }
        for batch in 0..3 {
            figures.ten_at_once.push(ten_at_once(&mut installation, engine, batch)?);
            installation.until_spares_wait(SPARES)?;
        }
        measured.push((engine, figures));
    }
    Ok(measured)
}

/// From POST to the first query through the endpoint.
fn ours(installation: &mut Installation, engine: Engine, name: &str) -> Result<Duration> {
    let begun = Instant::now();
    let id = installation.ask(engine.name(), name)?;
    let cluster = installation.running(&id)?;
    engine.first_query_at(&cluster.address, cluster.port, PASSWORD)?;
    let took = begun.elapsed();
    installation.remove(&cluster.id)?;
    Ok(took)
}

/// From the first of ten POSTs to the last first query.
fn ten_at_once(installation: &mut Installation, engine: Engine, batch: usize) -> Result<Duration> {
    let begun = Instant::now();
    let ids = (0..10).map(|n| installation.ask(engine.name(), &format!("batch{batch}n{n}"))).collect::<Result<Vec<_>>>()?;
    for id in &ids {
        let cluster = installation.running(id)?;
        engine.first_query_at(&cluster.address, cluster.port, PASSWORD)?;
    }
    let took = begun.elapsed();
    for id in &ids {
        installation.remove(id)?;
    }
    Ok(took)
}

/// Times the work; what it returns (a server) is let go afterwards.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let begun = Instant::now();
    let kept = work()?;
    let took = begun.elapsed();
    drop(kept);
    Ok(took)
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

/// How much faster than the stock way a create has to be.
fn wanted(engine: Engine) -> f64 {
    match engine {
        Engine::PostgreSql => 3.5,
        Engine::MariaDb => 2.5,
    }
}

/// The table; whether every limit was met.
fn print(measured: &[(Engine, Figures)], under: &Path) -> Result<bool> {
    let file_system = std::process::Command::new("stat").args(["-f", "-c", "%T"]).arg(under).output()?;
    let file_system = String::from_utf8_lossy(&file_system.stdout).trim().to_owned();
    let mut out = format!("From asking to the first query, medians of one alternating run, on {file_system}, {SPARES} spares\n");
    let mut all_met = true;
    let mut verdict = |met: bool| {
        all_met &= met;
        if met { "met" } else { "MISSED" }
    };
    for (engine, figures) in measured {
        let (ours, bare, stock) = (median(&figures.ours), median(&figures.bare), median(&figures.stock));
        let faster = stock.as_secs_f64() / ours.as_secs_f64();
        let limit = (bare * 2).max(bare + Duration::from_millis(100));
        out.push_str(&format!("\n{}\n", engine.name()));
        for (what, value) in [
            ("ours: POST to first query through the endpoint", seconds(ours)),
            ("bare start of an existing directory", seconds(bare)),
            ("  ours / bare", format!("{:.2}", ours.as_secs_f64() / bare.as_secs_f64())),
            ("  allowed: the greater of 2.0 x bare and bare + 0.1 s", format!("{} {}", seconds(limit), verdict(ours <= limit))),
            ("stock way by hand, with a database and its owner", seconds(stock)),
            ("  stock / ours", format!("{faster:.2}")),
            ("  wanted at least", format!("{:.1} {}", wanted(*engine), verdict(faster >= wanted(*engine)))),
            ("ours without a spare", seconds(median(&figures.without_spare))),
            ("ours, ten at once, until the last answers", seconds(median(&figures.ten_at_once))),
        ] {
            out.push_str(&format!("  {what:<56} {value:>9}\n"));
        }
    }
    drop(writeln!(std::io::stdout().lock(), "{out}"));
    Ok(all_met)
}

fn as_json(figures: &Figures) -> serde_json::Value {
    let list = |values: &[Duration]| json!({"median": median(values).as_secs_f64(), "all": values.iter().map(Duration::as_secs_f64).collect::<Vec<_>>()});
    json!({
        "ours": list(&figures.ours),
        "bare": list(&figures.bare),
        "stock": list(&figures.stock),
        "without_spare": list(&figures.without_spare),
        "ten_at_once": list(&figures.ten_at_once),
    })
}
