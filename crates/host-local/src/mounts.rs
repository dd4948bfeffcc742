//! What is mounted where: read from the kernel, so that nobody has to remember it.

use rustix::mount::UnmountFlags;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a mount may be busy after the last process that used it has ended.
const BUSY: Duration = Duration::from_secs(2);

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where.
    pub at: PathBuf,
    /// The device under it.
    pub source: PathBuf,
}

/// Spaces and the like are written as three octal digits.
fn unescaped(field: &str) -> PathBuf {
    let (bytes, mut plain, mut at) = (field.as_bytes(), Vec::with_capacity(field.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = bytes.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.filter(|_| *byte == b'\\').and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(meant) => (plain.push(meant), at += 4).1,
            None => (plain.push(*byte), at += 1).1,
        }
    }
    PathBuf::from(OsString::from_vec(plain))
}

fn parse(text: &str) -> Vec<Mount> {
    let line = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let at = unescaped(before.split(' ').nth(4)?);
        Some(Mount { at, source: unescaped(after.split(' ').nth(1)?) })
    };
    text.lines().filter_map(line).collect()
}

/// Everything mounted at a path or below it, in the order of mounting.
pub(crate) fn below(path: &Path) -> io::Result<Vec<Mount>> {
    let mut mounts = parse(&std::fs::read_to_string("/proc/self/mountinfo")?);
    mounts.retain(|mount| mount.at.starts_with(path));
    Ok(mounts)
}

/// What is mounted exactly at a path.
pub(crate) fn at(path: &Path) -> io::Result<Option<Mount>> {
    Ok(below(path)?.into_iter().rfind(|mount| mount.at == path))
}

/// Unmounts everything at a path and below it; nothing being there is fine. A mount that somebody keeps busy is taken out of
/// sight, and goes as a whole with whoever uses it.
pub(crate) fn unmount_below(path: &Path) -> io::Result<()> {
    let until = Instant::now() + BUSY;
    while let Some(last) = below(path)?.pop() {
        match rustix::mount::unmount(&last.at, UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(rustix::io::Errno::BUSY) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Err(rustix::io::Errno::BUSY) => {
                tracing::warn!(mount = %last.at.display(), "a volume is still used by somebody; it is unmounted as soon as nobody does");
                rustix::mount::unmount(&last.at, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The files that loop devices stand on, also where nothing is mounted.
pub(crate) fn loop_files() -> Vec<PathBuf> {
    let devices = crate::files::names(Path::new("/sys/block")).unwrap_or_default();
    let file = |device: &String| std::fs::read(format!("/sys/block/{device}/loop/backing_file")).ok();
    let files = devices.iter().filter(|device| device.starts_with("loop")).filter_map(file);
    files.map(|bytes| PathBuf::from(OsString::from_vec(bytes.trim_ascii_end().to_vec()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_names_place_and_device() {
        let text =
            "22 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw\n90 22 7:0 / /srv/with\\040space rw - ext4 /dev/loop0 rw\nnonsense\n";
        assert_eq!(
            parse(text),
            [Mount { at: "/proc".into(), source: "proc".into() }, Mount { at: "/srv/with space".into(), source: "/dev/loop0".into() },]
        );
        assert!(at(Path::new("/proc")).expect("read").is_some() && at(Path::new("/no/such/place")).expect("read").is_none());
    }
}
