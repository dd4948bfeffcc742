//! Databases and credentials of a running cluster: what the operations that make, change and remove them share.

use crate::serving;
use crate::world::{Loaded, World, engine_failed, store_failed};
use moorage_domain::database::{AccountName, AccountSpec, Credential, Database, Privileges};
use moorage_domain::secret::Verifier;
use moorage_domain::{CredentialId, DatabaseId, Problem, ProblemCode};
use moorage_durable::{Context, StepError};
use moorage_engine::{Engine, EngineSession};
use moorage_store::Databases;
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;

/// How long an engine that does not answer is waited for before anything was changed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Attempts after which an engine that refuses what must be done is an operator's to look at.
const MOST_REFUSALS: u32 = 20;

/// A database with its credentials and the cluster it is in.
pub(crate) struct Inside {
    loaded: Loaded,
    engine: Arc<dyn Engine>,
    pub(crate) database: Database,
    pub(crate) credentials: Vec<Credential>,
}

fn gone(what: &str) -> StepError {
    StepError::GiveUp(Problem::new(ProblemCode::OperationUnreadable, format!("The {what} is not there any more.")))
}

/// Reads a database and what belongs to it.
pub(crate) async fn load<W>(world: &World, context: &Context<W>, id: &DatabaseId) -> Result<Inside, StepError> {
    let loaded = world.load(context.cluster_id()).await?;
    let mut look = world.store.look().await.map_err(store_failed)?;
    let database = look.database(id).await.map_err(store_failed)?.ok_or_else(|| gone("database"))?;
    let credentials = look.credentials_of(id).await.map_err(store_failed)?;
    let engine = world.engine(loaded.cluster.engine)?.clone();
    Ok(Inside { loaded, engine, database, credentials })
}

/// Reads a credential, its database and what else belongs to that.
pub(crate) async fn load_credential<W>(world: &World, context: &Context<W>, id: &CredentialId) -> Result<(Inside, Credential), StepError> {
    let credential = world.store.look().await.map_err(store_failed)?.credential(id).await.map_err(store_failed)?;
    let credential = credential.ok_or_else(|| gone("credential"))?;
    Ok((load(world, context, &credential.database).await?, credential))
}

impl Inside {
    /// A session on the instance that writes.
    pub(crate) async fn session(&self, world: &World) -> Result<Box<dyn EngineSession>, StepError> {
        let socket = serving::socket(world, &self.loaded.cluster, self.loaded.instance()?).await?;
        self.engine.connect(&socket, &world.host.administrator()).await.map_err(engine_failed)
    }
    /// A credential as engines are told.
    pub(crate) fn account(&self, credential: &Credential) -> AccountSpec {
        AccountSpec { name: credential.user.clone(), database: self.database.name.clone(), privileges: credential.privileges }
    }
    /// Who owns the database, in the words of its specification.
    pub(crate) fn owner(&self) -> &str {
        let owner = self.credentials.iter().find(|credential| credential.privileges == Privileges::Owner);
        owner.map_or("owner", |owner| &owner.user)
    }
    /// What an engine keeps of the password that a credential is to get; none where it is to keep what it has.
    pub(crate) async fn next_verifier(&self, world: &World, credential: &Credential) -> Result<Option<Verifier>, StepError> {
        let Some(sealed) = &credential.sealed_next else { return Ok(None) };
        let opened = world.master_key.open_text(sealed, &Credential::password_context(&credential.id)).map_err(|error| {
            tracing::error!(%error, "a sealed password cannot be opened with this master key");
            StepError::NeedsOperator(
                Problem::new(ProblemCode::OperationUnreadable, "A password cannot be opened.")
                    .hint("The store and the master key do not belong together."),
            )
        })?;
        let salt = moorage_secrets::random_bytes::<16>().map_err(|error| StepError::retry(error, "The kernel gave no random bytes."))?;
        let engine = self.engine.clone();
        let hashed = tokio::task::spawn_blocking(move || engine.verifier(opened.expose_secret(), salt)).await;
        let hashed = hashed.map_err(|error| StepError::retry(error, "A password could not be hashed."))?;
        hashed.map(Some).map_err(StepError::GiveUp)
    }
}

/// An account that was not made here is nobody's to change, and what a removed one left behind is not run with the rights of another.
pub(crate) async fn check_is_free(session: &mut dyn EngineSession, user: &str) -> Result<(), StepError> {
    let (taken, hint) = match session.account_name(user).await.map_err(engine_failed)? {
        AccountName::Free => return Ok(()),
        AccountName::Account => (
            format!("The engine has an account '{user}' already."),
            "Accounts of all databases of a cluster have different names. Choose another one.",
        ),
        AccountName::Definer => (
            format!("Routines, views, triggers or events in the engine still run as the removed account '{user}'."),
            "They would run with the rights of the new one. Choose another name, or have an owner of their database make them anew.",
        ),
    };
    Err(StepError::GiveUp(Problem::new(ProblemCode::NameTaken, taken).hint(hint).field("user")))
}

/// For what must not end half done: an engine that does not answer is waited for as long as it takes, for it is looked after by others
/// and this gives way to them; one that refuses is an operator's to look at after a while.
pub(crate) fn persist(error: StepError, attempt: u32) -> StepError {
    match error {
        StepError::GiveUp(problem) if attempt >= MOST_REFUSALS => StepError::NeedsOperator(problem),
        StepError::GiveUp(problem) => StepError::retry_problem(problem.clone(), problem),
        other => other,
    }
}

/// Whether what an operation is about has gone, and all that belonged to it: there is nothing left to do.
pub(crate) fn is_gone(error: &StepError) -> bool {
    let gone = [ProblemCode::ClusterNotFound, ProblemCode::OperationUnreadable];
    matches!(error, StepError::GiveUp(problem) if gone.contains(&problem.code))
}
