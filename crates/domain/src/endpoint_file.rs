//! The files by which the control plane tells the gateway what to serve, and the words of its control socket.
//!
//! A file per cluster in `GATEWAY/endpoints/<cluster>.json`, written by fsync and rename. The gateway starts and serves
//! from these files alone; an unknown `version` keeps the last good one (decisions 22).

use crate::ClusterId;
use crate::engine::EngineName;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The version of the file format this build writes and the highest it reads.
pub const VERSION: u32 = 1;

/// One cluster's endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointFile {
    /// Format version, [`VERSION`].
    pub version: u32,
    /// Grows with every change of this file; an acknowledgement names it.
    pub generation: u64,
    /// The cluster.
    pub cluster: ClusterId,
    /// Which wire protocol to speak.
    pub engine: EngineName,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The interface that has to carry that address; the host sees to it, the gateway does not look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Where to listen besides, for other machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<SocketAddr>,
    /// Client networks that may connect; empty admits nobody.
    pub allow: Vec<IpNet>,
    /// Certificate chain and key in PEM, readable by the gateway; TLS is offered when they are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFiles>,
    /// Refuse connections that do not use TLS.
    #[serde(default)]
    pub tls_required: bool,
    /// Connections at most at one time.
    pub most_connections: u32,
    /// The term this file belongs to; a file with a lower term than the last one is refused.
    pub term: u64,
    /// The primary of that term; none: listen, but answer that the database is not available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<EngineLeg>,
    /// Another primary is about to follow: new connections wait for it. Those that are open are closed by
    /// [`GatewayAsk::Drain`], each between two of its transactions.
    #[serde(default)]
    pub hold: bool,
    /// Single instances that are reached besides, each at an address of its own; the rest of this file holds for them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceEndpoint>,
}

/// Where one instance of a cluster is reached, whatever its role is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceEndpoint {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How the instance is reached; none: listen, but answer that the database is not available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<EngineLeg>,
}

impl EndpointFile {
    /// What holds for one of the single instances.
    pub fn of_instance(&self, instance: &InstanceEndpoint) -> Self {
        Self {
            listen: instance.listen,
            public: None,
            primary: instance.leg.clone(),
            hold: self.hold && (instance.leg.is_none() || instance.leg == self.primary),
            instances: Vec::new(),
            ..self.clone()
        }
    }
}

/// Certificate and key files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFiles {
    /// PEM certificate chain.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// How the gateway reaches an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineLeg {
    /// Over a Unix socket on the same machine.
    Unix(PathBuf),
    /// Over TCP, with the authority that signed its certificate.
    Tcp {
        /// Where.
        address: SocketAddr,
        /// PEM file of the authority.
        authority: PathBuf,
    },
}

/// A request on the control socket: one JSON document per line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum GatewayAsk {
    /// Read this cluster's file (again) and say what came of it; a file that is gone closes the endpoint and its
    /// connections.
    Apply {
        /// The cluster.
        cluster: ClusterId,
    },
    /// Close the sessions of a held cluster that are between two transactions, and say how many are left.
    Drain {
        /// The cluster.
        cluster: ClusterId,
    },
    /// Say who you are and what you serve.
    Status,
}

/// The answer to a [`GatewayAsk`], one JSON document per line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum GatewayAnswer {
    /// The file of this generation is in force.
    Applied {
        /// The cluster.
        cluster: ClusterId,
        /// The generation in force.
        generation: u64,
    },
    /// There is no file; nothing is served for this cluster.
    Closed {
        /// The cluster.
        cluster: ClusterId,
    },
    /// The listen address is in use by another program or cannot be bound.
    CannotListen {
        /// The cluster.
        cluster: ClusterId,
        /// Which of the endpoint's addresses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<SocketAddr>,
        /// Whether somebody else has it (then another address may do).
        in_use: bool,
        /// The generation that is in force all the same, at every other address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        applied: Option<u64>,
        /// In words.
        reason: String,
    },
    /// The file was not accepted (unknown version, older term, unreadable, broken certificate); the last good one is
    /// still in force.
    Refused {
        /// The cluster.
        cluster: ClusterId,
        /// In words.
        reason: String,
    },
    /// What is left of a held cluster's sessions.
    Draining {
        /// The cluster.
        cluster: ClusterId,
        /// Sessions that an engine still serves.
        sessions: u32,
    },
    /// Who answers.
    Status {
        /// Process id.
        pid: u32,
        /// Format version it reads.
        version: u32,
        /// Per cluster: generation in force, whether it listens, open connections.
        endpoints: Vec<EndpointStatus>,
    },
}

/// One line of the gateway's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// The cluster.
    pub cluster: ClusterId,
    /// The generation in force.
    pub generation: u64,
    /// Whether the address is bound.
    pub listening: bool,
    /// Open client connections.
    pub connections: u32,
    /// Connections refused since its start because of the allow-list.
    pub refused: u64,
    /// Of the open connections those that wait for another primary.
    #[serde(default)]
    pub held: u32,
}
