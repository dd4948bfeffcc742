//! `make bench-databases`: databases that are asked for by a plan.

use super::engines::Engine;
use super::installation::Installation;
use super::report::{Report, largest, middle, middle_ratio, percentile};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Spares per engine: a cluster is made now and then.
const SPARES: usize = 2;
/// Databases on one cluster while pages are read.
const PACKED: usize = 200;

/// A database and how long it took, in milliseconds: until it was said to be there, until its first query.
struct Made {
    document: Value,
    said: f64,
    used: f64,
}

/// Measures and prints; the figures go to `target/bench/databases.json`.
pub fn run(rounds: usize, program: &Path, under: &Path) -> Result<ExitCode> {
    let mut installation = Installation::start(program, under, SPARES)?;
    installation.request("POST", "/moorage/v1/environments", Some(&json!({"name": "laboratory"})))?;
    let mut report =
        Report::new("databases", "From asking for a database to its first query, medians of one alternating run, in milliseconds");
    for (number, engine) in Engine::ALL.into_iter().enumerate() {
        for (name, capacity) in [("shared", PACKED), ("own", 1)] {
            let plan = json!({
                "name": format!("{name}-{}", engine.name()), "engine": engine.name(), "capacity": capacity,
                "server_type": "db1v1m1", "environments": ["laboratory"]
            });
            let (status, made) = installation.request("POST", "/moorage/v1/plans", Some(&plan))?;
            anyhow::ensure!(status == 201, "{made}");
        }
        one_engine(&mut installation, engine, (2 * number + 1, 2 * number + 2), rounds, &mut report)?;
    }
    pages(&mut installation, &mut report)?;
    report.finish()
}

fn one_engine(
    installation: &mut Installation,
    engine: Engine,
    (shared, own): (usize, usize),
    rounds: usize,
    report: &mut Report,
) -> Result<()> {
    let mut said: [Vec<f64>; 3] = Default::default();
    let mut used: [Vec<f64>; 3] = Default::default();
    let mut begun = Vec::new();
    let first = make(installation, engine, &format!("{} first", engine.name()), shared)?;
    for round in 0..rounds {
        let name = |what: &str| format!("{} {what} {round}", engine.name());
        let packed = make(installation, engine, &name("shared"), shared)?;
        said[0].push(packed.said);
        used[0].push(packed.used);
        let at = Instant::now();
        let (status, task) = installation.request("POST", "/api/database/?async=1", Some(&wanted(&name("later"), shared)))?;
        begun.push(milliseconds(at));
        anyhow::ensure!(status == 202, "{task}");
        ended(installation, &task)?;
        // One of its own, and a cluster as the Samsung family makes them, with as much ready for the one as for the other.
        installation.until_spares_wait(SPARES)?;
        let alone = make(installation, engine, &name("own"), own)?;
        said[1].push(alone.said);
        used[1].push(alone.used);
        let link = path_of(&alone.document)?;
        installation.request("DELETE", &link, None)?;
        installation.request("DELETE", &format!("{link}?purge=true"), None)?;
        installation.until_spares_wait(SPARES)?;
        let at = Instant::now();
        let id = installation.ask(engine.name(), &format!("{}-{round}", engine.name()))?;
        let cluster = installation.running(&id)?;
        said[2].push(milliseconds(at));
        engine.first_query_at(&cluster.address, cluster.port, super::installation::PASSWORD)?;
        used[2].push(milliseconds(at));
        installation.remove(&id)?;
    }
    report.section(engine.name());
    report.row("shared plan, its first database: until its first query", &format!("{:.0} ms", first.used));
    report.at_most("shared plan: until 201", middle(&said[0]), 100.0, "ms");
    report.row("  99th percentile", &format!("{:.1} ms", percentile(&said[0], 99)));
    report.row("  until its first query, the client's start included", &format!("{:.1} ms", middle(&used[0])));
    report.row("  respond-async: until 202", &format!("{:.1} ms", middle(&begun)));
    report.row("a plan of its own: until its first query", &format!("{:.1} ms", middle(&used[1])));
    report.row("a cluster: until its first query", &format!("{:.1} ms", middle(&used[2])));
    report.at_most("  of its own / cluster", middle_ratio(&used[1], &used[2]), 1.3, "");
    for (what, values) in [("shared_said", &said[0]), ("shared_used", &used[0]), ("own_used", &used[1]), ("cluster_used", &used[2])] {
        report.keep(&format!("{}_{what}_ms", engine.name()), values);
    }
    Ok(())
}

/// All pages of two hundred databases, while the engine of all of them is stopped.
fn pages(installation: &mut Installation, report: &mut Report) -> Result<()> {
    let (_, list) = installation.request("GET", "/api/database/?engine=mariadb&page_size=1", None)?;
    let there = usize::try_from(list["_links"]["count"].as_u64().context("a count")?)?;
    // Each engine has a shared plan and one of its own, PostgreSQL's first: MariaDB's shared one is the third.
    let mut tasks = Vec::new();
    for n in there..PACKED {
        let (status, task) = installation.request("POST", "/api/database/?async=1", Some(&wanted(&format!("packed {n}"), 3)))?;
        anyhow::ensure!(status == 202, "{task}");
        tasks.push(task);
    }
    for task in &tasks {
        ended(installation, task)?;
    }
    for cluster in installation.look("clusters?limit=100")?["items"].as_array().context("clusters")? {
        let id = cluster["id"].as_str().context("an id")?;
        installation.act(id, "stop")?;
        installation.reaches(id, "STOPPED")?;
    }
    report.section("every page of all databases, with every engine stopped");
    for (what, path) in [
        ("databases, 10 on a page", "/api/database/"),
        ("databases, 100 on a page", "/api/database/?page_size=100"),
        ("databases by name, 100 on a page", "/api/database/?page_size=100&ordering=name"),
        ("credentials, 100 on a page", "/api/credential/?page_size=100"),
    ] {
        let (mut times, mut rows) = (Vec::new(), 0);
        for _ in 0..3 {
            rows = 0;
            let mut next = Some(path.to_owned());
            while let Some(path) = next.take() {
                let at = Instant::now();
                let (status, page) = installation.request("GET", &path, None)?;
                times.push(milliseconds(at));
                anyhow::ensure!(status == 200, "{page}");
                rows += page["database"].as_array().or(page["credential"].as_array()).map_or(0, Vec::len);
                next = page["_links"]["next"].as_str().and_then(|link| Some(link[link.find("/api/")?..].to_owned()));
            }
        }
        anyhow::ensure!(rows >= PACKED, "{rows} rows only");
        report.at_most(&format!("{what} ({rows} rows): the slowest page"), largest(&times), 50.0, "ms");
        report.row("  the median", &format!("{:.1} ms", middle(&times)));
    }
    Ok(())
}

fn wanted(name: &str, plan: usize) -> Value {
    json!({"name": name, "plan": format!("/api/plan/{plan}/"), "environment": "/api/environment/1/"})
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn path_of(document: &Value) -> Result<String> {
    let link = document["_links"]["self"].as_str().context("a link")?;
    Ok(link[link.find("/api/").context("a path")?..].to_owned())
}

fn make(installation: &Installation, engine: Engine, name: &str, plan: usize) -> Result<Made> {
    let at = Instant::now();
    let (status, document) = installation.request("POST", "/api/database/", Some(&wanted(name, plan)))?;
    let said = milliseconds(at);
    anyhow::ensure!(status == 201, "{status}: {document}");
    let link = document["credentials"][0].as_str().context("a credential")?;
    let (_, credential) = installation.request("GET", &link[link.find("/api/").context("a path")?..], None)?;
    let (address, port) = document["infra_endpoint"].as_str().and_then(|at| at.split_once(':')).context("an endpoint")?;
    let (user, password) = (credential["user"].as_str().context("a user")?, credential["password"].as_str().context("a password")?);
    engine.first_query_as((address, port.parse()?), document["name"].as_str().context("a name")?, (user, password))?;
    Ok(Made { said, used: milliseconds(at), document })
}

fn ended(installation: &Installation, task: &Value) -> Result<()> {
    let id = task["task_id"].as_str().context("a task")?;
    for _ in 0..30_000 {
        let shown = installation.look(&format!("operations/{id}"))?;
        match shown["status"].as_str() {
            Some("succeeded") => return Ok(()),
            Some("failed" | "cancelled" | "needs-operator") => bail!("{shown}"),
            _ => std::thread::sleep(std::time::Duration::from_millis(2)),
        }
    }
    bail!("it did not end: {task}")
}
