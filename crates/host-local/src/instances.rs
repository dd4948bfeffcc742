//! Processes of instances: what is written before one starts, and what is said of it afterwards. Nothing here waits for an
//! engine; the files are the truth, the shim does the work.

use crate::files::{self, Account, Durability, ensure_directory};
use crate::identity::{Identity, boot};
use crate::machine::Machine;
use crate::networks;
use crate::problems::Doing;
use crate::shim::protocol::{HungFile, ProcessFile, RestartRule, ShimDirectory, VERSION, Want, WantedFile, now};
use crate::volumes;
use moorage_domain::instance::{ProcessExit, ProcessState};
use moorage_domain::layout::{ConfigFile, Place, ProcessLayout};
use moorage_domain::{InstanceId, Problem, ProblemCode, Timestamp};
use moorage_host::{HostResult, ProcessWish};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// The gate is held for moments; longer means that something is very wrong.
const GATE: Duration = Duration::from_secs(5);
/// Longest path of a Unix socket.
const LONGEST_SOCKET_PATH: usize = 107;

/// Writes everything a process needs and the wish to run it; returns the sequence of the wish.
pub(crate) fn write_wish(machine: &Machine, wish: &ProcessWish) -> HostResult<u64> {
    let account = machine.account(wish.uid)?;
    let place = machine.place(&wish.instance);
    check_layout(&wish.layout, &place)?;
    if !volumes::is_ready(machine, &wish.instance)? {
        let message = format!("Instance {} has no volume on this host.", wish.instance);
        return Err(Problem::new(ProblemCode::HostFailed, message).into());
    }
    volumes::open(machine, &wish.instance)?;
    prepare_place(machine, &place, account).doing("prepare an instance's directories")?;
    write_config(&place.config, &wish.layout.files, account).doing("write the engine's configuration")?;
    let network = match wish.layout.has_peers && machine.networks {
        true => Some(networks::ensure(machine, &wish.cluster).doing("make a network for a cluster")?),
        false => None,
    };
    let name = wish.instance.as_str();
    let process = ProcessFile {
        version: VERSION,
        name: name.to_owned(),
        cluster: Some(wish.cluster.clone()),
        program: machine.options.program.clone(),
        argv: wish.layout.argv.clone(),
        environment: wish.layout.environment.clone(),
        working_directory: wish.layout.working_directory.clone(),
        stale: wish.layout.stale.clone(),
        account,
        log: Some(wish.layout.log.clone()),
        groups: machine.groups.plan(name, wish.memory_bytes, wish.cpu),
        marks: wish.layout.marks.clone(),
        own_network: machine.networks,
        network,
        restart: if wish.restart { RestartRule::Limited } else { RestartRule::Never },
        stop: wish.layout.stop,
        socket: Some(wish.layout.socket.clone()),
        nudge: Some(machine.nudges()),
        shim_group: machine.groups.shims(),
        kept: true,
    };
    want_running(&machine.shim_of(&wish.instance), &process, wish.term)
}

/// Writes what to run and that it should.
pub(crate) fn want_running(directory: &ShimDirectory, process: &ProcessFile, term: u64) -> HostResult<u64> {
    let wanting = "ask for a process";
    directory.ensure().doing(wanting)?;
    let changed = directory.process().doing(wanting)?.as_ref() != Some(process);
    if changed {
        directory.write_process(process).doing(wanting)?;
    }
    let gate = directory.gate(GATE).doing(wanting)?;
    let before = directory.wanted().doing(wanting)?;
    // A process that was given up stays so while the same is asked for again: repeating a wish is not a new one.
    let gave_up = changed && matches!(directory.status().doing(wanting)?.unwrap_or_default().state, ProcessState::GaveUp { .. });
    match before {
        Some(wanted) if wanted.want == Want::Run && wanted.term == term && wanted.boot == boot() && !gave_up => Ok(wanted.sequence),
        before => {
            let sequence = before.map_or(0, |wanted| wanted.sequence) + 1;
            let wanted = WantedFile { version: VERSION, sequence, want: Want::Run, term, boot: boot() };
            directory.write_wanted(&gate, &wanted).doing(wanting)?;
            Ok(sequence)
        }
    }
}

/// Writes the wish that it should not run; none when it never did. A fence is not softened to a stop.
pub(crate) fn want_ended(directory: &ShimDirectory, want: Want, term: Option<u64>) -> HostResult<Option<u64>> {
    let wanting = "ask for the end of a process";
    if !directory.path().is_dir() {
        return Ok(None);
    }
    let gate = directory.gate(GATE).doing(wanting)?;
    let Some(before) = directory.wanted().doing(wanting)? else { return Ok(None) };
    let enough = before.want == want || (before.want == Want::Fenced && want == Want::Stop);
    if enough && before.boot == boot() {
        return Ok(Some(before.sequence));
    }
    let wanted = WantedFile { version: VERSION, sequence: before.sequence + 1, want, term: term.unwrap_or(before.term), boot: boot() };
    directory.write_wanted(&gate, &wanted).doing(wanting)?;
    Ok(Some(wanted.sequence))
}

/// Kills the group of a process that does not answer, unless it ended by itself.
pub(crate) fn kill_hung(directory: &ShimDirectory, reason: &str) -> io::Result<()> {
    if !directory.path().is_dir() {
        return Ok(());
    }
    // Under the gate no new incarnation can enter the group between the look and the kill.
    let _gate = directory.gate(GATE)?;
    let status = directory.status()?.unwrap_or_default();
    if !status.main.as_ref().is_some_and(Identity::lives) {
        return Ok(());
    }
    let hung = HungFile { version: VERSION, incarnation: status.incarnation, reason: reason.to_owned() };
    // A reason that cannot be kept does not keep the engine hanging.
    let _ = files::replace_json(&directory.file("hung.json"), &hung, 0o600, Durability::Whole);
    directory.group()?.kill()
}

/// What a process is doing, by its files and the kernel.
pub(crate) fn observe(directory: &ShimDirectory) -> io::Result<ProcessState> {
    let (Some(wanted), true) = (directory.wanted()?, directory.file("process.json").exists()) else { return Ok(ProcessState::Absent) };
    let status = directory.status()?.unwrap_or_default();
    if matches!(status.state, ProcessState::Running { .. }) && status.main.as_ref().is_some_and(Identity::lives) {
        return Ok(status.state);
    }
    // A shim that was killed before it could write down what it started.
    if let Some(main) = directory.main()?
        && main.incarnation > status.incarnation
        && main.identity.lives()
    {
        let since = std::fs::metadata(directory.file("main.json")).map_or(now(), |found| Timestamp(found.mtime() * 1_000_000));
        return Ok(ProcessState::Running { pid: main.identity.pid, incarnation: main.incarnation, since, last_exit: status.last_exit });
    }
    let heard = status.sequence >= wanted.sequence;
    match wanted.want {
        Want::Stop | Want::Fenced if directory.group()?.is_empty()? => Ok(ProcessState::Stopped),
        Want::Stop | Want::Fenced => Ok(status.state),
        // Wished before a reboot: nothing of it is here any more.
        Want::Run if wanted.boot != boot() => Ok(ProcessState::Absent),
        Want::Run => Ok(match status.state {
            state @ ProcessState::GaveUp { .. } if heard => state,
            state @ ProcessState::BackingOff { .. } => state,
            _ => ProcessState::BackingOff { until: now(), last: status.last_exit.unwrap_or_else(unseen_end) },
        }),
    }
}

fn unseen_end() -> ProcessExit {
    ProcessExit { at: now(), code: None, signal: None, out_of_memory: false, volume_full: false, last_words: String::new() }
}

fn check_layout(layout: &ProcessLayout, place: &Place) -> HostResult<()> {
    let wrong = |message: String| Err(Problem::new(ProblemCode::HostFailed, message).into());
    if layout.argv.is_empty() {
        return wrong(String::from("The engine names no program to run."));
    }
    if layout.log.parent() != Some(&place.logs) {
        return wrong(format!("The engine's log {} is not in the directory for logs.", layout.log.display()));
    }
    if layout.files.iter().any(|file| file.name.is_empty() || file.name.starts_with('.') || file.name.contains('/')) {
        return wrong(String::from("The engine names a configuration file outside its directory."));
    }
    if layout.socket.as_os_str().len() > LONGEST_SOCKET_PATH {
        return wrong(format!("The socket path {} is longer than {LONGEST_SOCKET_PATH} bytes.", layout.socket.display()));
    }
    Ok(())
}

/// The directories around a volume.
fn prepare_place(machine: &Machine, place: &Place, account: Option<Account>) -> io::Result<()> {
    let own = account.map(|account| account.gid);
    let readers = own.map(|gid| Account { uid: 0, gid });
    ensure_directory(&place.config, if readers.is_some() { 0o750 } else { 0o700 }, readers)?;
    ensure_directory(&place.logs, 0o700, account)?;
    prepare_run_directory(machine, &place.run, account)
}

/// The directory of an instance's socket. It is lost at every reboot; the gateway's group may enter it.
fn prepare_run_directory(machine: &Machine, path: &Path, account: Option<Account>) -> io::Result<()> {
    ensure_directory(&machine.run, if account.is_some() { 0o711 } else { 0o700 }, None)?;
    let meeting =
        account.map(|account| Account { uid: account.uid, gid: machine.gateway_account.map_or(account.gid, |gateway| gateway.gid) });
    ensure_directory(path, if meeting.is_some() { 0o750 } else { 0o700 }, meeting)
}

/// Whether an instance's process was wanted in this boot; what a new shim needs to take over is then there.
pub(crate) fn prepare_adoption(machine: &Machine, instance: &InstanceId) -> io::Result<bool> {
    let directory = machine.shim_of(instance);
    let (Some(wanted), Some(process)) = (directory.wanted()?, directory.process()?) else { return Ok(false) };
    if wanted.boot != boot() {
        return Ok(false);
    }
    if wanted.want == Want::Run {
        prepare_run_directory(machine, &machine.place(instance).run, process.account)?;
    }
    Ok(true)
}

/// The engine reads its configuration and cannot change it.
fn write_config(directory: &Path, wanted: &[ConfigFile], account: Option<Account>) -> io::Result<()> {
    for name in files::names(directory)? {
        if !wanted.iter().any(|file| file.name == name) {
            files::remove(&directory.join(name))?;
        }
    }
    let owner = account.map(|account| Account { uid: 0, gid: account.gid });
    for file in wanted {
        let path = directory.join(&file.name);
        if std::fs::read(&path).is_ok_and(|found| found == file.contents.as_bytes()) {
            continue;
        }
        files::replace(&path, file.contents.as_bytes(), if owner.is_some() { 0o640 } else { 0o600 }, owner, Durability::Whole)?;
    }
    Ok(())
}

/// Kills everything of an instance and removes it: first its processes, then the mark of its volume, at last its directory.
/// Its shim must have been told that it is not wanted.
pub(crate) fn remove(machine: &Machine, instance: &InstanceId) -> HostResult<()> {
    let removing = "remove an instance";
    let directory = machine.shim_of(instance);
    end_group_and_shim(&directory).doing(removing)?;
    machine.groups.remove(instance.as_str()).doing(removing)?;
    files::remove(&machine.place(instance).run).doing(removing)?;
    volumes::remove(machine, instance).doing(removing)?;
    files::remove(&machine.instance(instance)).doing(removing)?;
    files::sync_directory(&machine.instances()).doing(removing)
}

/// Ends all processes of a shim's directory and the shim itself.
pub(crate) fn end_group_and_shim(directory: &ShimDirectory) -> io::Result<()> {
    let held = || io::Error::new(io::ErrorKind::TimedOut, "a process of it cannot be killed");
    if !directory.path().is_dir() {
        return Ok(());
    }
    if !directory.group()?.end(Duration::from_secs(10))? {
        return Err(held());
    }
    let until = std::time::Instant::now() + Duration::from_secs(1);
    while let Some(shim) = directory.shim()? {
        if std::time::Instant::now() >= until {
            // It does not leave by itself; nothing is in its care any more.
            let identity = u32::try_from(shim.as_raw_nonzero().get()).ok().and_then(Identity::of);
            if let (Some(identity), Some(again)) = (identity, directory.shim()?)
                && again == shim
            {
                identity.signal(rustix::process::Signal::KILL);
            }
        }
        if std::time::Instant::now() >= until + Duration::from_secs(5) {
            return Err(held());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    if directory.group()?.end(Duration::from_secs(10))? { Ok(()) } else { Err(held()) }
}
