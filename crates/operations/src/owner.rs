//! The owner of a cluster's database: what proves it travels to an operation as a sealed verifier and nowhere else.

use crate::world::{World, store_failed};
use moorage_domain::secret::Verifier;
use moorage_domain::{Problem, ProblemCode, SecretId};
use moorage_durable::StepError;
use moorage_store::Secrets;
use secrecy::ExposeSecret;

/// What the sealed verifier is bound to.
pub fn secret_context(secret: &SecretId) -> String {
    format!("secret:{secret}")
}

/// Opens the verifier that an operation was given; it is erased when the operation ends (decisions 3).
pub(crate) async fn verifier(world: &World, id: Option<&SecretId>) -> Result<Verifier, StepError> {
    let lost = || {
        StepError::GiveUp(
            Problem::new(ProblemCode::OperationUnreadable, "The owner's password is not there any more.").hint("Ask for it again."),
        )
    };
    let id = id.ok_or_else(lost)?;
    let mut look = world.store.look().await.map_err(store_failed)?;
    let sealed = look.secret(id).await.map_err(store_failed)?.ok_or_else(lost)?;
    let opened = world.master_key.open_text(&sealed, &secret_context(id)).map_err(|error| {
        tracing::error!(%error, "a sealed verifier cannot be opened with this master key");
        lost()
    })?;
    Ok(Verifier(opened.expose_secret().to_owned()))
}
