//! Volumes as subvolumes of Btrfs: a copy is a snapshot, a ceiling is the limit of a quota group.

use super::programs::run;
use super::{Driver, reserve};
use rustix::fs::IFlags;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const MAGIC: u64 = 0x9123_683e;
/// The number of a subvolume's own directory.
const TOP_INODE: u64 = 256;

pub(super) struct Btrfs;

/// Whether a path is on Btrfs.
pub(super) fn is_under(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type as u64 == MAGIC)
}

/// Whether a path is a subvolume itself.
pub(super) fn is_subvolume(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.ino() == TOP_INODE) && is_under(path)
}

fn btrfs<const N: usize>(words: [&str; N], paths: &[&Path]) -> io::Result<String> {
    run("btrfs", words.iter().map(OsStr::new).chain(paths.iter().map(|path| path.as_os_str())))
}

/// Deletes a subvolume.
pub(super) fn delete(subvolume: &Path) -> io::Result<()> {
    match btrfs(["subvolume", "delete"], &[subvolume]) {
        Ok(_) => Ok(()),
        // One with others inside; files go one by one then, and an empty subvolume goes like a directory.
        Err(_) => crate::files::remove(subvolume),
    }
}

fn limit(subvolume: &Path, bytes: u64) -> io::Result<()> {
    btrfs(["qgroup", "limit", &bytes.to_string()], &[subvolume]).map(drop)
}

/// Tries everything once; switches quotas on where they are not.
pub(super) fn find(volumes: &Path) -> io::Result<Btrfs> {
    let probe = volumes.join(format!(".btrfs-{}", std::process::id()));
    Btrfs.create(&probe)?;
    let tried = limit(&probe, 1 << 30).or_else(|_| {
        btrfs(["quota", "enable"], &[volumes])?;
        tracing::info!(path = %volumes.display(), "quotas were switched on for this Btrfs, so that ceilings of volumes bind");
        limit(&probe, 1 << 30)
    });
    delete(&probe)?;
    tried.map(|()| Btrfs)
}

impl Driver for Btrfs {
    fn name(&self) -> &'static str {
        "btrfs"
    }
    fn enforces_size(&self) -> bool {
        true
    }
    fn takes_snapshots(&self) -> bool {
        true
    }
    fn create(&self, at: &Path) -> io::Result<()> {
        btrfs(["subvolume", "create"], &[at])?;
        // Databases rewrite their files in place and have checksums of their own. Copied on every write, a file would grow
        // in many small pieces, and rewriting one on a full volume would fail.
        let directory = File::open(at)?;
        let flags = rustix::fs::ioctl_getflags(&directory)?;
        Ok(rustix::fs::ioctl_setflags(&directory, flags | IFlags::NOCOW)?)
    }
    fn copy(&self, resting: &Path, at: &Path) -> io::Result<()> {
        // Into a directory that is there already, the program would put it under its own name.
        if at.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        btrfs(["subvolume", "snapshot"], &[resting, at]).map(drop)
    }
    fn open(&self, volume: &Path, size_gb: u32) -> io::Result<()> {
        limit(volume, u64::from(size_gb) << 30)
    }
    fn room(&self, volume: &Path, size_gb: u32) -> io::Result<Option<(u64, i64)>> {
        let (shown, size) = (btrfs(["qgroup", "show", "-ref", "--raw"], &[volume])?, u64::from(size_gb) << 30);
        let used = parse_used(&shown).ok_or_else(|| io::Error::other("the subvolume has no quota group"))?;
        Ok(Some((size, size.cast_signed().saturating_sub(used.cast_signed()))))
    }
    fn set_reserve(&self, volume: &Path, size_gb: u32, bytes: u64) -> io::Result<()> {
        limit(volume, (u64::from(size_gb) << 30) + bytes.min(reserve(size_gb)))
    }
}

/// How much a subvolume refers to, from the last line of `btrfs qgroup show -ref --raw`: the group, what it refers to, what
/// is its own, the ceilings of both.
fn parse_used(shown: &str) -> Option<u64> {
    shown.lines().rfind(|line| line.starts_with("0/"))?.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_subvolume_uses_is_read() {
        let shown = "qgroupid         rfer         excl     max_rfer     max_excl \n--------         ----         ----     --------     -------- \n0/257       234864640    130007040   1073741824         none \n";
        assert_eq!(super::parse_used(shown), Some(234_864_640));
        assert_eq!(super::parse_used("qgroupid rfer"), None);
    }
}
