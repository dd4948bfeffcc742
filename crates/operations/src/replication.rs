//! What operations on clusters of two instances share: each one's part, who may be promoted, how a standby comes to be in sync.

use crate::serving;
use crate::world::{Loaded, World, engine_failed, host_failed};
use moorage_domain::decide::synchrony::{self, Known, Next};
use moorage_domain::instance::{Instance, ProcessState};
use moorage_domain::layout::{ReplicationPassword, ReplicationSpec};
use moorage_domain::replication::{Promotable, Replication};
use moorage_domain::secret::Verifier;
use moorage_domain::{ClusterId, Problem, ProblemCode};
use moorage_durable::StepError;
use moorage_engine::EngineSession;
use moorage_store::Write;
use secrecy::ExposeSecret;

/// What the sealed password of a cluster's instances is bound to.
fn secret_context(cluster: &ClusterId) -> String {
    format!("replication:{cluster}")
}

/// A new password by which the instances of a cluster will know each other, sealed.
pub(crate) fn new_password(world: &World, cluster: &ClusterId) -> Result<String, StepError> {
    let failed = |error: String| StepError::retry(error, "A password for replication could not be made.");
    let bytes = moorage_secrets::random_bytes::<24>().map_err(|error| failed(error.to_string()))?;
    let password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    world.master_key.seal(password.as_bytes(), &secret_context(cluster)).map_err(|error| failed(error.to_string()))
}

pub(crate) fn password(world: &World, replication: &Replication) -> Result<ReplicationPassword, StepError> {
    let opened = world.master_key.open_text(&replication.sealed_password, &secret_context(&replication.cluster)).map_err(|error| {
        tracing::error!(%error, "the password of a replication cannot be opened with this master key");
        StepError::NeedsOperator(
            Problem::new(ProblemCode::OperationUnreadable, "The password by which the instances know each other cannot be opened.")
                .hint("The store and the master key do not belong together."),
        )
    })?;
    Ok(ReplicationPassword(opened.expose_secret().to_owned()))
}

/// An instance's part in a cluster of two; none where it is alone.
pub(crate) fn part(world: &World, loaded: &Loaded, instance: &Instance) -> Result<Option<ReplicationSpec>, StepError> {
    let Some(replication) = &loaded.replication else { return Ok(None) };
    let peer = loaded.instances().find(|other| other.id != instance.id).map_or_else(|| loaded.standby(), Ok)?;
    Ok(Some(ReplicationSpec {
        becomes_primary: instance.id == replication.primary,
        peer: peer.id.clone(),
        peer_place: world.host.place(&peer.id),
        password: password(world, replication)?,
    }))
}

/// Records that nobody may take the primary's place, where somebody might.
pub(crate) fn nobody_else(loaded: &Loaded, reason: &str) -> Option<Write> {
    let replication = loaded.replication.as_ref()?;
    let changed = Replication { promotable: None, reason: reason.to_owned(), ..replication.clone() };
    (changed != *replication).then_some(Write::Replication(changed))
}

/// Lets the one that writes in the present term write. The host is asked first whether the term is over. In a strict cluster its commits
/// wait for the standby from the first one on.
pub(crate) async fn promote(world: &World, loaded: &Loaded, session: &mut dyn EngineSession) -> Result<(), StepError> {
    if loaded.replication.is_none() {
        return Ok(());
    }
    serving::ensure_started(world, loaded).await?;
    let waits_for = loaded.standby.as_ref().filter(|_| loaded.cluster.spec.strict).map(|standby| &standby.id);
    session.promote(waits_for).await.map_err(engine_failed)?;
    match waits_for {
        // It may have been writable before.
        Some(standby) => session.require_acknowledgement(standby).await.map_err(engine_failed),
        None => Ok(()),
    }
}

/// Has commits wait for nobody as long as no standby is in sync; those of a strict cluster wait for the one that is to come.
pub(crate) async fn settle(loaded: &Loaded, session: &mut dyn EngineSession) -> Result<(), StepError> {
    let settled = match loaded.cluster.spec.strict {
        true => session.require_acknowledgement(&loaded.standby()?.id).await,
        false => session.release_commits().await,
    };
    settled.map_err(engine_failed)
}

/// Makes sure the primary has the account by which its peer follows.
pub(crate) async fn ensure_account(world: &World, loaded: &Loaded, session: &mut dyn EngineSession) -> Result<(), StepError> {
    let Some(replication) = &loaded.replication else { return Ok(()) };
    let password = password(world, replication)?;
    let salt = moorage_secrets::random_bytes::<16>()
        .map_err(|error| StepError::retry(error.to_string(), "A password for replication could not be made."))?;
    let verifier: Verifier = world.engine(loaded.cluster.engine)?.verifier(&password.0, salt).map_err(StepError::GiveUp)?;
    session.ensure_replication_account(&verifier).await.map_err(engine_failed)
}

/// How far a standby is with getting in sync.
pub(crate) enum Joined {
    /// It has everything that was and will be acknowledged: this life of it.
    Yes(Promotable),
    /// Not yet; in words what it does.
    NotYet(&'static str),
}

/// One look at a standby that runs and follows, and what has to be done next for it to be promotable. The record itself is the
/// caller's to write.
pub(crate) async fn join(world: &World, loaded: &Loaded) -> Result<Joined, StepError> {
    let (primary, standby, replication) = (loaded.instance()?, loaded.standby()?, loaded.replication()?);
    let engine = world.engine(loaded.cluster.engine)?;
    let administrator = world.host.administrator();
    let life = incarnation(world, standby).await?;
    let mut writes =
        engine.connect(&serving::socket(world, &loaded.cluster, primary).await?, &administrator).await.map_err(engine_failed)?;
    let mut follows =
        engine.connect(&serving::socket(world, &loaded.cluster, standby).await?, &administrator).await.map_err(engine_failed)?;
    let (place, password) = (world.host.place(&primary.id), password(world, replication)?);
    follows.follow(&place, &password).await.map_err(engine_failed)?;
    let before = writes.acknowledgement(&standby.id).await.map_err(engine_failed)?;
    let position = writes.position().await.map_err(engine_failed)?;
    let has = follows.has(&position).await.map_err(engine_failed)?;
    // It counts only for the life that was asked.
    let has_everything = before.given && has && life.is_some() && incarnation(world, standby).await? == life;
    let known = Known { promotable: false, acknowledging: before.required, has_everything };
    match (synchrony::join(known), life) {
        // Commits would wait for as long as it takes it to catch up.
        (Next::Require, _) if !has => Ok(Joined::NotYet("The standby gets what it has missed.")),
        (Next::Require, _) => {
            writes.require_acknowledgement(&standby.id).await.map_err(engine_failed)?;
            Ok(Joined::NotYet("Commits begin to wait for the standby."))
        }
        // What was begun and did not end is ended: nobody waits for somebody who does not exist.
        (Next::Await, _) if !before.given && has => {
            writes.require_acknowledgement(&standby.id).await.map_err(engine_failed)?;
            Ok(Joined::NotYet("The standby is about to be in sync."))
        }
        (Next::Record, Some(incarnation)) => Ok(Joined::Yes(Promotable { instance: standby.id.clone(), incarnation })),
        _ => Ok(Joined::NotYet("The standby is about to be in sync.")),
    }
}

async fn incarnation(world: &World, instance: &Instance) -> Result<Option<u32>, StepError> {
    match world.host.process(&instance.id).await.map_err(host_failed)? {
        ProcessState::Running { incarnation, .. } => Ok(Some(incarnation)),
        _ => Ok(None),
    }
}
