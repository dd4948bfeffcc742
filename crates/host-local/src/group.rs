//! All processes of one instance, to be killed as a whole: by its control group where there is one, else by looking for
//! processes that descend from it or work inside its directory (an engine's children leave sessions and process groups).

use crate::cgroups;
use crate::identity::{Identity, stat, wait};
use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The processes of one instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// Its version 2 control group.
    pub tracked: Option<PathBuf>,
    /// Without one: processes working in here belong to it.
    pub directory: Option<PathBuf>,
    /// Without one: this process and its descendants belong to it.
    pub main: Option<Identity>,
    /// Without one: descendants of this process belong to it, but not itself.
    pub keeper: Option<Identity>,
}

impl Group {
    fn found(&self) -> Vec<Identity> {
        let mut parents: BTreeMap<u32, u32> = BTreeMap::new();
        let mut inside = BTreeSet::new();
        let own = std::process::id();
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        for entry in entries.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let Some((parent, state, _)) = stat(pid) else { continue };
            if matches!(state, 'Z' | 'X') {
                continue;
            }
            parents.insert(pid, parent);
            if let Some(directory) = &self.directory
                && std::fs::read_link(entry.path().join("cwd")).is_ok_and(|at| at.starts_with(directory))
            {
                inside.insert(pid);
            }
        }
        let main = self.main.as_ref().filter(|main| main.lives()).map(|main| main.pid);
        let keeper = self.keeper.as_ref().filter(|keeper| keeper.lives()).map(|keeper| keeper.pid);
        inside.extend(main);
        loop {
            let more: Vec<u32> = parents
                .iter()
                .filter(|(pid, parent)| !inside.contains(pid) && (inside.contains(parent) || keeper == Some(**parent)))
                .map(|(pid, _)| *pid)
                .collect();
            if more.is_empty() {
                break;
            }
            inside.extend(more);
        }
        inside.into_iter().filter(|pid| *pid != own && Some(*pid) != keeper).filter_map(Identity::of).collect()
    }

    /// Whether nobody is left.
    pub fn is_empty(&self) -> io::Result<bool> {
        match &self.tracked {
            Some(group) => Ok(!cgroups::populated(group)?),
            None => Ok(self.found().is_empty()),
        }
    }

    /// Kills everybody once.
    pub fn kill(&self) -> io::Result<()> {
        match &self.tracked {
            Some(group) => cgroups::kill(group),
            None => {
                for member in self.found() {
                    member.signal(Signal::KILL);
                }
                Ok(())
            }
        }
    }

    /// Kills everybody and waits until nobody is left; false when somebody still is after `limit` (a process that the
    /// kernel holds in an uninterruptible wait).
    pub fn end(&self, limit: Duration) -> io::Result<bool> {
        let until = Instant::now() + limit;
        loop {
            if self.is_empty()? {
                return Ok(true);
            }
            self.kill()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.is_empty();
            }
            match &self.tracked {
                Some(group) => wait_for_event(group, left.min(Duration::from_millis(100)))?,
                None => std::thread::sleep(left.min(Duration::from_millis(2))),
            }
        }
    }
}

/// Waits until the kernel says that something about a version 2 group changed.
fn wait_for_event(group: &Path, limit: Duration) -> io::Result<()> {
    let mut events = match std::fs::File::open(group.join("cgroup.events")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // Reading arms the notification; a change between that and the wait is then not lost.
    let mut text = String::new();
    if io::Read::read_to_string(&mut events, &mut text).is_err() || text.contains("populated 0") {
        return Ok(());
    }
    wait(&mut [PollFd::new(&events, PollFlags::PRI)], Some(limit));
    Ok(())
}
