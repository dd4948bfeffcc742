//! What adapters are given to show: snapshots of the domain.

use crate::enforcement::Enforcement;
use moorage_domain::allocation::Allocated;
use moorage_domain::cluster::Cluster;
use moorage_domain::database::{Credential, Database};
use moorage_domain::engine::{EngineName, Version};
use moorage_domain::instance::{Endpoint, Instance};
use moorage_domain::operation::OperationView;
use moorage_domain::service_state::ServiceState;
use moorage_domain::{ClusterId, CredentialId, DatabaseId, OperationId};
use moorage_engine::Fact;
use std::sync::Arc;

/// A cluster with everything that belongs to it.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// The row.
    pub cluster: Cluster,
    /// Its instances with the state users see. Empty until they are made and after a failed creation.
    pub instances: Vec<(Instance, ServiceState)>,
    /// Its endpoint, once it has one.
    pub endpoint: Option<Endpoint>,
    /// What binds on its machine.
    pub enforcement: Arc<Enforcement>,
}

impl ClusterView {
    /// The instance that writes.
    pub fn writes(&self) -> Option<&Instance> {
        let of_role = self.instances.iter().find(|(instance, _)| instance.role == "ACTIVE");
        of_role.or(self.instances.first()).map(|(instance, _)| instance)
    }
}

/// A database with its credentials.
#[derive(Clone, Debug)]
pub struct DatabaseView {
    /// The row.
    pub database: Database,
    /// Its credentials, the oldest first.
    pub credentials: Vec<Credential>,
}

/// A database of a plan with the numbers that a family knows everything by.
#[derive(Clone, Debug)]
pub struct AllocatedView {
    /// The database.
    pub allocated: Allocated,
    /// Its number.
    pub number: u64,
    /// The numbers of its credentials, the oldest first.
    pub credentials: Vec<u64>,
    /// The number of its plan.
    pub plan: u64,
    /// The number of its environment.
    pub environment: u64,
    /// The number of its team.
    pub team: Option<u64>,
    /// The number of what it is for.
    pub application: Option<u64>,
    /// What its cluster's volume may take, in bytes.
    pub total_bytes: Option<u64>,
}

/// An operation on a database, with numbers.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// Its number.
    pub number: u64,
    /// The operation, without its timeline.
    pub operation: OperationView,
    /// The number of the database.
    pub database_number: Option<u64>,
    /// Its name and environment.
    pub database: Option<(String, String)>,
}

/// The answer to a request about something inside a cluster that becomes an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The cluster.
    pub cluster: ClusterId,
    /// The database.
    pub database: DatabaseId,
    /// The credential it is about, or that is made with the database.
    pub credential: Option<CredentialId>,
    /// The operation.
    pub operation: OperationId,
}

/// A page of cluster rows.
#[derive(Clone, Debug)]
pub struct Clusters {
    /// The rows.
    pub rows: Vec<Cluster>,
    /// How many there are in all pages.
    pub total: u64,
}

/// An engine version as it is offered.
#[derive(Clone, Debug)]
pub struct EngineVersionView {
    /// 32 hexadecimal digits, derived from engine and version: the same on every installation.
    pub id: String,
    /// Engine.
    pub engine: EngineName,
    /// Version.
    pub version: Version,
    /// Major version (`10.11`, `15`).
    pub major: String,
    /// Whether its vendor has ended support.
    pub end_of_service: bool,
    /// Facts.
    pub facts: Vec<Fact>,
    /// Name and version of the operating system its binaries run on (`Debian`, `12`).
    pub operating_system: (String, String),
}
