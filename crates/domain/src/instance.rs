//! Instances: one database server each, and what its host reports of it.

use crate::{ClusterId, HostId, InstanceId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// An instance's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its identifier.
    pub id: InstanceId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The host it lives on.
    pub host: HostId,
    /// Its name, as users see it.
    pub name: String,
    /// `ACTIVE` or `STANDBY`: what its row in the cluster's replication says, for those who look.
    pub role: String,
    /// The uid that the cluster's processes and files belong to; none where the host cannot tell tenants apart.
    pub uid: Option<u32>,
    /// Which of several on the host's list it is; identity for an engine (MariaDB `server_id`).
    pub number: u32,
    /// Its place among the instances of its cluster, from 0; stays when roles change.
    pub slot: u32,
    /// What the last observation said.
    pub observed: Observed,
    /// When that was.
    pub observed_at: Option<Timestamp>,
}

/// A cluster's endpoint: the address users keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// Where other machines reach it besides; none where the host offers no public addresses.
    pub public: Option<SocketAddrV4>,
    /// Where single instances are reached besides, at the same port; empty where there is only one, which has the address above.
    pub instances: BTreeMap<InstanceId, Ipv4Addr>,
}

impl Endpoint {
    /// Where an instance is reached by itself; one that is `alone` in its cluster at the endpoint's address.
    pub fn address_of(&self, instance: &InstanceId, alone: bool) -> Option<Ipv4Addr> {
        self.instances.get(instance).copied().or(alone.then_some(self.address))
    }
    /// Whether an address is that of a single instance.
    pub fn is_of_an_instance(&self, address: Ipv4Addr) -> bool {
        self.instances.values().any(|of| *of == address)
    }
    /// Every address that the gateway has for it on its subnet.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        std::iter::once(self.address).chain(self.instances.values().copied())
    }
}

/// What is known of an instance's process and engine; stored as a document, additive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// What the host says of the process.
    #[serde(default)]
    pub process: ProcessState,
    /// Whether the engine answered its last probe.
    #[serde(default)]
    pub answering: bool,
    /// Since when the engine has not answered although its process runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Timestamp>,
    /// How often the engine was restarted because it died or hung, since its creation.
    #[serde(default)]
    pub restarts: u32,
    /// Why it was last restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_restart_reason: Option<String>,
    /// The last incarnation that has answered; a later one that has not is still starting or recovering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<u32>,
    /// Its volume has reached its ceiling.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub volume_full: bool,
    /// What its volume takes on disk, in whole MiB but given in bytes; none until it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_used_bytes: Option<u64>,
    /// Whether the endpoint was last told to lead here.
    #[serde(default)]
    pub published: bool,
}

impl Observed {
    /// Takes in what the host says of the process; the reason of a restart that nobody asked for and that was not counted yet.
    pub fn note_process(&mut self, process: ProcessState) -> Option<String> {
        let mut restarted = None;
        if let ProcessState::Running { incarnation, last_exit: Some(exit), .. } = &process {
            let known = match &self.process {
                ProcessState::Running { incarnation, .. } => *incarnation,
                _ => incarnation.saturating_sub(1),
            };
            if *incarnation > known {
                self.restarts += incarnation - known;
                let hung = self.last_restart_reason.take().filter(|reason| reason.starts_with("hung") && exit.signal == Some(9));
                let reason = hung.unwrap_or_else(|| exit.describe());
                self.last_restart_reason = Some(reason.clone());
                restarted = Some(reason);
            }
        }
        self.process = process;
        restarted
    }
    /// Its process runs, but this incarnation has never answered: it is starting up or recovering, however long that takes.
    pub fn recovering(&self) -> bool {
        matches!(self.process, ProcessState::Running { incarnation, .. } if self.answered != Some(incarnation))
    }
}

/// How full a volume with a ceiling is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRoom {
    /// Its ceiling in bytes.
    pub size_bytes: u64,
    /// What is left of it, the reserve not counted.
    pub free_bytes: u64,
    /// How much of the reserve is used.
    #[serde(default)]
    pub reserve_used_bytes: u64,
}

impl VolumeRoom {
    /// So little is left that the engine has stopped, or is about to stop, taking in data: less than a hundredth, and less than
    /// 64 MiB. It counts as full until there is twice as much.
    pub fn is_full(&self, before: bool) -> bool {
        let little = (self.size_bytes / 100).min(64 << 20);
        self.free_bytes < if before { 2 * little } else { little }
    }
    /// What is left without the reserve; less than nothing where that is used.
    pub fn left_bytes(&self) -> i64 {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        bytes(self.free_bytes) - bytes(self.reserve_used_bytes)
    }
}

/// A process as its shim reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ProcessState {
    /// The host knows nothing of it.
    #[default]
    Absent,
    /// Its main process runs.
    Running {
        /// Process id of the main process.
        pid: u32,
        /// How many times the shim has started it since the layout was given, from 1: grows with every restart.
        incarnation: u32,
        /// When this incarnation began.
        since: Timestamp,
        /// How the incarnation before this one ended; none for the first, and after a stop that was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_exit: Option<ProcessExit>,
    },
    /// It died and the shim waits before it starts it again.
    BackingOff {
        /// When it is started again.
        until: Timestamp,
        /// How it ended.
        last: ProcessExit,
    },
    /// Stopped because that was asked for.
    Stopped,
    /// The shim gave up restarting it.
    GaveUp {
        /// How it ended the last time.
        last: ProcessExit,
    },
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessExit {
    /// When.
    pub at: Timestamp,
    /// Exit code, when it exited by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Signal number, when a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Killed because its memory limit was reached.
    #[serde(default)]
    pub out_of_memory: bool,
    /// Its volume was full.
    #[serde(default)]
    pub volume_full: bool,
    /// Last lines of its log that say why, at most 2,000 characters.
    #[serde(default)]
    pub last_words: String,
}

impl ProcessExit {
    /// The exit in words: `killed by signal 9`, `exited with code 1`, with the cause where one is known.
    pub fn describe(&self) -> String {
        let how = match (self.signal, self.code) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, Some(code)) => format!("exited with code {code}"),
            (None, None) => String::from("ended while nobody was watching"),
        };
        match (self.out_of_memory, self.volume_full) {
            (true, _) => format!("{how} (out of memory)"),
            (_, true) => format!("{how} (volume full)"),
            _ => how,
        }
    }
}
