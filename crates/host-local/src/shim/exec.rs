//! `moorage exec DIR`: the last moments before a process becomes the engine. It drops every privilege and is replaced by the
//! program; its pid stays.
//!
//! A kept process waits for its shim first: the shim moves it into its groups and writes down who it is, and only then says
//! go. So whoever holds the gate is never inside the group (where it could be frozen or killed), and a shim that dies
//! before leaves a process behind that ends by itself.

use super::protocol::{CANNOT_RUN, NOT_WANTED, ShimDirectory};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{Gid, Uid, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

const MOST_FILES: u64 = 1_048_576;

enum Refusal {
    NotWanted,
    Failed(&'static str, io::Error),
}

fn doing<T>(what: &'static str, result: io::Result<T>) -> Result<T, Refusal> {
    result.map_err(|error| Refusal::Failed(what, error))
}

/// Runs the process that `DIR/process.json` describes in place of this one. Must be called while the process has a single
/// thread: accounts and namespaces belong to threads.
pub fn exec_main(dir: &Path) -> ExitCode {
    let directory = ShimDirectory::new(dir);
    match become_it(&directory) {
        Ok(never) => match never {},
        Err(Refusal::NotWanted) => ExitCode::from(NOT_WANTED as u8),
        Err(Refusal::Failed(what, error)) => {
            let _ = writeln!(io::stderr(), "moorage: cannot {what}: {error}");
            ExitCode::from(CANNOT_RUN as u8)
        }
    }
}

fn become_it(directory: &ShimDirectory) -> Result<std::convert::Infallible, Refusal> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "there is no readable process.json");
    let process = doing("read what to run", directory.process().and_then(|process| process.ok_or_else(missing)))?;
    let (Some(program), arguments) = (process.argv.first(), process.argv.get(1..).unwrap_or_default()) else {
        return Err(Refusal::Failed("read what to run", missing()));
    };
    if process.kept {
        wait_for_the_shim()?;
    } else {
        doing("join the control groups", process.groups.join(std::process::id()))?;
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    if let Some(network) = &process.network {
        doing("enter its cluster's network", enter_network(network))?;
    } else if process.own_network {
        doing("enter a network of its own", leave_the_network())?;
    }
    doing("set limits", set_limits())?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    if let Some(account) = process.account {
        let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        doing("drop supplementary groups", set_thread_groups(&[]).map_err(io::Error::from))?;
        doing("become the account's group", set_thread_res_gid(gid, gid, gid).map_err(io::Error::from))?;
        doing("become the account", set_thread_res_uid(uid, uid, uid).map_err(io::Error::from))?;
    }
    doing("give up gaining privileges", set_no_new_privs(true).map_err(io::Error::from))?;
    doing("enter its working directory", std::env::set_current_dir(&process.working_directory))?;
    for file in &process.stale {
        // The group was empty before this start: whoever wrote them is gone.
        let removed = std::fs::remove_file(file).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) });
        doing("remove what an earlier process left", removed)?;
    }
    for file in &process.marks {
        let made = File::options().write(true).create(true).truncate(false).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(file);
        doing("make a file it starts with", made.map(drop))?;
    }
    // Opened as the account itself: whatever it has put in place of its log, it can reach nothing that is not its own.
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(process.environment.iter().cloned());
    if process.kept {
        command.stdin(Stdio::null());
    }
    if let Some(log) = &process.log {
        let log = doing("open its log", open_log(log))?;
        let second = doing("open its log", log.try_clone())?;
        command.stdout(log).stderr(second);
    }
    let mut error = command.exec();
    // This binary may lie where the account cannot go (below a home directory); the image that runs already can be run again.
    if process.program.first() == Some(program) && matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) {
        let mut again = Command::new("/proc/self/exe");
        again.arg0(program).args(arguments).env_clear().envs(process.environment.iter().cloned());
        error = again.exec();
    }
    let _ = writeln!(io::stderr(), "moorage: cannot run {program}: {error}");
    Err(Refusal::Failed("run the program", error))
}

/// Reads the shim's go from standard input; its end without one means that the shim is dead or thought better of it.
fn wait_for_the_shim() -> Result<(), Refusal> {
    let mut go = [0u8; 1];
    match io::stdin().lock().read(&mut go) {
        Ok(1) => Ok(()),
        _ => Err(Refusal::NotWanted),
    }
}

/// A network namespace with nothing but an unconfigured loopback: engines are reached over Unix sockets only. And a namespace
/// for System V memory, so that what a killed PostgreSQL leaves behind goes with its last process.
pub(crate) fn leave_the_network() -> io::Result<()> {
    #[expect(deprecated, reason = "the call is deprecated for a hazard of sharing descriptor tables; these flags do not touch them")]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET | rustix::thread::UnshareFlags::NEWIPC)?;
    Ok(())
}

/// The network shared with the other instances of its cluster, and a namespace of its own for System V memory.
fn enter_network(network: &Path) -> io::Result<()> {
    let network = File::open(network)?;
    rustix::thread::move_into_link_name_space(network.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network))?;
    #[expect(deprecated, reason = "the call is deprecated for a hazard of sharing descriptor tables; this flag does not touch them")]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWIPC)?;
    Ok(())
}

fn set_limits() -> io::Result<()> {
    // A core file would carry a tenant's data and fill its volume.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let files = getrlimit(Resource::Nofile);
    // Some programs walk over every possible descriptor.
    let most = files.maximum.map_or(MOST_FILES, |most| most.min(MOST_FILES));
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) })?;
    Ok(())
}

fn open_log(path: &Path) -> io::Result<File> {
    // A pipe put in place of the log must not hold us up; a plain file does not notice the flag.
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a plain file", path.display())));
    }
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file)
}
