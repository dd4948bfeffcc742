//! Volumes as plain directories: no ceiling binds, and only a resting one can be copied.

use super::Driver;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::Path;

pub(super) struct Directory;
impl Driver for Directory {
    fn name(&self) -> &'static str {
        "directory"
    }
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        copy_tree(from, to, &|source, target| io::copy(&mut &*source, &mut &*target).map(drop))
    }
}

pub(super) struct Reflink;
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
pub(super) fn shares_blocks(directory: &Path) -> bool {
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

/// The better of the two that works there.
pub(super) fn best(directory: &Path) -> Box<dyn Driver> {
    if shares_blocks(directory) { Box::new(Reflink) } else { Box::new(Directory) }
}
