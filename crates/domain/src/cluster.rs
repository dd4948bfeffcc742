//! Clusters: what a user wished for and what identifies it.

use crate::engine::{EngineName, Version};
use crate::service_state::ServiceState;
use crate::{ClusterId, GroupId, HostId, OperationId, ProjectId, Timestamp, VolumeId};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// What the user wished for; stored as one document, additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Prefix of instance names.
    pub instance_name_prefix: String,
    /// Subnet of the endpoint.
    pub subnet: String,
    /// IANA time zone of the engine (`Asia/Seoul`).
    pub timezone: String,
    /// Allowed client addresses, verbatim and in the order given.
    pub allow_list: Vec<String>,
    /// The database made at creation and its owner.
    pub database: DatabaseSpec,
    /// TCP port of the endpoint.
    pub port: u16,
    /// Instance groups; a non-HA cluster has one with one instance.
    pub groups: Vec<InstanceGroup>,
    /// Maintenance window, echoed verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceWindow>,
    /// Backup wish, accepted and echoed; nothing is protected by it yet (decisions 20).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupWish>,
    /// Tags as given.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// Collect service watch logs (SCP 1.1), echoed.
    #[serde(default)]
    pub service_watch_log_collection: bool,
    /// Whether it refuses to be terminated until this is switched off.
    #[serde(default)]
    pub deletion_protection: bool,
    /// The address of the endpoint that the user insists on, of a cluster of several instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_address: Option<Ipv4Addr>,
    /// Of a highly available cluster: commits wait as long as only one instance has them, however long that is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

/// The first database of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSpec {
    /// Its name.
    pub name: String,
    /// The account that owns it.
    pub owner: String,
    /// MariaDB: character set (`utf8`). PostgreSQL: encoding (`UTF-8`). As given.
    pub character_set: String,
    /// PostgreSQL: locale (`C`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
}

/// The role of a group whose instances take each other's place.
pub const ACTIVE_STANDBY: &str = "ACTIVE_STANDBY";

/// A group of like instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceGroup {
    /// Its identifier.
    pub id: GroupId,
    /// Its role (`ACTIVE`).
    pub role: String,
    /// Name of its server type.
    pub server_type: String,
    /// Volumes as requested; OS volumes are book-keeping (decisions 15).
    pub volumes: Vec<VolumeSpec>,
    /// Requested instances, at least one.
    pub instances: Vec<InstanceWish>,
}

/// A volume entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Its identifier.
    pub id: VolumeId,
    /// `OS`, `DATA`, `ARCHIVE`, `TEMP` or `BACKUP`.
    pub role: String,
    /// Ceiling in GiB.
    pub size_gb: u32,
    /// `SSD`, `SSD_KMS`, `HDD`, `HDD_KMS`.
    pub volume_type: String,
}

/// An instance as requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceWish {
    /// `ACTIVE`.
    pub role: String,
    /// The service address the user insists on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_address: Option<Ipv4Addr>,
}

/// A weekly maintenance window, verbatim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceWindow {
    /// `MON` to `SUN`.
    pub starting_day_of_week: Option<String>,
    /// `HHMM`.
    pub starting_time: Option<String>,
    /// Hours, as `0.5` or `1`.
    pub period_hour: Option<String>,
}

/// A backup wish, verbatim strings (SCP).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupWish {
    /// `5`, `10`, `30`, `60`.
    pub archive_frequency_minute: Option<String>,
    /// `7` to `35`.
    pub retention_period_day: Option<String>,
    /// `0` to `23`.
    pub starting_time_hour: Option<String>,
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Key.
    pub key: String,
    /// Value.
    #[serde(default)]
    pub value: Option<String>,
}

impl ClusterSpec {
    /// The ceiling of an instance's data directory in GiB: its DATA volumes, or the OS volumes where it has none
    /// (decisions 15).
    pub fn data_size_gb(&self) -> u32 {
        let sum = |role: &str| self.groups.iter().flat_map(|g| &g.volumes).filter(|v| v.role == role).map(|v| v.size_gb).sum::<u32>();
        match sum("DATA") {
            0 => sum("OS"),
            data => data,
        }
    }
    /// The address of the endpoint that the user insists on; without high availability that of its only instance.
    pub fn wished_address(&self) -> Option<Ipv4Addr> {
        if self.is_highly_available() { self.virtual_address } else { self.wished_address_of(0) }
    }
    /// The address that the user insists on for the instance in that place.
    pub fn wished_address_of(&self, slot: usize) -> Option<Ipv4Addr> {
        self.groups.iter().flat_map(|group| &group.instances).nth(slot).and_then(|instance| instance.service_address)
    }
    /// Every address that the user insists on.
    pub fn wished_addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let instances = self.groups.iter().flat_map(|group| &group.instances);
        self.virtual_address.into_iter().chain(instances.filter_map(|instance| instance.service_address))
    }
    /// Whether a standby is kept that takes the primary's place.
    pub fn is_highly_available(&self) -> bool {
        self.groups.iter().any(|group| group.role == ACTIVE_STANDBY)
    }
    /// The server type of the (first) group.
    pub fn server_type(&self) -> &str {
        self.groups.first().map_or("", |group| group.server_type.as_str())
    }
}

/// What a cluster is meant to be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// Serve.
    Run,
    /// Be stopped, keep the data.
    Stop,
    /// Be gone.
    Gone,
}

impl Wish {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Wish::Run => "run",
            Wish::Stop => "stop",
            Wish::Gone => "gone",
        }
    }
    /// Reads a stored wish.
    pub fn parse(text: &str) -> Option<Self> {
        [Wish::Run, Wish::Stop, Wish::Gone].into_iter().find(|wish| wish.as_str() == text)
    }
}

/// A cluster's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its identifier.
    pub id: ClusterId,
    /// Its tenant.
    pub project: ProjectId,
    /// Its name, unique among the project's live clusters.
    pub name: String,
    /// Which engine.
    pub engine: EngineName,
    /// Which version.
    pub version: Version,
    /// What it is meant to be doing.
    pub wish: Wish,
    /// The current term: which choice of a primary is in force (decisions 10).
    pub term: u64,
    /// The document of wishes.
    pub spec: ClusterSpec,
    /// Where its host-local work belongs.
    pub host: HostId,
    /// The projected state (recomputed by `decide::status`).
    pub state: ServiceState,
    /// One sentence that says why the state is what it is, when it is not plain.
    pub state_reason: Option<String>,
    /// The operation that holds it.
    pub operation: Option<OperationId>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// By whom (user id or name).
    pub created_by: String,
    /// When it was last changed.
    pub modified_at: Timestamp,
    /// By whom.
    pub modified_by: String,
}
