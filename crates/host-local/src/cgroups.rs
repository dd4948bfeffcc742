//! Control groups: version 2 to find, freeze and kill all processes of an instance (no controllers needed), and whichever
//! version carries the memory and cpu controllers for limits.

use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The groups of one process and what is set on them; part of a process file, so a shim needs nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlan {
    /// The version 2 group that holds exactly this process and its descendants.
    #[serde(default)]
    pub tracked: Option<PathBuf>,
    /// Further groups to join (version 1 memory and cpu).
    #[serde(default)]
    pub joined: Vec<PathBuf>,
    /// Limits: files of these groups and what is written to them.
    #[serde(default)]
    pub settings: Vec<(PathBuf, String)>,
    /// The file whose `oom_kill` line counts processes killed for lack of memory.
    #[serde(default)]
    pub kills_for_memory: Option<PathBuf>,
}

impl GroupPlan {
    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.tracked.iter().chain(&self.joined)
    }
    /// Makes sure the groups are there with their limits. Tracking must work; a limit that cannot be set is named in the
    /// answer.
    pub(crate) fn ensure(&self) -> io::Result<Vec<String>> {
        for group in self.all() {
            std::fs::create_dir_all(group)?;
        }
        let mut failures = Vec::new();
        // Whoever froze the group froze processes that are gone; the next ones would stand still before their first step.
        let thawed = self.tracked.iter().map(|group| (group.join("cgroup.freeze"), String::from("0")));
        for (file, value) in thawed.filter(|(file, _)| file.exists()).chain(self.settings.iter().cloned()) {
            if let Err(error) = std::fs::write(&file, &value) {
                failures.push(format!("{} = {value}: {error}", file.display()));
            }
        }
        Ok(failures)
    }
    /// Moves a process, which has not started others yet, into the groups.
    pub(crate) fn join(&self, pid: u32) -> io::Result<()> {
        let pid = pid.to_string();
        self.all().try_for_each(|group| std::fs::write(group.join("cgroup.procs"), &pid))
    }
    /// How many of its processes were killed for lack of memory since the group was made.
    pub(crate) fn memory_kills(&self) -> u64 {
        let text = self.kills_for_memory.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
    /// Removes the groups, which must be empty.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.all().try_for_each(|group| remove_group(group))
    }
}

/// Removes one empty group; the kernel may need a moment to let go of the last process.
fn remove_group(group: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match std::fs::remove_dir(group) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if tries >= 200 => return Err(error),
            Err(_) => tries += 1,
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Whether any process lives in a version 2 group.
pub(crate) fn populated(group: &Path) -> io::Result<bool> {
    match std::fs::read_to_string(group.join("cgroup.events")) {
        Ok(events) => Ok(events.lines().any(|line| line == "populated 1")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // The group was removed between open and read.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Kills every process of a version 2 group at once, also a frozen one.
pub(crate) fn kill(group: &Path) -> io::Result<()> {
    match std::fs::write(group.join("cgroup.kill"), "1") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Where this machine keeps its groups and what they can do, found by trying.
#[derive(Clone, Debug, Default)]
pub struct ControlGroups {
    /// The version 2 directory of this installation.
    tracking: Option<PathBuf>,
    memory: Option<Controller>,
    cpu: Option<Controller>,
}

#[derive(Clone, Debug)]
enum Controller {
    /// Version 1: a hierarchy of its own, this installation's directory in it.
    First(PathBuf),
    /// Version 2: files of the tracking group.
    Second,
}

const CPU_PERIOD: u64 = 100_000;

impl ControlGroups {
    /// Finds the mounted hierarchies and tries each ability once. `hex8` names the installation.
    pub fn find(hex8: &str) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        Self::find_in(&mounts, hex8)
    }

    fn find_in(mounts: &str, hex8: &str) -> Self {
        let name = format!("moorage-{hex8}");
        let mounted = |kind: &str, option: Option<&str>| {
            mounts.lines().find_map(|line| {
                let mut fields = line.split(' ').skip(1);
                let (place, found, options) = (fields.next()?, fields.next()?, fields.next()?);
                (found == kind && option.is_none_or(|option| options.split(',').any(|o| o == option))).then(|| PathBuf::from(place))
            })
        };
        let mut groups = Self::default();
        let Some(second) = mounted("cgroup2", None) else { return groups };
        let own = second.join(&name);
        // Controllers may be switched on from above only; where that is refused, version 1 or no limits are what is left.
        let _ = std::fs::write(second.join("cgroup.subtree_control"), "+memory +cpu");
        let probe = own.join("probe");
        if std::fs::create_dir_all(&probe).is_err() {
            return groups;
        }
        let _ = std::fs::write(own.join("cgroup.subtree_control"), "+memory +cpu");
        let first = |controller: &str, file: &str, value: &str| {
            let own = mounted("cgroup", Some(controller))?.join(&name);
            let probe = own.join("probe");
            let works = std::fs::create_dir_all(&probe).and_then(|()| std::fs::write(probe.join(file), value)).is_ok();
            let _ = std::fs::remove_dir(&probe);
            works.then_some(Controller::First(own))
        };
        if probe.join("cgroup.kill").exists() {
            groups.tracking = Some(own);
        }
        groups.memory = if std::fs::write(probe.join("memory.max"), "1073741824").is_ok() {
            Some(Controller::Second)
        } else {
            first("memory", "memory.limit_in_bytes", "1073741824")
        };
        groups.cpu = if std::fs::write(probe.join("cpu.max"), format!("100000 {CPU_PERIOD}")).is_ok() {
            Some(Controller::Second)
        } else {
            first("cpu", "cpu.cfs_quota_us", "100000")
        };
        let _ = std::fs::remove_dir(&probe);
        groups
    }

    /// Processes can be found and killed as a whole.
    pub fn tracks(&self) -> bool {
        self.tracking.is_some()
    }
    /// Memory and cpu limits bind.
    pub fn limits(&self) -> bool {
        self.tracks() && self.memory.is_some() && self.cpu.is_some()
    }
    /// Lets the kernel prepare for processes that are about to be moved into groups. The first move after a while waits for
    /// every processor to pass a quiet point (10 to 20 ms, measured on Linux 6.18); those that follow soon do not. Moving a
    /// process to where it is already counts and changes nothing. Blocks for that long; whatever fails costs only time.
    pub(crate) fn expect_moves(&self) {
        let Some(second) = self.tracking.as_ref().and_then(|own| own.parent()) else { return };
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        if let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) {
            let _ = std::fs::write(second.join(path).join("cgroup.procs"), std::process::id().to_string());
        }
    }
    /// The group of shims: out of the service manager's sight, so that stopping `serve` leaves them alone.
    pub(crate) fn shims(&self) -> Option<PathBuf> {
        self.tracking.as_ref().map(|own| own.join("shims"))
    }

    /// The groups for something called `name`. Zero means no limit. Where more processors are promised than there are, everybody's
    /// share is in proportion to what was promised.
    pub(crate) fn plan(&self, name: &str, memory_bytes: u64, cpu: u32) -> GroupPlan {
        let Some(own) = &self.tracking else { return GroupPlan::default() };
        let tracked = own.join(name);
        let mut plan = GroupPlan::default();
        match &self.memory {
            Some(Controller::First(hierarchy)) if memory_bytes > 0 => {
                let group = hierarchy.join(name);
                plan.settings.push((group.join("memory.limit_in_bytes"), memory_bytes.to_string()));
                plan.kills_for_memory = Some(group.join("memory.oom_control"));
                plan.joined.push(group);
            }
            Some(Controller::Second) if memory_bytes > 0 => {
                plan.settings.push((tracked.join("memory.max"), memory_bytes.to_string()));
                plan.kills_for_memory = Some(tracked.join("memory.events"));
            }
            _ => {}
        }
        let quota = u64::from(cpu) * CPU_PERIOD;
        match &self.cpu {
            Some(Controller::First(hierarchy)) if cpu > 0 => {
                let group = hierarchy.join(name);
                plan.settings.push((group.join("cpu.cfs_period_us"), CPU_PERIOD.to_string()));
                plan.settings.push((group.join("cpu.cfs_quota_us"), quota.to_string()));
                plan.settings.push((group.join("cpu.shares"), (u64::from(cpu) * 1024).min(262_144).to_string()));
                // Memory and cpu may be one hierarchy.
                if !plan.joined.contains(&group) {
                    plan.joined.push(group);
                }
            }
            Some(Controller::Second) if cpu > 0 => {
                plan.settings.push((tracked.join("cpu.max"), format!("{quota} {CPU_PERIOD}")));
                plan.settings.push((tracked.join("cpu.weight"), (u64::from(cpu) * 100).min(10_000).to_string()));
            }
            _ => {}
        }
        plan.tracked = Some(tracked);
        plan
    }

    fn roots(&self) -> Vec<PathBuf> {
        let mut roots: Vec<PathBuf> = self.tracking.iter().cloned().collect();
        for controller in [&self.memory, &self.cpu].into_iter().flatten() {
            if let Controller::First(root) = controller
                && !roots.contains(root)
            {
                roots.push(root.clone());
            }
        }
        roots
    }

    /// Names of this installation's groups that start with `prefix`.
    pub(crate) fn named(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .roots()
            .iter()
            .flat_map(|root| crate::files::names(root).unwrap_or_default().into_iter().map(move |name| (root, name)))
            .filter(|(root, name)| name.starts_with(prefix) && root.join(name).is_dir())
            .map(|(_, name)| name)
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Removes all groups called `name` (empty ones).
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.roots().iter().try_for_each(|root| remove_group(&root.join(name)))
    }

    /// Removes everything of this installation; its groups must be empty.
    pub(crate) fn remove_all(&self) -> io::Result<()> {
        for name in self.named("") {
            self.remove(&name)?;
        }
        self.roots().iter().try_for_each(|root| remove_group(root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_control_groups_plans_none() {
        let groups = ControlGroups::find_in("/dev/vda / ext4 rw 0 0\n", "00000000");
        assert!(!groups.tracks() && !groups.limits());
        assert_eq!(groups.plan("x", 1, 1), GroupPlan::default());
    }

    #[test]
    fn on_version_2_alone_everything_is_in_the_one_group() {
        let root = tempfile::tempdir().expect("a directory");
        let own = root.path().join("moorage-0000000a");
        // What the kernel makes by itself in every group.
        std::fs::create_dir_all(own.join("probe")).expect("made");
        std::fs::write(own.join("probe/cgroup.kill"), "").expect("made");
        let groups = ControlGroups::find_in(&format!("cgroup2 {} cgroup2 rw 0 0\n", root.path().display()), "0000000a");
        assert!(groups.tracks() && groups.limits());
        for switched_on in [root.path(), &own] {
            assert_eq!(std::fs::read_to_string(switched_on.join("cgroup.subtree_control")).expect("written"), "+memory +cpu");
        }
        // Three clusters of one processor each on however many there are.
        for name in ["a", "b", "c"] {
            let plan = groups.plan(name, 512 << 20, 1);
            assert_eq!(plan.ensure().expect("made"), [""; 0]);
            plan.join(7).expect("joined");
            let read = |file: &str| std::fs::read_to_string(own.join(name).join(file)).expect("written");
            let files = ["memory.max", "cpu.max", "cpu.weight", "cgroup.procs"];
            assert_eq!(files.map(read), ["536870912", "100000 100000", "100", "7"]);
            assert!(plan.joined.is_empty());
            assert_eq!(plan.memory_kills(), 0);
            std::fs::write(own.join(name).join("memory.events"), "low 0\nmax 9\noom 2\noom_kill 2\n").expect("written");
            assert_eq!(plan.memory_kills(), 2);
        }
    }

    #[test]
    fn limits_go_to_whichever_version_carries_the_controller() {
        let groups = ControlGroups {
            tracking: Some("/two/moorage-0".into()),
            memory: Some(Controller::First("/one/memory/moorage-0".into())),
            cpu: Some(Controller::Second),
        };
        let plan = groups.plan("x", 512, 2);
        assert_eq!(plan.tracked, Some("/two/moorage-0/x".into()));
        assert_eq!(plan.joined, [PathBuf::from("/one/memory/moorage-0/x")]);
        assert_eq!(
            plan.settings,
            [
                ("/one/memory/moorage-0/x/memory.limit_in_bytes".into(), String::from("512")),
                ("/two/moorage-0/x/cpu.max".into(), String::from("200000 100000")),
                ("/two/moorage-0/x/cpu.weight".into(), String::from("200")),
            ]
        );
    }
}
