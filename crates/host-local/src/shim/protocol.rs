//! The files by which a host and a shim understand each other. A shim outlives an upgrade of the binary: fields are only
//! added, unknown ones are ignored, and every file says its version.
//!
//! In the shim's directory: `process.json` (what to run), `wanted.json` (whether to), `status.json` (what came of it),
//! `main.json` (who the main process is, written before it becomes the engine), `hung.json` (why the host
//! killed it), `gate` (a lock: who holds it, decides about starting), `shim.lock` (held by the one living shim), `control`
//! (a pipe: a byte in it means "look again").

use crate::cgroups::GroupPlan;
use crate::files::{Account, Durability, read_json, replace_json};
use crate::group::Group;
use crate::identity::Identity;
use moorage_domain::instance::{ProcessExit, ProcessState};
use moorage_domain::layout::StopPlan;
use moorage_domain::{ClusterId, Timestamp};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Version of all files that this build writes.
pub const VERSION: u32 = 1;

/// Exit code of `moorage exec` when the process was not wanted any more.
pub const NOT_WANTED: i32 = 75;
/// Exit code of `moorage exec` when the program could not be run.
pub const CANNOT_RUN: i32 = 126;

/// When a shim starts its process again after a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartRule {
    /// Never (`ensure_process` of the host is the only way back).
    Never,
    /// By the rules of a single instance: given up after a loop.
    Limited,
    /// For ever, with a ceiling to the wait.
    Always,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFile {
    /// Version of this file.
    pub version: u32,
    /// How nudges call it: an instance, or `gateway`.
    pub name: String,
    /// The cluster it belongs to.
    #[serde(default)]
    pub cluster: Option<ClusterId>,
    /// How to run this binary.
    pub program: Vec<String>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// Where it starts.
    pub working_directory: PathBuf,
    /// Files removed before each start, as its own account.
    #[serde(default)]
    pub stale: Vec<PathBuf>,
    /// Who it runs as; none: as the shim.
    #[serde(default)]
    pub account: Option<Account>,
    /// The file its standard output and error are appended to.
    #[serde(default)]
    pub log: Option<PathBuf>,
    /// Its control groups.
    #[serde(default)]
    pub groups: GroupPlan,
    /// Empty files made before each start, as its own account.
    #[serde(default)]
    pub marks: Vec<PathBuf>,
    /// Gets a network of its own with nothing in it.
    #[serde(default)]
    pub own_network: bool,
    /// The network it enters instead.
    #[serde(default)]
    pub network: Option<PathBuf>,
    /// What follows a death.
    pub restart: RestartRule,
    /// How to ask it to stop.
    pub stop: StopPlan,
    /// The Unix socket it listens on.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// The pipe that tells the host of changes.
    #[serde(default)]
    pub nudge: Option<PathBuf>,
    /// The control group its shim moves to: out of the service manager's sight.
    #[serde(default)]
    pub shim_group: Option<PathBuf>,
    /// Starts only while `wanted.json` says so, and leaves `main.json` (jobs do not).
    #[serde(default)]
    pub kept: bool,
}

/// Whether a process is meant to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Want {
    /// It should run.
    Run,
    /// It should end cleanly.
    Stop,
    /// It must not write any more: ends at once.
    Fenced,
}

/// The wish for one process, written by the host under the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedFile {
    /// Version of this file.
    pub version: u32,
    /// Grows with every change.
    pub sequence: u64,
    /// The wish.
    pub want: Want,
    /// The term it was decided in.
    pub term: u64,
    /// The boot it was decided in: a shim is not brought back on another one by itself.
    pub boot: String,
}

/// A past end of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastEnd {
    /// Which incarnation.
    pub incarnation: u32,
    /// How.
    pub exit: ProcessExit,
    /// Why, where the host knows better than the exit (it did not answer).
    #[serde(default)]
    pub reason: Option<String>,
    /// It was asked for.
    #[serde(default)]
    pub asked: bool,
}

/// What came of the wish, written by the shim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusFile {
    /// Version of this file.
    pub version: u32,
    /// The last `sequence` that was acted upon.
    #[serde(default)]
    pub sequence: u64,
    /// The shim.
    #[serde(default)]
    pub shim: Option<Identity>,
    /// The main process, while it runs.
    #[serde(default)]
    pub main: Option<Identity>,
    /// What the process is doing.
    pub state: ProcessState,
    /// How often it was started; never starts again from one, so a number names one run for ever.
    #[serde(default)]
    pub incarnation: u32,
    /// When this incarnation began.
    #[serde(default)]
    pub since: Timestamp,
    /// Deaths in a row that are not forgiven.
    #[serde(default)]
    pub deaths_in_a_row: u32,
    /// Where this incarnation's words begin in the log.
    #[serde(default)]
    pub log_from: u64,
    /// Kills for lack of memory before this incarnation.
    #[serde(default)]
    pub memory_kills_before: u64,
    /// How the incarnation before this one died; none when it was asked to end.
    #[serde(default)]
    pub last_exit: Option<ProcessExit>,
    /// The last ends, newest last.
    #[serde(default)]
    pub history: Vec<PastEnd>,
}

/// Who the main process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MainFile {
    /// Version of this file.
    pub version: u32,
    /// The process.
    pub identity: Identity,
    /// Which incarnation.
    pub incarnation: u32,
}

/// Why the host killed the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HungFile {
    /// Version of this file.
    pub version: u32,
    /// Which incarnation.
    pub incarnation: u32,
    /// In words.
    pub reason: String,
}

/// Now, as everybody else tells the time.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A shim's directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShimDirectory(PathBuf);

/// Holds the gate of a shim's directory until dropped.
pub(crate) struct Gate(#[allow(dead_code, reason = "the lock lives as long as the open file")] File);

// A wish is overwritten in place: that needs no room on a full file system, and stopping must always be possible.
const WANTED_BYTES: usize = 1024;

impl ShimDirectory {
    /// The directory at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes sure the directory and its pipe are there.
    pub(crate) fn ensure(&self) -> io::Result<()> {
        crate::files::ensure_directory(&self.0, 0o700, None)?;
        match rustix::fs::mkfifoat(CWD, self.file("control"), Mode::from_raw_mode(0o600)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What to run.
    pub fn process(&self) -> io::Result<Option<ProcessFile>> {
        read_json(&self.file("process.json"))
    }
    pub(crate) fn write_process(&self, process: &ProcessFile) -> io::Result<()> {
        replace_json(&self.file("process.json"), process, 0o600, Durability::Whole)
    }

    /// What came of it.
    pub fn status(&self) -> io::Result<Option<StatusFile>> {
        read_json(&self.file("status.json"))
    }

    pub(crate) fn main(&self) -> io::Result<Option<MainFile>> {
        read_json(&self.file("main.json"))
    }

    /// Whether to run it. A reader beside a writer may see half a wish and looks again.
    pub fn wanted(&self) -> io::Result<Option<WantedFile>> {
        let file = self.file("wanted.json");
        for _ in 0..50 {
            match std::fs::read(&file) {
                Ok(bytes) => match serde_json::from_slice(&bytes) {
                    Ok(wanted) => return Ok(Some(wanted)),
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Writes a wish; only under the gate.
    pub(crate) fn write_wanted(&self, _gate: &Gate, wanted: &WantedFile) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(wanted)?;
        bytes.resize(bytes.len().max(WANTED_BYTES), b' ');
        match OpenOptions::new().write(true).open(self.file("wanted.json")) {
            Ok(file) => file.write_all_at(&bytes, 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                crate::files::replace(&self.file("wanted.json"), &bytes, 0o600, None, Durability::Whole)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for the gate. It is held for moments only.
    pub(crate) fn gate(&self, limit: Duration) -> io::Result<Gate> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(self.file("gate"))?;
        let until = Instant::now() + limit;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Gate(file)),
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
                Err(std::fs::TryLockError::WouldBlock) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the gate is held")),
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Becomes the one shim of this directory; none when there is one. Held until the file is closed. Record locks belong to
    /// a process, so the engine cannot inherit it.
    pub(crate) fn become_shim(&self) -> io::Result<Option<File>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(self.file("shim.lock"))?;
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The living shim.
    pub(crate) fn shim(&self) -> io::Result<Option<Pid>> {
        let file = match OpenOptions::new().read(true).write(true).open(self.file("shim.lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))?.and_then(|lock| lock.pid))
    }

    /// Makes the shim look again; false when nobody listens.
    pub(crate) fn kick(&self) -> bool {
        say(&self.file("control"), b"!")
    }

    /// All processes of it.
    pub(crate) fn group(&self) -> io::Result<Group> {
        let process = self.process()?;
        let status = self.status()?.unwrap_or_default();
        Ok(Group {
            tracked: process.as_ref().and_then(|process| process.groups.tracked.clone()),
            directory: process.map(|process| process.working_directory),
            main: self.main()?.map(|main| main.identity).or(status.main),
            keeper: status.shim,
        })
    }
}

/// Writes a few bytes into a pipe if somebody reads it; never waits.
pub(crate) fn say(pipe: &Path, bytes: &[u8]) -> bool {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::open(pipe, flags, Mode::empty()) {
        // A full pipe already says everything.
        Ok(descriptor) => File::from(descriptor).write(bytes).map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true),
        Err(_) => false,
    }
}
