//! Clusters of two instances: how both are seen, what that means, and the operation it calls for. The first thing a server looks at
//! when it starts, and again whenever a process ends.

use crate::attempts::Attempts;
use crate::{Watch, now};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use moorage_domain::cluster::Wish;
use moorage_domain::decide::failover::{STANDBY_SILENT_FOR, Seen, Sight, Verdict, decide};
use moorage_domain::decide::health::Probe;
use moorage_domain::instance::{Instance, ProcessState};
use moorage_domain::{ClusterId, InstanceId, OperationId, Timestamp};
use moorage_engine::{EngineSession, Position};
use moorage_host::Change;
use moorage_operations::takeover::Takeover;
use moorage_operations::world::Loaded;
use moorage_operations::{calls_itself_off, failover, gives_way, recover, rejoin, serving};
use moorage_store::{Operations as _, Replications, StoreError};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// How often both instances are asked whether they answer.
const PERIOD: Duration = Duration::from_millis(400);
/// How often it is looked whether there are any such clusters, where there were none.
const WITHOUT_CLUSTERS: Duration = Duration::from_secs(3);
/// How long an answer may take; an instance that is late is silent since it was asked.
const PROBE_LIMIT: Duration = Duration::from_millis(800);
/// A longer gap between two looks means that this process was away: silence is counted afresh.
const OWN_PAUSE: Duration = Duration::from_secs(2);
/// A commit that has waited so long, while nothing more was written, for a standby that has it waits for an acknowledgement that was lost.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// The longest wait between attempts to put right who waits for whom.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);
/// Waits between attempts that failed: doubled from the first to the second.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// What is remembered between looks; after a restart of this process it is learnt anew.
struct Memory {
    /// Which life of an instance has been silent, and since when; another life is not held to it.
    silent_since: HashMap<InstanceId, (u32, Instant)>,
    /// Since when a primary's commits have waited for somebody who acknowledges nothing.
    unacknowledged_since: HashMap<ClusterId, Instant>,
    /// What a primary had written in which term, and since when its standby has lacked it.
    lacks: HashMap<ClusterId, (Position, u64, Instant)>,
    /// At which position a primary's commits wait for a standby that is connected, and since when.
    waits_at: HashMap<ClusterId, (String, Instant)>,
    /// To bring a standby back.
    attempts: Attempts,
    /// To put right who waits for whom.
    settlements: Attempts,
    /// To start a primary again.
    restarts: Attempts,
    /// What each primary had written when it was last asked, and in which term: what another one wrote may be nowhere.
    positions: HashMap<ClusterId, (String, Timestamp, u64)>,
    /// What was last said about a cluster, so that it is said once.
    said: HashMap<ClusterId, String>,
    looked: Option<Instant>,
}

impl Default for Memory {
    fn default() -> Self {
        let attempts = Attempts::resting(WAITS.0, WAITS.1);
        Self {
            silent_since: HashMap::new(),
            unacknowledged_since: HashMap::new(),
            lacks: HashMap::new(),
            waits_at: HashMap::new(),
            attempts,
            settlements: Attempts::resting(PERIOD, SETTLES_WITHIN),
            restarts: Attempts::resting(WAITS.0, WAITS.1),
            positions: HashMap::new(),
            said: HashMap::new(),
            looked: None,
        }
    }
}

pub(crate) async fn run(watch: Watch) {
    let memory = Mutex::new(Memory::default());
    // A process that has ended is seen without asking anybody; what hangs in one cluster must not keep others waiting.
    tokio::join!(on_ticks(&watch, &memory), on_nudges(&watch, &memory));
}

async fn on_ticks(watch: &Watch, memory: &Mutex<Memory>) {
    let mut failing = false;
    loop {
        {
            let mut memory = lock(memory);
            if memory.looked.is_some_and(|at| at.elapsed() > OWN_PAUSE) {
                memory.silent_since.clear();
                memory.unacknowledged_since.clear();
                memory.lacks.clear();
                memory.waits_at.clear();
            }
            memory.looked = Some(Instant::now());
        }
        let rest = match watch.look("replication", PERIOD, look(watch, memory, true)).await {
            Ok(true) => PERIOD,
            Ok(false) => WITHOUT_CLUSTERS,
            Err(error) => {
                // Said once: a store that is away is away for many looks.
                if !failing {
                    tracing::warn!(%error, "replicated clusters cannot be looked at");
                }
                failing = true;
                tokio::time::sleep(PERIOD).await;
                continue;
            }
        };
        failing = false;
        tokio::time::sleep(rest).await;
    }
}

async fn on_nudges(watch: &Watch, memory: &Mutex<Memory>) {
    let mut changes = watch.world.host.changes();
    while let Some(change) = changes.next().await {
        if matches!(change, Change::Instance(_))
            && let Err(error) = look(watch, memory, false).await
        {
            tracing::warn!(%error, "replicated clusters could not be looked at");
        }
    }
}

/// Looks at every cluster of two on this host; whether there are any.
async fn look(watch: &Watch, memory: &Mutex<Memory>, probe: bool) -> Result<bool, StoreError> {
    let clusters = watch.world.store.look().await?.replicated_on(watch.world.host.id()).await?;
    {
        let mut memory = lock(memory);
        memory.said.retain(|id, _| clusters.contains(id));
        memory.positions.retain(|id, _| clusters.contains(id));
        memory.lacks.retain(|id, _| clusters.contains(id));
        memory.waits_at.retain(|id, _| clusters.contains(id));
    }
    let mut looks: FuturesUnordered<_> = clusters.iter().map(|cluster| look_at(watch, memory, cluster, probe)).collect();
    while let Some(looked) = looks.next().await {
        looked?;
    }
    Ok(!clusters.is_empty())
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
    let both_answer = first == Sight::Answers && second == Sight::Answers;
    let promotable = replication.promotable.as_ref().filter(|promotable| promotable.instance == standby.id);
    // Who waits in vain, or does not wait and should, is seen without the standby.
    let (waited_for, unacknowledged) = match probe && first == Sight::Answers && (both_answer || promotable.is_none()) {
        true => listen(watch, memory, &loaded, primary, standby).await,
        false => (None, None),
    };
    let mut stuck = None;
    if probe {
        let asked = async {
            let ended = end_lost_waits(watch, memory, &loaded, primary, standby);
            tokio::join!(ask_standby(watch, memory, &loaded, standby), ended).0
        };
        let (lag, lacks_for) = if both_answer { tokio::time::timeout(PROBE_LIMIT, asked).await.unwrap_or_default() } else { (None, None) };
        watch.board.note_lag(id, lag);
        stuck = lacks_for;
    }
    let (may_rejoin, may_settle) = {
        let memory = lock(memory);
        (memory.attempts.may_try(id), memory.settlements.may_try(id))
    };
    let seen = Seen {
        primary: first,
        standby: second,
        standby_name: &standby.name,
        promotable: promotable.is_some(),
        outlived: promotable.is_some_and(|promotable| life != Some(promotable.incarnation)),
        waited_for,
        strict: loaded.cluster.spec.strict,
        unacknowledged: unacknowledged.filter(|_| both_answer),
        stuck,
        may_rejoin,
        may_settle,
    };
    let verdict = decide(&seen);
    // Whoever holds it looks for itself; only its steps change who is waited for, so that nothing comes between their looks and records.
    let holder = loaded.cluster.operation.as_ref();
    if let Some(holder) = holder
        && !makes_room(watch, &loaded, holder, &verdict, &seen).await?
    {
        return Ok(());
    }
    say(memory, id, &verdict);
    match verdict {
        Verdict::Nothing => {
            let mut memory = lock(memory);
            memory.attempts.forget(id);
            memory.settlements.forget(id);
            memory.restarts.forget(id);
        }
        Verdict::Wait(_) => {}
        Verdict::FailOver(reason) => {
            let Some(to) = promotable.cloned() else { return Ok(()) };
            let takeover = Takeover { from: primary.id.clone(), to };
            let last_position = lock(memory).positions.remove(id).map(|(position, at, _)| (position, at));
            let request = failover::Request { reason, takeover, struck_at: struck_at(watch, primary, &seen.primary).await, last_position };
            watch.submit_instead::<failover::Failover>(&loaded.cluster, &request, holder).await?;
        }
        Verdict::Restart(reason) => {
            if !lock(memory).restarts.may_try(id) {
                return Ok(());
            }
            lock(memory).restarts.try_now(id);
            let request = recover::Request { reason: Some(reason) };
            watch.submit_instead::<recover::Recover>(&loaded.cluster, &request, holder).await?;
        }
        Verdict::Rejoin(reason) => {
            if seen.promotable || seen.may_rejoin {
                lock(memory).attempts.try_now(id);
            } else {
                lock(memory).settlements.try_now(id);
            }
            // One that is only late is not ended for it.
            let hangs = matches!(seen.standby, Sight::Silent(silence) if silence >= STANDBY_SILENT_FOR);
            watch.submit_instead::<rejoin::Rejoin>(&loaded.cluster, &rejoin::Request { reason, hangs }, holder).await?;
        }
    }
    Ok(())
}

/// When a primary ended, or was last heard of.
async fn struck_at(watch: &Watch, primary: &Instance, seen: &Sight) -> Option<Timestamp> {
    match (seen, watch.world.host.process(&primary.id).await) {
        (Sight::Silent(silence), _) => Some(Timestamp(now().0 - i64::try_from(silence.as_micros()).unwrap_or_default())),
        (_, Ok(ProcessState::GaveUp { last } | ProcessState::BackingOff { last, .. })) => Some(last.at),
        _ => None,
    }
}

/// Whether the operation that holds a cluster can be ended for what has to be done. A switchover is asked to call itself off.
async fn makes_room(watch: &Watch, loaded: &Loaded, holder: &OperationId, verdict: &Verdict, seen: &Seen<'_>) -> Result<bool, StoreError> {
    let why = match verdict {
        Verdict::Nothing | Verdict::Wait(_) => return Ok(false),
        // Nobody waits for a standby that is on its way back.
        Verdict::Rejoin(_) if !seen.commits_wait() => return Ok(false),
        Verdict::FailOver(why) | Verdict::Restart(why) | Verdict::Rejoin(why) => why,
    };
    let mut look = watch.world.store.look().await?;
    let Some(row) = look.operation_row(holder).await? else { return Ok(false) };
    drop(look);
    let planned = calls_itself_off(&row.kind, &row.step);
    // It brings its standby back itself, or has just done so.
    if planned.is_some() && matches!(verdict, Verdict::Rejoin(_)) && !seen.promotable {
        return Ok(false);
    }
    if planned == Some(true) && row.outcome.is_none() && row.cancel_requested_at.is_none() {
        let mut uow = watch.world.store.begin().await?;
        uow.request_cancel(holder, &format!("It is called off by itself. {why}"), now()).await?;
        uow.commit().await?;
        (watch.wake)();
    }
    let fails_over = matches!(verdict, Verdict::FailOver(_));
    // One that is calling itself off has decided nothing; a failover writes the endpoint anew.
    let makes_room = gives_way(&row.kind, fails_over) || (fails_over && planned.is_some() && row.outcome.is_some());
    if makes_room {
        tracing::warn!(cluster = %loaded.cluster.id, operation = %holder, kind = row.kind, "an operation is ended, because users wait for something else");
    }
    Ok(makes_room)
}

/// Whether the primary's commits wait for the standby, as far as it says, and how long they have lacked an acknowledgement.
async fn listen(
    watch: &Watch,
    memory: &Mutex<Memory>,
    loaded: &Loaded,
    primary: &Instance,
    standby: &Instance,
) -> (Option<bool>, Option<Duration>) {
    let asked = async {
        let mut session = session(watch, loaded, primary).await?;
        let said = session.acknowledgement(&standby.id).await.ok()?;
        Some((said, session.position().await.ok()))
    };
    let Some((said, position)) = tokio::time::timeout(PROBE_LIMIT, asked).await.ok().flatten() else { return (None, None) };
    if let Some(position) = position {
        lock(memory).positions.insert(loaded.cluster.id.clone(), (position.0, now(), loaded.cluster.term));
    }
    note_wait(&mut lock(memory), &loaded.cluster.id, said.given && said.awaited);
    let since = &mut lock(memory).unacknowledged_since;
    if said.required && !said.given {
        return (Some(true), Some(since.entry(loaded.cluster.id.clone()).or_insert_with(Instant::now).elapsed()));
    }
    since.remove(&loaded.cluster.id);
    (Some(said.required), None)
}

/// Remembers since when commits have waited at one position, for a standby that is connected.
fn note_wait(memory: &mut Memory, id: &ClusterId, waits: bool) {
    let position = memory.positions.get(id).filter(|_| waits).map(|(position, ..)| position.clone());
    let before = memory.waits_at.remove(id);
    if let Some(position) = position {
        let since = before.filter(|(before, _)| *before == position).map_or_else(Instant::now, |(_, since)| since);
        memory.waits_at.insert(id.clone(), (position, since));
    }
}

/// Ends waits for acknowledgements that will not come: the standby is connected and has all that is written, and they go on.
async fn end_lost_waits(watch: &Watch, memory: &Mutex<Memory>, loaded: &Loaded, primary: &Instance, standby: &Instance) {
    let waits_at = lock(memory).waits_at.get(&loaded.cluster.id).filter(|(_, since)| since.elapsed() >= LOST_AFTER).cloned();
    let Some((position, _)) = waits_at else { return };
    let position = Position(position);
    let asked = async {
        if !session(watch, loaded, standby).await?.has(&position).await.ok()? {
            return None;
        }
        session(watch, loaded, primary).await?.end_lost_waits(&position).await.ok()
    };
    if let Some(ended) = asked.await
        && ended > 0
    {
        tracing::warn!(cluster = %loaded.cluster.id, ended, "commits that the standby has waited for an acknowledgement that was lost; they are let go on");
    }
}

/// How far a standby's applying is behind, and for how long it has lacked what its primary had written. One that is connected and takes
/// nothing keeps commits waiting although its primary counts on it: MariaDB's, when its applier waits for a lock that a reader holds.
async fn ask_standby(watch: &Watch, memory: &Mutex<Memory>, loaded: &Loaded, standby: &Instance) -> (Option<Duration>, Option<Duration>) {
    let Some(mut session) = session(watch, loaded, standby).await else { return (None, None) };
    let lag = session.lag().await.ok().flatten();
    let (id, term) = (&loaded.cluster.id, loaded.cluster.term);
    let wanted = {
        let memory = lock(memory);
        let last = memory.positions.get(id).map(|(position, _, term)| (Position(position.clone()), *term, Instant::now()));
        memory.lacks.get(id).cloned().filter(|(_, of, _)| *of == term).or(last)
    };
    let Some((position, _, since)) = wanted.filter(|(_, of, _)| *of == term) else { return (lag, None) };
    match session.has(&position).await {
        Ok(false) => {
            lock(memory).lacks.insert(id.clone(), (position, term, since));
            (lag, Some(since.elapsed()))
        }
        // Next time the newest is asked for.
        _ => {
            lock(memory).lacks.remove(id);
            (lag, None)
        }
    }
}

async fn session(watch: &Watch, loaded: &Loaded, instance: &Instance) -> Option<Box<dyn EngineSession>> {
    let world = &watch.world;
    let socket = serving::socket(world, &loaded.cluster, instance).await.ok()?;
    world.engine(loaded.cluster.engine).ok()?.connect(&socket, &world.host.administrator()).await.ok()
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
        let of_this_life = memory.silent_since.get(&instance.id).filter(|(life, _)| *life == incarnation);
        match (answer, of_this_life) {
            (Probe::Silent, Some(_)) => {}
            (Probe::Silent, None) => drop(memory.silent_since.insert(instance.id.clone(), (incarnation, asked))),
            _ => drop(memory.silent_since.remove(&instance.id)),
        }
    }
    let silent = lock(memory).silent_since.get(&instance.id).filter(|(life, _)| *life == incarnation).map(|(_, since)| since.elapsed());
    // One that has never answered in this life starts up or recovers, however long that takes.
    let starting = silent.is_some() && instance.observed.answered.is_some_and(|answered| answered != incarnation);
    Some((silent.filter(|_| !starting).map_or(Sight::Answers, Sight::Silent), Some(incarnation)))
}

fn was(words: &str) -> String {
    if words.starts_with("killed") { format!("was {words}") } else { words.to_owned() }
}
