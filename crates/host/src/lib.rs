//! What a host is: a place that runs processes, keeps volumes and offers endpoints. This machine is one (host-local), a
//! Kubernetes namespace will be another. Everything that crosses this trait can be serialised (decisions 18).

use async_trait::async_trait;
use futures::stream::BoxStream;
use moorage_domain::decide::admission::Capacity;
use moorage_domain::engine::{EngineName, Installation};
use moorage_domain::instance::{ProcessState, VolumeRoom};
use moorage_domain::layout::{JobStep, Place, ProcessLayout, Program, TemplateSpec};
use moorage_domain::{ClusterId, HostId, InstanceId, Problem, ProblemCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};

pub mod contract;

/// What went wrong on a host: what users may see, and the cause for the log.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct HostError {
    /// For users.
    pub problem: Problem,
    /// Trying again later may help (a busy file system, a gateway that is just restarting).
    pub passing: bool,
    /// For the log.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HostError {
    /// A failure with a code, a sentence and its cause.
    pub fn new(code: ProblemCode, message: impl Into<String>, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { problem: Problem::new(code, message), passing: false, cause: Some(cause.into()) }
    }
    /// The same, said to be passing.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.passing = true;
        self
    }
}
impl From<Problem> for HostError {
    fn from(problem: Problem) -> Self {
        Self { problem, passing: false, cause: None }
    }
}

/// Shorthand.
pub type HostResult<T> = Result<T, HostError>;

/// What a host can enforce; what it cannot is shown to users, never silently ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Each cluster's files and processes belong to a uid of its own.
    pub tenants_isolated: bool,
    /// Engines cannot reach the network by themselves.
    pub network_isolated: bool,
    /// Groups of processes can be found and killed as a whole by the kernel (cgroup v2).
    pub groups_tracked: bool,
    /// Memory and processor limits bind.
    pub limits_enforced: bool,
    /// How volumes are kept: `directory`, `reflink`, `btrfs`, `image`.
    pub volume_driver: String,
    /// The ceiling of a volume binds.
    pub volume_size_enforced: bool,
    /// Volumes can be copied at one point in time while their engine writes.
    pub atomic_snapshots: bool,
}

/// A volume as wished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeWish {
    /// The instance it belongs to; a volume lives and dies with its instance for now.
    pub instance: InstanceId,
    /// What it starts as.
    pub template: TemplateSpec,
    /// The uid that owns it; none where tenants are not isolated.
    pub uid: Option<u32>,
    /// Its ceiling in GiB.
    pub size_gb: u32,
}

/// How far a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeState {
    /// It is there, durably, and nobody else's. `from_spare` says whether one was waiting.
    Ready {
        /// Taken from a waiting spare.
        from_spare: bool,
    },
    /// Its template or its copy is being made; ask again.
    Preparing,
}

/// A process as wished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessWish {
    /// The instance.
    pub instance: InstanceId,
    /// The cluster, whose highest term the host remembers.
    pub cluster: ClusterId,
    /// What to run.
    pub layout: ProcessLayout,
    /// The uid to run as; none: as the host itself.
    pub uid: Option<u32>,
    /// Memory limit in bytes.
    pub memory_bytes: u64,
    /// Processor limit.
    pub cpu: u32,
    /// The shim restarts it after a death (single instances only, decisions 6).
    pub restart: bool,
    /// The term in which this was decided.
    pub term: u64,
}

/// Work on an instance's volume while its process does not run, under a name: begun once, then only asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobWish {
    /// The instance.
    pub instance: InstanceId,
    /// The cluster, whose highest term the host remembers.
    pub cluster: ClusterId,
    /// Names this piece of work; another name is another piece.
    pub name: String,
    /// What to do; `{volume}` is the instance's. Runs under the instance's account, which owns its peers' volumes too.
    pub steps: Vec<JobStep>,
    /// The uid to run as; none: as the host itself.
    pub uid: Option<u32>,
    /// The term in which this was decided.
    pub term: u64,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// It is at it; ask again.
    Running,
    /// It was done, as far as this host remembers: since it was started.
    Done,
    /// It failed.
    Failed(Problem),
}

/// How far a stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopState {
    /// Its group is empty.
    Stopped,
    /// It was asked to stop and is at it; ask again.
    Stopping,
}

/// An endpoint as wished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointWish {
    /// The cluster.
    pub cluster: ClusterId,
    /// Which wire protocol.
    pub engine: EngineName,
    /// Where users connect.
    pub listen: SocketAddrV4,
    /// The interface that carries that address; none for one that needs no configuration.
    pub interface: Option<String>,
    /// Where users connect besides, from other machines.
    pub public: Option<SocketAddrV4>,
    /// Who may (already the effective list).
    pub allow: Vec<ipnet::IpNet>,
    /// Certificate and key; kept as they are when none is given.
    pub tls: Option<TlsPem>,
    /// Connections at most.
    pub most_connections: u32,
    /// The term.
    pub term: u64,
    /// Where connections go; none: the address is held, connections are told the database is not available.
    pub primary: Option<InstanceId>,
    /// Another primary is about to follow: new connections wait for it for a while.
    pub hold: bool,
    /// Where single instances are reached besides.
    pub instances: Vec<InstanceEndpointWish>,
}

/// Where one instance is to be reached, whatever its role is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceEndpointWish {
    /// Where users connect.
    pub listen: SocketAddrV4,
    /// The instance; none: the address is held, connections are told the database is not available. So are they as long as the
    /// instance never had a process.
    pub instance: Option<InstanceId>,
}

/// A certificate with its key. `Debug` does not show the key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsPem {
    /// PEM certificate chain, the leaf first.
    pub certificate: String,
    /// PEM private key.
    pub key: String,
}
impl std::fmt::Debug for TlsPem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsPem(hidden)")
    }
}

/// How an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointState {
    /// The gateway acknowledged it.
    Serving,
    /// Somebody else has its first address.
    AddressInUse,
    /// The gateway acknowledged it, and cannot listen at one of the addresses besides the first, which it goes on trying.
    ServingPartly {
        /// The public address, as it is listened at, or that of an instance.
        at: SocketAddr,
        /// Somebody else has it: another one may do.
        in_use: bool,
        /// In words.
        reason: String,
    },
}

/// What users' connections to an endpoint are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Open connections.
    pub connections: u32,
    /// Connections refused because of the allow-list since the gateway was started.
    pub refused: u64,
    /// Of the open connections those that wait for another primary.
    pub held: u32,
}

/// Everything on a host that carries our mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Instances with a volume, a process, a cgroup or a directory, and the state of their process.
    pub instances: BTreeMap<InstanceId, ProcessState>,
    /// Clusters with an endpoint.
    pub endpoints: Vec<ClusterId>,
    /// Per cluster the highest term this host has seen.
    pub terms: BTreeMap<ClusterId, u64>,
}

/// Something may have changed: ask again. Never the truth itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Of this instance.
    Instance(InstanceId),
    /// The gateway went or came.
    Gateway,
}

/// A place that runs processes and keeps volumes. Everything called `ensure` may be repeated, also beside a late twin of
/// itself, and refuses a term lower than the highest this host has seen for the cluster (`term-too-old`).
#[async_trait]
pub trait Host: Send + Sync {
    /// Which host this is.
    fn id(&self) -> &HostId;
    /// What it can enforce.
    fn abilities(&self) -> Abilities;
    /// Name of the operating-system account that administers engines here.
    fn administrator(&self) -> String;
    /// The uids clusters may be given; none where tenants cannot be isolated.
    fn uid_range(&self) -> Option<std::ops::Range<u32>>;
    /// Where an instance's things are.
    fn place(&self, instance: &InstanceId) -> Place;
    /// What the machine has, looked up afresh.
    async fn capacity(&self) -> HostResult<Capacity>;
    /// The ceiling of an instance's volume and what is left of it; none where no ceiling binds or nothing is there.
    async fn volume_room(&self, instance: &InstanceId) -> HostResult<Option<VolumeRoom>>;
    /// What an instance's volume takes on disk, in bytes; none where nothing is there. Looks at every file of it.
    async fn volume_used(&self, instance: &InstanceId) -> HostResult<Option<u64>>;
    /// Lets the engine of a full volume use so many bytes of the little that is kept for it to recover and to delete, altogether and
    /// as far as there is so much; none: takes back what is not used. An engine that starts on a full volume gets a portion by itself.
    async fn set_volume_reserve(&self, instance: &InstanceId, bytes: u64) -> HostResult<()>;
    /// Engine versions that can run here, looked up afresh.
    async fn installations(&self) -> HostResult<Vec<Installation>>;
    /// Makes sure `count` spare volumes of this template wait; returns how many do. Slow: a template may have to be made.
    async fn ensure_spares(&self, template: &TemplateSpec, count: usize) -> HostResult<usize>;
    /// Makes sure that only templates with these keys are kept, and only their spares; one that somebody waits for or is making
    /// right now stays. Safe beside anything else: what is asked for afterwards is made anew. The keys that were removed.
    async fn ensure_only_templates(&self, keep: &[String]) -> HostResult<Vec<String>>;
    /// Makes sure the volume is there. Takes a spare when one waits; else starts making it and says `Preparing`.
    async fn ensure_volume(&self, wish: &VolumeWish) -> HostResult<VolumeState>;
    /// Refuses a term lower than the highest this host has seen for the cluster, and remembers a higher one. Who raises the term asks
    /// with the one that was in force: a store that was restored from an older copy does not know the host's.
    async fn ensure_term(&self, cluster: &ClusterId, term: u64) -> HostResult<()>;
    /// Makes sure the process runs (or its shim is about to start it again); a running one is left alone. Returns at once,
    /// the engine may still be starting.
    async fn ensure_process(&self, wish: &ProcessWish) -> HostResult<ProcessState>;
    /// Begins a job on an instance's volume unless one of that name was begun, and says how far it is. What a host that was
    /// started again does not remember is begun again: a job may be repeated after any part of it. It is forgotten when the instance
    /// is started.
    async fn ensure_job(&self, wish: &JobWish) -> HostResult<JobState>;
    /// What the process is doing.
    async fn process(&self, instance: &InstanceId) -> HostResult<ProcessState>;
    /// Asks the process to stop cleanly and remembers that it is meant to be stopped; waits up to about two seconds.
    async fn ensure_stopped(&self, instance: &InstanceId, cluster: &ClusterId, term: u64) -> HostResult<StopState>;
    /// Kills the whole group and returns only when it is empty: this instance cannot accept writes any more, and nothing
    /// but `ensure_process` starts it again.
    async fn fence(&self, instance: &InstanceId, cluster: &ClusterId, term: u64) -> HostResult<()>;
    /// Kills the group of a hung engine; its shim then follows the restart rules. `reason` is kept in the shim's record.
    async fn kill_hung(&self, instance: &InstanceId, reason: &str) -> HostResult<()>;
    /// Makes sure the endpoint is as wished and acknowledged by the gateway.
    async fn ensure_endpoint(&self, wish: &EndpointWish) -> HostResult<EndpointState>;
    /// The certificate in force of a cluster's endpoint, in PEM and without its chain; none when there is no endpoint or its
    /// files are lost, so that a new certificate has to be given.
    async fn endpoint_certificate(&self, cluster: &ClusterId) -> HostResult<Option<String>>;
    /// Where a cluster's endpoint was last wished to listen for other machines.
    async fn endpoint_public(&self, cluster: &ClusterId) -> HostResult<Option<SocketAddrV4>>;
    /// What users' connections are doing, per cluster with an endpoint.
    async fn endpoint_traffic(&self) -> HostResult<BTreeMap<ClusterId, Traffic>>;
    /// Has those sessions of a held endpoint end that are between two of their transactions; how many are left. An endpoint that is not
    /// held keeps its sessions. It takes a fraction of a second at most.
    async fn drain_endpoint(&self, cluster: &ClusterId) -> HostResult<u32>;
    /// Makes sure the gateway runs.
    async fn ensure_gateway(&self) -> HostResult<()>;
    /// Fences the instance and removes its volume, directories and groups.
    async fn ensure_instance_absent(&self, instance: &InstanceId) -> HostResult<()>;
    /// Closes and removes the endpoint.
    async fn ensure_endpoint_absent(&self, cluster: &ClusterId) -> HostResult<()>;
    /// Everything that carries our mark.
    async fn inventory(&self) -> HostResult<Inventory>;
    /// What a program of an installed engine version says of itself, run without any privilege and ended after half a minute; at most
    /// 4 MiB of it.
    async fn output_of(&self, program: &Program) -> HostResult<String>;
    /// Makes sure a document is kept durably beside an instance's volume, from which a lost store can be rebuilt; without an instance,
    /// one of the installation itself. It goes with the instance.
    async fn ensure_manifest(&self, of: Option<&InstanceId>, text: &str) -> HostResult<()>;
    /// The documents that were kept, the installation's own under no instance.
    async fn manifests(&self) -> HostResult<Vec<(Option<InstanceId>, String)>>;
    /// The end of an engine's log, at most `most_bytes`, whole lines.
    async fn log_tail(&self, instance: &InstanceId, most_bytes: u64) -> HostResult<String>;
    /// Makes sure an engine's log is not larger: a longer one keeps its last eighth of `most_bytes`. True when it was cut.
    async fn ensure_log_bounded(&self, instance: &InstanceId, most_bytes: u64) -> HostResult<bool>;
    /// Nudges.
    fn changes(&self) -> BoxStream<'static, Change>;
}
