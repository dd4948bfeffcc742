//! The shim: keeps one process (an engine or the gateway), outlives `serve`, needs no runtime and next to no memory. It is
//! told what is wanted by files and a byte in a pipe, notices deaths by a process descriptor, and is itself replaceable: a
//! new shim adopts what the old one kept.

pub mod protocol;

mod exec;
mod exits;
mod record;

pub use exec::exec_main;
pub(crate) use exec::leave_the_network;
pub(crate) use exits::{last_lines, speaks_of_full};

use crate::files;
use crate::identity::{Identity, ended, wait};
use moorage_domain::Timestamp;
use moorage_domain::decide::restart::{self, AfterDeath};
use moorage_domain::instance::{ProcessExit, ProcessState};
use protocol::{
    HungFile, MainFile, NOT_WANTED, PastEnd, ProcessFile, RestartRule, ShimDirectory, StatusFile, VERSION, Want, WantedFile, now, say,
};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid};
use signal_hook::consts::signal;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// The gateway's deaths are forgiven after this long.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);
/// The longest wait of a process that is never given up.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Above this size the shim's own log is begun anew.
const LONGEST_LOG: u64 = 1 << 20;

/// Keeps the process that `dir` describes until it is not wanted any more. Must be called while the process has a single
/// thread.
pub fn shim_main(dir: &Path) -> ExitCode {
    match Shim::begin(dir).and_then(|shim| shim.map_or(Ok(()), Shim::keep)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("gives up: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// One line into the shim's own log.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{} shim {}: {text}", now().rfc3339(), std::process::id());
}

/// When a process that is never given up is started again.
fn restart_for_ever(in_a_row: u32, started: Timestamp, died: Timestamp) -> (u32, Duration) {
    let count = if died.since(started) >= FORGIVEN_AFTER { 1 } else { in_a_row.saturating_add(1) };
    let wait = match count {
        1 => Duration::ZERO,
        n => (Duration::from_millis(50) * 2_u32.pow((n - 2).min(10))).min(LONGEST_WAIT),
    };
    (count, wait)
}

enum Phase {
    /// Nothing runs.
    Idle,
    /// It runs.
    Running,
    /// It was asked to stop; the group is killed at this moment.
    Stopping(Instant),
    /// It is started again at this moment.
    Waiting(Instant),
}

struct Main {
    identity: Identity,
    descriptor: OwnedFd,
    /// Our child, whose exit status we get.
    ours: bool,
}

struct Shim {
    directory: ShimDirectory,
    process: ProcessFile,
    status: StatusFile,
    wanted: WantedFile,
    phase: Phase,
    main: Option<Main>,
    /// How the main process ended, once it was reaped.
    exit: Option<ExitStatus>,
    own_log: PathBuf,
    own_log_from: u64,
    control: File,
    children: UnixStream,
    unwritten: bool,
    _lock: File,
}

impl Shim {
    /// Becomes the one shim of the directory and takes over what is there.
    fn begin(dir: &Path) -> io::Result<Option<Self>> {
        // Alone in its session already when it was started as a process group leader's first act.
        let _ = rustix::process::setsid();
        let directory = ShimDirectory::new(dir);
        let Some(lock) = directory.become_shim()? else { return Ok(None) };
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let deaf = Arc::new(AtomicBool::new(false));
        for ignored in [signal::SIGHUP, signal::SIGTERM, signal::SIGINT, signal::SIGQUIT, signal::SIGUSR1, signal::SIGUSR2] {
            // A handler and not "ignore": the engine would inherit that.
            signal_hook::flag::register(ignored, Arc::clone(&deaf))?;
        }
        let (children, teller) = UnixStream::pair()?;
        children.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal::SIGCHLD, teller)?;
        let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let control = File::from(rustix::fs::open(directory.file("control"), flags, Mode::empty())?);
        let missing = || io::Error::new(io::ErrorKind::NotFound, "there is no readable process.json");
        let process = directory.process()?.ok_or_else(missing)?;
        if let Some(group) = &process.shim_group {
            let _ = std::fs::create_dir_all(group);
            let _ = std::fs::write(group.join("cgroup.procs"), std::process::id().to_string());
        }
        let Some(wanted) = directory.wanted()? else { return Ok(None) };
        let status = directory.status()?.unwrap_or_default();
        let own_log = directory.file("shim.log");
        let mut shim = Self {
            directory,
            process,
            status,
            wanted,
            phase: Phase::Idle,
            main: None,
            exit: None,
            own_log_from: files::log_length(&own_log),
            own_log,
            control,
            children,
            unwritten: false,
            _lock: lock,
        };
        shim.status.version = VERSION;
        shim.status.shim = Identity::own();
        shim.take_over()?;
        Ok(Some(shim))
    }

    /// Finds out what an earlier shim left.
    fn take_over(&mut self) -> io::Result<()> {
        if let Some(main) = self.directory.main()?
            && main.incarnation >= self.status.incarnation
            && main.identity.lives()
        {
            if main.incarnation > self.status.incarnation {
                (self.status.incarnation, self.status.since) = (main.incarnation, now());
            }
            self.status.main = Some(main.identity);
        }
        let main = self.status.main.take().and_then(|identity| {
            let descriptor = identity.open()?;
            Some(Main { identity, descriptor, ours: false })
        });
        if let Some(main) = main {
            note(&format!("adopts {} (incarnation {})", main.identity.pid, self.status.incarnation));
            self.status.main = Some(main.identity.clone());
            self.main = Some(main);
            self.phase = Phase::Running;
            self.say_running();
            return Ok(());
        }
        match self.status.state.clone() {
            ProcessState::Running { .. } => self.after_the_end(None)?,
            ProcessState::BackingOff { until, .. } => {
                // A clock that was moved back must not make this longer.
                self.phase = Phase::Waiting(Instant::now() + until.since(now()).min(restart::LONGEST_WAIT));
            }
            _ => {}
        }
        Ok(())
    }

    /// The loop: look, act, sleep until something happens.
    fn keep(mut self) -> io::Result<()> {
        loop {
            if let Some(wanted) = self.directory.wanted()? {
                self.wanted = wanted;
            }
            self.reap();
            let limit = match self.act()? {
                Next::Sleep(limit) => limit,
                Next::Leave => {
                    self.write();
                    // Under the gate: a wish written before is seen here, one written later finds no shim.
                    let gate = self.directory.gate(Duration::from_secs(10))?;
                    if self.directory.wanted()?.is_none_or(|wanted| wanted.sequence == self.status.sequence) {
                        return Ok(());
                    }
                    drop(gate);
                    continue;
                }
            };
            // What could not be written (a full disk) is tried again.
            let limit = if self.unwritten { Some(limit.map_or(Duration::from_secs(1), |l| l.min(Duration::from_secs(1)))) } else { limit };
            {
                let mut asked = vec![PollFd::new(&self.control, PollFlags::IN), PollFd::new(&self.children, PollFlags::IN)];
                if let Some(main) = &self.main {
                    asked.push(PollFd::new(&main.descriptor, PollFlags::IN));
                }
                wait(&mut asked, limit);
            }
            let mut drained = [0u8; 256];
            while self.control.read(&mut drained).is_ok_and(|read| read > 0) {}
            while self.children.read(&mut drained).is_ok_and(|read| read > 0) {}
            if self.unwritten {
                self.write();
            }
        }
    }

    fn act(&mut self) -> io::Result<Next> {
        if self.main.as_ref().is_some_and(|main| ended(&main.descriptor) && (!main.ours || self.exit.is_some())) {
            let exit = self.exit.take();
            self.main = None;
            self.after_the_end(exit)?;
        }
        let news = self.wanted.sequence > self.status.sequence;
        match (&self.phase, self.wanted.want) {
            (Phase::Idle, Want::Run) => {
                let gave_up = matches!(self.status.state, ProcessState::GaveUp { .. });
                if gave_up && !news {
                    return Ok(Next::Leave);
                }
                if news {
                    (self.status.deaths_in_a_row, self.status.last_exit) = (0, None);
                }
                self.start()
            }
            (Phase::Idle | Phase::Waiting(_), _) if self.wanted.want != Want::Run => self.settle(),
            (Phase::Waiting(until), _) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return self.start();
                }
                self.heard();
                Ok(Next::Sleep(Some(left)))
            }
            (Phase::Running | Phase::Stopping(_), Want::Fenced) => {
                self.directory.group()?.kill()?;
                self.phase = Phase::Stopping(Instant::now());
                Ok(Next::Sleep(Some(Duration::from_millis(100))))
            }
            (Phase::Running, Want::Stop) => {
                let signal = Signal::from_named_raw(self.process.stop.signal).unwrap_or(Signal::TERM);
                note(&format!("asks the process to stop with {signal:?}"));
                if let Some(main) = &self.main {
                    let _ = pidfd_send_signal(&main.descriptor, signal);
                }
                self.phase = Phase::Stopping(Instant::now() + self.process.stop.grace);
                Ok(Next::Sleep(Some(self.process.stop.grace)))
            }
            (Phase::Running, _) => {
                self.heard();
                Ok(Next::Sleep(None))
            }
            // Also when it is wanted again meanwhile: a stop that began is ended first.
            (Phase::Stopping(until), _) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    note("kills what did not stop in time");
                    self.directory.group()?.kill()?;
                    return Ok(Next::Sleep(Some(Duration::from_millis(100))));
                }
                Ok(Next::Sleep(Some(left)))
            }
            (Phase::Idle, _) => self.settle(),
        }
    }

    /// The wish was seen and needs nothing.
    fn heard(&mut self) {
        if self.status.sequence != self.wanted.sequence {
            self.status.sequence = self.wanted.sequence;
            self.write();
        }
    }

    /// Nothing is to run: makes sure of it, says so and goes.
    fn settle(&mut self) -> io::Result<Next> {
        self.empty_the_group()?;
        self.phase = Phase::Idle;
        self.status.main = None;
        self.status.state = ProcessState::Stopped;
        self.status.sequence = self.wanted.sequence;
        Ok(Next::Leave)
    }

    /// Kills whatever is left of the process and returns only when nobody is: a dead main process is not a fence.
    fn empty_the_group(&mut self) -> io::Result<()> {
        let group = self.directory.group()?;
        while !group.end(Duration::from_secs(10))? {
            note("waits for processes that cannot be killed");
        }
        self.reap();
        Ok(())
    }

    fn start(&mut self) -> io::Result<Next> {
        self.empty_the_group()?;
        if let Some(process) = self.directory.process()? {
            self.process = process;
        }
        for failure in self.process.groups.ensure()? {
            note(&format!("could not set a limit: {failure}"));
        }
        self.own_log_from = files::log_length(&self.own_log);
        if self.own_log_from > LONGEST_LOG
            && let Ok(log) = File::options().write(true).open(&self.own_log)
            && log.set_len(0).is_ok()
        {
            self.own_log_from = 0;
        }
        self.status.log_from = self.process.log.as_ref().map_or(0, |log| files::log_length(log));
        self.status.memory_kills_before = self.process.groups.memory_kills();
        self.status.since = now();
        self.exit = None;
        match self.launch() {
            Ok(Some(main)) => {
                note(&format!("started {} (incarnation {})", main.identity.pid, self.status.incarnation));
                self.status.main = Some(main.identity.clone());
                self.main = Some(main);
                self.phase = Phase::Running;
                self.say_running();
                Ok(Next::Sleep(None))
            }
            // The wish changed at the last moment: it is looked at again.
            Ok(None) => {
                self.phase = Phase::Idle;
                Ok(Next::Sleep(Some(Duration::ZERO)))
            }
            Err(error) => {
                note(&format!("cannot start a process: {error}"));
                self.after_the_end(None)?;
                Ok(Next::Sleep(Some(Duration::ZERO)))
            }
        }
    }

    /// Starts the process under the gate, so that a wish that forbids it comes either before, and is seen here, or after,
    /// and finds the process in its group. None when it is not wanted.
    fn launch(&mut self) -> io::Result<Option<Main>> {
        // Through the image this shim runs from: it is there even if the file was replaced or removed meanwhile.
        let mut child = Command::new("/proc/self/exe")
            .arg0("moorage")
            .args(self.process.program.get(1..).unwrap_or_default())
            .arg("exec")
            .arg(self.directory.path())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the process vanished");
        let identity = Identity::of(child.id()).ok_or_else(gone)?;
        let descriptor = rustix::process::pidfd_open(Pid::from_child(&child), rustix::process::PidfdFlags::empty())?;
        let main = Main { identity, descriptor, ours: true };
        let gate = self.directory.gate(Duration::from_secs(10))?;
        let wanted = self.directory.wanted()?;
        if let Some(wanted) = wanted {
            self.wanted = wanted;
        }
        if self.wanted.want != Want::Run {
            return Ok(None);
        }
        self.process.groups.join(main.identity.pid)?;
        self.status.incarnation += 1;
        self.status.sequence = self.wanted.sequence;
        let named = MainFile { version: VERSION, identity: main.identity.clone(), incarnation: self.status.incarnation };
        // Without room for it, only a shim killed before its record is written loses the process.
        if let Err(error) = files::replace_json(&self.directory.file("main.json"), &named, 0o600, files::Durability::Whole) {
            note(&format!("cannot write who the process is: {error}"));
        }
        drop(gate);
        if let Some(mut go) = child.stdin.take() {
            go.write_all(b"!")?;
        }
        Ok(Some(main))
    }

    fn say_running(&mut self) {
        if let Some(main) = &self.main {
            let (incarnation, since) = (self.status.incarnation, self.status.since);
            let last_exit = self.status.last_exit.clone();
            self.status.state = ProcessState::Running { pid: main.identity.pid, incarnation, since, last_exit };
        }
        self.write();
    }

    /// Collects children that ended; the main process's exit is kept.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = waitpid(None, WaitOptions::NOHANG) {
            if self.main.as_ref().is_some_and(|main| main.ours && Pid::from_raw(main.identity.pid.cast_signed()) == Some(pid)) {
                self.exit = Some(ExitStatus::from_raw(status.as_raw()));
            }
        }
    }

    /// The main process is gone: nobody of its group may outlive it. Then what follows is decided.
    fn after_the_end(&mut self, exit: Option<ExitStatus>) -> io::Result<()> {
        let stopping = matches!(self.phase, Phase::Stopping(_));
        self.empty_the_group()?;
        self.status.main = None;
        self.phase = Phase::Idle;
        if let Some(wanted) = self.directory.wanted()? {
            self.wanted = wanted;
        }
        if exit.is_some_and(|exit| exit.code() == Some(NOT_WANTED)) && self.wanted.want != Want::Run {
            return Ok(());
        }
        let mut died = exits::describe(&self.process, &self.status, exit, &self.own_log, self.own_log_from);
        let reason = self.reason_of_the_host()?;
        if let Some(reason) = &reason {
            died.last_words = last_lines(&format!("{}\n{reason}", died.last_words), exits::MOST_WORDS);
        }
        let asked = stopping || self.wanted.want != Want::Run;
        note(&format!("the process was {}{}", died.describe(), if asked { ", as asked" } else { "" }));
        let end = PastEnd { incarnation: self.status.incarnation, exit: died.clone(), reason, asked };
        exits::remember(&mut self.status.history, end);
        if !asked {
            self.decide(died);
        }
        Ok(())
    }

    fn decide(&mut self, died: ProcessExit) {
        let (in_a_row, since) = (self.status.deaths_in_a_row, self.status.since);
        let (count, wait) = match self.process.restart {
            RestartRule::Never => (in_a_row + 1, None),
            RestartRule::Always => {
                let (count, wait) = restart_for_ever(in_a_row, since, died.at);
                (count, Some(wait))
            }
            RestartRule::Limited => match restart::decide(in_a_row, since, died.at) {
                (count, AfterDeath::RestartIn(wait)) => (count, Some(wait)),
                (count, AfterDeath::GiveUp) => (count, None),
            },
        };
        (self.status.deaths_in_a_row, self.status.last_exit) = (count, Some(died.clone()));
        match wait {
            Some(wait) => {
                self.phase = Phase::Waiting(Instant::now() + wait);
                self.status.state = ProcessState::BackingOff { until: died.at.plus(wait), last: died };
            }
            None => self.status.state = ProcessState::GaveUp { last: died },
        }
        self.write();
    }

    /// Why the host killed this incarnation, if it did.
    fn reason_of_the_host(&self) -> io::Result<Option<String>> {
        let file = self.directory.file("hung.json");
        let hung: Option<HungFile> = files::read_json(&file)?;
        files::remove(&file)?;
        Ok(hung.filter(|hung| hung.incarnation == self.status.incarnation).map(|hung| hung.reason))
    }

    fn write(&mut self) {
        let written = record::write(&self.directory, &self.status);
        self.unwritten = written.is_err();
        if let Err(error) = written {
            note(&format!("cannot write its record: {error}"));
        }
        if let Some(pipe) = &self.process.nudge {
            say(pipe, format!("{}\n", self.process.name).as_bytes());
        }
    }
}

enum Next {
    Sleep(Option<Duration>),
    Leave,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_started_again_at_once_and_never_given_up() {
        let (mut count, wait) = restart_for_ever(0, Timestamp(0), Timestamp(0));
        assert_eq!(wait, Duration::ZERO);
        let mut last = wait;
        for _ in 0..1_000 {
            let (next, wait) = restart_for_ever(count, Timestamp(0), Timestamp(0));
            assert!(wait >= last && wait <= LONGEST_WAIT);
            (count, last) = (next, wait);
        }
        assert_eq!(last, LONGEST_WAIT);
        assert_eq!(restart_for_ever(count, Timestamp(0), Timestamp(10_000_000)), (1, Duration::ZERO));
    }
}
