//! The peer: Patroni with etcd, two nodes on this machine, each a PostgreSQL of its own.

use super::super::haproxy::free_port;
use super::super::installation::PASSWORD;
use super::strikes::{runs, signal, until};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is installed from PyPI.
const PACKAGES: [&str; 2] = ["patroni[etcd3]==4.1.5", "psycopg2-binary==2.9.13"];
/// An account that owns nothing and has a name, as initdb asks for.
const NOBODY: u32 = 65534;
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const LOCAL: &str = "127.0.0.1";
/// Until both nodes are as they should be.
const REST: Duration = Duration::from_secs(300);

/// How Patroni is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configuration {
    /// To notice and to act as soon as it can.
    Tuned,
    /// As its documentation has it.
    Defaults,
}

impl Configuration {
    /// Both.
    pub const ALL: [Configuration; 2] = [Configuration::Tuned, Configuration::Defaults];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Configuration::Tuned => "tuned (ttl 20, loop_wait 1, retry_timeout 3, primary_start_timeout 0)",
            Configuration::Defaults => "defaults",
        }
    }

    /// How often it looks.
    pub fn loop_wait(self) -> Duration {
        Duration::from_secs(if self == Configuration::Tuned { 1 } else { 10 })
    }

    fn of_the_cluster(self, shared_buffers: &str) -> Value {
        let mut all = json!({
            "ttl": 30, "loop_wait": 10, "retry_timeout": 10, "maximum_lag_on_failover": 1_048_576, "synchronous_mode": true,
            "postgresql": {"use_pg_rewind": true, "parameters": {"shared_buffers": shared_buffers}},
        });
        if self == Configuration::Tuned {
            all["ttl"] = json!(20);
            all["loop_wait"] = json!(1);
            all["retry_timeout"] = json!(3);
            all["primary_start_timeout"] = json!(0);
            // As ours: at the default of 5 s some promotions take that long.
            all["postgresql"]["parameters"]["wal_retrieve_retry_interval"] = json!("100ms");
        }
        all
    }
}

/// A process that is killed when it goes out of scope.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// One node: Patroni and its PostgreSQL.
pub struct Node {
    /// Its name.
    pub name: &'static str,
    /// Where its PostgreSQL listens.
    pub port: u16,
    interface: u16,
    directory: PathBuf,
    child: Option<Child>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // It stops its PostgreSQL, too.
        drop(signal(child.id(), "TERM"));
        let begun = Instant::now();
        while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(child.kill());
        drop(child.wait());
        if let Some(process) = self.main_process() {
            drop(signal(process, "QUIT"));
        }
    }
}

impl Node {
    fn new(name: &'static str, under: &Path) -> Result<Self> {
        let directory = under.join(name);
        std::fs::create_dir_all(&directory)?;
        std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY))?;
        Ok(Self { name, port: free_port()?, interface: free_port()?, directory, child: None })
    }

    fn start(&mut self, configuration: &Value, packages: &Path) -> Result<()> {
        // Every JSON is a YAML.
        let file = self.directory.join("patroni.yml");
        std::fs::write(&file, serde_json::to_string_pretty(configuration)?)?;
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-m", "patroni"]).arg(&file).env_clear().env("PYTHONPATH", packages).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("LANG", "C.UTF-8").env("HOME", &self.directory).current_dir(&self.directory).uid(NOBODY).gid(NOBODY);
        let log = std::fs::File::create(self.log())?;
        self.child = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("starting patroni")?);
        Ok(())
    }

    fn configuration(&self, etcd: u16, of_the_cluster: &Value) -> Value {
        let at = |port: u16| format!("{LOCAL}:{port}");
        let account = |name: &str| json!({"username": name, "password": PASSWORD});
        json!({
            "scope": "bench",
            "name": self.name,
            "restapi": {"listen": at(self.interface), "connect_address": at(self.interface)},
            "etcd3": {"host": at(etcd)},
            "bootstrap": {"dcs": of_the_cluster, "initdb": [{"encoding": "UTF8"}, "data-checksums"]},
            "postgresql": {
                "listen": at(self.port),
                "connect_address": at(self.port),
                "data_dir": self.data(),
                "bin_dir": PROGRAMS,
                "pgpass": self.directory.join("pgpass"),
                "parameters": {"unix_socket_directories": self.directory},
                "authentication": {"superuser": account("postgres"), "replication": account("replicator"), "rewind": account("rewinder")},
                "pg_hba": [
                    format!("host replication replicator {LOCAL}/32 scram-sha-256"),
                    format!("host all all {LOCAL}/32 scram-sha-256"),
                ],
            },
        })
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("patroni.log")
    }

    /// The postmaster, if it runs.
    pub fn main_process(&self) -> Option<u32> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok().filter(|process| runs(*process))
    }

    /// What an administrator is answered.
    pub fn ask(&self, query: &str) -> Result<String> {
        let target = format!("host={LOCAL} port={} user=postgres dbname=postgres connect_timeout=3", self.port);
        let mut command = Command::new(format!("{PROGRAMS}/psql"));
        let output = command.args(["-XAtq", "-d", &target, "-c", query]).env("PGPASSWORD", PASSWORD).output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{LOCAL}:{}/{path}", self.interface)
    }
}

/// Both nodes and the etcd they agree by; everything ends when it goes out of scope.
pub struct Patroni {
    nodes: [Node; 2],
    client: reqwest::blocking::Client,
    /// Ends after the nodes: fields go in this order.
    _etcd: Killed,
}

/// Both nodes at rest.
pub struct AtRest<'a> {
    /// The one that is written to.
    pub primary: &'a Node,
    /// Its main process.
    pub primary_process: u32,
    /// The other.
    pub standby: &'a Node,
}

impl Patroni {
    /// Starts it and waits until it is at rest.
    pub fn start(configuration: Configuration, shared_buffers: &str, under: &Path, packages: &Path) -> Result<Self> {
        let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(120)).build()?;
        let (etcd, port) = etcd(under)?;
        let nodes = [Node::new("one", under)?, Node::new("two", under)?];
        let mut this = Self { nodes, client, _etcd: etcd };
        let of_the_cluster = configuration.of_the_cluster(shared_buffers);
        for index in 0..this.nodes.len() {
            let node = &mut this.nodes[index];
            node.start(&node.configuration(port, &of_the_cluster), packages)?;
            let node = &this.nodes[index];
            if index == 0 {
                let ready = until(REST, "patroni has made a primary", || {
                    let leads = this.role(node.name, &this.members()?).is_some_and(|role| role == "leader");
                    let asked = node.ask("SELECT pg_is_in_recovery()").map_err(|error| error.to_string())?;
                    if leads && asked == "f" { Ok(()) } else { Err(asked) }
                });
                ready.with_context(|| std::fs::read_to_string(node.log()).unwrap_or_default())?;
                node.ask(&format!("CREATE ROLE keeper LOGIN PASSWORD '{PASSWORD}'"))?;
                node.ask("CREATE DATABASE bench OWNER keeper")?;
            }
        }
        let both = this.at_rest(None).map(drop);
        both.with_context(|| this.nodes.each_ref().map(|node| std::fs::read_to_string(node.log()).unwrap_or_default()).join("\n"))?;
        Ok(this)
    }

    /// Where both listen.
    pub fn addresses(&self) -> Vec<(String, u16)> {
        self.nodes.iter().map(|node| (LOCAL.to_owned(), node.port)).collect()
    }

    /// Waits until one node leads, the other is its synchronous standby and streams, and this process has been replaced.
    pub fn at_rest(&self, gone: Option<u32>) -> Result<AtRest<'_>> {
        until(REST, "patroni is at rest", || {
            let members = self.members()?;
            let of_role = |role: &str| self.nodes.iter().find(|node| self.role(node.name, &members) == Some(role));
            let (primary, standby) = of_role("leader").zip(of_role("sync_standby")).ok_or_else(|| members.to_string())?;
            let processes = primary.main_process().zip(standby.main_process());
            let (primary_process, _) = processes.ok_or_else(|| "a node has no process".to_owned())?;
            if gone == Some(primary_process) || gone.is_some_and(runs) {
                return Err("the struck process is still there".to_owned());
            }
            let streams = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'";
            match primary.ask(streams).map_err(|error| error.to_string())?.as_str() {
                "1" => Ok(AtRest { primary, primary_process, standby }),
                number => Err(format!("{number} synchronous standbys that stream")),
            }
        })
    }

    /// Lets both change places; Patroni answers when it has.
    pub fn switchover(&self, now: &AtRest<'_>) -> Result<()> {
        let body = json!({"leader": now.primary.name, "candidate": now.standby.name});
        let answer = self.client.post(now.primary.url("switchover")).json(&body).send()?;
        if !answer.status().is_success() {
            bail!("patroni: {}: {}", answer.status(), answer.text()?);
        }
        Ok(())
    }

    fn members(&self) -> Result<Value, String> {
        let mut answers = self.nodes.iter().filter_map(|node| {
            let request = self.client.get(node.url("cluster")).timeout(Duration::from_secs(5));
            request.send().ok()?.json().ok()
        });
        answers.next().ok_or_else(|| "no node answers".to_owned())
    }

    /// The role of a node that runs.
    fn role<'a>(&self, name: &str, members: &'a Value) -> Option<&'a str> {
        let member = members["members"].as_array()?.iter().find(|member| member["name"] == name)?;
        member["role"].as_str().filter(|_| matches!(member["state"].as_str(), Some("running" | "streaming")))
    }
}

fn etcd(under: &Path) -> Result<(Killed, u16)> {
    let (port, peers) = (free_port()?, free_port()?);
    let (clients, peers) = (format!("http://{LOCAL}:{port}"), format!("http://{LOCAL}:{peers}"));
    let directory = under.join("etcd");
    std::fs::create_dir_all(&directory)?;
    std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY))?;
    let mut command = Command::new("/usr/bin/etcd");
    command.args(["--name", "bench", "--data-dir"]).arg(directory.join("data"));
    command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers, "--initial-cluster", &format!("bench={peers}")]);
    command.uid(NOBODY).gid(NOBODY).stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(under.join("etcd.log"))?);
    let child = Killed(command.spawn().context("starting etcd: scripts/install-missing bench installs it")?);
    until(Duration::from_secs(30), "etcd listens", || std::net::TcpStream::connect((LOCAL, port)).map_err(|error| error.to_string()))?;
    Ok((child, port))
}

/// Installs Patroni below `target/bench/`, once, and copies it to where the account it runs under can read it.
pub fn packages(scratch: &Path) -> Result<PathBuf> {
    let environment = Path::new("target/bench/patroni");
    let (wanted, mark) = (PACKAGES.join("\n"), environment.join("installed.txt"));
    if std::fs::read_to_string(&mark).unwrap_or_default() != wanted {
        drop(std::fs::remove_dir_all(environment));
        std::fs::create_dir_all("target/bench")?;
        succeed(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(environment))?;
        succeed(Command::new(environment.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES))?;
        std::fs::write(&mark, wanted)?;
    }
    let version = std::fs::read_dir(environment.join("lib"))?.flatten().next().context("an empty virtual environment")?;
    let copy = scratch.join("packages");
    succeed(Command::new("cp").arg("-r").arg(version.path().join("site-packages")).arg(&copy))?;
    succeed(Command::new("chmod").args(["-R", "a+rX"]).arg(&copy))?;
    Ok(copy)
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
