//! How volumes are kept. Every driver says what it can do; what it cannot is shown to users.
//!
//! A volume is *open* when an engine or a job can work in its directory, and *resting* when it waits under a name of its own
//! (a template, a spare) to be copied or taken.

mod btrfs;
mod image;
mod plain;
mod programs;

use crate::files;
use crate::mounts;
use crate::problems::Doing;
use moorage_domain::{Problem, ProblemCode};
use moorage_host::HostResult;
use std::io;
use std::path::{Path, PathBuf};

/// A way to keep volumes.
pub(crate) trait Driver: Send + Sync {
    /// `directory`, `reflink`, `btrfs`, `image`.
    fn name(&self) -> &'static str;
    /// The ceiling of a volume binds.
    fn enforces_size(&self) -> bool {
        false
    }
    /// A volume can be copied at one point in time while its engine writes.
    fn takes_snapshots(&self) -> bool {
        false
    }
    /// Makes `at`, which is not there yet, an empty open volume.
    fn create(&self, at: &Path) -> io::Result<()> {
        std::fs::create_dir(at)
    }
    /// Makes `at`, which is not there yet, an open copy of the resting volume, owners and modes included.
    fn copy(&self, resting: &Path, at: &Path) -> io::Result<()>;
    /// Lays an open volume to rest under another name on the same file system; what is in it is on disk before.
    fn rest(&self, open: &Path, resting: &Path) -> io::Result<()> {
        files::sync_file_system(open)?;
        std::fs::rename(open, resting)
    }
    /// Takes a resting volume for an instance: `NotFound` when somebody else was faster. Not opened yet.
    fn take(&self, resting: &Path, volume: &Path, _size_gb: u32) -> io::Result<()> {
        std::fs::rename(resting, volume)
    }
    /// Whether an instance has its volume, open or not.
    fn has(&self, volume: &Path) -> bool {
        volume.is_dir()
    }
    /// Makes sure an instance's volume is open, with its ceiling.
    fn open(&self, _volume: &Path, _size_gb: u32) -> io::Result<()> {
        Ok(())
    }
    /// What was written to an open volume is on disk, beyond what a synchronised file beside it brings along.
    fn sync(&self, _volume: &Path) -> io::Result<()> {
        Ok(())
    }
    /// Room on an open volume and how much of it is left, in bytes, the reserve not counted: less than nothing where that is used; none
    /// where no ceiling binds.
    fn room(&self, _volume: &Path, _size_gb: u32) -> io::Result<Option<(u64, i64)>> {
        Ok(None)
    }
    /// Lets the engine of a full volume use so many bytes of the reserve altogether.
    fn set_reserve(&self, _volume: &Path, _size_gb: u32, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
}

/// What is kept of a volume for the time when it is full: engines need a little to recover and to delete.
fn reserve(size_gb: u32) -> u64 {
    (u64::from(size_gb) << 24).min(128 << 20)
}

/// The file behind a volume that is an image.
fn image_of(volume: &Path) -> PathBuf {
    let mut name = volume.as_os_str().to_owned();
    name.push(".image");
    PathBuf::from(name)
}

/// The file of an image that is not whole yet.
fn unfinished_image_of(volume: &Path) -> PathBuf {
    let mut name = image_of(volume).into_os_string();
    name.push(".new");
    PathBuf::from(name)
}

/// Removes a volume of any driver, open or resting, whole or half-made; it not being there is fine.
pub(crate) fn remove(volume: &Path) -> io::Result<()> {
    mounts::unmount_below(volume)?;
    if btrfs::is_subvolume(volume) {
        btrfs::delete(volume)?;
    }
    files::remove(volume)?;
    files::remove(&image_of(volume))?;
    files::remove(&unfinished_image_of(volume))
}

/// How volumes can be kept, by name.
pub const VOLUME_DRIVERS: [&str; 4] = ["directory", "reflink", "btrfs", "image"];

/// The driver that was asked for, or the best that works where the volumes are. `before` is what they were made with so far.
pub(crate) fn find(wanted: Option<&str>, before: Option<&str>, volumes: &Path) -> HostResult<Box<dyn Driver>> {
    let root = rustix::process::geteuid().is_root();
    match wanted.or(before) {
        // Tried before; what is wrong with it by now is said by whoever needs it.
        Some("btrfs") if before == Some("btrfs") && root => Ok(Box::new(btrfs::Btrfs)),
        Some("image") if before == Some("image") && root => Ok(Box::new(image::Image)),
        None if root && btrfs::is_under(volumes) => match btrfs::find(volumes) {
            Ok(driver) => Ok(Box::new(driver)),
            Err(error) => {
                tracing::warn!(%error, "volumes are plain directories without a ceiling: Btrfs is here, but its quotas cannot be used");
                Ok(plain::best(volumes))
            }
        },
        None => Ok(plain::best(volumes)),
        Some("directory" | "reflink") if wanted.is_none() => Ok(plain::best(volumes)),
        Some("directory") => Ok(Box::new(plain::Directory)),
        Some("reflink") if plain::shares_blocks(volumes) => Ok(Box::new(plain::Reflink)),
        Some("reflink") => {
            unusable("reflink", "Its file system cannot share blocks between files.", "XFS and Btrfs can; or use another driver.")
        }
        Some(name @ ("btrfs" | "image")) if !root => {
            unusable(name, "It needs root, which the server was not started as.", "Start the server as root, or use the driver directory.")
        }
        Some("btrfs") if !btrfs::is_under(volumes) => {
            unusable("btrfs", "There is no Btrfs there.", "Put the volumes on Btrfs with [storage] path, or use the driver image.")
        }
        Some("btrfs") => match btrfs::find(volumes) {
            Ok(driver) => Ok(Box::new(driver)),
            Err(error) => unusable("btrfs", &error.to_string(), "Install btrfs-progs, and see that quotas can be switched on there."),
        },
        Some("image") => match image::find(volumes) {
            Ok(driver) => Ok(Box::new(driver)),
            Err(error) => unusable("image", &error.to_string(), "Install e2fsprogs, mount and util-linux, and see that loop devices work."),
        },
        Some(other) => {
            let problem = Problem::new(ProblemCode::ConfigInvalid, format!("There is no volume driver called {other}."));
            Err(problem.hint(format!("Volume drivers are: {}.", VOLUME_DRIVERS.join(", "))).into())
        }
    }
}

fn unusable<T>(name: &str, why: &str, hint: &str) -> HostResult<T> {
    let message = format!("The volume driver {name} cannot be used here.");
    Err(Problem::new(ProblemCode::ConfigInvalid, message).detail(why).hint(hint).into())
}

/// Whether volumes of one driver can go on under another: plain directories are all alike.
pub(crate) fn are_alike(one: &str, other: &str) -> bool {
    let plain = |name: &str| matches!(name, "directory" | "reflink");
    one == other || (plain(one) && plain(other))
}

/// Closes all volumes below a directory, as before a machine is switched off.
pub(crate) fn close_below(directory: &Path) -> HostResult<()> {
    mounts::unmount_below(directory).doing("close the volumes")
}

#[cfg(test)]
mod tests;
