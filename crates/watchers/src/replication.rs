//! Clusters of two instances: how both are seen, what that means, and the operation it calls for. The first thing a server looks at
//! when it starts, and again whenever a process ends.

use crate::Watch;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use moorage_domain::cluster::Wish;
use moorage_domain::decide::failover::{self, Seen, Sight, Verdict};
use moorage_domain::decide::health::Probe;
use moorage_domain::instance::{Instance, ProcessState};
use moorage_domain::{ClusterId, InstanceId};
use moorage_host::Change;
use moorage_operations::world::Loaded;
use moorage_operations::{failover as takeover, recover, rejoin, serving};
use moorage_store::{Replications, StoreError};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// How often both instances are asked whether they answer.
const PERIOD: Duration = Duration::from_millis(400);
/// How long an answer may take; an instance that is late is silent since it was asked.
const PROBE_LIMIT: Duration = Duration::from_millis(800);
/// A longer gap between two looks means that this process was away: silence is counted afresh.
const OWN_PAUSE: Duration = Duration::from_secs(2);
/// Waits between attempts that failed: doubled from the first to the second.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// What is remembered between looks; after a restart of this process it is learnt anew.
#[derive(Default)]
struct Memory {
    silent_since: HashMap<InstanceId, Instant>,
    attempts: HashMap<ClusterId, Attempts>,
    /// What was last said about a cluster, so that it is said once.
    said: HashMap<ClusterId, String>,
    looked: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Attempts {
    count: u32,
    next: Instant,
}

pub(crate) async fn run(watch: Watch) {
    let mut changes = watch.world.host.changes();
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let memory = Mutex::new(Memory::default());
    loop {
        // A process that has ended needs no probe: what the host says is looked at first.
        let nudged = tokio::select! {
            change = changes.next() => match change {
                Some(Change::Instance(_)) => true,
                Some(Change::Gateway) => continue,
                None => { tick.tick().await; false }
            },
            _ = tick.tick() => false,
        };
        if let Err(error) = watch.look("replication", PERIOD, look(&watch, &memory, !nudged)).await {
            tracing::warn!(%error, "replicated clusters could not be looked at");
        }
    }
}

async fn look(watch: &Watch, memory: &Mutex<Memory>, probe: bool) -> Result<(), StoreError> {
    let clusters = watch.world.store.look().await?.replicated_on(watch.world.host.id()).await?;
    {
        let mut memory = lock(memory);
        if memory.looked.is_some_and(|at| at.elapsed() > OWN_PAUSE) {
            memory.silent_since.clear();
        }
        memory.looked = Some(Instant::now());
        memory.attempts.retain(|id, _| clusters.contains(id));
        memory.said.retain(|id, _| clusters.contains(id));
    }
    let mut looks: FuturesUnordered<_> = clusters.iter().map(|cluster| look_at(watch, memory, cluster, probe)).collect();
    while let Some(looked) = looks.next().await {
        looked?;
    }
    Ok(())
}

fn lock(memory: &Mutex<Memory>) -> std::sync::MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn look_at(watch: &Watch, memory: &Mutex<Memory>, id: &ClusterId, probe: bool) -> Result<(), StoreError> {
    let Ok(loaded) = watch.world.load(id).await else { return Ok(()) };
    let (Some(primary), Some(standby), Some(replication)) = (&loaded.instance, &loaded.standby, &loaded.replication) else { return Ok(()) };
    if loaded.cluster.wish != Wish::Run {
        return Ok(());
    }
    let (first, second) = tokio::join!(see(watch, memory, &loaded, primary, probe), see(watch, memory, &loaded, standby, probe));
    let (Some((first, _)), Some((second, life))) = (first, second) else { return Ok(()) };
    let promotable = replication.promotable.as_ref().filter(|promotable| promotable.instance == standby.id);
    let attempts = lock(memory).attempts.get(id).copied();
    let seen = Seen {
        primary: first,
        standby: second,
        standby_name: &standby.name,
        promotable: promotable.is_some(),
        outlived: promotable.is_some_and(|promotable| life != Some(promotable.incarnation)),
        may_rejoin: attempts.is_none_or(|attempts| attempts.next <= Instant::now()),
    };
    let verdict = failover::decide(&seen);
    // Whoever holds it looks for itself.
    if loaded.cluster.operation.is_some() {
        return Ok(());
    }
    say(memory, id, &verdict);
    match verdict {
        Verdict::Nothing => {
            lock(memory).attempts.remove(id);
        }
        Verdict::Wait(_) => {}
        Verdict::FailOver(reason) => {
            let Some(to) = promotable.cloned() else { return Ok(()) };
            let request = takeover::Request { reason, from: primary.id.clone(), to };
            watch.submit::<takeover::Failover>(&loaded.cluster, &request).await?;
        }
        Verdict::Restart(_) if seen.may_rejoin => {
            attempted(memory, id, attempts);
            watch.submit::<recover::Recover>(&loaded.cluster, &recover::Request {}).await?;
        }
        Verdict::Restart(_) => {}
        Verdict::Rejoin(reason) => {
            attempted(memory, id, attempts);
            let hangs = matches!(seen.standby, Sight::Silent(_));
            watch.submit::<rejoin::Rejoin>(&loaded.cluster, &rejoin::Request { reason, hangs }).await?;
        }
    }
    Ok(())
}

fn attempted(memory: &Mutex<Memory>, id: &ClusterId, before: Option<Attempts>) {
    let count = before.map_or(0, |attempts| attempts.count);
    let next = Instant::now() + (WAITS.0 * 2_u32.saturating_pow(count.min(8))).min(WAITS.1);
    lock(memory).attempts.insert(id.clone(), Attempts { count: count + 1, next });
}

/// Says once what is thought of a cluster, also where nothing is done about it.
fn say(memory: &Mutex<Memory>, id: &ClusterId, verdict: &Verdict) {
    let words = match verdict {
        Verdict::Nothing => {
            lock(memory).said.remove(id);
            return;
        }
        Verdict::Wait(why) | Verdict::FailOver(why) | Verdict::Restart(why) | Verdict::Rejoin(why) => why,
    };
    // The seconds of a silence are not news.
    let gist: String = words.chars().filter(|c| !c.is_ascii_digit()).collect();
    if lock(memory).said.insert(id.clone(), gist.clone()).is_none_or(|before| before != gist) {
        tracing::warn!(cluster = %id, decision = words, "a replicated cluster is not as it should be");
    }
}

/// How an instance is seen, and which life of it; none where the host cannot say.
async fn see(watch: &Watch, memory: &Mutex<Memory>, loaded: &Loaded, instance: &Instance, probe: bool) -> Option<(Sight, Option<u32>)> {
    let incarnation = match watch.world.host.process(&instance.id).await {
        Ok(ProcessState::Running { incarnation, .. }) => incarnation,
        Ok(ProcessState::GaveUp { last } | ProcessState::BackingOff { last, .. }) => {
            return Some((Sight::Dead(was(&last.describe())), None));
        }
        Ok(ProcessState::Stopped) => return Some((Sight::Dead("does not run".to_owned()), None)),
        // After a reboot, of both.
        Ok(ProcessState::Absent) => return Some((Sight::Dead("is not there any more".to_owned()), None)),
        Err(error) => {
            tracing::warn!(instance = %instance.id, %error, "a process could not be looked at");
            return None;
        }
    };
    let asked = Instant::now();
    if probe {
        let administrator = watch.world.host.administrator();
        let answer = match (watch.world.engine(loaded.cluster.engine), serving::socket(&watch.world, &loaded.cluster, instance).await) {
            (Ok(engine), Ok(socket)) => engine.probe(&socket, &administrator, PROBE_LIMIT).await,
            _ => Probe::Busy,
        };
        let mut memory = lock(memory);
        if answer == Probe::Silent {
            memory.silent_since.entry(instance.id.clone()).or_insert(asked);
        } else {
            memory.silent_since.remove(&instance.id);
        }
    }
    let silent = lock(memory).silent_since.get(&instance.id).map(|since| since.elapsed());
    // One that has never answered in this life starts up or recovers, however long that takes.
    let starting = silent.is_some() && instance.observed.answered.is_some_and(|answered| answered != incarnation);
    Some((silent.filter(|_| !starting).map_or(Sight::Answers, Sight::Silent), Some(incarnation)))
}

fn was(words: &str) -> String {
    if words.starts_with("killed") { format!("was {words}") } else { words.to_owned() }
}
