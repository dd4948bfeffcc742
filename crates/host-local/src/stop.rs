//! `moorage stop --all`: everything of one installation ends, with or without a running server.

use crate::addresses;
use crate::group::Group;
use crate::instances;
use crate::machine::{LocalHostOptions, Machine};
use crate::problems::{Doing, blocking};
use crate::shim::protocol::{ShimDirectory, Want};
use crate::shims::Shims;
use crate::volumes::jobs;
use moorage_domain::InstanceId;
use moorage_domain::instance::ProcessState;
use moorage_host::{Change, HostResult};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// Beyond an engine's own grace.
const MARGIN: Duration = Duration::from_secs(5);

/// What was stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Instances whose engine ran and stopped.
    pub instances: Vec<InstanceId>,
    /// The gateway ran and stopped.
    pub gateway: bool,
}

/// Stops the gateway and every engine cleanly, ends all shims, and removes control groups, socket directories and addresses on
/// interfaces. What was meant to run stays written in the store alone. No server may be running on the data directory.
pub async fn stop_all(options: LocalHostOptions) -> HostResult<Stopped> {
    let machine = Arc::new(blocking(move || Machine::find(options)).await?);
    let (changes, _) = broadcast::channel(16);
    let shims = Shims::new(machine.options.program.clone(), changes);
    let gateway = stop_one(&shims, machine.shim_of_gateway(), Change::Gateway).await?;
    let mut stops = Vec::new();
    for instance in machine.instances_here()? {
        let (shims, directory) = (Arc::clone(&shims), machine.shim_of(&instance));
        let stop =
            tokio::spawn(async move { stop_one(&shims, directory, Change::Instance(instance.clone())).await.map(|ran| (instance, ran)) });
        stops.push(stop);
    }
    let mut stopped = Stopped { gateway, ..Stopped::default() };
    for stop in stops {
        match stop.await {
            Ok(Ok((instance, true))) => stopped.instances.push(instance),
            Ok(Ok((_, false))) => {}
            Ok(Err(error)) => return Err(error),
            Err(error) => return Err(std::io::Error::other(error)).doing("stop an engine"),
        }
    }
    addresses::take_away_all(&machine).await?;
    blocking(move || {
        let stopping = "remove what is left of stopped processes";
        jobs::clear(&machine)?;
        for name in machine.groups.named("") {
            // Also groups whose directory is gone.
            let group = Group { tracked: machine.groups.plan(&name, 0, 0).tracked, ..Group::default() };
            group.end(Duration::from_secs(10)).doing(stopping)?;
        }
        machine.groups.remove_all().doing(stopping)?;
        crate::networks::remove_all(&machine).doing(stopping)?;
        crate::files::remove(&machine.run).doing(stopping)?;
        crate::volumes::drivers::close_below(&machine.storage)?;
        // Shared by all installations; goes with the last one.
        if machine.run.parent() == Some(std::path::Path::new("/run/moorage")) {
            let _ = std::fs::remove_dir("/run/moorage");
        }
        Ok(())
    })
    .await?;
    Ok(stopped)
}

/// Stops one process and ends its shim; whether it ran.
async fn stop_one(shims: &Arc<Shims>, directory: ShimDirectory, change: Change) -> HostResult<bool> {
    let looking = "stop a process";
    let here = directory.clone();
    let (before, sequence, grace) = blocking(move || {
        let before = instances::observe(&here).doing(looking)?;
        let grace = here.process().doing(looking)?.map_or(Duration::ZERO, |process| process.stop.grace);
        Ok((before, instances::want_ended(&here, Want::Stop, None)?, grace))
    })
    .await?;
    if sequence.is_none() {
        return Ok(false);
    }
    let until = Instant::now() + grace + MARGIN;
    let mut asked = None::<Instant>;
    loop {
        let here = directory.clone();
        let (state, shim) = blocking(move || {
            let state = instances::observe(&here).doing(looking)?;
            Ok((state, here.shim().doing(looking)?.is_some()))
        })
        .await?;
        if state == ProcessState::Stopped && !shim {
            break;
        }
        if Instant::now() >= until {
            break;
        }
        if asked.is_none_or(|asked| asked.elapsed() > Duration::from_millis(200)) {
            shims.ensure(&directory, change.clone()).await?;
            asked = Some(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shims.forget(&directory);
    blocking(move || instances::end_group_and_shim(&directory).doing(looking)).await?;
    Ok(matches!(before, ProcessState::Running { .. } | ProcessState::BackingOff { .. }))
}
