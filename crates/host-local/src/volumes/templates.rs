//! Templates (an engine version's empty data directory, made once) and spares (copies with an identity of their own, waiting
//! to be taken). Both appear under their name only when they are complete and durable.

use super::jobs::{self, Room};
use crate::files;
use crate::machine::Machine;
use crate::problems::{Doing, blocking};
use moorage_domain::layout::TemplateSpec;
use moorage_domain::{Problem, ProblemCode};
use moorage_host::HostResult;
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
    if template.is_dir() {
        return Ok(template);
    }
    let began = std::time::Instant::now();
    let opened = Arc::clone(machine);
    let room = blocking(move || {
        let room = Room::open(&opened).doing("make room for a template")?;
        files::ensure_directory(&room.volume(), 0o700, opened.job_account).doing("make room for a template")?;
        Ok(Arc::new(room))
    })
    .await?;
    jobs::run(machine, &room, &spec.make, "an empty data directory").await?;
    let (from, to, templates) = (room.volume(), template.clone(), machine.templates());
    let moved = Arc::clone(machine);
    blocking(move || {
        files::sync_file_system(&from).doing("write a template to disk")?;
        moved.driver.rename(&from, &to).doing("put a template in its place")?;
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
        files::sync_file_system(&from).doing("write a data directory to disk")?;
        files::ensure_directory(&spares, 0o700, None).doing("make room for spare data directories")?;
        let name = files::random_name().doing("name a data directory")?;
        moved.driver.rename(&from, &spares.join(name)).doing("put a spare data directory in its place")?;
        files::sync_directory(&spares).doing("write a data directory to disk")
    })
    .await
}

/// How many spares wait.
pub(super) fn count(machine: &Machine, key: &str) -> HostResult<usize> {
    Ok(files::names(&spares_of(machine, key)).doing("count the spare data directories")?.len())
}
