//! How operations begin: alone, after another one, or instead of it.

use crate::cluster::unreadable;
use crate::operation::{NOT_BEGUN, Operations};
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::cluster::Cluster;
use moorage_domain::decide::status::Holder;
use moorage_domain::operation::OperationStatus;
use moorage_domain::{ClusterId, DatabaseId, HostId, OperationId, Problem, SecretId, Timestamp};
use serde::Serialize;

statements! {
    INSERT = "INSERT INTO operation (id, kind, cluster_id, host_id, request, step, state, status, attempt, run_at, lease_until, lease_epoch, secret_ids,
        requested_by, version_started, created_at, database_id) VALUES ($1, $2, $3, $4, $5, $6, '{}', $7, 1, $8, 0, 0, $9, $10, $11, $8, $12)";
}

/// An operation to be submitted.
#[derive(Debug)]
pub struct NewOperation<'a, R> {
    id: &'a OperationId,
    kind: &'a str,
    cluster: &'a ClusterId,
    host: &'a HostId,
    request: &'a R,
    secrets: &'a [SecretId],
    requested_by: &'a str,
    database: Option<&'a DatabaseId>,
    now: Timestamp,
}

impl<'a, R: Serialize + Sync> NewOperation<'a, R> {
    /// An operation of this kind on a cluster; it belongs to the cluster's host.
    pub fn new(id: &'a OperationId, kind: &'a str, cluster: &'a Cluster, request: &'a R, requested_by: &'a str, now: Timestamp) -> Self {
        let (cluster, host) = (&cluster.id, &cluster.host);
        Self { id, kind, cluster, host, request, secrets: &[], requested_by, database: None, now }
    }
    /// What inside the cluster it is about.
    #[must_use]
    pub fn about(mut self, database: &'a DatabaseId) -> Self {
        self.database = Some(database);
        self
    }
    /// Secrets that live as long as the operation: however it ends, they are erased in the transaction that ends it.
    #[must_use]
    pub fn with_secrets(mut self, secrets: &'a [SecretId]) -> Self {
        self.secrets = secrets;
        self
    }
}

/// The answer to a submission that does not queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It holds the cluster's lock and is due.
    Started,
    /// Another operation holds the cluster; nothing was inserted.
    Busy {
        /// The one that does.
        holder: Holder,
    },
}

impl UnitOfWork {
    /// Submits an operation and takes the cluster's lock for it; refused while another holds it. The cluster's state is
    /// projected.
    pub async fn submit<R: Serialize + Sync>(&mut self, new: &NewOperation<'_, R>) -> StoreResult<Submitted> {
        if let Some(holder) = self.holder(new.cluster).await? {
            return Ok(Submitted::Busy { holder });
        }
        self.insert_operation(new, OperationStatus::Running).await?;
        self.lock(new.cluster, new.id).await?;
        self.begin(new).await?;
        self.project_state(new.cluster).await?;
        Ok(Submitted::Started)
    }

    /// Submits an operation on something inside a cluster, beside whatever is done with the cluster itself; while another one changes
    /// something inside it waits for its turn. True when it started at once.
    pub async fn submit_inside<R: Serialize + Sync>(&mut self, new: &NewOperation<'_, R>) -> StoreResult<bool> {
        let free = self.holder_of_databases(new.cluster).await?.is_none();
        self.insert_operation(new, if free { OperationStatus::Running } else { OperationStatus::Queued }).await?;
        match free {
            true => {
                self.lock_databases(new.cluster, new.id).await?;
                self.begin(new).await?;
            }
            false => self.event(new.id, NOT_BEGUN, "note", "Waits for what is changed before it.", new.now).await?,
        }
        Ok(free)
    }

    async fn begin<R>(&mut self, new: &NewOperation<'_, R>) -> StoreResult<()> {
        self.wake_others();
        self.event(new.id, NOT_BEGUN, "started", &format!("Asked for by {}.", new.requested_by), new.now).await
    }

    async fn insert_operation<R: Serialize + Sync>(&mut self, new: &NewOperation<'_, R>, status: OperationStatus) -> StoreResult<()> {
        let request = serde_json::to_string(new.request).map_err(|e| unreadable("request", e))?;
        let secrets = serde_json::to_string(new.secrets).map_err(|e| unreadable("list of secrets", e))?;
        sqlx::query(INSERT)
            .bind(new.id.as_str())
            .bind(new.kind)
            .bind(new.cluster.as_str())
            .bind(new.host.as_str())
            .bind(request)
            .bind(NOT_BEGUN)
            .bind(status.as_str())
            .bind(new.now.0)
            .bind(secrets)
            .bind(new.requested_by)
            .bind(env!("CARGO_PKG_VERSION"))
            .bind(new.database.map(DatabaseId::as_str))
            .execute(self.connection())
            .await
            .map_err(failed("submitting an operation"))?;
        Ok(())
    }

    /// Ends an operation where it stands; nothing of it is cleaned up, and whatever it is just doing is not committed. False when it has
    /// ended by itself.
    pub async fn supersede(&mut self, id: &OperationId, problem: &Problem, now: Timestamp) -> StoreResult<bool> {
        for status in [OperationStatus::Running, OperationStatus::CleaningUp, OperationStatus::NeedsOperator] {
            if self.end(id, status, OperationStatus::Failed, problem, now).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
