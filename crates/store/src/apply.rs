//! Changes of domain rows as data: what a step decides is committed together with the step.

use crate::{CredentialChange, DatabaseChange, StoreResult, UnitOfWork};
use moorage_domain::cluster::{ClusterSpec, Wish};
use moorage_domain::engine::Version;
use moorage_domain::instance::{Endpoint, Instance, Observed};
use moorage_domain::parameter::AppliedParameters;
use moorage_domain::replication::Replication;
use moorage_domain::{ClusterId, CredentialId, DatabaseId, HostId, InstanceId, Timestamp};

/// One change of domain rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Keep an instance (its observation only when it is new).
    Instance(Instance),
    /// Keep an endpoint.
    Endpoint(HostId, Endpoint),
    /// Remove a cluster's endpoint: its address is free again.
    RemoveEndpoint(ClusterId),
    /// Remove a cluster's instances: their uids and numbers are free again.
    RemoveInstances(ClusterId),
    /// What a cluster is meant to be doing.
    Wish(ClusterId, Wish),
    /// A new term; never lowers it.
    Term(ClusterId, u64),
    /// The engine version it runs on now.
    Version(ClusterId, Version),
    /// A changed specification.
    Spec(ClusterId, Box<ClusterSpec>),
    /// What a cluster's engine applies.
    Parameters(ClusterId, AppliedParameters),
    /// A cluster's creation failed for good.
    CreationFailed(ClusterId, String),
    /// A cluster is gone with its databases; its name is free again.
    Gone(ClusterId),
    /// What was last seen of an instance.
    Observed(InstanceId, Observed),
    /// Who writes in a cluster and who may take its place.
    Replication(Replication),
    /// What changes about a database.
    Database(DatabaseId, DatabaseChange),
    /// What changes about a credential.
    Credential(CredentialId, CredentialChange),
    /// A cluster's instances go, and so does what is known of who writes.
    RemoveReplication(ClusterId),
}

impl UnitOfWork {
    /// Applies one change.
    pub async fn apply(&mut self, write: &Write, now: Timestamp) -> StoreResult<()> {
        match write {
            Write::Instance(instance) => self.put_instance(instance).await,
            Write::Endpoint(host, endpoint) => self.put_endpoint(host, endpoint).await,
            Write::RemoveEndpoint(cluster) => self.remove_endpoint(cluster).await,
            Write::RemoveInstances(cluster) => self.remove_instances(cluster).await,
            Write::Wish(cluster, wish) => self.set_wish(cluster, *wish, now).await,
            Write::Term(cluster, term) => self.raise_term(cluster, *term).await,
            Write::Version(cluster, version) => self.set_version(cluster, version, now).await,
            Write::Spec(cluster, spec) => self.set_spec(cluster, spec, now).await,
            Write::Parameters(cluster, applied) => self.put_parameters(cluster, applied).await,
            Write::CreationFailed(cluster, why) => self.set_creation_failed(cluster, why, now).await,
            Write::Gone(cluster) => {
                self.remove_parameters(cluster).await?;
                self.remove_databases(cluster, now).await?;
                self.go_on_inside(cluster, now).await?;
                self.set_gone(cluster, now).await
            }
            Write::Observed(instance, observed) => self.observe_instance(instance, observed, now).await,
            Write::Replication(replication) => self.put_replication(replication).await,
            Write::Database(database, change) => self.change_database(database, change, now).await,
            Write::Credential(credential, change) => self.change_credential(credential, change, now).await,
            Write::RemoveReplication(cluster) => self.remove_replication(cluster).await,
        }
    }
}
