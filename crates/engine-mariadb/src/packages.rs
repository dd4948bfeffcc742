//! Debian packages whose contents are a MariaDB version.

use moorage_domain::engine::{EngineName, Version};
use moorage_engine::Package;

/// The packages of a version: the server, its client, and the client tools among which is the time zone converter.
pub fn packages(version: &Version) -> Vec<Package> {
    let versioned = |name| Package { name, versioned: true };
    match version.major(EngineName::MariaDb).as_str() {
        "10.11" => {
            vec![versioned("mariadb-server-core"), versioned("mariadb-client-core"), versioned("mariadb-client"), versioned("libmariadb3")]
        }
        _ => Vec::new(),
    }
}
