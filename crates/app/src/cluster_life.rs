//! Starting, stopping, restarting, changing and removing clusters: each becomes a durable operation.

use crate::authentication::at_least;
use crate::catalogue::Numbered;
use crate::clusters::find;
use crate::command::{Accepted, ClusterRef};
use crate::{App, fresh, now, problem};
use moorage_domain::cluster::{Cluster, MaintenanceWindow, Wish};
use moorage_domain::decide::status::Holder;
use moorage_domain::operation::OperationStatus;
use moorage_domain::service_state::ServiceState;
use moorage_domain::tenant::{Actor, Role};
use moorage_domain::{DatabaseId, OperationId, Problem, ProblemCode, SecretId, allow_list};
use moorage_durable::Operation;
use moorage_operations::{
    rejoin, restart, rolling_restart, set_allow_list, set_maintenance, start, stop, synchronize_parameters, synchronize_state, terminate,
};
use moorage_store::{Allocations, NewOperation, Operations, Submitted, UnitOfWork, Write};

impl App {
    /// Starts a stopped cluster.
    pub async fn start_cluster(&self, actor: &Actor, cluster: &ClusterRef) -> Result<Accepted, Problem> {
        self.change::<start::Start>(actor, cluster, &[ServiceState::Stopped], |_| Ok((start::Request {}, None))).await
    }

    /// Stops a running cluster and keeps its data.
    pub async fn stop_cluster(&self, actor: &Actor, cluster: &ClusterRef) -> Result<Accepted, Problem> {
        let allowed = [ServiceState::Running, ServiceState::Error, ServiceState::Restarting];
        self.change::<stop::Stop>(actor, cluster, &allowed, |_| Ok((stop::Request {}, Some(Wish::Stop)))).await
    }

    /// Restarts a running cluster; one whose standby is in sync instance by instance.
    pub async fn restart_cluster(&self, actor: &Actor, cluster: &ClusterRef) -> Result<Accepted, Problem> {
        if self.has_standby_in_sync(actor, cluster).await? {
            let request = |_: &Cluster| Ok((rolling_restart::Request {}, None));
            return self.change::<rolling_restart::RollingRestart>(actor, cluster, &[ServiceState::Running], request).await;
        }
        let allowed = [ServiceState::Running, ServiceState::Error, ServiceState::Restarting];
        self.change::<restart::Restart>(actor, cluster, &allowed, |_| Ok((restart::Request {}, None))).await
    }

    /// Removes a cluster with all its data.
    pub async fn terminate_cluster(&self, actor: &Actor, cluster: &ClusterRef) -> Result<Accepted, Problem> {
        let allowed = [
            ServiceState::Running,
            ServiceState::Stopped,
            ServiceState::Error,
            ServiceState::Failed,
            ServiceState::Unknown,
            ServiceState::Restarting,
        ];
        self.change::<terminate::Terminate>(actor, cluster, &allowed, |_| Ok((terminate::Request {}, Some(Wish::Gone)))).await
    }

    /// Changes who may connect: removals first, then additions.
    pub async fn change_allow_list(
        &self,
        actor: &Actor,
        cluster: &ClusterRef,
        add: &[String],
        remove: &[String],
    ) -> Result<Accepted, Problem> {
        let allowed = [ServiceState::Running, ServiceState::Stopped];
        self.change::<set_allow_list::SetAllowList>(actor, cluster, &allowed, |cluster| {
            let allow_list = allow_list::change(&cluster.spec.allow_list, add, remove)?;
            Ok((set_allow_list::Request { allow_list }, None))
        })
        .await
    }

    /// Sets the weekly window in which a cluster may be worked on, or takes it away.
    pub async fn set_maintenance(
        &self,
        actor: &Actor,
        cluster: &ClusterRef,
        window: Option<MaintenanceWindow>,
    ) -> Result<Accepted, Problem> {
        let allowed = [ServiceState::Running, ServiceState::Stopped];
        let request = |_: &Cluster| Ok((set_maintenance::Request { window }, None));
        self.change::<set_maintenance::SetMaintenance>(actor, cluster, &allowed, request).await
    }

    /// Looks at what a cluster is doing, now.
    pub async fn synchronize_state(&self, actor: &Actor, cluster: &ClusterRef) -> Result<Accepted, Problem> {
        let allowed = [ServiceState::Running, ServiceState::Stopped, ServiceState::Error, ServiceState::Unknown, ServiceState::Restarting];
        self.change::<synchronize_state::SynchronizeState>(actor, cluster, &allowed, |_| Ok((synchronize_state::Request {}, None))).await
    }

    /// Reads anew what a running cluster's engine applies.
    pub async fn synchronize_parameters(&self, actor: &Actor, cluster: &ClusterRef) -> Result<Accepted, Problem> {
        let request = |_: &Cluster| Ok((synchronize_parameters::Request {}, None));
        self.change::<synchronize_parameters::SynchronizeParameters>(actor, cluster, &[ServiceState::Running], request).await
    }

    /// The one way from a request to an operation: the state is checked, the wish changed, the operation submitted and the
    /// new state projected in one transaction.
    pub(crate) async fn change<O: Operation>(
        &self,
        actor: &Actor,
        wanted: &ClusterRef,
        allowed: &[ServiceState],
        request: impl FnOnce(&Cluster) -> Result<(O::Request, Option<Wish>), Problem> + Send,
    ) -> Result<Accepted, Problem> {
        at_least(actor, Role::Operator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let cluster = find(&mut uow, actor, wanted).await?;
        if !allowed.contains(&cluster.state) {
            return Err(wrong_state(&cluster, allowed));
        }
        let (request, wish) = request(&cluster)?;
        if let Some(wish) = wish {
            uow.apply(&Write::Wish(cluster.id.clone(), wish), now()).await.map_err(problem::store)?;
        }
        if wish == Some(Wish::Gone) {
            if cluster.spec.deletion_protection {
                return Err(Problem::new(ProblemCode::DeletionProtected, format!("'{}' is protected from deletion.", cluster.name))
                    .hint("Switch its deletion protection off first, if it really is to go."));
            }
            give_way(&mut uow, &cluster).await?;
            // Whatever was decided earlier and arrives late is refused by the host from now on.
            uow.apply(&Write::Term(cluster.id.clone(), cluster.term + 1), now()).await.map_err(problem::store)?;
        }
        let operation = OperationId::from_bits(fresh());
        self.submit::<O>(&mut uow, &operation, &cluster, &request, &[], actor).await?;
        uow.commit().await.map_err(problem::store)?;
        (self.parts.wake)();
        Ok(Accepted { cluster: cluster.id, operation })
    }

    /// Submits an operation; the store projects the state it brings.
    pub(crate) async fn submit<O: Operation>(
        &self,
        uow: &mut UnitOfWork,
        id: &OperationId,
        cluster: &Cluster,
        request: &O::Request,
        secrets: &[SecretId],
        actor: &Actor,
    ) -> Result<(), Problem> {
        let new = NewOperation::new(id, O::KIND, cluster, request, &actor.user_name, now()).with_secrets(secrets);
        let first = DatabaseId::first_of(&cluster.id);
        // What is done with the cluster of one database is done with that.
        if Numbered::Database.of(uow, first.as_str()).await? > 0 && !uow.is_shared(&cluster.id).await.map_err(problem::store)? {
            Numbered::Operation.give(uow, id.as_str()).await?;
            return self.submit_new(uow, cluster, &new.about(&first), actor).await;
        }
        self.submit_new(uow, cluster, &new, actor).await
    }

    /// The same of one that is made already.
    pub(crate) async fn submit_new<R: serde::Serialize + Sync>(
        &self,
        uow: &mut UnitOfWork,
        cluster: &Cluster,
        new: &NewOperation<'_, R>,
        actor: &Actor,
    ) -> Result<(), Problem> {
        match uow.submit(new).await.map_err(problem::store)? {
            Submitted::Started => {}
            Submitted::Busy { holder } => {
                return Err(busy(&holder));
            }
        }
        uow.set_modified_by(&cluster.id, actor.user.as_str(), now()).await.map_err(problem::store)
    }
}

/// An operation that waits for an operator does not keep its cluster from being removed (decisions 20), nor does one that nobody asked for
/// and that brings a standby back.
async fn give_way(uow: &mut UnitOfWork, cluster: &Cluster) -> Result<(), Problem> {
    let holder = uow.holder(&cluster.id).await.map_err(problem::store)?;
    let (Some(holder), Some(operation)) = (holder, &cluster.operation) else { return Ok(()) };
    if holder.status == OperationStatus::NeedsOperator {
        uow.abandon(operation, now()).await.map_err(problem::store)?;
    } else if holder.kind == rejoin::Rejoin::KIND {
        let words = format!("The operation gave way to {}.", terminate::Terminate::KIND);
        uow.supersede(operation, &Problem::new(ProblemCode::Superseded, words), now()).await.map_err(problem::store)?;
    }
    Ok(())
}

pub(crate) fn busy(holder: &Holder) -> Problem {
    let Holder { kind, requested_by, .. } = holder;
    Problem::new(ProblemCode::ClusterBusy, format!("The cluster is busy: {kind}, asked for by {requested_by}, is on its way."))
        .hint("Wait until it has ended; `moorage operation list` shows it.")
}

pub(crate) fn wrong_state(cluster: &Cluster, allowed: &[ServiceState]) -> Problem {
    let hint = match cluster.state {
        ServiceState::Stopped => "It is stopped. If it should run, `moorage cluster start NAME` starts it.",
        ServiceState::Running => "It runs already.",
        _ if cluster.operation.is_some() => "Wait until the operation that holds it has ended: `moorage operation list` shows it.",
        _ => "`moorage cluster show NAME` says why it is in that state, and `moorage operation list` what led there.",
    };
    let allowed = allowed.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(", ");
    Problem::new(ProblemCode::WrongState, format!("The cluster is {}.", cluster.state.as_str()))
        .detail(format!("This can be done to a cluster that is {allowed}."))
        .hint(hint)
}
