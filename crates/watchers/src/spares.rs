//! Spare data directories: made ahead, so that a create costs no more than the engine's own start.

use crate::Watch;
use moorage_domain::engine::{EngineName, Installation};
use std::time::Duration;

/// How often the spares are counted; a create that took one is followed by the next count.
const PERIOD: Duration = Duration::from_millis(500);
/// How long a template that could not be made is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

pub(crate) async fn run(watch: Watch) {
    loop {
        let wait = match refill(&watch).await {
            true => PERIOD,
            false => AFTER_FAILURE,
        };
        tokio::time::sleep(wait).await;
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
        if let Err(error) = world.host.ensure_spares(&template, count).await {
            tracing::warn!(version = installation.label(), %error, cause = error.cause.as_ref().map(ToString::to_string), "spare data directories could not be made");
            well = false;
        }
    }
    well
}

fn is_newest(one: &Installation, all: &[Installation]) -> bool {
    let of_engine = |name: EngineName| all.iter().filter(move |i| i.engine == name);
    of_engine(one.engine).all(|other| other.version <= one.version)
}
