//! Figures for whoever watches over the installation from outside.

use crate::{App, problem};
use moorage_domain::cluster::{Cluster, Wish};
use moorage_domain::service_state::ServiceState;
use moorage_domain::tenant::Actor;
use moorage_domain::{Problem, ProblemCode};
use moorage_durable::Operation;
use moorage_host::Traffic;
use moorage_operations::failover::Failover;
use moorage_operations::rolling_restart::RollingRestart;
use moorage_operations::switchover::Switchover;
use moorage_store::{Clusters, Figures, Instances, Projects, Replications};
use std::time::Duration;

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
    /// Where there are two instances: which one writes, and whether the other may take its place.
    pub pair: Option<PairFigures>,
}

/// A cluster of two instances in figures.
#[derive(Clone, Debug)]
pub struct PairFigures {
    /// The names of the instances, the one that writes first.
    pub instances: Vec<String>,
    /// The other one has everything that was acknowledged.
    pub standby_in_sync: bool,
    /// How far the other one's queries are behind; none where that is not known.
    pub lag: Option<Duration>,
    /// How often the other one took over at once, since its creation.
    pub failovers: u64,
    /// How often they changed places as planned, restarts included.
    pub switchovers: u64,
}

/// The installation in figures.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Every cluster of this host.
    pub clusters: Vec<ClusterFigures>,
    /// How many operations stand where, of those that have not ended.
    pub operations: Vec<(String, u64)>,
    /// How many have ended, by kind and how.
    pub ended: Vec<(String, String, u64)>,
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
        let ended = look.ended_operations().await.map_err(problem::store)?;
        let takeovers =
            look.operations_succeeded(&[Failover::KIND, Switchover::KIND, RollingRestart::KIND]).await.map_err(problem::store)?;
        let replications = look.replications().await.map_err(problem::store)?;
        let pair = |cluster: &Cluster| {
            let replication = replications.iter().find(|replication| replication.cluster == cluster.id)?;
            let mut instances: Vec<_> = instances.iter().filter(|instance| instance.cluster == cluster.id).collect();
            instances.sort_by_key(|instance| instance.id != replication.primary);
            let count =
                |kind: &str| takeovers.iter().find(|(of, known, _)| *of == cluster.id && known == kind).map_or(0, |(.., count)| *count);
            Some(PairFigures {
                instances: instances.iter().map(|instance| instance.name.clone()).collect(),
                standby_in_sync: replication.promotable.is_some(),
                lag: self.parts.board.lag(&cluster.id),
                failovers: count(Failover::KIND),
                switchovers: count(Switchover::KIND) + count(RollingRestart::KIND),
            })
        };
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
                pair: pair(&cluster),
                traffic: traffic.as_ref().ok().and_then(|traffic| traffic.get(&cluster.id).copied()),
                cluster,
            }
        };
        Ok(Metrics { clusters: clusters.into_iter().map(figures).collect(), operations, ended, gateway_up: traffic.is_ok() })
    }
}
