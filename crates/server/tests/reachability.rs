//! Other machines, played by a network namespace, reach databases: by addresses on a real interface, and by a public address and a
//! port of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::json;
use std::process::{Command, Output};
use std::time::Duration;
use support::{Installation, PASSWORD};

/// The range for documentation (RFC 5737), of which this machine and the other one have an address each.
const HERE: &str = "198.51.100.1";
const THERE: &str = "198.51.100.2";
const SUBNET: &str = "198.51.100.64/27";

/// Another machine on a network of its own with this one.
struct Neighbour {
    interface: String,
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Neighbour {
    fn begin() -> Self {
        let this = Self { interface: format!("mt{:x}", support::rand() & 0xff_ffff) };
        let (interface, namespace, far) = (&*this.interface, &*this.interface, format!("{}p", this.interface));
        ip(&["netns", "add", namespace]);
        ip(&["link", "add", interface, "type", "veth", "peer", "name", &far, "netns", namespace]);
        ip(&["address", "add", &format!("{HERE}/24"), "dev", interface]);
        ip(&["link", "set", interface, "up"]);
        ip(&["-n", namespace, "address", "add", &format!("{THERE}/24"), "dev", &far]);
        ip(&["-n", namespace, "link", "set", &far, "up"]);
        this
    }

    /// Asks a PostgreSQL something, from there, with its certificate checked.
    fn asks(&self, at: (&str, u16), authority: &str, sql: &str) -> Result<String, String> {
        let (address, port) = at;
        let target =
            format!("host={address} port={port} dbname=shop user=keeper connect_timeout=3 sslmode=verify-full sslrootcert={authority}");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.interface, "psql", "-X", "-A", "-t", "-d", &target, "-c", sql]).env("PGPASSWORD", PASSWORD);
        said(&command.output().expect("psql runs"))
    }

    /// The single addresses on this machine's end.
    fn single_addresses(&self) -> Vec<String> {
        let shown = said(&Command::new("ip").args(["-o", "-4", "address", "show", "dev", &self.interface]).output().expect("ip runs"));
        let words = shown.expect("shown");
        words.split_whitespace().filter_map(|word| word.strip_suffix("/32")).map(str::to_owned).collect()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["link", "del", &self.interface]).output());
        drop(Command::new("ip").args(["netns", "del", &self.interface]).output());
    }
}

fn said(output: &Output) -> Result<String, String> {
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

const SOON: Duration = Duration::from_secs(30);

#[test]
fn another_machine_reaches_a_database_by_its_address_and_by_a_public_one_while_they_are_offered() {
    let other = Neighbour::begin();
    let directory = tempfile::tempdir().expect("a directory");
    let configure = |name: &str, network: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("[network]\n{network}\n")).expect("written");
        path.to_string_lossy().into_owned()
    };
    let interface = &other.interface;
    let subnets = format!("subnets = [{{ id = 'lan', cidr = '{SUBNET}', interface = '{interface}' }}]");
    let real = configure("real.toml", &subnets);
    let published = configure("published.toml", &format!("{subnets}\npublish = {{ address = '{HERE}', ports = '20000-20009' }}"));

    let mut installation = Installation::start_with(&["--config", &real]);
    let authority = directory.path().join("ca.pem");
    std::fs::write(&authority, installation.cli(&["ca"]).stdout).expect("written");
    let authority = &*authority.to_string_lossy();
    let body = json!({"name": "shop", "engine": "postgresql", "allow": [format!("{THERE}/32"), "198.51.100.64/27"],
        "database": {"name": "shop", "owner": "keeper", "password": PASSWORD}});
    let (status, accepted) = installation.native("POST", "/moorage/v1/clusters", Some(body));
    assert_eq!(status, 202, "{accepted}");
    let cluster = installation.running(accepted["cluster"]["id"].as_str().expect("an id"));
    let address = (&*cluster.address, cluster.port);
    assert_eq!(cluster.address, "198.51.100.74", "the tenth address is the first to be given");
    assert_eq!(other.asks(address, authority, "SELECT 1"), Ok("1".into()));
    assert_eq!(cluster.sql("SELECT 2"), Ok("2".into()), "this machine itself is in the subnet");
    assert_eq!(cluster.shown["public_address"], json!(null));

    // Somebody resets the interface: the address comes back, nothing else has to.
    ip(&["address", "del", &format!("{}/32", cluster.address), "dev", &other.interface]);
    installation.until(SOON, "the address is put back", |_| (other.single_addresses() == [cluster.address.clone()]).then_some(()));
    assert_eq!(other.asks(address, authority, "SELECT 1"), Ok("1".into()));

    // The configuration offers a public address from now on: what is there gets one, too.
    installation.end_server();
    installation.serve_with(&["--config", &published]);
    let show = |this: &Installation| this.native("GET", &format!("/moorage/v1/clusters/{}", cluster.id), None).1;
    let shown = installation.until(SOON, "it has a public address", |this| {
        let shown = show(this);
        (shown["public_address"].is_string() && shown["operation"].is_null()).then_some(shown)
    });
    assert_eq!(shown["public_address"], json!(format!("{HERE}:20000")));
    assert_eq!(other.asks((HERE, 20_000), authority, "SELECT 3"), Ok("3".into()));
    assert_eq!(other.asks(address, authority, "SELECT 1"), Ok("1".into()));
    let table = String::from_utf8_lossy(&installation.cli(&["cluster", "show", "shop"]).stdout).into_owned();
    assert!(table.contains(&format!("{HERE}:20000")), "{table}");

    // A port that another program has is passed over, also by a cluster that is just being made.
    let _held = std::net::TcpListener::bind((HERE, 20_001)).expect("a port");
    let second = installation.create("postgresql", "second");
    assert_eq!(second.shown["public_address"], json!(format!("{HERE}:20002")));
    assert!(other.asks((HERE, 20_002), authority, "SELECT 1").is_err(), "its allow-list is its own subnet");

    // Everything stops, and nothing is left on the interface; it starts, and everything is back.
    installation.end_server();
    assert!(installation.cli(&["stop", "--all", "--config", &published]).status.success());
    assert_eq!(other.single_addresses(), Vec::<String>::new());
    installation.serve_with(&["--config", &published]);
    installation.until(SOON, "it serves again", |_| other.asks((HERE, 20_000), authority, "SELECT 1").ok());
    assert_eq!(other.asks(address, authority, "SELECT 1"), Ok("1".into()));

    // No public address is offered any more.
    installation.end_server();
    installation.serve_with(&["--config", &real]);
    installation.until(SOON, "the public address is withdrawn", |this| show(this)["public_address"].is_null().then_some(()));
    installation.until(SOON, "nothing listens there", |_| other.asks((HERE, 20_000), authority, "SELECT 1").err());
    assert_eq!(other.asks(address, authority, "SELECT 1"), Ok("1".into()));

    for id in [&cluster.id, &second.id] {
        let (status, accepted) = installation.native("DELETE", &format!("/moorage/v1/clusters/{id}"), None);
        assert_eq!(status, 202, "{accepted}");
        assert_eq!(installation.ended(accepted["operation"]["id"].as_str().expect("an id"))["status"], "succeeded");
    }
    assert_eq!(other.single_addresses(), Vec::<String>::new(), "addresses go with their clusters");
}

#[test]
fn what_would_take_addresses_away_from_this_machine_is_refused_at_the_start() {
    let other = Neighbour::begin();
    let directory = tempfile::tempdir().expect("a directory");
    let interface = &other.interface;
    for (network, told) in [
        (format!("subnets = [{{ id = 'lan', cidr = '198.51.100.0/24', interface = '{interface}' }}]"), HERE),
        (format!("publish = {{ address = '{HERE}', ports = '1024-65535' }}"), "The API's own port"),
    ] {
        let config = directory.path().join("moorage.toml");
        std::fs::write(&config, format!("[network]\n{network}\n")).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_moorage"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory.path().join("data"))
            .arg("--config")
            .arg(&config)
            .output()
            .expect("it runs");
        let told_of = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told_of.contains(told), "{told_of}");
        assert!(!directory.path().join("data/gateway").exists(), "nothing was started");
    }
    // A subnet that a cluster has its address in cannot just be left out.
    let config = directory.path().join("moorage.toml");
    std::fs::write(&config, "[network]\nsubnets = [{ id = 'more', cidr = '127.200.0.0/24' }]\n").expect("written");
    let mut installation = Installation::start_with(&["--config", &config.to_string_lossy()]);
    let cluster = installation.create("postgresql", "inmore");
    assert!(cluster.address.starts_with("127.200.0."), "the first one is taken: {}", cluster.address);
    installation.end_server();
    let output = installation.cli(&["serve", "--listen", "127.0.0.1:0"]);
    let told_of = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told_of.contains("Subnet 'more' is not configured any more"), "{told_of}");
    installation.serve_with(&["--config", &config.to_string_lossy()]);
    assert_eq!(cluster.sql("SELECT 1"), Ok("1".into()));
}

#[test]
fn an_interface_that_is_not_there_is_named_and_so_is_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("moorage.toml");
    std::fs::write(&path, format!("[network]\nsubnets = [{{ id = 'lan', cidr = '{SUBNET}', interface = 'nosuch0' }}]\n")).expect("written");
    let installation = Installation::start_with(&["--config", &path.to_string_lossy()]);
    let accepted = installation.ask_for("postgresql", "nowhere");
    let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an id"));
    assert_eq!(ended["status"], "failed", "{ended}");
    assert!(
        ended.to_string().contains("There is no interface 'nosuch0'") && ended.to_string().contains("bring the interface up"),
        "{ended}"
    );
}
