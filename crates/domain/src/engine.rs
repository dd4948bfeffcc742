//! Engines and their versions.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// A database product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineName {
    /// MariaDB Server.
    MariaDb,
    /// PostgreSQL.
    PostgreSql,
}

impl EngineName {
    /// Every engine there is.
    pub const ALL: [EngineName; 2] = [EngineName::MariaDb, EngineName::PostgreSql];
    /// The name in paths, rows and commands: `mariadb`, `postgresql`.
    pub fn as_str(self) -> &'static str {
        match self {
            EngineName::MariaDb => "mariadb",
            EngineName::PostgreSql => "postgresql",
        }
    }
    /// Reads the name as it appears in paths and rows.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.as_str() == text)
    }
    /// The name for people.
    pub fn display(self) -> &'static str {
        match self {
            EngineName::MariaDb => "MariaDB",
            EngineName::PostgreSql => "PostgreSQL",
        }
    }
}

impl std::fmt::Display for EngineName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A version as dotted numbers (`10.11.19`, `15.20`); compared number by number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    numbers: Vec<u32>,
}

/// A text that is not a version.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a version: a version is one to four numbers separated by dots")]
pub struct NotAVersion;

impl Version {
    /// Reads `10.11.19`; one to four numbers.
    pub fn parse(text: &str) -> Result<Self, NotAVersion> {
        let numbers: Vec<u32> = text.split('.').map(|n| n.parse().map_err(|_| NotAVersion)).collect::<Result<_, _>>()?;
        if numbers.is_empty() || numbers.len() > 4 || text.contains('+') {
            return Err(NotAVersion);
        }
        Ok(Self { numbers })
    }
    /// The major version of an engine's numbering: two numbers for MariaDB (`10.11`), one for PostgreSQL (`15`).
    pub fn major(&self, engine: EngineName) -> String {
        let count = match engine {
            EngineName::MariaDb => 2,
            EngineName::PostgreSql => 1,
        };
        self.numbers.iter().take(count).map(u32::to_string).collect::<Vec<_>>().join(".")
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.numbers.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
    }
}
impl TryFrom<String> for Version {
    type Error = NotAVersion;
    fn try_from(text: String) -> Result<Self, NotAVersion> {
        Self::parse(&text)
    }
}
impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}
impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers)
    }
}

/// An engine version that is installed on a host and can run instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// Which product.
    pub engine: EngineName,
    /// Which version, as the binary itself reports it.
    pub version: Version,
    /// The directory that stands for `/` of the unpacked packages (`/` for a system installation).
    pub prefix: std::path::PathBuf,
    /// Installed by the system's package manager, not by Moorage.
    pub system: bool,
}

impl Installation {
    /// `mariadb@10.11.19`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.engine, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number_and_know_their_major() {
        let v = |t: &str| Version::parse(t).expect("a version");
        assert!(v("10.11.9") < v("10.11.19"));
        assert_eq!(v("10.11.19").major(EngineName::MariaDb), "10.11");
        assert_eq!(v("15.20").major(EngineName::PostgreSql), "15");
        for bad in ["", "x", "1.", "1.2.3.4.5", "+1"] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
    }
}
