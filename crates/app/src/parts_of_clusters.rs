//! Instances, volumes and endpoints, as lists of their own.

use crate::clusters::find;
use crate::command::{ClusterRef, ListClusters};
use crate::view::ClusterView;
use crate::{App, problem};
use moorage_domain::tenant::Actor;
use moorage_domain::{ClusterId, InstanceId, Problem, ProblemCode};
use moorage_host::Traffic;
use moorage_store::{ClusterSort, Instances};
use std::collections::BTreeMap;

/// A page of clusters whose parts are listed.
#[derive(Debug)]
pub struct Parts {
    /// The clusters.
    pub clusters: Vec<ClusterView>,
    /// There are more.
    pub more: bool,
}

impl App {
    /// The parts of one cluster, or of a page of the caller's clusters by name.
    pub async fn parts(&self, actor: &Actor, cluster: Option<&ClusterRef>, offset: u64, limit: u64) -> Result<Parts, Problem> {
        if let Some(cluster) = cluster {
            return Ok(Parts { clusters: vec![self.cluster(actor, cluster).await?], more: false });
        }
        let list = ListClusters {
            engine: None,
            name: None,
            state: None,
            database_name: None,
            sort: ClusterSort::Name,
            descending: false,
            offset,
            limit,
        };
        let page = self.clusters(actor, &list).await?;
        let more = offset.saturating_add(page.rows.len() as u64) < page.total && !page.rows.is_empty();
        let mut clusters = Vec::with_capacity(page.rows.len());
        for row in page.rows {
            match self.cluster(actor, &ClusterRef::any(row.id.as_str())).await {
                Ok(view) => clusters.push(view),
                // It went meanwhile, and its parts with it.
                Err(problem) if problem.code == ProblemCode::ClusterNotFound => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok(Parts { clusters, more })
    }

    /// One of the caller's instances, with its cluster.
    pub async fn instance(&self, actor: &Actor, id: &str) -> Result<ClusterView, Problem> {
        let unknown =
            || Problem::new(ProblemCode::InstanceNotFound, "There is no such instance.").hint("List the instances to see which there are.");
        let id = InstanceId::parse(id).map_err(|_| unknown())?;
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let instance = look.instance(&id).await.map_err(problem::store)?.ok_or_else(unknown)?;
        let cluster = find(&mut look, actor, &ClusterRef::any(instance.cluster.as_str())).await.map_err(|problem| match problem.code {
            ProblemCode::ClusterNotFound => unknown(),
            _ => problem,
        })?;
        drop(look);
        let mut view = self.cluster(actor, &ClusterRef::any(cluster.id.as_str())).await?;
        view.instances.retain(|(instance, _)| instance.id == id);
        Ok(view)
    }

    /// What users' connections are doing, per cluster of this host; empty while the gateway does not answer.
    pub async fn traffic(&self) -> BTreeMap<ClusterId, Traffic> {
        self.parts.host.endpoint_traffic().await.unwrap_or_default()
    }
}
