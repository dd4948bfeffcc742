//! The engines by hand: the stock way from nothing, and the bare start of an existing directory. Both keep the engines' own
//! defaults, except that they listen on a socket of their own and keep their temporary files to themselves.

use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// An account that owns nothing and has a name, as initdb asks for.
const NOBODY: u32 = 65534;

/// An engine by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// MariaDB as Debian packages it.
    MariaDb,
    /// PostgreSQL as Debian packages it.
    PostgreSql,
}

/// A server that was started by hand; it is killed when it goes out of scope.
pub struct Server {
    child: Child,
    stop: i32,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(Command::new("kill").arg(format!("-{}", self.stop)).arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}

impl Engine {
    /// Both.
    pub const ALL: [Engine; 2] = [Engine::PostgreSql, Engine::MariaDb];

    /// Its name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Engine::MariaDb => "mariadb",
            Engine::PostgreSql => "postgresql",
        }
    }

    /// Makes an empty data directory with the engine's own tool.
    pub fn initialise(self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory)?;
        // A MariaDB that starts removes the temporary tables of every other one that uses the same directory for them.
        std::fs::create_dir_all(temporary(directory))?;
        for owned in [directory.to_path_buf(), temporary(directory)] {
            std::os::unix::fs::chown(owned, Some(NOBODY), Some(NOBODY))?;
        }
        let output = match self {
            Engine::PostgreSql => program(&postgresql("initdb"), directory)
                .args(["-A", "trust", "-U", "postgres", "-D"])
                .arg(directory.join("data"))
                .output()?,
            Engine::MariaDb => program("mariadb-install-db", directory)
                .args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"])
                .arg(format!("--datadir={}", directory.join("data").display()))
                .arg(format!("--tmpdir={}", temporary(directory).display()))
                .output()?,
        };
        succeeded(&output)
    }

    /// Starts the engine on its directory.
    pub fn start(self, directory: &Path) -> Result<Server> {
        self.start_on(directory, None)
    }

    /// Starts the engine on its directory; it listens on this port of the loopback address too.
    pub fn start_on(self, directory: &Path, port: Option<u16>) -> Result<Server> {
        let log = std::fs::File::create(directory.join("log"))?;
        let mut command = match self {
            Engine::PostgreSql => {
                let mut command = program(&postgresql("postgres"), directory);
                command.arg("-k").arg(directory).arg("-D").arg(directory.join("data"));
                match port {
                    Some(port) => command.args(["-c", "listen_addresses=127.0.0.1", "-p", &port.to_string()]),
                    None => command.args(["-c", "listen_addresses="]),
                };
                command
            }
            Engine::MariaDb => {
                let mut command = program("/usr/sbin/mariadbd", directory);
                command.arg("--no-defaults");
                match port {
                    Some(port) => command.arg("--bind-address=127.0.0.1").arg(format!("--port={port}")),
                    None => command.arg("--skip-networking"),
                };
                command
                    .arg(format!("--datadir={}", directory.join("data").display()))
                    .arg(format!("--tmpdir={}", temporary(directory).display()))
                    .arg(format!("--socket={}", socket(directory).display()));
                command
            }
        };
        let child = command.stdout(Stdio::null()).stderr(log).spawn().context("starting an engine by hand")?;
        Ok(Server { child, stop: if self == Engine::PostgreSql { 2 } else { 15 } })
    }

    /// The first query that succeeds over the engine's socket.
    pub fn first_query(self, directory: &Path) -> Result<()> {
        until_success(|| match self {
            Engine::PostgreSql => {
                let target = format!("host={} user=postgres dbname=postgres", directory.display());
                Command::new(postgresql("psql")).args(["-XAtq", "-d", &target, "-c", "SELECT 1"]).output()
            }
            Engine::MariaDb => {
                let mut command = Command::new("mariadb");
                command
                    .args(["--no-defaults", "-NB", "-u", "root", "-e", "SELECT 1"])
                    .arg(format!("--socket={}", socket(directory).display()))
                    .output()
            }
        })
    }

    /// What a person does next by hand: an account and its database.
    pub fn make_database(self, directory: &Path) -> Result<()> {
        let output = match self {
            Engine::PostgreSql => {
                let target = format!("host={} user=postgres dbname=postgres", directory.display());
                let sql = ["CREATE ROLE keeper LOGIN PASSWORD 'Bench!pass1'", "CREATE DATABASE bench OWNER keeper"];
                Command::new(postgresql("psql")).args(["-XAtq", "-d", &target, "-c", sql[0], "-c", sql[1]]).output()?
            }
            Engine::MariaDb => {
                let sql = "CREATE DATABASE bench; CREATE USER keeper IDENTIFIED BY 'Bench!pass1'; GRANT ALL ON bench.* TO keeper";
                let mut command = Command::new("mariadb");
                command
                    .args(["--no-defaults", "-NB", "-u", "root", "-e", sql])
                    .arg(format!("--socket={}", socket(directory).display()))
                    .output()?
            }
        };
        succeeded(&output)
    }

    /// The first query that succeeds through an endpoint, as the owner.
    pub fn first_query_at(self, address: &str, port: u64, password: &str) -> Result<()> {
        self.first_query_as((address, port), "bench", ("keeper", password))
    }

    /// The same as anybody, in any database.
    pub fn first_query_as(self, (address, port): (&str, u64), database: &str, (user, password): (&str, &str)) -> Result<()> {
        until_success(|| match self {
            Engine::PostgreSql => {
                let target = format!("host={address} port={port} user={user} dbname={database} sslmode=disable");
                Command::new(postgresql("psql")).args(["-XAtq", "-d", &target, "-c", "SELECT 1"]).env("PGPASSWORD", password).output()
            }
            Engine::MariaDb => Command::new("mariadb")
                .args(["--no-defaults", "-NB", "-u", user, "-h", address, "-P", &port.to_string(), "-D", database, "-e", "SELECT 1"])
                .env("MYSQL_PWD", password)
                .output(),
        })
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("socket")
}

fn temporary(directory: &Path) -> PathBuf {
    directory.join("temporary")
}

/// The engine's own program: Debian's `psql` on the path is a script that takes 35 ms to find it.
fn postgresql(name: &str) -> String {
    format!("/usr/lib/postgresql/15/bin/{name}")
}

fn program(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(directory).uid(NOBODY).gid(NOBODY);
    command
}

fn succeeded(output: &Output) -> Result<()> {
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Asks every two milliseconds, for a minute at most.
fn until_success(mut ask: impl FnMut() -> std::io::Result<Output>) -> Result<()> {
    let begun = Instant::now();
    loop {
        let output = ask().context("the stock client did not run")?;
        if output.status.success() {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(60) {
            bail!("no answer: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
