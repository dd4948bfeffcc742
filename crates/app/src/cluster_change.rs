//! Changing what a cluster is, as opposed to what it does: its owner's password, its protection from deletion, whether it is strict.

use crate::authentication::at_least;
use crate::cluster_create::{only_of_two, verifier};
use crate::cluster_life::{busy, wrong_state};
use crate::clusters::find;
use crate::command::{Accepted, ChangeCluster, ClusterRef};
use crate::databases::{check_at_rest, check_usable};
use crate::{App, fresh, now, problem};
use moorage_domain::cluster::{ClusterSpec, Tag};
use moorage_domain::operation::OperationStatus;
use moorage_domain::service_state::ServiceState;
use moorage_domain::tenant::{Actor, Role};
use moorage_domain::{DatabaseId, OperationId, Problem, SecretId};
use moorage_operations::{owner, set_owner_password, writes_specification};
use moorage_store::{Databases, Operations, Write};
use secrecy::SecretString;

impl App {
    /// Gives the owner of a running cluster's database another password. It becomes a verifier at once and is kept nowhere
    /// (decisions 3).
    pub async fn set_owner_password(&self, actor: &Actor, cluster: &ClusterRef, password: SecretString) -> Result<Accepted, Problem> {
        at_least(actor, Role::Operator)?;
        let engine = {
            let mut look = self.parts.store.look().await.map_err(problem::store)?;
            self.engine(find(&mut look, actor, cluster).await?.engine)?.clone()
        };
        let verifier = verifier(engine, password).await.map_err(|problem| match &problem.field {
            Some(_) => problem.field("password"),
            None => problem,
        })?;
        let secret = SecretId::from_bits(fresh());
        let sealed =
            self.parts.master_key.seal(verifier.0.as_bytes(), &owner::secret_context(&secret)).map_err(|e| problem::internal(&e))?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let cluster = find(&mut uow, actor, cluster).await?;
        if cluster.state != ServiceState::Running {
            return Err(wrong_state(&cluster, &[ServiceState::Running]));
        }
        if let Some(first) = uow.database(&DatabaseId::first_of(&cluster.id)).await.map_err(problem::store)? {
            check_usable(&first)?;
            check_at_rest(&uow.credentials_of(&first.id).await.map_err(problem::store)?)?;
        }
        uow.insert_secret(&secret, &sealed, now()).await.map_err(problem::store)?;
        let operation = OperationId::from_bits(fresh());
        let request = set_owner_password::Request { verifier: Some(secret.clone()) };
        self.submit::<set_owner_password::SetOwnerPassword>(&mut uow, &operation, &cluster, &request, &[secret], actor).await?;
        uow.commit().await.map_err(problem::store)?;
        (self.parts.wake)();
        Ok(Accepted { cluster: cluster.id, operation })
    }

    /// Switches deletion protection, and whether a cluster is strict, on or off. It is written when this returns; that commits wait or
    /// are let go on is seen to by whoever looks after the standby, in a fraction of a second.
    pub async fn change_cluster(&self, actor: &Actor, cluster: &ClusterRef, change: ChangeCluster) -> Result<(), Problem> {
        // Commits may be waiting for what is being done: that must not be in the way.
        let beside = |kind: &str| change.strict.is_some() && !writes_specification(kind);
        let changed = |spec: &mut ClusterSpec| {
            if change.strict == Some(true) && !spec.is_highly_available() {
                return Err(only_of_two());
            }
            spec.strict = change.strict.unwrap_or(spec.strict);
            spec.deletion_protection = change.deletion_protection.unwrap_or(spec.deletion_protection);
            Ok(())
        };
        self.amend(actor, cluster, beside, changed).await
    }

    /// Replaces the tags of a cluster.
    pub async fn set_tags(&self, actor: &Actor, cluster: &ClusterRef, tags: Vec<Tag>) -> Result<(), Problem> {
        let changed = |spec: &mut ClusterSpec| {
            spec.tags = tags;
            Ok(())
        };
        self.amend(actor, cluster, |_| false, changed).await
    }

    /// Changes what is written of a cluster and nothing in the world. `beside` says next to which operations.
    async fn amend(
        &self,
        actor: &Actor,
        cluster: &ClusterRef,
        beside: impl Fn(&str) -> bool + Send,
        change: impl FnOnce(&mut ClusterSpec) -> Result<(), Problem> + Send,
    ) -> Result<(), Problem> {
        at_least(actor, Role::Operator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let cluster = find(&mut uow, actor, cluster).await?;
        // A step that runs right now would write the specification as it read it. One that waits for an operator reads it anew.
        let holder = uow.holder(&cluster.id).await.map_err(problem::store)?;
        if let Some(holder) = holder.filter(|holder| holder.status != OperationStatus::NeedsOperator && !beside(&holder.kind)) {
            return Err(busy(&holder));
        }
        let mut spec = cluster.spec.clone();
        change(&mut spec)?;
        uow.apply(&Write::Spec(cluster.id.clone(), Box::new(spec)), now()).await.map_err(problem::store)?;
        uow.set_modified_by(&cluster.id, actor.user.as_str(), now()).await.map_err(problem::store)?;
        uow.project_state(&cluster.id).await.map_err(problem::store)?;
        uow.nudge(&cluster.id, now()).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)?;
        (self.parts.wake)();
        Ok(())
    }
}
