//! Clusters of two of our own, struck in every way.

use super::super::engines::Engine;
use super::super::installation::{Cluster, Installation};
use super::client::{self, Crew, Endpoint, Writers};
use super::load::{LASTING, PER_TRANSACTION, PgBench};
use super::strikes::{freezer, oldest_process_in, runs, signal, until, wait_for_any_time_below};
use super::{Choice, Event, Seen, Subject};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Until everything has come to rest after a blow.
const REST: Duration = Duration::from_secs(180);
/// How long it has to look so: one thing begins a moment after another has ended.
const STAYS: Duration = Duration::from_millis(500);
/// Acknowledged writes between two events.
const ENOUGH: usize = 100;

/// Makes a cluster, strikes it and removes it; what its `shared_buffers` were, if it has them.
pub fn measure(
    installation: &mut Installation,
    engine: Engine,
    choice: &Choice,
    scratch: &Path,
    keep: &mut impl FnMut(Seen),
) -> Result<String> {
    let id = installation.ask_for_two(engine.name(), &format!("failover-{}", engine.name()))?;
    let cluster = installation.running(&id)?;
    let endpoint = Endpoint { engine, addresses: vec![(cluster.address.clone(), u16::try_from(cluster.port)?)] };
    let pair = Pair { installation, cluster };
    pair.at_rest(None)?;
    for event in Event::ALL {
        let rounds = choice.rounds(event, event.rounds());
        if rounds > 0 {
            keep(pair.strike(event, &endpoint, rounds, scratch).with_context(|| event.name())?);
        }
    }
    let shared_buffers = match engine {
        Engine::PostgreSql => client::ask(&endpoint, "SHOW shared_buffers")?.into_iter().flatten().next().context("no size")?,
        Engine::MariaDb => String::new(),
    };
    installation.remove(&id)?;
    Ok(shared_buffers)
}

struct Pair<'a> {
    installation: &'a Installation,
    cluster: Cluster,
}

/// Both instances of a cluster at rest, with their main processes.
struct Instances {
    primary: String,
    primary_process: u32,
    standby: String,
    standby_process: u32,
}

impl Pair<'_> {
    fn strike(&self, event: Event, endpoint: &Endpoint, rounds: usize, scratch: &Path) -> Result<Seen> {
        let loaded = event == Event::Switchover;
        let by_pgbench = loaded && endpoint.engine == Engine::PostgreSql;
        if by_pgbench {
            PgBench::prepare(endpoint)?;
        }
        let (lasting, per_transaction) = if loaded && !by_pgbench { (LASTING, PER_TRANSACTION) } else { (0, 0) };
        let writers = Writers::start(endpoint, Crew { lasting: 1 + lasting, per_transaction })?;
        let (mut pauses, mut moves, mut cut_off) = (Vec::new(), 0, 0);
        for _ in 0..rounds {
            let load = if by_pgbench { Some(PgBench::start(endpoint, scratch)?) } else { None };
            let before = self.at_rest(None)?;
            wait_for_any_time_below(Duration::from_secs(1));
            written_on(&writers, ENOUGH)?;
            let struck = Instant::now();
            let gone = self.blow(event, &before)?;
            let after = self.at_rest(gone)?;
            let moved = after.primary != before.primary;
            if moved != matches!(event, Event::PrimaryKilled | Event::PrimaryFrozen | Event::Switchover) {
                bail!("{} is the primary after {} was", after.primary, before.primary);
            }
            moves += usize::from(moved);
            written_on(&writers, 1)?;
            pauses.push(writers.longest_pause(struck).as_secs_f64());
            cut_off += load.map(PgBench::end).transpose()?.unwrap_or_default();
        }
        let cut_off = by_pgbench.then_some(cut_off);
        Ok(Seen { subject: Subject::Ours(endpoint.engine), event, pauses, written: writers.end()?, moved: moves, cut_off })
    }

    /// Does it; the main process that has to be replaced before there is rest.
    fn blow(&self, event: Event, before: &Instances) -> Result<Option<u32>> {
        let (primary, standby) = (before.primary_process, before.standby_process);
        match event {
            Event::PrimaryKilled => signal(primary, "KILL")?,
            Event::StandbyKilled => signal(standby, "KILL")?,
            Event::PrimaryFrozen => std::fs::write(freezer(&before.primary)?, "1")?,
            Event::StandbyFrozen => std::fs::write(freezer(&before.standby)?, "1")?,
            Event::PrimaryFrozenForTwoSeconds => {
                let switch = freezer(&before.primary)?;
                std::fs::write(&switch, "1")?;
                std::thread::sleep(Duration::from_secs(2));
                std::fs::write(&switch, "0")?;
                // Whoever takes a pause for an end has this long to act on it.
                std::thread::sleep(Duration::from_secs(2));
                return Ok(None);
            }
            Event::Switchover => self.switchover()?,
        }
        Ok(Some(if matches!(event, Event::StandbyKilled | Event::StandbyFrozen) { standby } else { primary }))
    }

    fn switchover(&self) -> Result<()> {
        let operation = self.installation.act(&self.cluster.id, "switchover")?;
        let ended = until(Duration::from_secs(60), "the switchover has ended", || {
            let shown = self.installation.look(&format!("operations/{operation}")).map_err(|error| error.to_string())?;
            if shown["finished_at"].is_null() { Err(shown["step"].to_string()) } else { Ok(shown) }
        })?;
        if ended["status"] != "succeeded" {
            bail!("the switchover {}: {}", ended["status"], ended["problem"]);
        }
        Ok(())
    }

    /// Waits until the cluster runs, its standby is in sync and nothing is being done to it, and this process has been replaced.
    fn at_rest(&self, gone: Option<u32>) -> Result<Instances> {
        let mut since = None;
        until(REST, "the cluster is at rest", || match self.instances(gone) {
            Ok(instances) => {
                let since = *since.get_or_insert_with(Instant::now);
                if since.elapsed() >= STAYS { Ok(instances) } else { Err("it has been for a moment only".to_owned()) }
            }
            Err(seen) => {
                since = None;
                Err(seen)
            }
        })
    }

    fn instances(&self, gone: Option<u32>) -> Result<Instances, String> {
        let shown = self.installation.look(&format!("clusters/{}", self.cluster.id)).map_err(|error| error.to_string())?;
        if shown["state"] != "RUNNING" || !shown["state_reason"].is_null() || !shown["operation"].is_null() {
            return Err(shown.to_string());
        }
        let (primary, standby) = of_role(&shown, "ACTIVE").zip(of_role(&shown, "STANDBY")).ok_or_else(|| shown.to_string())?;
        let process = |instance: &str| oldest_process_in(&self.volume(instance)).ok_or_else(|| format!("no process of {instance}"));
        let (primary_process, standby_process) = (process(&primary)?, process(&standby)?);
        match gone {
            Some(gone) if runs(gone) => Err(format!("process {gone} is still there: {shown}")),
            _ => Ok(Instances { primary, primary_process, standby, standby_process }),
        }
    }

    fn volume(&self, instance: &str) -> PathBuf {
        let directory = self.installation.directory().join("instances").join(instance).join("volume");
        directory.canonicalize().unwrap_or(directory)
    }
}

fn of_role(shown: &Value, role: &str) -> Option<String> {
    let mut of_role = shown["instances"].as_array()?.iter().filter(|instance| instance["role"] == role);
    of_role.next()?["id"].as_str().map(str::to_owned)
}

/// Waits until so many more writes were acknowledged.
pub fn written_on(writers: &Writers, more: usize) -> Result<()> {
    let wanted = writers.count() + more;
    until(Duration::from_secs(60), "it is written on", || {
        let count = writers.count();
        if count >= wanted { Ok(()) } else { Err(format!("{count} of {wanted} writes")) }
    })
}
