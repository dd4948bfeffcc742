//! Files as this host writes and reads them: whole or not at all, and never through somebody else's symbolic link.

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who owns a file or runs a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// How sure a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives a power cut.
    Durable,
    /// Whole for every reader, may be gone after a power cut.
    Whole,
}

/// Replaces a file by way of a temporary one beside it: readers see the old or the new contents, never a part.
pub(crate) fn replace(path: &Path, contents: &[u8], mode: u32, owner: Option<Account>, durability: Durability) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file needs a directory"))?;
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file needs a name"))?;
    let temporary = parent.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = (|| {
        let _ = std::fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(contents)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        if let Some(owner) = owner {
            std::os::unix::fs::fchown(&file, Some(owner.uid), Some(owner.gid))?;
        }
        if durability == Durability::Durable {
            file.sync_all()?;
        }
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    if durability == Durability::Durable { sync_directory(parent) } else { Ok(()) }
}

/// The same for a JSON document.
pub(crate) fn replace_json<T: Serialize>(path: &Path, value: &T, mode: u32, durability: Durability) -> io::Result<()> {
    replace(path, &serde_json::to_vec(value)?, mode, None, durability)
}

/// Reads a JSON document; none when the file is not there or cannot be understood (torn by a power cut).
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes everything that was written to the file system of `path` durable.
pub(crate) fn sync_file_system(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

/// Makes sure a directory is there with this mode and owner; an existing symbolic link in its place is an error.
pub(crate) fn ensure_directory(path: &Path, mode: u32, owner: Option<Account>) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let found = std::fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a directory", path.display())));
    }
    if let Some(owner) = owner
        && (found.uid() != owner.uid || found.gid() != owner.gid)
    {
        give(path, owner)?;
    }
    if found.mode() & 0o7777 != mode {
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Gives one file or directory to an account; a symbolic link itself, not what it points to.
pub(crate) fn give(path: &Path, owner: Account) -> io::Result<()> {
    Ok(chownat(CWD, path, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Gives everything below a directory to an account, but not the directory itself.
pub(crate) fn give_contents(directory: &Path, owner: Account) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            give_contents(&path, owner)?;
        }
        give(&path, owner)?;
    }
    Ok(())
}

/// What a directory and everything below it take on disk, in bytes. What goes away meanwhile does not count, and links are not
/// followed.
pub(crate) fn used(directory: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    /// The unit of `st_blocks`, whatever the file system's blocks are.
    const BLOCK: u64 = 512;
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let mut bytes = 0;
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if gone(&error) => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(found) => {
                    bytes += found.blocks() * BLOCK;
                    if found.is_dir() {
                        open.push(entry.path());
                    }
                }
                Err(error) if gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(bytes)
}

/// Removes a file or a whole directory; it not being there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let remove_once = || match std::fs::symlink_metadata(path)?.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    let mut tries = 0;
    loop {
        match remove_once() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Somebody who is just leaving wrote a last file into it.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < 20 => tries += 1,
            other => return other,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Names in a directory, empty when it is not there.
pub(crate) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    match std::fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                if let Ok(name) = entry?.file_name().into_string() {
                    names.push(name);
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    names.sort();
    Ok(names)
}

/// Opens a log that somebody else may have replaced: only a plain file that has no other name, never through a link, never
/// waiting for a pipe.
fn open_log(path: &Path, access: OFlags) -> io::Result<Option<File>> {
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    Ok((found.is_file() && found.nlink() == 1).then_some(file))
}

/// Length of a log, zero when there is none.
pub(crate) fn log_length(path: &Path) -> u64 {
    open_log(path, OFlags::RDONLY).ok().flatten().and_then(|file| file.metadata().ok()).map_or(0, |found| found.len())
}

/// The end of a log in whole lines: at most `most` bytes, nothing before `from`.
pub(crate) fn tail(path: &Path, from: u64, most: u64) -> io::Result<String> {
    let Some(mut file) = open_log(path, OFlags::RDONLY)? else { return Ok(String::new()) };
    let length = file.metadata()?.len();
    let from = if from > length { 0 } else { from };
    let start = from.max(length.saturating_sub(most));
    // One byte more tells whether the cut fell between two lines.
    let before = u64::from(start > from);
    file.seek(SeekFrom::Start(start - before))?;
    let mut bytes = Vec::new();
    file.take(length - start + before).read_to_end(&mut bytes)?;
    let text = if before == 1 {
        match bytes.iter().position(|b| *b == b'\n') {
            Some(end_of_line) => &bytes[end_of_line + 1..],
            None => &bytes[1..],
        }
    } else {
        &bytes[..]
    };
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Keeps the last `keep` bytes of a log that has more than `most`; whether it had. Its writer appends, so it goes on at the
/// new end; what it writes in the instant between is lost.
pub(crate) fn shorten(path: &Path, most: u64, keep: u64) -> io::Result<bool> {
    if log_length(path) <= most {
        return Ok(false);
    }
    let last = tail(path, 0, keep)?;
    // Looked at again: it may be another file by now.
    let Some(mut file) = open_log(path, OFlags::WRONLY | OFlags::APPEND)? else { return Ok(false) };
    file.set_len(0)?;
    file.write_all(last.as_bytes())?;
    Ok(true)
}

/// Free room on the file system of `path` for an ordinary account, in bytes.
pub(crate) fn free_room(path: &Path) -> Option<u64> {
    rustix::fs::statvfs(path).ok().map(|found| found.f_bavail * found.f_frsize)
}

/// Random letters that nobody guesses, for the name of a directory.
pub(crate) fn random_name() -> io::Result<String> {
    let mut bytes = [0u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// The first directory on the way to `path` that other accounts cannot enter.
pub(crate) fn closed_ancestor(path: &Path) -> Option<PathBuf> {
    let ways: Vec<&Path> = path.ancestors().skip(1).collect();
    ways.into_iter().rev().find(|way| std::fs::metadata(way).is_ok_and(|found| found.mode() & 0o001 == 0)).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_log_is_whole_lines_and_never_a_link() {
        let room = tempfile::tempdir().expect("a directory");
        let log = room.path().join("log");
        std::fs::write(&log, "one\ntwo\nthree\n").expect("written");
        assert_eq!(tail(&log, 0, 100).expect("read"), "one\ntwo\nthree\n");
        assert_eq!(tail(&log, 0, 8).expect("read"), "three\n");
        assert_eq!(tail(&log, 0, 10).expect("read"), "two\nthree\n");
        assert_eq!(tail(&log, 4, 100).expect("read"), "two\nthree\n");
        assert_eq!(tail(&log, 999, 6).expect("read"), "three\n");
        let link = room.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).expect("linked");
        assert_eq!(tail(&link, 0, 100).expect("read"), "");
        assert_eq!(tail(&room.path().join("absent"), 0, 100).expect("read"), "");
    }

    #[test]
    fn a_long_log_keeps_its_end_and_its_writer_goes_on() {
        let room = tempfile::tempdir().expect("a directory");
        let log = room.path().join("log");
        let mut writer = OpenOptions::new().append(true).create(true).open(&log).expect("opened");
        for n in 0..100 {
            writeln!(writer, "line {n:03}").expect("written");
        }
        assert!(!shorten(&log, 1_000, 100).expect("looked at"));
        assert!(shorten(&log, 500, 20).expect("cut"));
        writeln!(writer, "after").expect("written");
        assert_eq!(std::fs::read_to_string(&log).expect("read"), "line 098\nline 099\nafter\n");
        let link = room.path().join("link");
        std::os::unix::fs::symlink(&log, &link).expect("linked");
        assert!(!shorten(&link, 1, 1).expect("left alone"));
    }

    #[test]
    fn a_log_that_is_another_name_of_a_file_is_neither_read_nor_shortened() {
        let room = tempfile::tempdir().expect("a directory");
        let (secret, log) = (room.path().join("secret"), room.path().join("log"));
        std::fs::write(&secret, "somebody else's\n".repeat(100)).expect("written");
        std::fs::hard_link(&secret, &log).expect("linked");
        assert_eq!(log_length(&log), 0);
        assert_eq!(tail(&log, 0, 100).expect("looked at"), "");
        assert!(!shorten(&log, 10, 1).expect("left alone"));
        std::fs::remove_file(&log).expect("removed");
        std::fs::create_dir(&log).expect("made");
        assert_eq!(tail(&log, 0, 100).expect("looked at"), "");
        assert_eq!(std::fs::metadata(&secret).expect("there").len(), 1_600);
    }

    #[test]
    fn a_replaced_file_has_its_mode_and_leaves_nothing_beside_it() {
        let room = tempfile::tempdir().expect("a directory");
        let file = room.path().join("secret");
        for contents in ["a", "b"] {
            replace(&file, contents.as_bytes(), 0o600, None, Durability::Durable).expect("written");
        }
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "b");
        assert_eq!(std::fs::metadata(&file).expect("there").mode() & 0o777, 0o600);
        assert_eq!(names(room.path()).expect("listed"), ["secret"]);
    }
}
