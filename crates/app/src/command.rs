//! What adapters may ask for, in the domain's words.

use moorage_domain::cluster::{BackupWish, MaintenanceWindow, Tag};
use moorage_domain::database::Privileges;
use moorage_domain::engine::{EngineName, Version};
use moorage_domain::operation::OperationStatus;
use moorage_domain::plan::{Environment, Plan, Stage, Team};
use moorage_domain::service_state::ServiceState;
use moorage_domain::{ApplicationId, ClusterId, EnvironmentId, OperationId, PlanId, TeamId, Timestamp};
use secrecy::SecretString;
use std::net::Ipv4Addr;

/// A cluster to be made. Fields are as the user gave them; the app checks what every engine and every family agree on.
#[derive(Debug)]
pub struct CreateCluster {
    /// Name, unique among the project's clusters.
    pub name: String,
    /// Engine and version.
    pub version: VersionChoice,
    /// Prefix of instance names; the cluster's name where none is given.
    pub instance_name_prefix: Option<String>,
    /// The first database.
    pub database: CreateDatabase,
    /// Port of the endpoint; the engine's default where none is given.
    pub port: Option<u16>,
    /// Allowed client addresses; empty admits the cluster's own subnet only.
    pub allow_list: Vec<String>,
    /// Instance groups, exactly one: with one instance, or with two in a highly available cluster.
    pub groups: Vec<CreateGroup>,
    /// Subnet; the first configured one where none is given.
    pub subnet: Option<String>,
    /// IANA time zone.
    pub timezone: String,
    /// Two instances: one writes, the other takes its place.
    pub highly_available: bool,
    /// The address of the endpoint that the user insists on, of a highly available cluster.
    pub virtual_address: Option<Ipv4Addr>,
    /// Commits of a highly available cluster wait as long as only one instance has them.
    pub strict: bool,
    /// Maintenance window, echoed.
    pub maintenance: Option<MaintenanceWindow>,
    /// Backup wish, echoed.
    pub backup: Option<BackupWish>,
    /// Tags, echoed.
    pub tags: Vec<Tag>,
    /// Service watch log collection, echoed.
    pub service_watch_log_collection: bool,
    /// Whether it refuses to be terminated until this is switched off.
    pub deletion_protection: bool,
    /// By which plan its database was asked for.
    pub allocation: Option<AllocationWish>,
}

/// Which engine version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionChoice {
    /// By the identifier that `App::engine_versions` shows; `within` confines it to one engine.
    Id {
        /// The identifier.
        id: String,
        /// The only engine it may belong to.
        within: EngineName,
    },
    /// By number.
    Exact(EngineName, Version),
    /// The newest installed one.
    Newest(EngineName),
}

/// The first database of a new cluster.
#[derive(Debug)]
pub struct CreateDatabase {
    /// Its name.
    pub name: String,
    /// Its owner's account name.
    pub owner: String,
    /// The owner's password; becomes a verifier at once and is kept nowhere (decisions 3).
    pub password: SecretString,
    /// Character set or encoding; the engine's default where none is given.
    pub character_set: Option<String>,
    /// Locale; the engine's default where none is given.
    pub locale: Option<String>,
}

/// An instance group of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateGroup {
    /// `ACTIVE`.
    pub role: String,
    /// Name of the server type.
    pub server_type: String,
    /// Volumes.
    pub volumes: Vec<CreateVolume>,
    /// Instances; one `ACTIVE` instance where the list is empty.
    pub instances: Vec<CreateInstance>,
}

/// A volume of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateVolume {
    /// `OS`, `DATA`, ...
    pub role: String,
    /// Ceiling in GiB.
    pub size_gb: u32,
    /// `SSD`, ...
    pub volume_type: String,
}

/// An instance of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateInstance {
    /// `ACTIVE`.
    pub role: String,
    /// The address the user insists on.
    pub service_address: Option<Ipv4Addr>,
}

/// Which cluster: by identifier, and only if it runs this engine (decisions 20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRef {
    /// Identifier, or for the native family also the name.
    pub id_or_name: String,
    /// Whether a name will do.
    pub by_name: bool,
    /// The only engine it may run.
    pub within: Option<EngineName>,
    /// When it was last modified, as the caller has read it: a change is refused if somebody else made one since.
    pub unchanged_since: Option<Timestamp>,
}

impl ClusterRef {
    /// By identifier only, within one engine.
    pub fn id(id: impl Into<String>, within: EngineName) -> Self {
        Self { id_or_name: id.into(), by_name: false, within: Some(within), unchanged_since: None }
    }
    /// By identifier or name, any engine.
    pub fn any(id_or_name: impl Into<String>) -> Self {
        Self { id_or_name: id_or_name.into(), by_name: true, within: None, unchanged_since: None }
    }
}

/// What of a cluster is to be changed; what is not named stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCluster {
    /// Whether it refuses to be terminated.
    pub deletion_protection: Option<bool>,
    /// Whether commits wait as long as only one instance has them.
    pub strict: Option<bool>,
}

/// How primary and standby change places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchOver {
    /// How long transactions may take to end.
    pub grace_seconds: u32,
    /// Those that take longer are cut; otherwise they call the switchover off.
    pub force: bool,
}

impl Default for SwitchOver {
    /// What is done if nothing else is said.
    fn default() -> Self {
        Self { grace_seconds: 10, force: false }
    }
}

/// A database beside those that a cluster has.
#[derive(Debug)]
pub struct NewDatabase {
    /// Its name, unique in its cluster.
    pub name: String,
    /// The account of its owner; called like the database where none is given.
    pub user: Option<String>,
    /// The owner's password; a random one where none is given. It is kept sealed.
    pub password: Option<SecretString>,
    /// Character set or encoding; that of the cluster's first database where none is given.
    pub character_set: Option<String>,
    /// Locale; that of the cluster's first database where none is given.
    pub locale: Option<String>,
    /// By which plan it was asked for.
    pub allocation: Option<AllocationWish>,
}

/// What is noted of a database that was asked for by a plan, all of it checked.
#[derive(Clone, Debug)]
pub struct AllocationWish {
    /// Its plan.
    pub plan: Plan,
    /// Where it is made.
    pub environment: Environment,
    /// Whose it is.
    pub team: Option<Team>,
    /// What it is for.
    pub application: Option<ApplicationId>,
    /// What it is, for people.
    pub description: Option<String>,
    /// Whether it refuses to be removed.
    pub protected: bool,
    /// The password of its owner.
    pub password: SecretString,
}

/// A database that is asked for by a plan.
#[derive(Clone, Debug)]
pub struct NewAllocation {
    /// A wish for its name; what it gets is the wish as a slug.
    pub name: String,
    /// By which plan.
    pub plan: PlanId,
    /// Where.
    pub environment: EnvironmentId,
    /// Whose; the caller's only team where none is named.
    pub team: Option<TeamId>,
    /// What it is for.
    pub application: Option<ApplicationId>,
    /// What it is, for people.
    pub description: Option<String>,
    /// Whether it refuses to be removed until this is switched off.
    pub protected: bool,
}

/// What of such a database is to be changed; what is not named stays.
#[derive(Clone, Debug, Default)]
pub struct ChangeAllocation {
    /// Another team.
    pub team: Option<TeamId>,
    /// What it is for, or nothing in particular.
    pub application: Option<Option<ApplicationId>>,
    /// Another description, or none.
    pub description: Option<Option<String>>,
    /// Whether it refuses to be removed.
    pub protected: Option<bool>,
}

/// How a database that was asked for by a plan is to leave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Removal {
    /// Whether a second removal right after the first is meant.
    pub purge: bool,
    /// Whether protection is no obstacle and ends with it: who asks has asked its own user already.
    pub protected_too: bool,
}

/// An environment to be made.
#[derive(Clone, Debug)]
pub struct NewEnvironment {
    /// Its name.
    pub name: String,
    /// Whom it serves.
    pub stage: Stage,
    /// The subnet of its endpoints.
    pub subnet: Option<String>,
}

/// A plan to be made.
#[derive(Clone, Debug)]
pub struct NewPlan {
    /// Its name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// The engine of its databases.
    pub engine: EngineName,
    /// Server type of its clusters.
    pub server_type: String,
    /// Ceiling of their volumes in GiB.
    pub size_gb: u32,
    /// How many databases share a cluster.
    pub capacity: u32,
    /// Whether its clusters have a standby.
    pub highly_available: bool,
    /// Where it is offered, by name.
    pub environments: Vec<String>,
}

/// A team to be made.
#[derive(Clone, Debug)]
pub struct NewTeam {
    /// Its name.
    pub name: String,
    /// Where it is written to.
    pub email: Option<String>,
    /// Whether it looks after all databases of the project.
    pub administers: bool,
    /// Databases at most in each environment; 0: as many as it likes.
    pub allocation_limit: u32,
    /// Who is in it, by name.
    pub members: Vec<String>,
}

/// Which operations on databases to list, the newest first.
#[derive(Clone, Debug, Default)]
pub struct ListTasks {
    /// Only this operation.
    pub operation: Option<String>,
    /// Only of databases of this name.
    pub database_name: Option<String>,
    /// Only in one of these.
    pub status: Option<[OperationStatus; 2]>,
    /// Rows to skip.
    pub offset: u64,
    /// Rows at most.
    pub limit: u64,
}

/// One more credential of a database.
#[derive(Debug)]
pub struct NewDatabaseCredential {
    /// Name of the account, unique in its cluster.
    pub user: String,
    /// What it may do.
    pub privileges: Privileges,
    /// Its password; a random one where none is given. It is kept sealed.
    pub password: Option<SecretString>,
}

/// Which clusters to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListClusters {
    /// Only this engine.
    pub engine: Option<EngineName>,
    /// Only this name.
    pub name: Option<String>,
    /// Only this state.
    pub state: Option<ServiceState>,
    /// Only with this first database.
    pub database_name: Option<String>,
    /// Order.
    pub sort: moorage_store::ClusterSort,
    /// Descending.
    pub descending: bool,
    /// Rows to skip.
    pub offset: u64,
    /// Rows at most, up to [`MOST_ROWS`].
    pub limit: u64,
}

/// Rows at most in one answer.
pub const MOST_ROWS: u64 = 1000;

/// Which operations to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOperations {
    /// Only of this cluster.
    pub cluster: Option<ClusterId>,
    /// Only in this status.
    pub status: Option<OperationStatus>,
    /// Rows to skip.
    pub offset: u64,
    /// Rows at most.
    pub limit: u64,
}

/// The answer to a request that becomes a durable operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The cluster it is about.
    pub cluster: ClusterId,
    /// The operation.
    pub operation: OperationId,
}

/// What an operator may do to an operation that needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorVerb {
    /// Try the step again.
    Retry,
    /// Go on after the step.
    Resume,
    /// Take the clean-up path.
    RollBack,
    /// End it where it stands.
    Abandon,
}
