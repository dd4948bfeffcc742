//! What operations act on, and the rows every step begins by reading.

use moorage_domain::cluster::Cluster;
use moorage_domain::engine::{EngineName, Installation, Version};
use moorage_domain::instance::{Endpoint, Instance};
use moorage_domain::public_address::PublicAddresses;
use moorage_domain::replication::Replication;
use moorage_domain::subnet::Subnet;
use moorage_domain::{ClusterId, Problem, ProblemCode};
use moorage_durable::StepError;
use moorage_engine::{Engine, EngineError};
use moorage_host::{Host, HostError};
use moorage_secrets::{CertificateAuthority, MasterKey};
use moorage_store::{Clusters, Endpoints, Instances, Replications, Store, StoreError};
use std::sync::Arc;

/// The world outside an operation's row.
pub struct World {
    /// Rows.
    pub store: Store,
    /// The host whose work this process does.
    pub host: Arc<dyn Host>,
    /// Engines.
    pub engines: Vec<Arc<dyn Engine>>,
    /// Opens sealed secrets.
    pub master_key: Arc<MasterKey>,
    /// Signs endpoint certificates.
    pub authority: Arc<CertificateAuthority>,
    /// Configured subnets.
    pub subnets: Vec<Subnet>,
    /// What this host offers to other machines.
    pub public_addresses: Option<PublicAddresses>,
    /// Client connections at most per cluster.
    pub most_connections: u32,
}

/// A cluster with its instance and endpoint, as far as they exist.
pub struct Loaded {
    /// The cluster.
    pub cluster: Cluster,
    /// Its instance, once one was chosen; of several, the one that writes.
    pub instance: Option<Instance>,
    /// The other one, where there are two.
    pub standby: Option<Instance>,
    /// Who writes and who may take its place, where there are two.
    pub replication: Option<Replication>,
    /// Its endpoint, once an address was chosen.
    pub endpoint: Option<Endpoint>,
}

impl World {
    /// Reads a cluster; one that is gone ends the operation.
    pub async fn load(&self, id: &ClusterId) -> Result<Loaded, StepError> {
        let mut look = self.store.look().await.map_err(store_failed)?;
        let cluster = look
            .cluster(id)
            .await
            .map_err(store_failed)?
            .ok_or_else(|| StepError::GiveUp(Problem::new(ProblemCode::ClusterNotFound, "The cluster is gone.")))?;
        let mut instances = look.instances_of(id).await.map_err(store_failed)?;
        let replication = look.replication_of(id).await.map_err(store_failed)?;
        if let Some(replication) = &replication {
            instances.sort_by_key(|instance| instance.id != replication.primary);
        }
        let mut instances = instances.into_iter();
        let (instance, standby) = (instances.next(), instances.next());
        let endpoint = look.endpoint_of(id).await.map_err(store_failed)?;
        Ok(Loaded { cluster, instance, standby, replication, endpoint })
    }

    /// The engine of that name.
    pub fn engine(&self, name: EngineName) -> Result<&Arc<dyn Engine>, StepError> {
        self.engines.iter().find(|engine| engine.name() == name).ok_or_else(|| {
            StepError::GiveUp(Problem::new(
                ProblemCode::EngineVersionNotInstalled,
                format!("This program does not know {}.", name.display()),
            ))
        })
    }

    /// Where that version's binaries are; those of the newest minor version above it when it is not there any more.
    pub async fn installation(&self, engine: EngineName, version: &Version) -> Result<Installation, StepError> {
        let found = self.host.installations().await.map_err(host_failed)?;
        let exact = found.iter().find(|i| i.engine == engine && i.version == *version);
        // The system's packages are upgraded under our feet; a newer minor version runs the same data.
        let newer = || {
            let same_major = found.iter().filter(|i| i.engine == engine && i.version.major(engine) == version.major(engine));
            same_major.filter(|i| i.version > *version).max_by(|a, b| a.version.cmp(&b.version))
        };
        exact.or_else(newer).cloned().ok_or_else(|| {
            StepError::GiveUp(
                Problem::new(
                    ProblemCode::EngineVersionNotInstalled,
                    format!("{} {version} is not installed on this host any more.", engine.display()),
                )
                .hint(format!("Install it again with `moorage engine install {engine}@{version}`, then try again.")),
            )
        })
    }
}

impl Loaded {
    /// The instance, which an earlier step has chosen.
    pub fn instance(&self) -> Result<&Instance, StepError> {
        self.instance.as_ref().ok_or_else(|| missing("instance"))
    }
    /// The standby of a cluster of two, which an earlier step has chosen.
    pub fn standby(&self) -> Result<&Instance, StepError> {
        self.standby.as_ref().ok_or_else(|| missing("standby"))
    }
    /// Who writes in a cluster of two.
    pub fn replication(&self) -> Result<&Replication, StepError> {
        self.replication.as_ref().ok_or_else(|| missing("record of who writes"))
    }
    /// All instances, the one that writes first.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instance.iter().chain(&self.standby)
    }
    /// The endpoint, which an earlier step has chosen.
    pub fn endpoint(&self) -> Result<&Endpoint, StepError> {
        self.endpoint.as_ref().ok_or_else(|| missing("endpoint"))
    }
}

fn missing(what: &str) -> StepError {
    StepError::NeedsOperator(
        Problem::new(ProblemCode::OperationUnreadable, format!("The cluster has no {what} although an earlier step made one."))
            .hint("The store was changed by hand or restored from an older copy. Compare it with the host, then roll back or abandon."),
    )
}

/// Attempts after which a step that must not fail calls an operator.
const MOST_ATTEMPTS: u32 = 20;

/// For a step that must not end half done: whatever fails is tried again, and after a while shown to an operator.
pub fn insist(error: StepError, attempt: u32) -> StepError {
    match error {
        StepError::Retry { problem, .. } | StepError::GiveUp(problem) if attempt >= MOST_ATTEMPTS => StepError::NeedsOperator(problem),
        StepError::GiveUp(problem) => StepError::retry_problem(problem.clone(), problem),
        other => other,
    }
}

/// A store that does not answer is tried again.
pub fn store_failed(error: StoreError) -> StepError {
    StepError::retry(error, "The control plane's store did not answer.")
}

/// What may pass is tried again; the rest ends the operation with the host's words.
pub fn host_failed(error: HostError) -> StepError {
    if error.passing {
        let words = error.problem.message.clone();
        return StepError::retry(error, words);
    }
    if let Some(cause) = &error.cause {
        tracing::warn!(problem = %error.problem, cause = %Chain(cause.as_ref()), "the host failed");
    }
    match error.problem.code {
        // The host has seen a later decision than the store holds: a store restored from a copy (decisions 10). Nothing of
        // it may be undone without somebody who knows.
        ProblemCode::TermTooOld => StepError::NeedsOperator(error.problem),
        _ => StepError::GiveUp(error.problem),
    }
}

/// What may pass is tried again; the rest ends the operation with the engine's words.
pub fn engine_failed(error: EngineError) -> StepError {
    if error.passing {
        let words = error.problem.message.clone();
        return StepError::retry(error, words);
    }
    if let Some(cause) = &error.cause {
        tracing::warn!(problem = %error.problem, cause = %Chain(cause.as_ref()), "the engine failed");
    }
    StepError::GiveUp(error.problem)
}

/// An error with all its sources on one line.
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(inner) = source {
            write!(f, ": {inner}")?;
            source = inner.source();
        }
        Ok(())
    }
}
