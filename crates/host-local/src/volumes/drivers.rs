//! How a volume is copied. Every driver says what it can do; what it cannot is shown to users.

use crate::files;
use crate::problems::Doing;
use moorage_domain::{Problem, ProblemCode};
use moorage_host::HostResult;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::Path;

/// A way to keep volumes. Room is left for drivers with snapshots and hard limits (a subvolume, a loop image): they differ
/// in these methods only.
pub(crate) trait Driver: Send + Sync {
    /// `directory`, `reflink`.
    fn name(&self) -> &'static str;
    /// The ceiling of a volume binds.
    fn enforces_size(&self) -> bool {
        false
    }
    /// A volume can be copied at one point in time while its engine writes.
    fn takes_snapshots(&self) -> bool {
        false
    }
    /// Makes `to`, which is not there yet, a copy of the resting volume `from`, owners and modes included.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Hands a whole volume over under another name on the same file system, at once.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }
    /// Removes a volume; it not being there is fine.
    fn remove(&self, volume: &Path) -> io::Result<()> {
        files::remove(volume)
    }
}

struct Directory;
impl Driver for Directory {
    fn name(&self) -> &'static str {
        "directory"
    }
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        copy_tree(from, to, &|source, target| io::copy(&mut &*source, &mut &*target).map(drop))
    }
}

struct Reflink;
impl Driver for Reflink {
    fn name(&self) -> &'static str {
        "reflink"
    }
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        copy_tree(from, to, &|source, target| Ok(rustix::fs::ioctl_ficlone(target, source)?))
    }
}

type CopyFile<'a> = &'a dyn Fn(&File, &File) -> io::Result<()>;

fn copy_tree(from: &Path, to: &Path, copy_file: CopyFile<'_>) -> io::Result<()> {
    let found = std::fs::symlink_metadata(from)?;
    std::fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&source, &target, copy_file)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&source)?, &target)?;
            let found = entry.metadata()?;
            lchown(&target, Some(found.uid()), Some(found.gid()))?;
        } else if kind.is_file() {
            let source = File::open(&source)?;
            let found = source.metadata()?;
            let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target)?;
            copy_file(&source, &target)?;
            std::os::unix::fs::fchown(&target, Some(found.uid()), Some(found.gid()))?;
            target.set_permissions(Permissions::from_mode(found.mode() & 0o7777))?;
        }
    }
    lchown(to, Some(found.uid()), Some(found.gid()))?;
    std::fs::set_permissions(to, Permissions::from_mode(found.mode() & 0o7777))
}

/// Whether the file system of a directory can share blocks between files.
fn shares_blocks(directory: &Path) -> bool {
    let names = ["a", "b"].map(|name| directory.join(format!(".reflink-{}-{name}", std::process::id())));
    let tried = (|| {
        std::fs::write(&names[0], [1u8; 4096])?;
        let (source, target) = (File::open(&names[0])?, File::create(&names[1])?);
        Ok::<_, io::Error>(rustix::fs::ioctl_ficlone(&target, &source)?)
    })();
    for name in names {
        let _ = std::fs::remove_file(name);
    }
    tried.is_ok()
}

/// The driver that was asked for, or the best that works where the data directory is.
pub(crate) fn find(wanted: Option<&str>, data: &Path) -> HostResult<Box<dyn Driver>> {
    match wanted {
        None if shares_blocks(data) => Ok(Box::new(Reflink)),
        None | Some("directory") => Ok(Box::new(Directory)),
        Some("reflink") if shares_blocks(data) => Ok(Box::new(Reflink)),
        Some("reflink") => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "its file system cannot share blocks between files (XFS and Btrfs can)"))
                .doing("use the volume driver reflink for the data directory")
        }
        Some(other) => {
            let problem = Problem::new(ProblemCode::ConfigInvalid, format!("There is no volume driver called {other}."));
            Err(problem.hint("Volume drivers are: directory, reflink.").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_same_files_links_and_modes() {
        let room = tempfile::tempdir().expect("a directory");
        let (from, to) = (room.path().join("from"), room.path().join("to"));
        std::fs::create_dir_all(from.join("base/1")).expect("made");
        std::fs::write(from.join("base/1/file"), "x".repeat(100_000)).expect("written");
        std::fs::set_permissions(from.join("base/1/file"), Permissions::from_mode(0o640)).expect("mode");
        std::os::unix::fs::symlink("base/1", from.join("link")).expect("linked");
        let driver = find(None, room.path()).expect("a driver");
        driver.copy(&from, &to).expect("copied");
        assert_eq!(std::fs::read(to.join("link/file")).expect("read").len(), 100_000);
        assert_eq!(std::fs::metadata(to.join("base/1/file")).expect("there").mode() & 0o7777, 0o640);
        assert!(driver.copy(&from, &to).is_err(), "never into something that is there");
    }

    #[test]
    fn an_unknown_driver_is_refused_with_the_known_ones() {
        let error = find(Some("zfs"), Path::new("/tmp")).err().expect("refused");
        assert_eq!(error.problem.code, ProblemCode::ConfigInvalid);
    }
}
