//! Use cases by noun: the one door for every adapter. Authorisation, tenancy and validation that all families share live
//! here; a handler elsewhere with an `if` about databases is in the wrong room.

mod actions;
mod allocations;
mod authentication;
mod catalogue;
mod cluster_change;
mod cluster_create;
mod cluster_life;
mod cluster_takeover;
mod clusters;
pub mod command;
mod credentials;
mod database_credentials;
mod databases;
mod enforcement;
mod engine_versions;
mod idempotency;
mod logins;
mod metrics;
mod operations;
mod parameters;
mod parts_of_clusters;
mod problem;
mod projects;
mod sample_data;
mod tasks;
mod users;
pub mod view;
mod watchers;

pub use actions::NewAction;
pub use allocations::AllocatedPage;
pub use authentication::access_key_context;
pub use catalogue::Numbered;
pub use command::*;
pub use credentials::CreateCredential;
pub use database_credentials::CredentialRef;
pub use enforcement::Enforcement;
pub use engine_versions::engine_version_id;
pub use idempotency::Keyed;
pub use metrics::{ClusterFigures, Metrics, PairFigures};
pub use moorage_engine::Fact;
pub use moorage_host::Abilities;
pub use moorage_host::Traffic;
pub use moorage_operations::WatcherStatus;
pub use moorage_store::{AllocationFilter, AllocationSort, ClusterSort};
pub use parameters::{ParameterGroup, parameter_id};
pub use users::{ChangeUser, CreateUser, user_mark};
pub use view::*;

use logins::Logins;
use moorage_domain::decide::admission::Overcommit;
use moorage_domain::subnet::Subnet;
use moorage_domain::{HostId, Timestamp};
use moorage_durable::{Clock, SteadyClock, wall_now};
use moorage_engine::Engine;
use moorage_host::Host;
use moorage_operations::WatcherBoard;
use moorage_secrets::MasterKey;
use moorage_store::Store;
use std::sync::Arc;
use std::time::Duration;

/// What the app needs to work; made once by the composition root.
#[derive(Clone)]
pub struct App {
    pub(crate) parts: Arc<Parts>,
    pub(crate) logins: Arc<Logins>,
    pub(crate) catalogues: Arc<parameters::Catalogues>,
    /// Held by who chooses a shared cluster for a database.
    pub(crate) sharing: Arc<allocations::Turns>,
    /// What binds here, for as long as the process lives.
    pub(crate) enforcement: Arc<Enforcement>,
    /// What binds on other machines, as last read.
    pub(crate) noted: Arc<enforcement::Noted>,
}

/// The app's parts.
pub struct Parts {
    /// Rows.
    pub store: Store,
    /// Sealing.
    pub master_key: Arc<MasterKey>,
    /// Engines.
    pub engines: Vec<Arc<dyn Engine>>,
    /// The host of this process.
    pub host: Arc<dyn Host>,
    /// Configured subnets, at least one.
    pub subnets: Vec<Subnet>,
    /// Tells the runner that there is something to do.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// How much more than it has the host may promise.
    pub overcommit: Overcommit,
    /// Client connections at most per cluster.
    pub most_connections: u32,
    /// PEM of the certificate authority.
    pub authority: String,
    /// What watchers last did.
    pub board: Arc<WatcherBoard>,
    /// How long a database stays in quarantine before it is removed.
    pub quarantine: Duration,
    /// Whether only this machine reaches the API.
    pub on_loopback: bool,
}

impl App {
    /// The app over its parts.
    pub fn new(parts: Parts) -> Self {
        let enforcement = Enforcement { abilities: parts.host.abilities(), most_connections: Some(parts.most_connections) };
        Self {
            enforcement: Arc::new(enforcement),
            parts: Arc::new(parts),
            logins: Arc::new(Logins::new()),
            catalogues: Arc::default(),
            sharing: Arc::default(),
            noted: Arc::default(),
        }
    }
    /// What this host can enforce.
    pub fn abilities(&self) -> Abilities {
        self.parts.host.abilities()
    }
    /// Which host this is.
    pub fn host_id(&self) -> HostId {
        self.parts.host.id().clone()
    }
    /// Configured subnets.
    pub fn subnets(&self) -> &[Subnet] {
        &self.parts.subnets
    }
    /// The certificate authority clients should trust, in PEM.
    pub fn authority(&self) -> &str {
        &self.parts.authority
    }
    /// How long a database stays in quarantine before it is removed.
    pub fn quarantine_retention(&self) -> Duration {
        self.parts.quarantine
    }
    /// Now, by the machine's clock.
    pub fn now(&self) -> Timestamp {
        wall_now()
    }
}

/// Now, for rows.
pub(crate) fn now() -> Timestamp {
    SteadyClock.now()
}

/// A fresh identifier's bits: ordered by time.
pub(crate) fn fresh() -> u128 {
    uuid::Uuid::now_v7().as_u128()
}
