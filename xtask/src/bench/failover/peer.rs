//! Patroni's nodes, struck as ours are.

use super::super::engines::Engine;
use super::client::{Crew, Endpoint, Writers};
use super::load::PgBench;
use super::ours::written_on;
use super::patroni::{self, Configuration, Patroni};
use super::strikes::{signal, wait_for_any_time_below};
use super::{Choice, Event, Seen, Subject};
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Instant;

/// What is measured of Patroni, and how often: what it takes ten seconds to decide is not asked often.
fn events(configuration: Configuration) -> &'static [(Event, usize)] {
    match configuration {
        Configuration::Tuned => &[(Event::PrimaryKilled, 10), (Event::Switchover, 5)],
        Configuration::Defaults => &[(Event::PrimaryKilled, 3)],
    }
}

/// Starts two nodes, strikes them and ends them.
pub fn measure(
    configuration: Configuration,
    shared_buffers: &str,
    choice: &Choice,
    scratch: &Path,
    keep: &mut impl FnMut(Seen),
) -> Result<()> {
    let events = events(configuration).iter().map(|(event, most)| (*event, choice.rounds(*event, *most)));
    let events: Vec<_> = events.filter(|(_, rounds)| *rounds > 0).collect();
    if events.is_empty() {
        return Ok(());
    }
    let under = scratch.join(format!("patroni-{configuration:?}"));
    std::fs::create_dir_all(&under)?;
    let packages = patroni::packages(&under)?;
    let patroni = Patroni::start(configuration, shared_buffers, &under, &packages).context("patroni")?;
    for (event, rounds) in events {
        keep(strike(&patroni, configuration, event, rounds, &under).with_context(|| format!("patroni: {}", event.name()))?);
    }
    Ok(())
}

fn strike(patroni: &Patroni, configuration: Configuration, event: Event, rounds: usize, scratch: &Path) -> Result<Seen> {
    let endpoint = Endpoint { engine: Engine::PostgreSql, addresses: patroni.addresses() };
    let loaded = event == Event::Switchover;
    if loaded {
        PgBench::prepare(&endpoint)?;
    }
    let writers = Writers::start(&endpoint, Crew { lasting: 1, per_transaction: 0 })?;
    let (mut pauses, mut moved, mut cut_off) = (Vec::new(), 0, 0);
    for _ in 0..rounds {
        let load = if loaded { Some(PgBench::start(&endpoint, scratch)?) } else { None };
        let before = patroni.at_rest(None)?;
        wait_for_any_time_below(configuration.loop_wait());
        written_on(&writers, 100)?;
        let struck = Instant::now();
        if loaded {
            patroni.switchover(&before)?;
        } else {
            signal(before.primary_process, "KILL")?;
        }
        let after = patroni.at_rest(Some(before.primary_process))?;
        moved += usize::from(after.primary.name != before.primary.name);
        written_on(&writers, 1)?;
        pauses.push(writers.longest_pause(struck).as_secs_f64());
        cut_off += load.map(PgBench::end).transpose()?.unwrap_or_default();
    }
    let cut_off = loaded.then_some(cut_off);
    Ok(Seen { subject: Subject::Patroni(configuration), event, pauses, written: writers.end()?, moved, cut_off })
}
