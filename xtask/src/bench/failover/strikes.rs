//! What is done to processes and their groups, and waiting for what comes of it.

use anyhow::{Context, Result, bail};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Asks again and again until there is an answer; says what was seen last when there is none in time.
pub fn until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Result<T, String>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(seen) if begun.elapsed() > limit => bail!("not within {} s: {what}; instead {seen}", limit.as_secs()),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Waits for some time below this, so that what is measured is met at any point of whatever goes round in it.
pub fn wait_for_any_time_below(limit: Duration) {
    let share = RandomState::new().build_hasher().finish() % 1000;
    std::thread::sleep(limit * u32::try_from(share).unwrap_or_default() / 1000);
}

/// The oldest process whose working directory is this one.
pub fn oldest_process_in(directory: &Path) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let inside = processes.filter(|process| std::fs::read_link(format!("/proc/{process}/cwd")).is_ok_and(|cwd| cwd == directory));
    inside.filter_map(|process| Some((started(process)?, process))).min().map(|(_, process)| process)
}

/// When a process was started, in a unit that does not matter here; nothing when it is gone or waits to be reaped.
fn started(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// Whether a process is there.
pub fn runs(process: u32) -> bool {
    started(process).is_some()
}

/// Sends a signal.
pub fn signal(process: u32, signal: &str) -> Result<()> {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(process.to_string()).status()?;
    if !sent.success() {
        bail!("process {process} could not be sent {signal}");
    }
    Ok(())
}

/// The switch that freezes the control group of an instance.
pub fn freezer(instance: &str) -> Result<PathBuf> {
    let found = Command::new("find").args(["/sys/fs/cgroup", "-path", &format!("*{instance}*"), "-name", "cgroup.freeze"]).output()?;
    let first = String::from_utf8_lossy(&found.stdout).lines().next().map(PathBuf::from);
    first.context("control groups cannot be frozen here: that needs version 2 of them, and root")
}
