//! Load beside the client that is measured: pgbench, a connection per transaction.

use super::super::engines::Engine;
use super::super::installation::PASSWORD;
use super::client::Endpoint;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = "/usr/lib/postgresql/15/bin/pgbench";
/// Clients of pgbench.
pub const CLIENTS: u32 = 8;
/// Our own clients, beside the one that is measured, where the engine's generator does not outlive a lost connection: so many with a
/// lasting connection.
pub const LASTING: u32 = 4;
/// And so many with one for each transaction.
pub const PER_TRANSACTION: u32 = 2;

/// A running pgbench.
pub struct PgBench {
    child: Child,
    log: PathBuf,
}

impl Drop for PgBench {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn pgbench(endpoint: &Endpoint) -> Command {
    let (addresses, ports) = endpoint.lists();
    let mut command = Command::new(PROGRAM);
    command.env("PGPASSWORD", PASSWORD).env("PGUSER", "keeper").env("PGDATABASE", "bench").env("PGSSLMODE", "disable");
    command.env("PGHOST", addresses).env("PGPORT", ports).stdin(Stdio::null());
    if endpoint.addresses.len() > 1 {
        command.env("PGTARGETSESSIONATTRS", "read-write");
    }
    command
}

impl PgBench {
    /// Fills the tables; with an engine that is not PostgreSQL there is nothing to do.
    pub fn prepare(endpoint: &Endpoint) -> Result<()> {
        if endpoint.engine == Engine::PostgreSql {
            let output = pgbench(endpoint).args(["-i", "-q", "-s", "1"]).output()?;
            if !output.status.success() {
                bail!("{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        Ok(())
    }

    /// Starts it. Every client is a thread: one that waits for its connection would hold up others within their transactions.
    pub fn start(endpoint: &Endpoint, scratch: &Path) -> Result<Self> {
        let log = scratch.join("pgbench.log");
        let mut command = pgbench(endpoint);
        command.args(["-n", "-N", "-C", "-T", "3600", "-c", &CLIENTS.to_string(), "-j", &CLIENTS.to_string()]);
        let child = command.stdout(Stdio::null()).stderr(std::fs::File::create(&log)?).spawn().context("starting pgbench")?;
        Ok(Self { child, log })
    }

    /// Ends it; how many of its clients had been cut off before.
    pub fn end(self) -> Result<usize> {
        let log = self.log.clone();
        drop(self);
        let said = std::fs::read_to_string(&log)?;
        Ok(said.lines().filter(|line| line.contains(" aborted ")).count())
    }
}
