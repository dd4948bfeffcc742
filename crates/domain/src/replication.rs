//! Clusters of two instances: which of them writes, and whether the other may take its place.

use crate::{ClusterId, InstanceId};
use serde::{Deserialize, Serialize};

/// A cluster's row about its instances: changed only in the order of [`crate::decide::synchrony`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// The cluster.
    pub cluster: ClusterId,
    /// Who writes in the cluster's present term.
    pub primary: InstanceId,
    /// Who may take its place without losing anything that was acknowledged; none: nobody.
    pub promotable: Option<Promotable>,
    /// Who wrote in an earlier term and has not followed since: what only it has must be taken back before it follows.
    pub rewind: Option<InstanceId>,
    /// Why nobody may, or since which event somebody may; one sentence.
    pub reason: String,
    /// The sealed password by which the instances know each other.
    pub sealed_password: String,
}

/// A life of an instance that has everything that was acknowledged. A later life of it may not: MariaDB throws away what it
/// received and did not apply yet when it is started again (decisions 12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotable {
    /// The instance.
    pub instance: InstanceId,
    /// Which incarnation of its process.
    pub incarnation: u32,
}
