//! Databases that were asked for by a plan: whose they are, what they are for, who may see them.

use crate::database::{Credential, Database};
use crate::engine::EngineName;
use crate::service_state::ServiceState;
use crate::{ApplicationId, DatabaseId, EnvironmentId, PlanId, ProjectId, TeamId, Timestamp, UserId};
use std::net::Ipv4Addr;

/// That a database was asked for by a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The database.
    pub database: DatabaseId,
    /// Its tenant.
    pub project: ProjectId,
    /// Its plan.
    pub plan: PlanId,
    /// Where it is.
    pub environment: EnvironmentId,
    /// Whose it is; none: only those who administer see it.
    pub team: Option<TeamId>,
    /// What it is for.
    pub application: Option<ApplicationId>,
    /// What it is, for people.
    pub description: Option<String>,
    /// Whether it refuses to be removed until this is switched off.
    pub protected: bool,
}

/// Such a database with all there is to show of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// Whose it is and what for.
    pub allocation: Allocation,
    /// The database.
    pub database: Database,
    /// Its credentials, the oldest first.
    pub credentials: Vec<Credential>,
    /// The engine of its cluster.
    pub engine: EngineName,
    /// The state of its cluster.
    pub cluster_state: ServiceState,
    /// Where users connect, once that is known.
    pub endpoint: Option<(Ipv4Addr, u16)>,
}

/// Which databases of a project somebody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The project.
    pub project: ProjectId,
    /// Only those of the teams this user is in, and none in quarantine; none: all.
    pub member: Option<UserId>,
}

/// A database that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerDatabase {
    /// Its identifier.
    pub id: DatabaseId,
    /// Its tenant.
    pub project: ProjectId,
    /// Its name.
    pub name: String,
    /// Its engine.
    pub engine: EngineName,
    /// The cluster it was in.
    pub cluster_name: String,
    /// Its plan, by name.
    pub plan: String,
    /// Where it was, by name.
    pub environment: String,
    /// Whose it was, by name.
    pub team: Option<String>,
    /// What it was for, by name.
    pub application: Option<String>,
    /// What it was, for people.
    pub description: Option<String>,
    /// What it took on disk, as last seen.
    pub used_bytes: Option<u64>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it went.
    pub deleted_at: Timestamp,
}

/// The name a database gets from a wish: lower-case ASCII letters and digits, everything else between them one underscore (python-slugify
/// with `_`, Globo's wire reference, section 2.3). None where nothing is left.
pub fn slug(wish: &str) -> Option<String> {
    let plain = deunicode::deunicode(wish).to_ascii_lowercase();
    let words: Vec<&str> = plain.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join("_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_originals_slugs_are() {
        assert_eq!(slug("test database2").as_deref(), Some("test_database2"));
        assert_eq!(slug("  Ação -- Çok__güzel! ").as_deref(), Some("acao_cok_guzel"));
        assert_eq!(slug("a.b'c\"d").as_deref(), Some("a_b_c_d"));
        assert_eq!(slug("!!! ___"), None);
        assert_eq!(slug(""), None);
    }
}
