//! What instances are doing: the process at once, by the host's nudge; the engine by probes (decisions 9).

use crate::volume_rooms::VolumeRooms;
use crate::{Watch, now};
use futures::StreamExt;
use moorage_domain::cluster::{Cluster, Wish};
use moorage_domain::decide::health::{Probe, Verdict, decide};
use moorage_domain::instance::{Instance, Observed, ProcessState};
use moorage_domain::{InstanceId, Timestamp};
use moorage_host::Change;
use moorage_operations::serving::describe;
use moorage_store::{Clusters, Instances, StoreError, Write};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// How often every engine is asked whether it answers.
const PERIOD: Duration = Duration::from_secs(3);
/// Every which time volumes are measured too; full ones are at every time.
const MEASURE_EVERY: u32 = 3;
/// How long an answer may take.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// Probes under way at one time.
const AT_ONCE: usize = 8;

/// When an instance was last probed; kept in memory, because after a restart silence is counted afresh anyway.
type Probed = HashMap<InstanceId, Timestamp>;

pub(crate) async fn run(watch: Watch) {
    let mut changes = watch.world.host.changes();
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut probed = Probed::new();
    let mut ticks = 0_u32;
    let rooms = VolumeRooms::default();
    loop {
        let only = tokio::select! {
            change = changes.next() => match change {
                Some(Change::Instance(instance)) => Some(instance),
                Some(Change::Gateway) => continue,
                None => { tick.tick().await; None }
            },
            _ = tick.tick() => None,
        };
        let measure = only.is_none() && ticks.is_multiple_of(MEASURE_EVERY);
        ticks = ticks.wrapping_add(u32::from(only.is_none()));
        if let Err(error) = watch.look("health", PERIOD, look(&watch, only.as_ref(), &mut probed, measure, &rooms)).await {
            tracing::warn!(%error, "instances could not be observed");
        }
    }
}

/// Notes which processes are there, without asking engines.
pub(crate) async fn look_at_processes(watch: &Watch) -> Result<(), StoreError> {
    for (cluster, instance) in observed_here(watch, None).await? {
        let mut observed = instance.observed.clone();
        match watch.world.host.process(&instance.id).await {
            Ok(process) => note_restarts(&mut observed, process, &instance),
            Err(error) => tracing::warn!(instance = %instance.id, %error, "a process could not be looked at"),
        }
        if observed != instance.observed {
            record(watch, &cluster, &instance, observed).await?;
        }
    }
    Ok(())
}

async fn look(watch: &Watch, only: Option<&InstanceId>, probed: &mut Probed, measure: bool, rooms: &VolumeRooms) -> Result<(), StoreError> {
    let pairs = observed_here(watch, only).await?;
    let seen = futures::stream::iter(pairs.into_iter().map(|(cluster, instance)| {
        let last = probed.get(&instance.id).copied();
        async move { observe(watch, cluster, instance, last, measure, rooms).await }
    }))
    .buffer_unordered(AT_ONCE)
    .collect::<Vec<_>>()
    .await;
    if only.is_none() {
        let here: HashSet<_> = seen.iter().map(|(_, instance, _)| &instance.id).collect();
        probed.retain(|id, _| here.contains(id));
        rooms.keep_only(&here);
    }
    for (cluster, instance, observed) in seen {
        probed.insert(instance.id.clone(), now());
        if observed != instance.observed {
            record(watch, &cluster, &instance, observed).await?;
        }
    }
    Ok(())
}

/// Instances that should be running here and that no operation holds: an operation looks for itself.
async fn observed_here(watch: &Watch, only: Option<&InstanceId>) -> Result<Vec<(Cluster, Instance)>, StoreError> {
    let mut look = watch.world.store.look().await?;
    let instances = match only {
        Some(id) => look.instance(id).await?.into_iter().collect(),
        None => look.instances_of_host(watch.world.host.id()).await?,
    };
    let mut pairs = Vec::with_capacity(instances.len());
    for instance in instances {
        if let Some(cluster) = look.cluster(&instance.cluster).await?
            && cluster.wish == Wish::Run
            && cluster.operation.is_none()
        {
            pairs.push((cluster, instance));
        }
    }
    Ok(pairs)
}

async fn observe(
    watch: &Watch,
    cluster: Cluster,
    instance: Instance,
    last: Option<Timestamp>,
    measure: bool,
    rooms: &VolumeRooms,
) -> (Cluster, Instance, Observed) {
    let world = &watch.world;
    let mut observed = instance.observed.clone();
    match world.host.process(&instance.id).await {
        Ok(process) => note_restarts(&mut observed, process, &instance),
        Err(error) => {
            tracing::warn!(instance = %instance.id, %error, "a process could not be looked at");
            return (cluster, instance, observed);
        }
    }
    if measure || observed.volume_full {
        rooms.look(watch, &instance.id, &mut observed).await;
    }
    let ProcessState::Running { incarnation, .. } = observed.process else {
        observed.answering = false;
        observed.silent_since = None;
        return (cluster, instance, observed);
    };
    let probe = match (world.engine(cluster.engine), describe(world, &cluster, &instance).await) {
        (Ok(engine), Ok((layout, _))) => engine.probe(&layout.socket, &world.host.administrator(), PROBE_LIMIT).await,
        _ => Probe::Busy,
    };
    // An incarnation that has never answered is starting up or recovering, however silently and however long: killing it would
    // begin its recovery anew.
    let probe = if probe == Probe::Silent && observed.recovering() { Probe::Busy } else { probe };
    match decide(probe, observed.silent_since, last, now()) {
        Verdict::Healthy => {
            observed.answering = probe == Probe::Answered;
            observed.silent_since = None;
            if observed.answering {
                observed.answered = Some(incarnation);
            }
        }
        Verdict::Suspect { since } => {
            observed.answering = false;
            observed.silent_since = Some(since);
        }
        Verdict::Restart => {
            let silent = observed.silent_since.map_or(0, |since| now().since(since).as_secs());
            let reason = format!("hung: no answer for {silent} s although its process ran");
            tracing::warn!(cluster = %cluster.id, instance = %instance.id, reason, "a hung engine is killed and started again");
            if let Err(error) = world.host.kill_hung(&instance.id, &reason).await {
                tracing::error!(instance = %instance.id, %error, "a hung engine could not be killed");
            }
            // It stays silent, and is shown so, until its next incarnation is seen.
            observed.last_restart_reason = Some(reason);
        }
    }
    (cluster, instance, observed)
}

/// Counts incarnations that were not asked for and keeps the reason of the last.
fn note_restarts(observed: &mut Observed, process: ProcessState, instance: &Instance) {
    if let Some(reason) = observed.note_process(process) {
        tracing::warn!(cluster = %instance.cluster, instance = %instance.id, reason, "an engine died and was started again");
    }
}

async fn record(watch: &Watch, cluster: &Cluster, instance: &Instance, observed: Observed) -> Result<(), StoreError> {
    let mut uow = watch.world.store.begin().await?;
    // The cluster may have been taken by an operation while the probe was out, and even be free again: its view counts then.
    let free = uow.cluster(&cluster.id).await?.is_some_and(|now| now.operation.is_none() && now.wish == Wish::Run);
    let row = uow.instance(&instance.id).await?.map(|now| now.observed).unwrap_or_default();
    if free && is_what_was_read(&row, &instance.observed) {
        let observed = Observed { volume_used_bytes: row.volume_used_bytes, ..observed };
        uow.apply(&Write::Observed(instance.id.clone(), observed), now()).await?;
        uow.project_state(&cluster.id).await?;
        uow.commit().await?;
    }
    Ok(())
}

/// Whether nobody wrote anything meanwhile but the size of the volume, which is another watcher's.
fn is_what_was_read(now: &Observed, read: &Observed) -> bool {
    Observed { volume_used_bytes: read.volume_used_bytes, ..now.clone() } == *read
}

#[cfg(test)]
mod tests {
    use super::*;
    use moorage_domain::instance::ProcessExit;

    #[test]
    fn what_an_operation_wrote_while_a_probe_was_out_stays() {
        let read = Observed::default();
        assert!(is_what_was_read(&Observed { volume_used_bytes: Some(7), ..read.clone() }, &read));
        assert!(!is_what_was_read(&Observed { published: true, ..read.clone() }, &read));
    }

    fn running(incarnation: u32, last_exit: Option<ProcessExit>) -> ProcessState {
        ProcessState::Running { pid: 7, incarnation, since: Timestamp(0), last_exit }
    }
    fn killed() -> ProcessExit {
        ProcessExit { at: Timestamp(1), code: None, signal: Some(9), out_of_memory: false, volume_full: false, last_words: String::new() }
    }

    fn somewhere() -> Instance {
        Instance {
            id: InstanceId::from_bits(1),
            cluster: moorage_domain::ClusterId::from_bits(1),
            host: moorage_domain::HostId::from_bits(1),
            name: "shop-1".into(),
            role: "ACTIVE".into(),
            uid: None,
            number: 1,
            slot: 0,
            observed: Observed::default(),
            observed_at: None,
        }
    }

    #[test]
    fn every_unasked_incarnation_is_counted_once_with_its_reason() {
        let mut observed = Observed { process: running(1, None), ..Observed::default() };
        note_restarts(&mut observed, running(1, None), &somewhere());
        assert_eq!((observed.restarts, &observed.last_restart_reason), (0, &None));
        note_restarts(&mut observed, running(3, Some(killed())), &somewhere());
        note_restarts(&mut observed, running(3, Some(killed())), &somewhere());
        assert_eq!((observed.restarts, observed.last_restart_reason.as_deref()), (2, Some("killed by signal 9")));
    }

    #[test]
    fn a_hang_stays_the_reason_although_a_signal_ended_it() {
        let mut observed = Observed { process: running(1, None), last_restart_reason: Some("hung: 30 s".into()), ..Observed::default() };
        note_restarts(&mut observed, running(2, Some(killed())), &somewhere());
        assert_eq!(observed.last_restart_reason.as_deref(), Some("hung: 30 s"));
    }
}
