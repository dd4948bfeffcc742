//! Databases inside clusters, and the credentials by which they are used.

use crate::cluster::DatabaseSpec;
use crate::{ClusterId, CredentialId, DatabaseId, ProjectId, Timestamp};
use serde::{Deserialize, Serialize};

/// What a credential may do with its database, and never outside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privileges {
    /// Everything: it makes and drops tables, and reads and writes what others made.
    Owner,
    /// Reads and writes rows.
    ReadWrite,
    /// Reads rows.
    ReadOnly,
}

impl Privileges {
    /// All of them, the strongest first.
    pub const ALL: &'static [Self] = &[Self::Owner, Self::ReadWrite, Self::ReadOnly];

    /// As stored, and as the native family shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
        }
    }
    /// Reads a stored word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|privileges| privileges.as_str() == text)
    }
}

/// What a name of an account stands for in an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountName {
    /// Nothing; it may be given.
    Free,
    /// An account.
    Account,
    /// No account, but routines, views, triggers or events that would run with the rights of whoever gets the name.
    Definer,
}

/// Where a database or a credential stands between being asked for and being gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Asked for; the engine may not have it yet.
    BeingMade,
    /// The engine has it.
    Made,
    /// To go; the engine may still have it.
    BeingRemoved,
}

impl Stage {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeingMade => "being-made",
            Self::Made => "made",
            Self::BeingRemoved => "being-removed",
        }
    }
    /// Reads a stored stage.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::BeingMade, Self::Made, Self::BeingRemoved].into_iter().find(|stage| stage.as_str() == text)
    }
}

/// A database that is to go: nobody gets in any more, its data and its name stay for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// Since when.
    pub since: Timestamp,
    /// Who wanted it.
    pub by: String,
}

/// A database's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its identifier.
    pub id: DatabaseId,
    /// Its tenant.
    pub project: ProjectId,
    /// The cluster it is in.
    pub cluster: ClusterId,
    /// Its name, unique in its cluster.
    pub name: String,
    /// MariaDB: character set. PostgreSQL: encoding. As given.
    pub character_set: String,
    /// PostgreSQL: locale.
    pub locale: Option<String>,
    /// Whether it is the one its cluster was made with: it goes when the cluster goes, and not before.
    pub first: bool,
    /// Where it stands.
    pub stage: Stage,
    /// Since when nobody gets in, and who wanted that; it is removed some time after.
    pub quarantine: Option<Quarantine>,
    /// What it takes on disk in bytes, as last looked at.
    pub used_bytes: Option<u64>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
}

impl Database {
    /// As engines are told; `owner` is who owns it.
    pub fn spec(&self, owner: &str) -> DatabaseSpec {
        DatabaseSpec {
            name: self.name.clone(),
            owner: owner.to_owned(),
            character_set: self.character_set.clone(),
            locale: self.locale.clone(),
        }
    }
}

/// A credential's row: an account of the engine's that may use one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its identifier.
    pub id: CredentialId,
    /// Its database.
    pub database: DatabaseId,
    /// The cluster that is in.
    pub cluster: ClusterId,
    /// Name of the account, unique in its cluster.
    pub user: String,
    /// What it may do.
    pub privileges: Privileges,
    /// Where it stands.
    pub stage: Stage,
    /// The password the engine has, sealed; none where only its user knows it.
    pub sealed_password: Option<String>,
    /// The password the engine is about to get, sealed.
    pub sealed_next: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

impl Credential {
    /// What a sealed password is bound to.
    pub fn password_context(id: &CredentialId) -> String {
        format!("credential:{id}")
    }
}

/// An account of a database, as engines are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSpec {
    /// The account's name.
    pub name: String,
    /// The database it may use.
    pub database: String,
    /// What it may do there.
    pub privileges: Privileges,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again() {
        for privileges in Privileges::ALL {
            assert_eq!(Privileges::parse(privileges.as_str()), Some(*privileges));
            assert_eq!(serde_json::to_value(privileges).expect("JSON"), privileges.as_str());
        }
        for stage in [Stage::BeingMade, Stage::Made, Stage::BeingRemoved] {
            assert_eq!(Stage::parse(stage.as_str()), Some(stage));
        }
        assert_eq!(Privileges::parse("all"), None);
    }
}
