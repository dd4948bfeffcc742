//! Debian packages whose contents are a PostgreSQL version.

use moorage_domain::engine::{EngineName, Version};
use moorage_engine::Package;

/// The packages of a version. Names are fixed texts, so each major version has its own row.
pub fn packages(version: &Version) -> Vec<Package> {
    let versioned = |name| Package { name, versioned: true };
    match version.major(EngineName::PostgreSql).as_str() {
        "15" => vec![versioned("postgresql-15"), versioned("postgresql-client-15"), versioned("libpq5")],
        _ => Vec::new(),
    }
}
