//! Parameters: what an engine version has, and what a cluster's engine applies.

use crate::clusters::find;
use crate::command::ClusterRef;
use crate::engine_versions::digest_id;
use crate::{App, problem};
use moorage_domain::engine::{EngineName, Installation};
use moorage_domain::parameter::{AppliedParameters, Parameter};
use moorage_domain::tenant::Actor;
use moorage_domain::{Problem, ProblemCode};
use moorage_store::Parameters;
use std::sync::Arc;

/// The parameters that clusters of a major version are made with: the engine's own, and what Moorage sizes from the server type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterGroup {
    /// Identifier: 32 hexadecimal digits, the same on every installation.
    pub id: String,
    /// Its name (`default.mariadb10.11`).
    pub name: String,
    /// Which engine.
    pub engine: EngineName,
    /// Which major version.
    pub major: String,
}

/// The identifier of an engine's parameter: 32 hexadecimal digits, the same on every installation and in every version.
pub fn parameter_id(engine: EngineName, name: &str) -> String {
    digest_id(&format!("{engine} parameter {name}"))
}

impl ParameterGroup {
    fn of(installation: &Installation) -> Self {
        let (engine, major) = (installation.engine, installation.version.major(installation.engine));
        let name = format!("default.{engine}{major}");
        Self { id: digest_id(&name), name, engine, major }
    }
}

impl App {
    /// Parameter groups of what is installed, by name.
    pub async fn parameter_groups(&self, engine: Option<EngineName>) -> Result<Vec<ParameterGroup>, Problem> {
        let mut groups: Vec<ParameterGroup> = self.installations().await?.iter().map(ParameterGroup::of).collect();
        groups.retain(|group| engine.is_none_or(|only| only == group.engine));
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        groups.dedup();
        Ok(groups)
    }

    /// The parameters of a group, by name: those of the newest installed version.
    pub async fn parameters(&self, group: &str, within: Option<EngineName>) -> Result<(ParameterGroup, Arc<[Parameter]>), Problem> {
        let installations = self.installations().await?;
        let found = installations.iter().find(|installation| {
            within.is_none_or(|only| only == installation.engine) && {
                let known = ParameterGroup::of(installation);
                known.id == group || known.name == group
            }
        });
        let installation = found.ok_or_else(|| {
            Problem::new(ProblemCode::ParameterGroupNotFound, "There is no such parameter group.")
                .hint("List the parameter groups to see which there are.")
        })?;
        let engine = self.engine(installation.engine)?;
        let program = engine.catalogue(installation);
        let parameters = match self.catalogues.get(&program) {
            Some(known) => known,
            None => {
                let output = self.parts.host.output_of(&program).await.map_err(problem::host)?;
                self.catalogues.keep(program, engine.read_catalogue(&output).into())
            }
        };
        Ok((ParameterGroup::of(installation), parameters))
    }

    /// What a cluster's engine applied when it was last asked: when it began to serve, or when that was asked for since.
    pub async fn cluster_parameters(&self, actor: &Actor, cluster: &ClusterRef) -> Result<(EngineName, AppliedParameters), Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let cluster = find(&mut look, actor, cluster).await?;
        let applied = look.applied_parameters(&cluster.id).await.map_err(problem::store)?;
        let applied = applied.ok_or_else(|| {
            Problem::new(ProblemCode::WrongState, "The parameters of the cluster have never been read, because it has not served yet.")
                .hint("Start the cluster; while it runs they can be synchronized.")
        })?;
        Ok((cluster.engine, applied))
    }
}

/// What programs said of themselves; an installed version does not change.
#[derive(Debug, Default)]
pub(crate) struct Catalogues {
    known: std::sync::Mutex<std::collections::HashMap<moorage_domain::layout::Program, Arc<[Parameter]>>>,
}

impl Catalogues {
    fn get(&self, program: &moorage_domain::layout::Program) -> Option<Arc<[Parameter]>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(program).cloned()
    }
    fn keep(&self, program: moorage_domain::layout::Program, parameters: Arc<[Parameter]>) -> Arc<[Parameter]> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(program, parameters.clone());
        parameters
    }
}
