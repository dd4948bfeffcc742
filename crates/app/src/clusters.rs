//! Showing and listing clusters.

use crate::command::{ClusterRef, ListClusters, MOST_ROWS};
use crate::view::{ClusterView, Clusters};
use crate::{App, problem};
use moorage_domain::cluster::Cluster;
use moorage_domain::decide::status;
use moorage_domain::instance::Instance;
use moorage_domain::service_state::ServiceState;
use moorage_domain::tenant::Actor;
use moorage_domain::{Problem, ProblemCode};
use moorage_store::{Accounts, ClusterFilter, Clusters as _, Endpoints, Instances, Rows};

impl App {
    /// One cluster with everything that belongs to it.
    pub async fn cluster(&self, actor: &Actor, cluster: &ClusterRef) -> Result<ClusterView, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let cluster = find(&mut look, actor, cluster).await?;
        let instances = look.instances_of(&cluster.id).await.map_err(problem::store)?;
        let endpoint = look.endpoint_of(&cluster.id).await.map_err(problem::store)?;
        let instances =
            instances.into_iter().map(|instance| (instance_state(&cluster, &instance), instance)).map(|(s, i)| (i, s)).collect();
        drop(look);
        let enforcement = self.enforcement_on(&cluster.host).await?;
        Ok(ClusterView { cluster, instances, endpoint, enforcement })
    }

    /// A page of the caller's clusters.
    pub async fn clusters(&self, actor: &Actor, list: &ListClusters) -> Result<Clusters, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let filter =
            ClusterFilter { engine: list.engine, name: list.name.clone(), state: list.state, database_name: list.database_name.clone() };
        let limit = list.limit.min(MOST_ROWS);
        let page = look.clusters_page(&actor.project, &filter, list.sort, list.descending, list.offset, limit).await;
        let page = page.map_err(problem::store)?;
        Ok(Clusters { rows: page.rows, total: page.total })
    }

    /// Whether the store answers.
    pub async fn store_answers(&self) -> Result<(), Problem> {
        self.parts.store.look().await.map(drop).map_err(problem::store)
    }

    /// The end of the engine's log, at most `most_bytes` (and never more than 1 MiB), whole lines.
    pub async fn cluster_log(&self, actor: &Actor, cluster: &ClusterRef, most_bytes: u64) -> Result<String, Problem> {
        let view = self.cluster(actor, cluster).await?;
        if view.cluster.host != *self.parts.host.id() {
            return Err(Problem::new(ProblemCode::OnAnotherHost, "The database runs on another machine, where its log is.")
                .hint("Ask the server of that machine; everything else about the database can be asked here."));
        }
        let Some(instance) = view.writes() else {
            return Err(Problem::new(ProblemCode::WrongState, "The cluster has no instance, so there is no log.")
                .hint("The operation that made it says why: `moorage operation list`."));
        };
        self.parts.host.log_tail(&instance.id, most_bytes.min(1 << 20)).await.map_err(problem::host)
    }
}

/// The caller's cluster, or not found: another tenant's is not there.
pub(crate) async fn find(rows: &mut impl Rows, actor: &Actor, wanted: &ClusterRef) -> Result<Cluster, Problem> {
    let mut found = rows.cluster_of(&actor.project, &wanted.id_or_name).await.map_err(problem::store)?;
    if found.is_none() && wanted.by_name {
        found = rows.cluster_named(&actor.project, &wanted.id_or_name).await.map_err(problem::store)?;
    }
    let cluster = found.filter(|cluster| wanted.within.is_none_or(|engine| engine == cluster.engine)).ok_or_else(|| {
        Problem::new(ProblemCode::ClusterNotFound, "There is no such cluster.").hint("List the clusters to see which there are.")
    })?;
    match wanted.unchanged_since {
        Some(since) if since != cluster.modified_at => Err(changed_since(rows, &cluster).await?),
        _ => Ok(cluster),
    }
}

/// Who was faster, and when.
async fn changed_since(rows: &mut impl Rows, cluster: &Cluster) -> Result<Problem, Problem> {
    let by = rows.user(&cluster.modified_by).await.map_err(problem::store)?.map_or_else(|| "somebody".to_owned(), |user| user.name);
    let at = cluster.modified_at.rfc3339();
    Ok(Problem::new(ProblemCode::PreconditionFailed, format!("The cluster was changed since you read it: by {by} at {at}."))
        .hint("Read it again, and send your change with its new ETag if it still makes sense."))
}

/// An instance shares its cluster's state, but for one of several while the cluster serves.
fn instance_state(cluster: &Cluster, instance: &Instance) -> ServiceState {
    match cluster.state {
        ServiceState::Running if cluster.spec.is_highly_available() => status::of_instance(&instance.observed),
        state => state,
    }
}
