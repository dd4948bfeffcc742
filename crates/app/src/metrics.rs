//! Figures for whoever watches over the installation from outside.

use crate::{App, problem};
use moorage_domain::cluster::{Cluster, Wish};
use moorage_domain::service_state::ServiceState;
use moorage_domain::tenant::Actor;
use moorage_domain::{Problem, ProblemCode};
use moorage_host::Traffic;
use moorage_store::{Clusters, Figures, Instances, Projects};

/// One cluster in figures.
#[derive(Clone, Debug)]
pub struct ClusterFigures {
    /// Its row.
    pub cluster: Cluster,
    /// Name of its project.
    pub project: String,
    /// It serves: its state is RUNNING.
    pub up: bool,
    /// It is meant to serve.
    pub wanted: bool,
    /// How often its engine was restarted without being asked to.
    pub restarts: u32,
    /// What its data takes on disk, in bytes; none before it was measured.
    pub volume_used_bytes: Option<u64>,
    /// Its volume has reached its ceiling.
    pub volume_full: bool,
    /// What its endpoint does; none where the gateway does not answer.
    pub traffic: Option<Traffic>,
}

/// The installation in figures.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Every cluster of this host.
    pub clusters: Vec<ClusterFigures>,
    /// How many operations stand where, of those that have not ended.
    pub operations: Vec<(String, u64)>,
    /// Whether the gateway answers.
    pub gateway_up: bool,
}

impl App {
    /// The installation in figures, across all projects: for users of the installation's own project, and for nobody in
    /// particular (`None`) where the caller has made sure that only this machine can ask.
    pub async fn metrics(&self, actor: Option<&Actor>) -> Result<Metrics, Problem> {
        if actor.is_some_and(|actor| !actor.of_installation) {
            return Err(Problem::new(ProblemCode::Forbidden, "Metrics are for users of the installation's own project.")
                .hint("They show the clusters of every project."));
        }
        let traffic = self.parts.host.endpoint_traffic().await;
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let projects = look.projects().await.map_err(problem::store)?;
        let instances = look.instances_of_host(self.parts.host.id()).await.map_err(problem::store)?;
        let clusters = look.clusters_of_host(self.parts.host.id()).await.map_err(problem::store)?;
        let operations = look.unfinished_operations().await.map_err(problem::store)?;
        let figures = |cluster: Cluster| {
            let observed = || instances.iter().filter(|instance| instance.cluster == cluster.id).map(|instance| &instance.observed);
            ClusterFigures {
                project: projects
                    .iter()
                    .find(|project| project.id == cluster.project)
                    .map_or_else(String::new, |project| project.name.clone()),
                up: cluster.state == ServiceState::Running,
                wanted: cluster.wish == Wish::Run,
                restarts: observed().map(|observed| observed.restarts).sum(),
                volume_used_bytes: observed().filter_map(|observed| observed.volume_used_bytes).reduce(|sum, bytes| sum + bytes),
                volume_full: observed().any(|observed| observed.volume_full),
                traffic: traffic.as_ref().ok().and_then(|traffic| traffic.get(&cluster.id).copied()),
                cluster,
            }
        };
        Ok(Metrics { clusters: clusters.into_iter().map(figures).collect(), operations, gateway_up: traffic.is_ok() })
    }
}
