//! Letting the standby of a cluster take its primary's place, because somebody asks for it.

use crate::authentication::at_least;
use crate::clusters::find;
use crate::command::{Accepted, ClusterRef, SwitchOver};
use crate::{App, now, problem};
use moorage_domain::service_state::ServiceState;
use moorage_domain::tenant::{Actor, Role};
use moorage_domain::{Problem, ProblemCode};
use moorage_operations::takeover::Takeover;
use moorage_operations::{failover, switchover};
use moorage_store::{Instances, Replications};

/// The longest a switchover may wait for transactions.
const LONGEST_GRACE_SECONDS: u32 = 3600;

impl App {
    /// Primary and standby change places; new connections wait and transactions end first.
    pub async fn switch_over(&self, actor: &Actor, cluster: &ClusterRef, how: SwitchOver) -> Result<Accepted, Problem> {
        if !(1..=LONGEST_GRACE_SECONDS).contains(&how.grace_seconds) {
            let words = format!("Transactions are given between 1 and {LONGEST_GRACE_SECONDS} seconds to end.");
            return Err(Problem::invalid("grace_seconds", words));
        }
        let takeover = self.takeover(actor, cluster, &[ServiceState::Running]).await?;
        let reason = format!("{} asked for it.", actor.user_name);
        let request = switchover::Request { reason, takeover, grace_seconds: how.grace_seconds, force: how.force };
        self.change::<switchover::Switchover>(actor, cluster, &[ServiceState::Running], |_| Ok((request, None))).await
    }

    /// The standby takes the primary's place at once; connections and what they have not committed end.
    pub async fn fail_over(&self, actor: &Actor, cluster: &ClusterRef) -> Result<Accepted, Problem> {
        let allowed = [ServiceState::Running, ServiceState::Error, ServiceState::Unknown];
        let takeover = self.takeover(actor, cluster, &allowed).await?;
        let request = failover::Request {
            reason: format!("{} asked for it.", actor.user_name),
            takeover,
            struck_at: Some(now()),
            last_position: None,
        };
        self.change::<failover::Failover>(actor, cluster, &allowed, |_| Ok((request, None))).await
    }

    /// Whether somebody could take the primary's place now.
    pub(crate) async fn has_standby_in_sync(&self, actor: &Actor, wanted: &ClusterRef) -> Result<bool, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let cluster = find(&mut look, actor, wanted).await?;
        let replication = look.replication_of(&cluster.id).await.map_err(problem::store)?;
        Ok(cluster.state == ServiceState::Running && replication.is_some_and(|replication| replication.promotable.is_some()))
    }

    /// Who could take whose place now. The operation looks again.
    async fn takeover(&self, actor: &Actor, wanted: &ClusterRef, allowed: &[ServiceState]) -> Result<Takeover, Problem> {
        at_least(actor, Role::Operator)?;
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let cluster = find(&mut look, actor, wanted).await?;
        let Some(replication) = look.replication_of(&cluster.id).await.map_err(problem::store)? else {
            return Err(Problem::new(ProblemCode::NoStandbyInSync, format!("'{}' has one instance, and no standby.", cluster.name))
                .hint("A standby comes with the cluster: create it with `--highly-available`."));
        };
        if !allowed.contains(&cluster.state) {
            return Err(crate::cluster_life::wrong_state(&cluster, allowed));
        }
        if let Some(to) = replication.promotable {
            return Ok(Takeover { from: replication.primary, to });
        }
        let instances = look.instances_of(&cluster.id).await.map_err(problem::store)?;
        let standby = instances.iter().find(|instance| instance.id != replication.primary).map_or("The standby", |instance| &instance.name);
        Err(Problem::new(ProblemCode::NoStandbyInSync, format!("{standby} does not have everything that was acknowledged."))
            .detail(replication.reason)
            .hint("It is brought in sync by itself; `moorage cluster show` says when it is."))
    }
}
