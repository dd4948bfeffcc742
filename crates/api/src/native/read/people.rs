//! Projects, users, what proves them, and what they asked for.

use moorage_domain::tenant::{AccessKey, Action, Project, Token, User};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

/// A project.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ProjectBody {
    id: String,
    name: String,
    created_at: String,
}

/// A project.
pub(crate) fn project(project: &Project) -> ProjectBody {
    ProjectBody { id: project.id.to_string(), name: project.name.clone(), created_at: project.created_at.rfc3339() }
}

/// A user.
#[derive(Serialize, JsonSchema)]
pub(crate) struct UserBody {
    id: String,
    name: String,
    email: String,
    project: String,
    role: &'static str,
    created_at: String,
}

/// A user.
pub(crate) fn user(user: &User) -> UserBody {
    UserBody {
        id: user.id.to_string(),
        name: user.name.clone(),
        email: user.email.clone(),
        project: user.project.to_string(),
        role: user.role.as_str(),
        created_at: user.created_at.rfc3339(),
    }
}

/// A token; what proves it is shown once, when it is made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TokenBody {
    id: String,
    name: Option<String>,
    created_at: String,
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// A token, with its secret when it was just made.
pub(crate) fn token(token: &Token, secret: Option<&SecretString>) -> TokenBody {
    TokenBody {
        id: token.id.to_string(),
        name: token.name.clone(),
        created_at: token.created_at.rfc3339(),
        expires_at: token.expires_at.map(|at| at.rfc3339()),
        token: secret.map(|secret| secret.expose_secret().to_owned()),
    }
}

/// An access key; its secret is shown once, when it is made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AccessKeyBody {
    access_key: String,
    name: Option<String>,
    created_at: String,
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_key: Option<String>,
}

/// An access key, with its secret when it was just made.
pub(crate) fn access_key(key: &AccessKey, secret: Option<&SecretString>) -> AccessKeyBody {
    AccessKeyBody {
        access_key: key.access_key.clone(),
        name: key.name.clone(),
        created_at: key.created_at.rfc3339(),
        expires_at: key.expires_at.map(|at| at.rfc3339()),
        secret_key: secret.map(|secret| secret.expose_secret().to_owned()),
    }
}

/// A change that was asked for.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ActionBody {
    id: String,
    at: String,
    user: String,
    project: String,
    source: Option<String>,
    family: String,
    method: String,
    path: String,
    status: u16,
    problem: Option<String>,
    request_id: String,
}

/// A change that was asked for.
pub(crate) fn action(action: &Action) -> ActionBody {
    ActionBody {
        id: action.id.to_string(),
        at: action.at.rfc3339(),
        user: action.user_name.clone(),
        project: action.project.to_string(),
        source: action.source.clone(),
        family: action.family.clone(),
        method: action.method.clone(),
        path: action.path.clone(),
        status: action.status,
        problem: action.problem.clone(),
        request_id: action.request_id.clone(),
    }
}
