//! Volumes as files with a file system inside: a hard ceiling on whatever file system the data directory is on.
//!
//! An open volume `…/volume` has its file beside it, `…/volume.image`, mounted through a loop device that goes with the
//! mount. A resting volume is the file alone. Files are sparse: they take the room that is used.

use super::programs::run;
use super::{Driver, image_of, reserve, unfinished_image_of};
use crate::{files, mounts};
use rustix::fs::{SeekFrom, seek};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What every image is made with; it grows to a cluster's size when it is taken, which takes the same few dozen milliseconds
/// for every usual size.
const SMALLEST_GB: u32 = 1;

/// Size of a block, the same for every image.
const BLOCK: u64 = 4_096;
/// What the kernel keeps by itself of a file system of more than 800 MiB.
const OWN_CLUSTERS: u64 = 4_096;

pub(super) struct Image;

const GIB: u64 = 1 << 30;

fn words<'a, const N: usize>(before: [&'a str; N], paths: &[&'a Path]) -> Vec<&'a OsStr> {
    before.into_iter().map(OsStr::new).chain(paths.iter().map(|path| path.as_os_str())).collect()
}

fn make(image: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(image)?;
    file.set_len(u64::from(SMALLEST_GB) * GIB)?;
    // Nothing is kept for root, who writes nothing here. Tables of inodes are written as they are used.
    let options =
        ["-q", "-F", "-b", "4096", "-m", "0", "-i", "32768", "-J", "size=32", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"];
    run("mkfs.ext4", words(options, &[image])).map(drop)
}

/// Lets an image that is not mounted grow; a smaller size is left alone.
fn grow(image: &Path, size_gb: u32) -> io::Result<()> {
    if std::fs::metadata(image)?.len() >= u64::from(size_gb) * GIB {
        return Ok(());
    }
    let size = format!("{size_gb}G");
    OpenOptions::new().write(true).open(image)?.set_len(u64::from(size_gb) * GIB)?;
    run("resize2fs", [OsStr::new("-f"), image.as_os_str(), OsStr::new(&size)]).map(drop)
}

fn mount(image: &Path, at: &Path) -> io::Result<()> {
    // Closed to everybody while nothing is mounted: an engine that starts then must not take it for its data directory.
    files::ensure_directory(at, 0o700, None)?;
    run("mount", words(["-t", "ext4", "-o", "loop,noatime,nodev,nosuid,noexec,discard"], &[image, at]))?;
    let Some(found) = mounts::at(at)? else {
        return Err(io::Error::other(format!("{} is not mounted where this server can see it", image.display())));
    };
    // The cache of the file system inside is enough; not every file system underneath can do without one of its own.
    if let Err(error) = run("losetup", words(["--direct-io=on"], &[&found.source])) {
        tracing::debug!(%error, "a volume's file is cached twice");
    }
    Ok(())
}

/// Copies a file and leaves its holes out; shares its blocks where the file system can.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
        return Ok(());
    }
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut at = 0;
    while at < length {
        let begin = match seek(&source, SeekFrom::Data(at)) {
            Ok(begin) => begin,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(&source, SeekFrom::Hole(begin))?;
        source.seek(io::SeekFrom::Start(begin))?;
        target.seek(io::SeekFrom::Start(begin))?;
        io::copy(&mut (&mut source).take(end - begin), &mut target)?;
        at = end;
    }
    Ok(())
}

/// Tries everything once.
pub(super) fn find(volumes: &Path) -> io::Result<Image> {
    let probe = volumes.join(format!(".image-{}", std::process::id()));
    let tried = Image.create(&probe);
    super::remove(&probe)?;
    run("resize2fs", ["-h"]).map(drop).or_else(|error| if error.kind() == io::ErrorKind::Unsupported { Err(error) } else { Ok(()) })?;
    tried.map(|()| Image)
}

impl Driver for Image {
    fn name(&self) -> &'static str {
        "image"
    }
    fn enforces_size(&self) -> bool {
        true
    }
    fn create(&self, at: &Path) -> io::Result<()> {
        let image = image_of(at);
        make(&image)?;
        mount(&image, at)?;
        // Engines insist on an empty directory.
        files::remove(&at.join("lost+found"))
    }
    fn copy(&self, resting: &Path, at: &Path) -> io::Result<()> {
        let image = image_of(at);
        copy_sparse(resting, &image)?;
        mount(&image, at)
    }
    fn rest(&self, open: &Path, resting: &Path) -> io::Result<()> {
        mounts::unmount_below(open)?;
        let image = image_of(open);
        File::open(&image)?.sync_all()?;
        std::fs::remove_dir(open)?;
        std::fs::rename(image, resting)
    }
    fn take(&self, resting: &Path, volume: &Path, size_gb: u32) -> io::Result<()> {
        // One that was growing when the host was killed may be neither small nor large.
        let growing = unfinished_image_of(volume);
        files::remove(&growing)?;
        std::fs::rename(resting, &growing)?;
        // The spare is taken: what fails from here on is not that somebody else was faster.
        grow(&growing, size_gb).map_err(io::Error::other)?;
        std::fs::rename(growing, image_of(volume))
    }
    fn has(&self, volume: &Path) -> bool {
        image_of(volume).is_file()
    }
    fn open(&self, volume: &Path, size_gb: u32) -> io::Result<()> {
        if mounts::at(volume)?.is_some() {
            return Ok(());
        }
        mount(&image_of(volume), volume)?;
        self.set_reserve(volume, size_gb, 0)
    }
    fn sync(&self, volume: &Path) -> io::Result<()> {
        files::sync_file_system(volume)
    }
    fn room(&self, volume: &Path, size_gb: u32) -> io::Result<Option<(u64, i64)>> {
        if mounts::at(volume)?.is_none() {
            return Ok(None);
        }
        let found = rustix::fs::statvfs(volume)?;
        let free = found.f_bfree * found.f_frsize;
        Ok(Some((found.f_blocks * found.f_frsize, free.cast_signed().saturating_sub(reserve(size_gb).cast_signed()))))
    }
    fn set_reserve(&self, volume: &Path, size_gb: u32, bytes: u64) -> io::Result<()> {
        let Some(mount) = mounts::at(volume)? else { return Err(io::ErrorKind::NotFound.into()) };
        let device = mount.source.file_name().ok_or(io::ErrorKind::NotFound)?;
        // Clusters are blocks here. Some are kept in any case, for the file system itself.
        let clusters = OWN_CLUSTERS.max(reserve(size_gb).saturating_sub(bytes) / BLOCK);
        std::fs::write(Path::new("/sys/fs/ext4").join(device).join("reserved_clusters"), clusters.to_string())
    }
}
