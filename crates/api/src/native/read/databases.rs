//! Databases and their credentials.

use super::OperationRef;
use moorage_app::{Begun, DatabaseView};
use moorage_domain::database::{Credential, Database};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

/// A database in a cluster.
#[derive(Serialize, JsonSchema)]
pub(crate) struct DatabaseBody {
    id: String,
    name: String,
    cluster: String,
    /// `being-made`, `made` or `being-removed`.
    stage: &'static str,
    /// It came with its cluster and goes with it.
    first: bool,
    character_set: String,
    locale: Option<String>,
    /// What it takes on disk, in bytes; looked at every minute.
    used_bytes: Option<u64>,
    /// Since when nobody gets in; none where it is in use.
    quarantined_at: Option<String>,
    quarantined_by: Option<String>,
    created_at: String,
    credentials: Vec<CredentialBody>,
}

/// A credential of a database, without its password.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CredentialBody {
    id: String,
    user: String,
    /// `owner`, `read-write` or `read-only`.
    privileges: &'static str,
    /// `being-made`, `made` or `being-removed`.
    stage: &'static str,
    /// Whether its password can be asked for: one that its user chose when a cluster was made is kept nowhere.
    password_known: bool,
    created_at: String,
}

/// The password of a credential.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PasswordBody {
    user: String,
    password: String,
}

/// The answer to a request that becomes an operation on something inside a cluster.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BegunBody {
    /// The cluster's identifier.
    cluster: String,
    /// The database's identifier.
    database: String,
    /// The credential's identifier, where it is about one.
    credential: Option<String>,
    operation: OperationRef,
}

/// A credential.
pub(crate) fn credential(credential: &Credential) -> CredentialBody {
    CredentialBody {
        id: credential.id.to_string(),
        user: credential.user.clone(),
        privileges: credential.privileges.as_str(),
        stage: credential.stage.as_str(),
        password_known: credential.sealed_password.is_some(),
        created_at: credential.created_at.rfc3339(),
    }
}

/// A database with its credentials.
pub(crate) fn database(DatabaseView { database, credentials }: &DatabaseView) -> DatabaseBody {
    let Database { id, cluster, name, character_set, locale, first, stage, quarantine, used_bytes, created_at, .. } = database.clone();
    DatabaseBody {
        id: id.to_string(),
        name,
        cluster: cluster.to_string(),
        stage: stage.as_str(),
        first,
        character_set,
        locale,
        used_bytes,
        quarantined_at: quarantine.as_ref().map(|quarantine| quarantine.since.rfc3339()),
        quarantined_by: quarantine.map(|quarantine| quarantine.by),
        created_at: created_at.rfc3339(),
        credentials: credentials.iter().map(credential).collect(),
    }
}

/// A credential's password.
pub(crate) fn password(credential: &Credential, password: &SecretString) -> PasswordBody {
    PasswordBody { user: credential.user.clone(), password: password.expose_secret().to_owned() }
}

/// What has begun.
pub(crate) fn begun(begun: &Begun) -> BegunBody {
    BegunBody {
        cluster: begun.cluster.to_string(),
        database: begun.database.to_string(),
        credential: begun.credential.as_ref().map(ToString::to_string),
        operation: OperationRef { id: begun.operation.to_string() },
    }
}
