//! The engines' own load generators: pgbench and sysbench, point selects with prepared statements.

use super::engines::Engine;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Rows in MariaDB's table.
const ROWS: u32 = 100_000;
/// pgbench's scale: a hundred thousand rows each.
const SCALE: u32 = 1;

/// How a client reaches an engine.
#[derive(Clone, Debug)]
pub enum Way {
    /// Address and port.
    Tcp(String, u16),
    /// The engine's socket.
    Unix(PathBuf),
}

/// An engine by one of its ways.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which engine.
    pub engine: Engine,
    /// How.
    pub way: Way,
    /// With TLS: a directory with the files sysbench looks for.
    pub tls: Option<PathBuf>,
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Queries a second.
    pub per_second: f64,
    /// A query, on the average of one client.
    pub microseconds: f64,
}

impl Target {
    fn pgbench(&self, password: &str) -> Command {
        let mut command = Command::new("/usr/lib/postgresql/15/bin/pgbench");
        command.env("PGPASSWORD", password).env("PGUSER", "keeper").env("PGDATABASE", "bench");
        command.env("PGSSLMODE", if self.tls.is_some() { "require" } else { "disable" });
        match &self.way {
            Way::Tcp(address, port) => command.env("PGHOST", address).env("PGPORT", port.to_string()),
            Way::Unix(socket) => command.env("PGHOST", socket.parent().unwrap_or(socket)),
        };
        command
    }

    fn sysbench(&self, password: &str) -> Command {
        let mut command = Command::new("/usr/bin/sysbench");
        command.args(["oltp_point_select", "--db-driver=mysql", "--mysql-user=keeper", "--mysql-db=bench"]);
        command.arg(format!("--mysql-password={password}")).arg(format!("--table-size={ROWS}"));
        match &self.way {
            Way::Tcp(address, port) => command.arg(format!("--mysql-host={address}")).arg(format!("--mysql-port={port}")),
            Way::Unix(socket) => command.arg(format!("--mysql-socket={}", socket.display())),
        };
        if let Some(files) = &self.tls {
            command.arg("--mysql-ssl=on").current_dir(files);
        }
        command
    }
}

/// Fills the table.
pub fn prepare(target: &Target, password: &str) -> Result<()> {
    let output = match target.engine {
        Engine::PostgreSql => target.pgbench(password).args(["-i", "-q", "-s", &SCALE.to_string()]).output(),
        Engine::MariaDb => target.sysbench(password).arg("prepare").output(),
    };
    text(output.context("starting the load generator: scripts/install-missing bench installs it")?).map(drop)
}

/// Runs point selects for some seconds.
pub fn run(target: &Target, password: &str, clients: u32, seconds: u64) -> Result<Figures> {
    let (clients, seconds) = (clients.to_string(), seconds.to_string());
    let output = match target.engine {
        Engine::PostgreSql => {
            target.pgbench(password).args(["-n", "-S", "-M", "prepared", "-j", "1", "-c", &clients, "-T", &seconds]).output()
        }
        Engine::MariaDb => {
            target.sysbench(password).arg(format!("--threads={clients}")).arg(format!("--time={seconds}")).arg("run").output()
        }
    };
    let said = text(output?)?;
    let (rate, latency) = match target.engine {
        Engine::PostgreSql => (after(&said, "tps = "), after(&said, "latency average = ")),
        Engine::MariaDb => (after(&said, "transactions:").and(after_parenthesis(&said, "transactions:")), after(&said, "avg:")),
    };
    let (Some(per_second), Some(milliseconds)) = (rate, latency) else { bail!("cannot read: {said}") };
    // sysbench rounds to ten microseconds, which says little about one client: the rate says it better.
    let microseconds = if clients == "1" { 1e6 / per_second } else { milliseconds * 1e3 };
    Ok(Figures { per_second, microseconds })
}

/// Runs so many point selects a second for some seconds; the 99th percentile of how long they took, in milliseconds, waiting for
/// their turn included. PostgreSQL only.
pub fn paced_p99(target: &Target, password: &str, clients: u32, rate: u32, seconds: u64, scratch: &Path) -> Result<f64> {
    let prefix = scratch.join("paced");
    let mut command = target.pgbench(password);
    command.args(["-n", "-S", "-M", "prepared", "-j", "1", "-c", &clients.to_string(), "-T", &seconds.to_string()]);
    command.args(["-R", &rate.to_string(), "-l", "--log-prefix"]).arg(&prefix);
    text(command.output()?)?;
    let mut times = Vec::new();
    for entry in std::fs::read_dir(scratch)?.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("paced")) {
        // A line per query: client, number, microseconds, and more that does not matter here.
        let log = std::fs::read_to_string(entry.path())?;
        times.extend(log.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()));
        std::fs::remove_file(entry.path())?;
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).map(|microseconds| microseconds / 1e3).context("no query was made")
}

/// Opens connections to a MariaDB that are logged in and say one thing a second between all of them; they end when the process does.
pub fn idle(target: &Target, password: &str, connections: usize) -> Result<Child> {
    let mut command = target.sysbench(password);
    command.arg(format!("--threads={connections}")).args(["--rate=1", "--time=3600", "run"]);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// The files sysbench takes for TLS, under the only names it knows: the authority, and a client certificate nobody asks for.
pub fn tls_files(directory: &Path, authority: &str) -> Result<PathBuf> {
    let files = directory.join("tls");
    if files.exists() {
        return Ok(files);
    }
    std::fs::create_dir_all(&files)?;
    std::fs::write(files.join("cacert.pem"), authority)?;
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bench"])
        .args(["-keyout", "client-key.pem", "-out", "client-cert.pem"])
        .current_dir(&files)
        .output()?;
    text(made)?;
    Ok(files)
}

fn text(output: Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{said}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(said)
}

/// The number after a mark.
fn after(text: &str, mark: &str) -> Option<f64> {
    let rest = text.split_once(mark)?.1.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The number in the parenthesis after a mark.
fn after_parenthesis(text: &str, mark: &str) -> Option<f64> {
    after(text.split_once(mark)?.1, "(")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_the_generators_say() {
        let pgbench = "latency average = 0.223 ms\ninitial connection time = 12.3 ms\ntps = 35900.123 (without initial connection time)\n";
        assert_eq!((after(pgbench, "tps = "), after(pgbench, "latency average = ")), (Some(35900.123), Some(0.223)));
        let sysbench =
            "    transactions:                        63321  (12662.31 per sec.)\n         avg:                                    0.63\n";
        assert_eq!((after_parenthesis(sysbench, "transactions:"), after(sysbench, "avg:")), (Some(12662.31), Some(0.63)));
        assert_eq!(after("nothing", "tps = "), None);
    }
}
