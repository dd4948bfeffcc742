//! Which process is meant: a pid alone may be somebody else's tomorrow.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A process, told apart from a later one with the same pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its pid.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub started: u64,
    /// Which boot.
    pub boot: String,
}

/// Which boot of the machine this is.
pub fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// What `/proc/PID/stat` says: parent, state and start time. The name in it may hold anything, so it is read from behind.
pub(crate) fn stat(pid: u32) -> Option<(u32, char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split(' ').collect();
    Some((fields.get(1)?.parse().ok()?, fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?))
}

impl Identity {
    /// The process that has this pid now.
    pub fn of(pid: u32) -> Option<Self> {
        let (_, _, started) = stat(pid)?;
        Some(Self { pid, started, boot: boot() })
    }
    /// This process itself.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }
    /// A descriptor of it, while it lives.
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        let descriptor = pidfd_open(Pid::from_raw(i32::try_from(self.pid).ok()?)?, PidfdFlags::empty()).ok()?;
        // Asked after the descriptor is held: from now on the pid cannot become somebody else's unseen.
        self.lives().then_some(descriptor)
    }
    /// Whether it runs (a process that nobody has reaped yet does not).
    pub fn lives(&self) -> bool {
        stat(self.pid).is_some_and(|(_, state, started)| started == self.started && !matches!(state, 'Z' | 'X')) && boot() == self.boot
    }
    /// Sends a signal, if it is still there.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        self.open().is_some_and(|descriptor| pidfd_send_signal(&descriptor, signal).is_ok())
    }
}

/// Waits until one of the descriptors has something to say or the time is over; interruptions count as something.
pub(crate) fn wait(descriptors: &mut [PollFd<'_>], limit: Option<Duration>) {
    let limit = limit.map(|limit| Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: i64::from(limit.subsec_nanos()) });
    let _ = poll(descriptors, limit.as_ref());
}

/// Whether the process behind a descriptor has ended.
pub(crate) fn ended(descriptor: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(descriptor, PollFlags::IN)];
    wait(&mut asked, Some(Duration::ZERO));
    asked[0].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_nobody_else() {
        let own = Identity::own().expect("this process runs");
        assert!(own.lives());
        assert!(own.open().is_some_and(|descriptor| !ended(&descriptor)));
        assert!(!Identity { started: own.started + 1, ..own.clone() }.lives());
        assert!(!Identity { boot: String::from("another"), ..own }.lives());
    }
}
