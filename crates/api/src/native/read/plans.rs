//! Environments, plans and teams.

use moorage_domain::plan::{Environment, Plan, Team};
use schemars::JsonSchema;
use serde::Serialize;

/// A place where databases are made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct EnvironmentBody {
    id: String,
    name: String,
    /// `development` or `production`.
    stage: &'static str,
    subnet: Option<String>,
    created_at: String,
}

/// A place where databases are made.
pub(crate) fn environment(environment: &Environment) -> EnvironmentBody {
    EnvironmentBody {
        id: environment.id.to_string(),
        name: environment.name.clone(),
        stage: environment.stage.as_str(),
        subnet: environment.subnet.clone(),
        created_at: environment.created_at.rfc3339(),
    }
}

/// A kind of database that can be asked for.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PlanBody {
    id: String,
    name: String,
    description: String,
    engine: &'static str,
    server_type: String,
    size_gb: u32,
    /// How many databases share a cluster; with 1 each has one of its own.
    capacity: u32,
    highly_available: bool,
    active: bool,
    /// Names of the environments it is offered in.
    environments: Vec<String>,
    created_at: String,
}

/// A kind of database that can be asked for.
pub(crate) fn plan(plan: &Plan, environments: &[Environment]) -> PlanBody {
    let offered = environments.iter().filter(|environment| plan.environments.contains(&environment.id));
    PlanBody {
        id: plan.id.to_string(),
        name: plan.name.clone(),
        description: plan.description.clone(),
        engine: plan.engine.as_str(),
        server_type: plan.server_type.clone(),
        size_gb: plan.size_gb,
        capacity: plan.capacity,
        highly_available: plan.highly_available,
        active: plan.active,
        environments: offered.map(|environment| environment.name.clone()).collect(),
        created_at: plan.created_at.rfc3339(),
    }
}

/// People who share databases.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TeamBody {
    id: String,
    name: String,
    email: Option<String>,
    /// It looks after all databases of the project, those in quarantine included.
    administers: bool,
    /// Databases at most in each environment; 0: as many as it likes.
    allocation_limit: u32,
    created_at: String,
}

/// People who share databases.
pub(crate) fn team(team: &Team) -> TeamBody {
    TeamBody {
        id: team.id.to_string(),
        name: team.name.clone(),
        email: team.email.clone(),
        administers: team.administers,
        allocation_limit: team.allocation_limit,
        created_at: team.created_at.rfc3339(),
    }
}
