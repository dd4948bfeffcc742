//! Spare data directories: made ahead, so that a create costs no more than the engine's own start.

use crate::{Watch, now};
use moorage_domain::engine::{EngineName, Installation};
use moorage_store::Operations;
use std::time::Duration;

/// How often the spares are counted; a create that took one is followed by the next count.
const PERIOD: Duration = Duration::from_millis(500);
/// How long a template that could not be made is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// How often it is looked whether templates are left of engine versions or recipes that are not there any more.
const CLEARING: Duration = Duration::from_secs(60 * 60);

pub(crate) async fn run(watch: Watch) {
    let mut clearing = tokio::time::interval(CLEARING);
    clearing.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let refilled = async { if refill(&watch).await { Ok(()) } else { Err("a spare data directory could not be made") } };
        let wait = match watch.look("spares", PERIOD, refilled).await {
            Ok(()) => PERIOD,
            Err(_) => AFTER_FAILURE,
        };
        let next = tokio::time::sleep(wait);
        tokio::select! {
            _ = clearing.tick() => clear(&watch).await,
            () = next => {}
        }
    }
}

/// Removes what was made for engine versions that are not installed any more, and by former recipes.
async fn clear(watch: &Watch) {
    let world = &watch.world;
    let cleared = match world.host.installations().await {
        Ok(installations) => {
            let administrator = world.host.administrator();
            let template = |installation: &Installation| {
                world.engine(installation.engine).ok().map(|engine| engine.template(installation, &administrator).key)
            };
            let current: Vec<String> = installations.iter().filter_map(template).collect();
            world.host.ensure_only_templates(&current).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = cleared {
        let cause = error.cause.as_ref().map(ToString::to_string);
        tracing::warn!(%error, cause, "templates that are not needed any more could not be removed");
    }
}

/// Brings every installed version to its number of spares: the newest of each engine to the configured number, the others to
/// one. False when one could not be made.
async fn refill(watch: &Watch) -> bool {
    let world = &watch.world;
    let installations = match world.host.installations().await {
        Ok(installations) => installations,
        Err(error) => {
            tracing::warn!(%error, "installed engine versions could not be listed");
            return false;
        }
    };
    let mut well = true;
    for installation in &installations {
        let Ok(engine) = world.engine(installation.engine) else { continue };
        if !engine.supported().contains(&installation.version.major(installation.engine).as_str()) {
            continue;
        }
        let count = if is_newest(installation, &installations) { watch.spares } else { watch.spares.min(1) };
        let template = engine.template(installation, &world.host.administrator());
        // One at a time, so that a request does not share the machine with more than one copy.
        for wanted in 1..=count {
            until_idle(watch).await;
            if let Err(error) = world.host.ensure_spares(&template, wanted).await {
                let cause = error.cause.as_ref().map(ToString::to_string);
                tracing::warn!(version = installation.label(), %error, cause, "a spare data directory could not be made");
                well = false;
                break;
            }
        }
    }
    well
}

/// Waits while operations are on their way, for half a minute at most: a user's create comes before the spare of the next one.
async fn until_idle(watch: &Watch) {
    for _ in 0..60 {
        if !busy(watch).await {
            return;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn busy(watch: &Watch) -> bool {
    let soon = now().plus(AFTER_FAILURE);
    let Ok(mut look) = watch.world.store.look().await else { return false };
    look.due_operations(watch.world.host.id(), 1, soon).await.is_ok_and(|due| !due.is_empty())
}

fn is_newest(one: &Installation, all: &[Installation]) -> bool {
    let of_engine = |name: EngineName| all.iter().filter(move |i| i.engine == name);
    of_engine(one.engine).all(|other| other.version <= one.version)
}
