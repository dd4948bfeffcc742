//! Whether a host has room for one more cluster: what is promised to all of them against what the machine has.

use crate::cluster::ClusterSpec;
use crate::server_type::ServerType;
use crate::{Problem, ProblemCode};
use serde::{Deserialize, Serialize};

/// What a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Memory of the machine in bytes.
    pub memory_bytes: u64,
    /// The file system that volumes are on, in bytes.
    pub disk_bytes: u64,
    /// What is free of it right now.
    pub disk_free_bytes: u64,
}

/// How much more than it has a host may promise. Most databases use a part of what they may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overcommit {
    /// Memory promised at most, as a multiple of the machine's.
    pub memory: f64,
    /// Disk promised at most, as a multiple of the file system.
    pub disk: f64,
    /// What newcomers leave free on the disk in bytes; none: a twentieth of it, and at most 1 GiB.
    pub reserve_bytes: Option<u64>,
}

impl Default for Overcommit {
    fn default() -> Self {
        Self { memory: 2.0, disk: 10.0, reserve_bytes: None }
    }
}

impl Overcommit {
    fn reserve(&self, disk: u64) -> u64 {
        self.reserve_bytes.unwrap_or_else(|| (disk / 20).min(GIB))
    }
}

/// What is promised to clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// Memory in bytes: the limits of their instances.
    pub memory_bytes: u64,
    /// Disk in bytes: the ceilings of their volumes.
    pub disk_bytes: u64,
}

impl Promise {
    /// What a cluster is promised, stopped or not: it may be started at any time.
    pub fn to(spec: &ClusterSpec) -> Self {
        let instances = spec.groups.iter().map(|group| group.instances.len() as u64).sum::<u64>();
        let memory = spec.groups.iter().map(|group| {
            ServerType::find(&group.server_type).map_or(0, |server_type| server_type.memory_bytes()) * group.instances.len() as u64
        });
        Self { memory_bytes: memory.sum(), disk_bytes: u64::from(spec.data_size_gb()) * GIB * instances }
    }
}
impl std::ops::Add for Promise {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
        }
    }
}
impl std::iter::Sum for Promise {
    fn sum<I: Iterator<Item = Self>>(promises: I) -> Self {
        promises.fold(Self::default(), |sum, promise| sum + promise)
    }
}

const GIB: u64 = 1 << 30;

fn gib(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / GIB;
    if tenths.is_multiple_of(10) { format!("{} GiB", tenths / 10) } else { format!("{}.{} GiB", tenths / 10, tenths % 10) }
}

fn most(has: u64, times: f64) -> u64 {
    (has as f64 * times) as u64
}

/// Lets a newcomer in, or says what is there, what is promised, what was asked for, and what to do.
pub fn decide(has: &Capacity, promised: &Promise, asked: &Promise, policy: &Overcommit) -> Result<(), Problem> {
    let together = *promised + *asked;
    if together.memory_bytes > most(has.memory_bytes, policy.memory) {
        let message = if asked.memory_bytes > most(has.memory_bytes, policy.memory) {
            "This host does not have that much memory to promise."
        } else {
            "This host has promised its memory to other databases."
        };
        return Err(Problem::new(ProblemCode::NotEnoughMemory, message)
            .detail(told(has.memory_bytes, promised.memory_bytes, asked.memory_bytes, policy.memory))
            .hint("Choose a smaller server type, delete a database, or raise memory_overcommit under [limits] in the configuration file.")
            .field("instance_groups.0.server_type_name"));
    }
    if together.disk_bytes > most(has.disk_bytes, policy.disk) {
        let message = if asked.disk_bytes > most(has.disk_bytes, policy.disk) {
            "This host does not have that much disk to promise."
        } else {
            "This host has promised its disk to other databases."
        };
        return Err(Problem::new(ProblemCode::NotEnoughSpace, message)
            .detail(told(has.disk_bytes, promised.disk_bytes, asked.disk_bytes, policy.disk))
            .hint("Choose a smaller volume, delete a database, or raise disk_overcommit under [limits] in the configuration file.")
            .field("instance_groups.0.block_storage_groups"));
    }
    let reserve = policy.reserve(has.disk_bytes);
    if has.disk_free_bytes < reserve {
        return Err(Problem::new(ProblemCode::NotEnoughSpace, "The disk of this host is nearly full.")
            .detail(format!(
                "{} of {} are free; {} stay reserved for databases that are there already.",
                gib(has.disk_free_bytes),
                gib(has.disk_bytes),
                gib(reserve)
            ))
            .hint("Free space on the file system of the volumes or delete a database, then try again."));
    }
    Ok(())
}

fn told(has: u64, promised: u64, asked: u64, times: f64) -> String {
    format!(
        "The host has {}, of which {} may be promised (overcommit {times}); {} are promised, {} were asked for.",
        gib(has),
        gib(most(has, times)),
        gib(promised),
        gib(asked)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HAS: Capacity = Capacity { memory_bytes: 4 * GIB, disk_bytes: 100 * GIB, disk_free_bytes: 50 * GIB };

    fn promise(memory: u64, disk: u64) -> Promise {
        Promise { memory_bytes: memory * GIB, disk_bytes: disk * GIB }
    }

    #[test]
    fn a_newcomer_comes_in_up_to_the_last_byte() {
        let policy = Overcommit { memory: 2.0, disk: 1.5, reserve_bytes: None };
        assert_eq!(decide(&HAS, &promise(6, 134), &promise(2, 16), &policy), Ok(()));
        let memory = decide(&HAS, &promise(7, 0), &promise(2, 16), &policy).expect_err("too much");
        assert_eq!(memory.code, ProblemCode::NotEnoughMemory);
        let told = memory.detail.expect("figures");
        for figure in ["has 4 GiB", "8 GiB may be", "7 GiB are promised", "2 GiB were asked"] {
            assert!(told.contains(figure), "{told}");
        }
        let disk = decide(&HAS, &promise(0, 135), &promise(2, 16), &policy).expect_err("too much");
        assert_eq!((disk.code, disk.field.as_deref()), (ProblemCode::NotEnoughSpace, Some("instance_groups.0.block_storage_groups")));
    }

    #[test]
    fn what_is_really_free_counts_too() {
        let full = Capacity { disk_free_bytes: GIB / 2, ..HAS };
        let problem = decide(&full, &promise(0, 0), &promise(1, 16), &Overcommit::default()).expect_err("nearly full");
        assert!(problem.detail.expect("figures").starts_with("0.5 GiB of 100 GiB are free; 1 GiB stay"));
        let small = Capacity { disk_bytes: 2 * GIB, disk_free_bytes: GIB / 2, ..HAS };
        assert_eq!(decide(&small, &promise(0, 0), &promise(1, 16), &Overcommit::default()), Ok(()), "a small disk keeps less");
        let none = Overcommit { reserve_bytes: Some(0), ..Overcommit::default() };
        assert_eq!(decide(&Capacity { disk_free_bytes: 0, ..HAS }, &promise(0, 0), &promise(1, 16), &none), Ok(()));
    }

    #[test]
    fn sums_of_promises_never_wrap() {
        let huge = Promise { memory_bytes: u64::MAX, disk_bytes: u64::MAX };
        assert_eq!([huge, huge].into_iter().sum::<Promise>(), huge);
        assert!(decide(&HAS, &huge, &huge, &Overcommit::default()).is_err());
    }
}
