//! What databases are asked for by: plans, the environments they are offered in, the teams they belong to, what they are for.

use crate::engine::EngineName;
use crate::{ApplicationId, EnvironmentId, PlanId, ProjectId, TeamId, Timestamp};

/// Whom an environment serves: a name may be used once for production and once for development.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Those who build.
    Development,
    /// Those who use what was built.
    Production,
}

impl Stage {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
    /// Reads a stored stage.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Development, Self::Production].into_iter().find(|stage| stage.as_str() == text)
    }
}

/// A place where databases are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its identifier.
    pub id: EnvironmentId,
    /// Its tenant.
    pub project: ProjectId,
    /// Its name, unique in its project.
    pub name: String,
    /// Whom it serves.
    pub stage: Stage,
    /// The subnet its endpoints come from; the first configured one where none is named.
    pub subnet: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A kind of database that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its identifier.
    pub id: PlanId,
    /// Its tenant.
    pub project: ProjectId,
    /// Its name, unique in its project.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// The engine of its databases; the newest version that is installed.
    pub engine: EngineName,
    /// Server type of its clusters.
    pub server_type: String,
    /// Ceiling of their volumes in GiB.
    pub size_gb: u32,
    /// How many databases share a cluster; with 1 each has one of its own.
    pub capacity: u32,
    /// Whether its clusters have a standby.
    pub highly_available: bool,
    /// Whether new databases can be asked for.
    pub active: bool,
    /// Where it is offered.
    pub environments: Vec<EnvironmentId>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// People who share databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// Its identifier.
    pub id: TeamId,
    /// Its tenant.
    pub project: ProjectId,
    /// Its name, unique in its project.
    pub name: String,
    /// Where it is written to.
    pub email: Option<String>,
    /// Whether it looks after all databases of the project, those in quarantine included.
    pub administers: bool,
    /// Databases at most in each environment; 0: as many as it likes.
    pub allocation_limit: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What databases are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Its identifier.
    pub id: ApplicationId,
    /// Its tenant.
    pub project: ProjectId,
    /// Its name, unique in its project.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
}
