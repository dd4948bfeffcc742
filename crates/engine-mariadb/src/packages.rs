//! Debian packages whose contents are a MariaDB version.

use moorage_domain::engine::{EngineName, Version};
use moorage_engine::Package;

/// The packages of a version: the server, its client, the client tools among which is the time zone converter, and what copies a
/// running server.
pub fn packages(version: &Version) -> Vec<Package> {
    let versioned = |name| Package { name, versioned: true };
    match version.major(EngineName::MariaDb).as_str() {
        "10.11" => ["mariadb-server-core", "mariadb-client-core", "mariadb-client", "mariadb-backup", "libmariadb3"].map(versioned).into(),
        _ => Vec::new(),
    }
}
