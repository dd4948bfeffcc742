//! The configuration file: every key optional, an unknown key an error that names it, a key whose feature is not there yet
//! an error that says so.

use crate::first_start;
use ipnet::Ipv4Net;
use moorage_domain::decide::admission::Overcommit;
use moorage_domain::public_address::PublicAddresses;
use moorage_domain::subnet::Subnet;
use moorage_domain::{Problem, ProblemCode};
use moorage_host_local::VOLUME_DRIVERS;
use moorage_store::StoreAddress;
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
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
    /// Databases.
    pub databases: Databases,
}

/// `[databases]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Databases {
    /// Days that a database of a plan stays in quarantine before it is removed.
    pub quarantine_days: Option<u16>,
}

impl Databases {
    /// How long a database of a plan stays in quarantine.
    pub fn quarantine(&self) -> std::time::Duration {
        std::time::Duration::from_secs(u64::from(self.quarantine_days.unwrap_or(QUARANTINE_DAYS)) * 24 * 3600)
    }
}

/// As the original's documents say (Globo's wire reference, section 5).
pub const QUARANTINE_DAYS: u16 = 7;

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
    /// What other machines are offered besides.
    pub publish: Option<Publish>,
}

/// `[network] publish`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The address of this machine that other machines are told.
    pub address: Ipv4Addr,
    /// `FIRST-LAST`: its ports, of which every cluster gets one.
    pub ports: String,
    /// Where to listen, where that is not the address itself because it is translated on the way.
    pub listen: Option<Ipv4Addr>,
}

impl Publish {
    fn addresses(&self) -> Option<PublicAddresses> {
        let (first, last) = self.ports.split_once('-')?;
        let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
        // Below 1024 the gateway, which has no rights, may not listen.
        let usable = first >= 1024 && first <= last && !self.address.is_unspecified();
        usable.then(|| PublicAddresses { address: self.address, ports: first..=last, listen: self.listen.unwrap_or(self.address) })
    }
}

/// One subnet.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetSection {
    /// Its name.
    pub id: String,
    /// Its range.
    pub cidr: Ipv4Net,
    /// The interface that carries its addresses; needed outside 127.0.0.0/8, where addresses need no configuration.
    pub interface: Option<String>,
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
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problem::new(ProblemCode::ConfigInvalid, format!("The configuration file {} cannot be read.", path.display()))
            .detail(error.to_string())
            .hint("Name another file with --config or MOORAGE_CONFIG, or start without one: every key is optional.")
    })?;
    let config: Config = toml::from_str(&text).map_err(|error| invalid(path, error.to_string()))?;
    for (key, factor) in [("memory", config.limits.memory_overcommit), ("disk", config.limits.disk_overcommit)] {
        if factor.is_some_and(|factor| !(0.1..=1000.0).contains(&factor)) {
            return Err(invalid(path, format!("`limits.{key}_overcommit` is not a number from 0.1 to 1000.")));
        }
    }
    check_server(&config.server).map_err(|why| invalid(path, why))?;
    if config.limits.connections == Some(0) {
        return Err(invalid(path, "`limits.connections` is 0: nobody would be let in.".to_owned()));
    }
    if let Some(driver) = config.storage.driver.as_ref().filter(|driver| !VOLUME_DRIVERS.contains(&driver.as_str())) {
        return Err(invalid(path, format!("`storage.driver` is '{driver}', and none of {}.", VOLUME_DRIVERS.join(", "))));
    }
    if config.storage.path.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err(invalid(path, "`storage.path` does not begin with `/`.".to_owned()));
    }
    if config.network.publish.as_ref().is_some_and(|publish| publish.addresses().is_none()) {
        let why = "`network.publish` needs an `address` that clients can be told, and `ports` as `FIRST-LAST`, from 1024 to 65535.";
        return Err(invalid(path, why.to_owned()));
    }
    check_subnets(&config.network.subnets).map_err(|why| invalid(path, why))?;
    Ok(config)
}

fn check_server(server: &Server) -> Result<(), String> {
    if let Some(listen) = server.listen.as_ref().filter(|listen| listen.parse::<SocketAddr>().is_err()) {
        return Err(format!("`server.listen` is '{listen}', and no address and port as in 127.0.0.1:8440."));
    }
    if let Some(url) = &server.public_url {
        let base = url.parse::<axum::http::Uri>().ok().filter(|base| base.authority().is_some());
        if !matches!(base.as_ref().and_then(axum::http::Uri::scheme_str), Some("http" | "https")) {
            return Err(format!("`server.public_url` is '{url}', and no URL that begins with http:// or https://."));
        }
    }
    if server.tls_cert.is_some() != server.tls_key.is_some() {
        return Err("Of `server.tls_cert` and `server.tls_key` only one is given: give both, or neither and --tls.".to_owned());
    }
    Ok(())
}

fn check_subnets(subnets: &[SubnetSection]) -> Result<(), String> {
    for (position, subnet) in subnets.iter().enumerate() {
        let id = &subnet.id;
        if subnet.cidr.addr().is_loopback() == subnet.interface.is_some() {
            return Err(format!("Subnet '{id}': outside 127.0.0.0/8 an `interface` has to carry its addresses, and inside none does."));
        }
        // 15 bytes: what Linux allows.
        let wrong = |name: &String| name.is_empty() || name.len() > 15 || name.contains(|c: char| c == '/' || c.is_whitespace());
        if subnet.interface.as_ref().is_some_and(wrong) {
            return Err(format!("Subnet '{id}': `interface` is not the name of an interface."));
        }
        for other in &subnets[..position] {
            if other.id == subnet.id {
                return Err(format!("There are two subnets '{id}'."));
            }
            if other.cidr.contains(&subnet.cidr) || subnet.cidr.contains(&other.cidr) {
                return Err(format!("The subnets '{}' and '{id}' overlap.", other.id));
            }
        }
    }
    Ok(())
}

impl Config {
    /// What other machines are offered besides.
    pub fn public_addresses(&self) -> Option<PublicAddresses> {
        self.network.publish.as_ref().and_then(Publish::addresses)
    }
    /// Where the store is.
    pub fn store_address(&self, directory: &Path) -> StoreAddress {
        match &self.store.url {
            Some(url) => StoreAddress::PostgreSql(url.clone()),
            None => StoreAddress::File(first_start::store_file(directory)),
        }
    }
    /// The subnets in force: the configured ones, of which the first is taken where none is asked for, and the installation's own.
    pub fn subnets(&self, installation: u128) -> Vec<Subnet> {
        let sections = self.network.subnets.iter();
        let mut subnets: Vec<Subnet> = sections
            .map(|section| Subnet { id: section.id.clone(), cidr: section.cidr.trunc(), interface: section.interface.clone() })
            .collect();
        let own = moorage_domain::subnet::default_for(installation);
        if !subnets.iter().any(|subnet| subnet.id == own.id) {
            subnets.push(own);
        }
        subnets
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
    fn what_a_server_would_be_refused_with_is_refused_before_it_is_started() {
        for (wrong, named) in [
            ("[server]\nlisten = 'nonsense'", "server.listen"),
            ("[server]\nlisten = 'localhost:8440'", "server.listen"),
            ("[server]\npublic_url = 'not a url'", "server.public_url"),
            ("[server]\npublic_url = 'db.example'", "server.public_url"),
            ("[server]\ntls_cert = '/x'", "server.tls_key"),
            ("[limits]\nconnections = 0", "limits.connections"),
            ("[storage]\ndriver = 'zfs'", "directory, reflink, btrfs, image"),
        ] {
            let problem = read_text(wrong).expect_err(wrong);
            assert!(problem.detail.as_ref().is_some_and(|detail| detail.contains(named)), "{problem:?}");
        }
        for right in ["[server]\nlisten = '[::1]:0'\npublic_url = 'https://db.example/moorage'", "[storage]\ndriver = 'image'"] {
            read_text(right).expect(right);
        }
    }

    #[test]
    fn public_addresses_are_an_address_and_a_range_of_ports() {
        let publish = |ports: &str| read_text(&format!("[network]\npublish = {{ address = '192.0.2.10', ports = '{ports}' }}"));
        let offered = publish("20000-20999").expect("read").public_addresses().expect("offered");
        assert_eq!((offered.ports, offered.listen), (20_000..=20_999, Ipv4Addr::new(192, 0, 2, 10)));
        for wrong in ["20000", "80-90", "2001-2000", "1-70000", "a-b", "-"] {
            assert!(publish(wrong).expect_err(wrong).detail.expect("why").contains("network.publish"), "{wrong}");
        }
        let problem = read_text("[network]\npublish = '10.0.0.1'").expect_err("not a table");
        assert!(problem.detail.expect("why").contains("line 2"), "the line is named");
    }

    #[test]
    fn subnets_have_names_and_addresses_of_their_own_and_real_ones_an_interface() {
        let read = |subnets: &str| read_text(&format!("[network]\nsubnets = [{subnets}]"));
        let real = "{ id = 'lan', cidr = '192.0.2.128/25', interface = 'eth1' }";
        let loopback = "{ id = 'default', cidr = '127.64.0.0/20' }";
        let config = read(&format!("{real}, {loopback}")).expect("read");
        assert_eq!(config.subnets(0)[0].interface.as_deref(), Some("eth1"));
        let named_by_an_address = read("{ id = 'lan', cidr = '192.0.2.129/25', interface = 'eth1' }").expect("read").subnets(0);
        assert_eq!(named_by_an_address[0].cidr, config.subnets(0)[0].cidr, "the range it is in");
        let with_own = read(real).expect("read").subnets(0);
        assert_eq!(with_own.iter().map(|subnet| &*subnet.id).collect::<Vec<_>>(), ["lan", "default"], "who has an address keeps it");
        for (wrong, why) in [
            ("{ id = 'lan', cidr = '192.0.2.128/25' }", "interface"),
            ("{ id = 'default', cidr = '127.64.0.0/20', interface = 'lo' }", "inside none"),
            ("{ id = 'lan', cidr = '192.0.2.128/25', interface = 'a/b' }", "name of an interface"),
            (&format!("{real}, {{ id = 'lan', cidr = '127.64.0.0/20' }}"), "two subnets"),
            (&format!("{real}, {{ id = 'other', cidr = '192.0.2.0/24', interface = 'eth1' }}"), "overlap"),
        ] {
            let problem = read(wrong).expect_err(wrong);
            assert!(problem.detail.as_ref().is_some_and(|detail| detail.contains(why)), "{problem:?}");
        }
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
