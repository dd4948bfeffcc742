//! A PostgreSQL server of a test's own, to keep a store in.

use crate::temporary_directory;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const NOBODY: u32 = 65534;

/// A server that listens on a socket in its own directory and ends when this is dropped.
pub struct TestPostgreSql {
    directory: tempfile::TempDir,
}

impl TestPostgreSql {
    /// A new server with an empty database.
    ///
    /// # Panics
    /// When it cannot be made or does not come up.
    pub fn start() -> Self {
        let directory = temporary_directory();
        if is_root() {
            std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap_or_else(|error| panic!("{error}"));
        }
        let made = Self { directory };
        made.run("initdb", &["-N", "-A", "trust", "-U", "moorage", "-E", "UTF8", "--locale=C.UTF-8"]);
        made.go_on();
        made
    }

    /// Where a store on it is.
    pub fn url(&self) -> String {
        format!("postgres://moorage@localhost/postgres?host={}", self.directory.path().display())
    }

    /// Ends it at once, as a crash does; what was committed is there when it goes on.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn go_away(&self) {
        self.run("pg_ctl", &["stop", "-m", "immediate", "-w"]);
    }

    /// Starts it again after [`Self::go_away`]; returns when it takes connections.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn go_on(&self) {
        let options = format!("-c listen_addresses= -c fsync=off -k {}", self.directory.path().display());
        let log = self.directory.path().join("log").display().to_string();
        self.run("pg_ctl", &["start", "-w", "-l", &log, "-o", &options]);
    }

    /// Drops the database with everything in it, whoever is connected, and makes an empty one in its place.
    ///
    /// # Panics
    /// When that does not work.
    pub fn lose_everything(&self) {
        self.run("dropdb", &["--force", "--maintenance-db=template1", "postgres"]);
        self.run("createdb", &["--maintenance-db=template1", "postgres"]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(PathBuf::from(PROGRAMS).join(program));
        command.current_dir(self.directory.path()).args(arguments);
        command.env("PGDATA", self.directory.path().join("data")).env("PGHOST", self.directory.path()).env("PGUSER", "moorage");
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        // Its output goes nowhere: the server would keep a pipe open for as long as it runs.
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "the test's PostgreSQL: {program} {arguments:?} did not work");
    }
}

impl Drop for TestPostgreSql {
    fn drop(&mut self) {
        if self.directory.path().join("data").join("postmaster.pid").exists() {
            self.go_away();
        }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
