//! Projects, users and who is asking.

use crate::{ProjectId, UserId};
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
}
