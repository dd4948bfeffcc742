//! The configuration file: every key optional, an unknown key an error that names it, a key whose feature is not there yet
//! an error that says so.

use crate::first_start;
use ipnet::Ipv4Net;
use moorage_domain::decide::admission::Overcommit;
use moorage_domain::subnet::Subnet;
use moorage_domain::{Problem, ProblemCode};
use moorage_store::StoreAddress;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The file as a whole.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listener.
    pub server: Server,
    /// The store.
    pub store: StoreSection,
    /// Subnets.
    pub network: Network,
    /// Volumes.
    pub storage: Storage,
    /// Engine versions.
    pub engines: Engines,
    /// Limits.
    pub limits: Limits,
}

/// `[server]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// `ADDRESS:PORT` of the API.
    pub listen: Option<String>,
    /// Base URL under which clients reach the API, when it is not the listener's own (a reverse proxy).
    pub public_url: Option<String>,
    /// PEM chain for https, the leaf first; given together with the key, https is served.
    pub tls_cert: Option<PathBuf>,
    /// Its PEM private key.
    pub tls_key: Option<PathBuf>,
}

/// `[store]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSection {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; without it, a file in the data directory.
    pub url: Option<String>,
}

/// `[network]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Subnets that endpoints take their addresses from.
    pub subnets: Vec<SubnetSection>,
    publish: Option<toml::Value>,
}

/// One subnet.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetSection {
    /// Its name.
    pub id: String,
    /// Its range.
    pub cidr: Ipv4Net,
    interface: Option<String>,
}

/// `[storage]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Where instances with their volumes are; by default in the data directory.
    pub path: Option<PathBuf>,
    /// How volumes are kept: `directory`, `reflink`, `btrfs` or `image`; by default the best that works without being asked for.
    pub driver: Option<String>,
    /// Spare data directories kept ready for the newest version of each engine.
    pub spares: Option<usize>,
}

/// `[engines]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engines {
    /// More directories that stand for `/` of an unpacked engine.
    pub prefixes: Vec<PathBuf>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Client connections at most per cluster.
    pub connections: Option<u32>,
    memory_overcommit: Option<f64>,
    disk_overcommit: Option<f64>,
    /// What newcomers leave free on the disk of the volumes, in GiB.
    pub reserve_gb: Option<u32>,
}

impl Limits {
    /// How much more than it has the host may promise.
    pub fn overcommit(&self) -> Overcommit {
        let usual = Overcommit::default();
        Overcommit {
            memory: self.memory_overcommit.unwrap_or(usual.memory),
            disk: self.disk_overcommit.unwrap_or(usual.disk),
            reserve_bytes: self.reserve_gb.map(|gib| u64::from(gib) << 30).or(usual.reserve_bytes),
        }
    }
}

fn invalid(path: &Path, why: String) -> Problem {
    Problem::new(ProblemCode::ConfigInvalid, format!("The configuration file {} cannot be used.", path.display()))
        .detail(why)
        .hint("Correct the file, or start without it: every key is optional.")
}

/// Reads and checks the file; without one, everything has its default. The environment's MOORAGE_DATABASE_URL goes before the
/// file's.
pub fn read(path: Option<&Path>) -> Result<Config, Problem> {
    let mut config = read_file(path)?;
    if let Some(url) = std::env::var("MOORAGE_DATABASE_URL").ok().filter(|url| !url.is_empty()) {
        config.store.url = Some(url);
    }
    match &config.store.url {
        Some(url) if !url.starts_with("postgres://") && !url.starts_with("postgresql://") => {
            Err(Problem::new(ProblemCode::ConfigInvalid, "The URL of the store does not begin with postgres://.")
                .hint("Give it as postgres://USER:PASSWORD@HOST:PORT/DATABASE, or leave it out: the store is then a file."))
        }
        _ => Ok(config),
    }
}

fn read_file(path: Option<&Path>) -> Result<Config, Problem> {
    let Some(path) = path else { return Ok(Config::default()) };
    let text = std::fs::read_to_string(path).map_err(|error| invalid(path, error.to_string()))?;
    let config: Config = toml::from_str(&text).map_err(|error| invalid(path, error.to_string()))?;
    let not_there = [
        ("network.publish", config.network.publish.is_some()),
        ("network.subnets.interface", config.network.subnets.iter().any(|subnet| subnet.interface.is_some())),
    ];
    if let Some((key, _)) = not_there.iter().find(|(_, given)| *given) {
        return Err(Problem::new(ProblemCode::NotSupportedYet, format!("The configuration key `{key}` is not supported yet."))
            .hint("Take it out of the file."));
    }
    for (key, factor) in [("memory", config.limits.memory_overcommit), ("disk", config.limits.disk_overcommit)] {
        if factor.is_some_and(|factor| !(0.1..=1000.0).contains(&factor)) {
            return Err(invalid(path, format!("`limits.{key}_overcommit` is not a number from 0.1 to 1000.")));
        }
    }
    if config.storage.path.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err(invalid(path, "`storage.path` does not begin with `/`.".to_owned()));
    }
    if config.network.subnets.iter().any(|subnet| !subnet.cidr.addr().is_loopback()) {
        return Err(Problem::new(ProblemCode::NotSupportedYet, "Subnets outside the loopback range are not supported yet.")
            .hint("Use a range inside 127.0.0.0/8."));
    }
    Ok(config)
}

impl Config {
    /// Where the store is.
    pub fn store_address(&self, directory: &Path) -> StoreAddress {
        match &self.store.url {
            Some(url) => StoreAddress::PostgreSql(url.clone()),
            None => StoreAddress::File(first_start::store_file(directory)),
        }
    }
    /// The subnets in force: the configured ones, or the installation's own.
    pub fn subnets(&self, installation: u128) -> Vec<Subnet> {
        if self.network.subnets.is_empty() {
            return vec![moorage_domain::subnet::default_for(installation)];
        }
        let sections = self.network.subnets.iter();
        sections.map(|section| Subnet { id: section.id.clone(), cidr: section.cidr, interface: None }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Config, Problem> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        read(Some(file.path()))
    }

    #[test]
    fn an_unknown_key_is_named() {
        let problem = read_text("[server]\nlisten = '127.0.0.1:1'\nlissten = 'x'").expect_err("unknown key");
        assert!(problem.detail.expect("why").contains("lissten"));
    }

    #[test]
    fn a_key_whose_feature_is_not_there_is_refused_by_name() {
        let problem = read_text("[network]\npublish = '10.0.0.1'").expect_err("not there");
        assert_eq!(problem.code, ProblemCode::NotSupportedYet);
        assert!(problem.message.contains("network.publish"));
    }

    #[test]
    fn overcommit_is_a_number_and_whole_ones_are_numbers_too() {
        let limits = read_text("[limits]\nmemory_overcommit = 3\nreserve_gb = 2").expect("read").limits.overcommit();
        assert_eq!(limits, Overcommit { memory: 3.0, reserve_bytes: Some(2 << 30), ..Overcommit::default() });
        for wrong in ["0", "-1", "nan", "'much'"] {
            let problem = read_text(&format!("[limits]\ndisk_overcommit = {wrong}")).expect_err(wrong);
            assert!(problem.detail.expect("why").contains("disk_overcommit"), "{wrong}");
        }
    }

    #[test]
    fn a_store_is_a_file_or_a_postgresql_database() {
        let config = read_text("[store]\nurl = 'postgres://moorage@db.example/moorage'").expect("read");
        assert_eq!(config.store_address(Path::new("/d")), StoreAddress::PostgreSql("postgres://moorage@db.example/moorage".into()));
        assert_eq!(read_text("").expect("read").store_address(Path::new("/d")), StoreAddress::File("/d/store.db".into()));
        assert_eq!(read_text("[store]\nurl = 'mysql://x'").expect_err("no").code, ProblemCode::ConfigInvalid);
    }
}
