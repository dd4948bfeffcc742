//! Jobs: the steps that make or personalise a data directory, run as an unprivileged account in a room of their own.

use crate::cgroups::GroupPlan;
use crate::files::{self, Account, ensure_directory};
use crate::group::Group;
use crate::machine::Machine;
use crate::problems::{Doing, blocking, failed};
use crate::shim::protocol::{ProcessFile, RestartRule, ShimDirectory, VERSION};
use crate::shim::{last_lines, speaks_of_full};
use crate::volumes::drivers;
use moorage_domain::layout::{JobStep, StopPlan};
use moorage_domain::{Problem, ProblemCode};
use moorage_host::{HostError, HostResult};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// What the groups of jobs are called; at a start of the host, what is left of them is killed.
pub(crate) const GROUP_PREFIX: &str = "job-";

/// A directory under a name that nobody guesses, with a volume being made in it, or for work on an instance's. Removed when dropped,
/// and with it whoever still works in it.
pub(crate) struct Room {
    name: String,
    path: PathBuf,
    account: Option<Account>,
    /// The instance's volume that is worked on.
    of_instance: Option<PathBuf>,
    at_work: Mutex<Option<(Group, GroupPlan)>>,
}

impl Room {
    pub fn open(machine: &Machine) -> io::Result<Self> {
        Self::make(machine, machine.job_account, None)
    }
    /// Room for work on an instance's volume under its own account.
    pub fn beside(machine: &Machine, volume: PathBuf, account: Option<Account>) -> io::Result<Self> {
        Self::make(machine, account, Some(volume))
    }
    fn make(machine: &Machine, account: Option<Account>, of_instance: Option<PathBuf>) -> io::Result<Self> {
        let name = files::random_name()?;
        let path = machine.work().join(&name);
        ensure_directory(&path, 0o711, None)?;
        let room = Self { name, path, account, of_instance, at_work: Mutex::default() };
        ensure_directory(&room.scratch(), 0o700, account)?;
        Ok(room)
    }
    /// The data directory being made or worked on.
    pub fn volume(&self) -> PathBuf {
        self.of_instance.clone().unwrap_or_else(|| self.path.join("volume"))
    }
    fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }
    fn output(&self) -> PathBuf {
        self.path.join("output")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some((group, plan)) = self.at_work.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let ended = group.end(Duration::from_secs(10)).and_then(|_| plan.remove());
            if let Err(error) = ended {
                tracing::warn!(room = %self.path.display(), %error, "a job that is not wanted any more could not be ended");
            }
        }
        if self.of_instance.is_some() {
            let _ = drivers::remove(&self.path);
            return;
        }
        if let Err(error) = drivers::remove(&self.volume()).and_then(|()| drivers::remove(&self.path)) {
            tracing::warn!(room = %self.path.display(), %error, "a job's directory could not be removed; the next start tries again");
        }
    }
}

/// Runs the steps one after the other; `what` says in the problem what they were to make.
pub(crate) async fn run(machine: &Arc<Machine>, room: &Arc<Room>, steps: &[JobStep], what: &str) -> HostResult<()> {
    let filled = |text: &str| {
        text.replace("{volume}", &room.volume().display().to_string()).replace("{scratch}", &room.scratch().display().to_string())
    };
    let account = room.account;
    for step in steps {
        match step {
            JobStep::Write { path, contents } => {
                let (path, contents) = (PathBuf::from(filled(path)), filled(contents));
                blocking(move || write(&path, contents.as_bytes(), account).doing("write a file of a new data directory")).await?;
            }
            JobStep::Randomise { path, offset, length } => {
                let (path, offset, length) = (PathBuf::from(filled(path)), *offset, *length);
                blocking(move || randomise(&path, offset, length).doing("give a new data directory its identity")).await?;
            }
            JobStep::Run { argv, environment, stdin, limit } => {
                let program = Program {
                    argv: argv.iter().map(|argument| filled(argument)).collect(),
                    environment: environment.iter().map(|(name, value)| (name.clone(), filled(value))).collect(),
                    stdin: filled(stdin),
                    limit: *limit,
                };
                run_program(machine, room, program, what).await?;
            }
        }
    }
    Ok(())
}

struct Program {
    argv: Vec<String>,
    environment: Vec<(String, String)>,
    stdin: String,
    limit: Duration,
}

async fn run_program(machine: &Arc<Machine>, room: &Arc<Room>, program: Program, what: &str) -> HostResult<()> {
    let limit = program.limit;
    let label = program.argv.first().cloned().unwrap_or_default();
    let (machine_here, room_here) = (Arc::clone(machine), Arc::clone(room));
    let (mut command, stdin) = blocking(move || prepare(&machine_here, &room_here, program).doing("prepare a job")).await?;
    let mut child = command.spawn().doing("start a job")?;
    let mut input = child.stdin.take();
    let ended = tokio::time::timeout(limit, async {
        if let Some(input) = input.as_mut() {
            // A program that does not want its input closes it.
            let _ = input.write_all(stdin.as_bytes()).await;
        }
        drop(input);
        child.wait().await
    })
    .await;
    // Nothing of a job outlives it: what follows moves and copies its directory.
    let group = room.at_work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let emptied = blocking(move || {
        let Some((group, plan)) = group else { return Ok(true) };
        let empty = group.end(Duration::from_secs(10)).doing("end a job")?;
        let _ = plan.remove();
        Ok(empty)
    });
    let empty = emptied.await?;
    let output = {
        let log = room.output();
        blocking(move || files::tail(&log, 0, 64 * 1024).doing("read a job's output")).await?
    };
    match ended {
        Ok(Ok(status)) if status.success() && empty => Ok(()),
        Ok(Ok(status)) if empty => Err(refused(what, &label, &status.to_string(), &output)),
        Ok(Ok(_)) => Err(refused(what, &label, "left processes behind that cannot be killed", &output)),
        Ok(Err(error)) => Err(failed("wait for a job", error)),
        Err(_) => {
            let _ = child.kill().await;
            Err(refused(what, &label, &format!("took longer than {} seconds", limit.as_secs()), &output))
        }
    }
}

fn prepare(machine: &Machine, room: &Room, program: Program) -> io::Result<(tokio::process::Command, String)> {
    let groups = machine.groups.plan(&format!("{GROUP_PREFIX}{}", room.name), 0, 0);
    groups.ensure()?;
    let step = ShimDirectory::new(room.path.join("step"));
    ensure_directory(step.path(), 0o700, None)?;
    step.write_process(&ProcessFile {
        version: VERSION,
        name: room.name.clone(),
        cluster: None,
        program: machine.options.program.clone(),
        argv: program.argv,
        environment: program.environment,
        working_directory: room.scratch(),
        stale: Vec::new(),
        marks: Vec::new(),
        account: room.account,
        log: None,
        groups: groups.clone(),
        own_network: false,
        network: None,
        restart: RestartRule::Never,
        stop: StopPlan { signal: 9, grace: Duration::ZERO },
        socket: None,
        nudge: None,
        shim_group: None,
        kept: false,
    })?;
    let output = OpenOptions::new().create(true).append(true).mode(0o600).open(room.output())?;
    let (own, arguments) = machine.options.program.split_first().ok_or_else(|| io::Error::other("no program is configured"))?;
    let mut command = tokio::process::Command::new(own);
    command.args(arguments).arg("exec").arg(step.path()).current_dir("/").process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
    let group = Group { tracked: groups.tracked.clone(), directory: Some(room.path.clone()), ..Group::default() };
    *room.at_work.lock().unwrap_or_else(PoisonError::into_inner) = Some((group, groups));
    Ok((command, program.stdin))
}

fn refused(what: &str, program: &str, how: &str, output: &str) -> HostError {
    let words = last_lines(output, 2_000);
    if speaks_of_full(&words) {
        let problem = Problem::new(ProblemCode::NotEnoughSpace, format!("The host has no space left and could not make {what}."))
            .detail(words)
            .hint("Free some space on the file system of the data directory, then try again.");
        return HostError { problem, passing: false, cause: None };
    }
    let program = Path::new(program).file_name().map_or_else(|| program.to_owned(), |name| name.to_string_lossy().into_owned());
    let mut problem = Problem::new(ProblemCode::EngineStartFailed, format!("The host could not make {what}: {program} failed ({how})."))
        .hint("Check that the engine version is installed completely; its own words are in the detail.");
    if !words.is_empty() {
        problem = problem.detail(words);
    }
    HostError { problem, passing: false, cause: None }
}

fn write(path: &Path, contents: &[u8], account: Option<Account>) -> io::Result<()> {
    files::replace(path, contents, 0o600, account, files::Durability::Whole)
}

fn randomise(path: &Path, offset: u64, length: u32) -> io::Result<()> {
    let mut bytes = Vec::new();
    File::open("/dev/urandom")?.take(u64::from(length)).read_to_end(&mut bytes)?;
    let file = OpenOptions::new().write(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
    if offset + u64::from(length) > file.metadata()?.len() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} is shorter than expected", path.display())));
    }
    file.write_all_at(&bytes, offset)
}

/// Ends the jobs of a host that was killed, and removes what they had begun.
pub(crate) fn clear(machine: &Machine) -> HostResult<()> {
    for name in machine.groups.named(GROUP_PREFIX) {
        let plan = machine.groups.plan(&name, 0, 0);
        let group = Group { tracked: plan.tracked.clone(), ..Group::default() };
        group.end(Duration::from_secs(10)).doing("end a job of an earlier start")?;
        if let Err(error) = plan.remove() {
            tracing::warn!(group = name, %error, "the control group of an earlier job could not be removed");
        }
    }
    if machine.groups.tracks() {
        return clear_directory(&machine.work());
    }
    let group = Group { directory: Some(machine.work()), ..Group::default() };
    group.end(Duration::from_secs(10)).doing("end the jobs of an earlier start")?;
    clear_directory(&machine.work())
}

fn clear_directory(directory: &Path) -> HostResult<()> {
    for name in files::names(directory).doing("list unfinished work")? {
        let path = directory.join(name);
        // A room with a volume in it, or a volume that was put aside.
        drivers::remove(&path.join("volume")).and_then(|()| drivers::remove(&path)).doing("remove unfinished work")?;
    }
    Ok(())
}
