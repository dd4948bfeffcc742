//! Projects, users and who is asking.

use crate::{ActionId, ProjectId, Timestamp, TokenId, UserId};
use serde::{Deserialize, Serialize};

/// What a user may do inside a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Looks, changes nothing.
    Viewer,
    /// Runs clusters.
    Operator,
    /// Everything, people included.
    Administrator,
}

impl Role {
    /// The role as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Administrator => "administrator",
        }
    }
    /// Reads a stored role.
    pub fn parse(text: &str) -> Option<Self> {
        [Role::Viewer, Role::Operator, Role::Administrator].into_iter().find(|role| role.as_str() == text)
    }
}

/// Who is asking: proven by a credential, confined to one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The project (tenant).
    pub project: ProjectId,
    /// The user.
    pub user: UserId,
    /// The user's name, for audit and display.
    pub user_name: String,
    /// What the user may do.
    pub role: Role,
    /// Whether the project is the installation's own, the one its first start made.
    pub of_installation: bool,
}

impl Actor {
    /// Whether the actor may manage the people of a project: its administrators may, and those of the installation's own
    /// project may everywhere.
    pub fn administers(&self, project: &ProjectId) -> bool {
        self.role == Role::Administrator && (self.of_installation || self.project == *project)
    }
    /// Whether the actor may manage the installation itself: its projects and hosts.
    pub fn administers_installation(&self) -> bool {
        self.role == Role::Administrator && self.of_installation
    }
}

/// A project: the tenant everything belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Identifier.
    pub id: ProjectId,
    /// Name, unique.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A person or program that signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Identifier.
    pub id: UserId,
    /// Its project.
    pub project: ProjectId,
    /// Name, unique in the installation.
    pub name: String,
    /// E-mail address; signs in as well as the name does.
    pub email: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An access key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// The public part.
    pub access_key: String,
    /// What it is for, in its owner's words.
    pub name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A token, without what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Identifier.
    pub id: TokenId,
    /// What it is for, in its owner's words.
    pub name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A change that somebody asked for through an API, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Identifier; ordered by time.
    pub id: ActionId,
    /// When it was answered.
    pub at: Timestamp,
    /// The project of who asked.
    pub project: ProjectId,
    /// Who asked.
    pub user: UserId,
    /// Who asked, by name: the account may be gone by now.
    pub user_name: String,
    /// From which address.
    pub source: Option<String>,
    /// The id of the exchange, as in the log.
    pub request_id: String,
    /// Which family was spoken.
    pub family: String,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The status it was answered with.
    pub status: u16,
    /// The problem's code, where it was refused.
    pub problem: Option<String>,
}
