//! What an engine asks a host to run: processes, files and jobs. Engines describe, hosts carry out.

use crate::engine::Installation;
use crate::{ClusterId, InstanceId};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// Where a host keeps the things of one instance; chosen by the host, used by the engine to describe its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The data directory (owned by the instance's uid, mode 0700).
    pub volume: PathBuf,
    /// Directory of configuration files: the engine may read it, not write it.
    pub config: PathBuf,
    /// Short directory for sockets, lost at a reboot and made again (paths in it stay below 107 bytes).
    pub run: PathBuf,
    /// Directory the engine writes its own log files to.
    pub logs: PathBuf,
    /// Where its peers in the cluster reach it, and nobody else.
    pub replication: Ipv4Addr,
}

/// What an engine needs to know of an instance to describe its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The instance.
    pub instance: InstanceId,
    /// Which binaries.
    pub installation: Installation,
    /// Number unique on the installation, from 1 (MariaDB `server_id`).
    pub number: u32,
    /// Memory of its server type in bytes.
    pub memory_bytes: u64,
    /// Virtual processors of its server type.
    pub cpu: u32,
    /// IANA time zone.
    pub timezone: String,
    /// Character set (MariaDB) or encoding (PostgreSQL) of the first database, as given.
    pub character_set: String,
    /// Locale (PostgreSQL).
    pub locale: Option<String>,
    /// Name of the operating-system account that `serve` runs as: the only one that may administer the engine without a
    /// password (decisions 1).
    pub administrator: String,
    /// Client connections at most.
    pub most_connections: u32,
    /// Its part in a cluster of several instances; none: it is alone.
    pub replication: Option<ReplicationSpec>,
}

/// An instance's part in a cluster of two: one writes, the other follows. Neither becomes writable by being started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationSpec {
    /// Whether it is started to become the primary (again), and so keeps what it wrote, or to follow.
    pub becomes_primary: bool,
    /// The other instance.
    pub peer: InstanceId,
    /// Where the other instance's things are.
    pub peer_place: Place,
    /// With which the two know each other.
    pub password: ReplicationPassword,
}

/// The password by which the instances of a cluster know each other. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationPassword(pub String);

impl std::fmt::Debug for ReplicationPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReplicationPassword(hidden)")
    }
}

/// A process as an engine wants it run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLayout {
    /// Program and arguments; nothing secret.
    pub argv: Vec<String>,
    /// The whole environment; nothing secret.
    pub environment: Vec<(String, String)>,
    /// Files to be in `Place::config` before it starts.
    pub files: Vec<ConfigFile>,
    /// How to ask it to stop cleanly.
    pub stop: StopPlan,
    /// The Unix socket it will listen on.
    pub socket: PathBuf,
    /// Working directory of the process: the volume.
    pub working_directory: PathBuf,
    /// Files by which an earlier process of it would keep it from starting; removed before each start, as its own account, once
    /// nothing of that process is left.
    #[serde(default)]
    pub stale: Vec<PathBuf>,
    /// Empty files made before each start, as its own account.
    #[serde(default)]
    pub marks: Vec<PathBuf>,
    /// It shares a network with the other instances of its cluster, and with nobody else.
    #[serde(default)]
    pub has_peers: bool,
    /// The file in `Place::logs` it writes its main log to; standard output and error are appended to it too.
    pub log: PathBuf,
}

/// A program of an installed engine version that says something about itself and ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Program {
    /// What to run.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
}

/// A configuration file. `Debug` does not show its contents, which may hold a [`ReplicationPassword`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// Name inside `Place::config`.
    pub name: String,
    /// Its contents.
    pub contents: String,
}

impl std::fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigFile").field("name", &self.name).field("bytes", &self.contents.len()).finish()
    }
}

/// A clean stop: a signal to the main process, and how long to wait before the group is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopPlan {
    /// Signal number (PostgreSQL fast shutdown: 2, MariaDB: 15).
    pub signal: i32,
    /// Grace before the whole group is killed.
    pub grace: Duration,
}

/// How to make an empty data directory of an engine version, once per version and recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateSpec {
    /// Names the template: engine, version, recipe, administrator (`postgresql-15.20-1-root`); letters, digits, `.`, `-`,
    /// `_`.
    pub key: String,
    /// Steps that fill the empty directory `{volume}`. They leave a cleanly shut down data directory without any
    /// password in it.
    pub make: Vec<JobStep>,
    /// Steps that give a copy of it an identity of its own (decisions 16).
    pub personalise: Vec<JobStep>,
}

/// One step of a job. `{volume}` stands for the data directory and `{scratch}` for an empty directory of the job's own,
/// in every text and path. Runs as an unprivileged account that owns both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobStep {
    /// Runs a program to its end; a non-zero exit fails the job with its last words.
    Run {
        /// Program and arguments.
        argv: Vec<String>,
        /// The whole environment.
        environment: Vec<(String, String)>,
        /// What it reads.
        stdin: String,
        /// Longest time it may take.
        limit: Duration,
    },
    /// Writes a file.
    Write {
        /// Path.
        path: String,
        /// Contents.
        contents: String,
    },
    /// Overwrites bytes of an existing file with random ones.
    Randomise {
        /// Path.
        path: String,
        /// First byte.
        offset: u64,
        /// How many.
        length: u32,
    },
}
