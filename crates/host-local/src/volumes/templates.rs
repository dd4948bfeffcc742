//! Templates (an engine version's empty data directory, made once) and spares (copies with an identity of their own, waiting
//! to be taken). Both appear under their name only when they are complete and durable.

use super::jobs::{self, Room};
use crate::files;
use crate::machine::Machine;
use crate::problems::{Doing, blocking};
use crate::volumes::drivers;
use moorage_domain::layout::TemplateSpec;
use moorage_domain::{Problem, ProblemCode};
use moorage_host::HostResult;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Refuses a key that could not be a plain file name.
pub(super) fn check_key(key: &str) -> HostResult<()> {
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if plain && !key.is_empty() && key.len() <= 128 && !key.starts_with('.') {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::HostFailed, format!("`{key}` cannot be the name of a template.")).into())
}

pub(super) fn spares_of(machine: &Machine, key: &str) -> PathBuf {
    machine.spares().join(key)
}

/// Makes sure the template is there; returns where.
async fn ensure_template(machine: &Arc<Machine>, spec: &TemplateSpec) -> HostResult<PathBuf> {
    let template = machine.templates().join(&spec.key);
    if template.exists() {
        return Ok(template);
    }
    let began = std::time::Instant::now();
    let opened = Arc::clone(machine);
    let room = blocking(move || {
        let room = Room::open(&opened).doing("make room for a template")?;
        opened.driver.create(&room.volume()).doing("make room for a template")?;
        files::ensure_directory(&room.volume(), 0o700, opened.job_account).doing("make room for a template")?;
        Ok(Arc::new(room))
    })
    .await?;
    jobs::run(machine, &room, &spec.make, "an empty data directory").await?;
    let (from, to, templates) = (room.volume(), template.clone(), machine.templates());
    let moved = Arc::clone(machine);
    blocking(move || {
        moved.driver.rest(&from, &to).doing("put a template in its place")?;
        files::sync_directory(&templates).doing("write a template to disk")
    })
    .await?;
    tracing::info!(template = spec.key, seconds = began.elapsed().as_secs_f32(), "an engine version's empty data directory was made");
    Ok(template)
}

/// Makes one more spare.
pub(super) async fn add_spare(machine: &Arc<Machine>, spec: &TemplateSpec) -> HostResult<()> {
    let template = ensure_template(machine, spec).await?;
    let copied = Arc::clone(machine);
    let room = blocking(move || {
        let room = Room::open(&copied).doing("make room for a data directory")?;
        copied.driver.copy(&template, &room.volume()).doing("copy a template")?;
        Ok(Arc::new(room))
    })
    .await?;
    jobs::run(machine, &room, &spec.personalise, "a data directory with an identity of its own").await?;
    let (from, spares) = (room.volume(), spares_of(machine, &spec.key));
    let moved = Arc::clone(machine);
    blocking(move || {
        files::ensure_directory(&spares, 0o700, None).doing("make room for spare data directories")?;
        let name = files::random_name().doing("name a data directory")?;
        moved.driver.rest(&from, &spares.join(name)).doing("put a spare data directory in its place")?;
        files::sync_directory(&spares).doing("write a data directory to disk")
    })
    .await
}

/// The keys there are templates or spares of.
pub(super) fn keys(machine: &Machine) -> HostResult<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    for directory in [machine.templates(), machine.spares()] {
        keys.extend(files::names(&directory).doing("list the templates")?.into_iter().filter(|name| check_key(name).is_ok()));
    }
    Ok(keys)
}

/// Removes a template with its spares. The caller sees to it that nobody makes one of this key meanwhile; spares may be taken.
pub(super) fn remove(machine: &Machine, key: &str) -> io::Result<()> {
    let (template, spares) = (machine.templates().join(key), spares_of(machine, key));
    let waiting = files::names(&spares)?;
    let mut going = Vec::new();
    // Out of everybody's sight first, under names that a start of the host clears: nobody ever takes half of one.
    for path in waiting.iter().map(|name| spares.join(name)).chain([template]) {
        let aside = machine.work().join(files::random_name()?);
        match std::fs::rename(&path, &aside) {
            Ok(()) => going.push(aside),
            // An instance has just taken it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    files::remove(&spares)?;
    for directory in [machine.templates(), machine.spares(), machine.work()] {
        files::sync_directory(&directory)?;
    }
    going.iter().try_for_each(|volume| drivers::remove(volume))
}

/// How many spares wait.
pub(super) fn count(machine: &Machine, key: &str) -> HostResult<usize> {
    Ok(files::names(&spares_of(machine, key)).doing("count the spare data directories")?.len())
}
