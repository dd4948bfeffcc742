//! The data directory: one process at a time, and open enough for the engines' accounts to pass through.

use moorage_domain::{Problem, ProblemCode};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where data goes when nobody says: `/var/lib/moorage` for root, `./moorage-data` otherwise.
pub fn default_path() -> PathBuf {
    if rustix::process::geteuid().is_root() { PathBuf::from("/var/lib/moorage") } else { PathBuf::from("moorage-data") }
}

fn unusable(path: &Path, why: impl ToString) -> Problem {
    Problem::new(ProblemCode::DataDirectoryUnusable, format!("The data directory {} cannot be used.", path.display()))
        .detail(why.to_string())
}

/// Makes the directory where it is missing and returns its absolute path.
pub fn prepare(path: &Path) -> Result<PathBuf, Problem> {
    let hint = "Name a directory that this account may write with --data-dir.";
    std::fs::create_dir_all(path).map_err(|error| unusable(path, error).hint(hint))?;
    let path = path.canonicalize().map_err(|error| unusable(path, error))?;
    let probe = path.join(".writable");
    std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)).map_err(|error| unusable(&path, error).hint(hint))?;
    if rustix::process::geteuid().is_root() {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o711)).map_err(|error| unusable(&path, error))?;
        for above in path.ancestors().skip(1) {
            let mode = std::fs::metadata(above).map_err(|error| unusable(&path, error))?.permissions().mode();
            if mode & 0o001 == 0 {
                let why = format!(
                    "Engines run under accounts of their own and cannot pass through {} (mode {:04o}).",
                    above.display(),
                    mode & 0o7777
                );
                return Err(unusable(&path, why)
                    .hint(format!("Open it for passing through with `chmod o+x {}`, or choose another directory.", above.display())));
            }
        }
    }
    Ok(path)
}

/// The lock that makes one process the only server of a data directory; it ends with the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path.join("serve.lock"))
}

/// Takes the lock, or says which process holds it.
pub fn lock(path: &Path) -> Result<Lock, Problem> {
    let mut file = open(path).map_err(|error| unusable(path, error))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let holder = holder_of(&mut file).map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        return Err(Problem::new(
            ProblemCode::DataDirectoryInUse,
            format!("The data directory {} is in use: {holder} serves it.", path.display()),
        )
        .hint("Use that server, stop it with `moorage stop`, or name another directory with --data-dir."));
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| unusable(path, error))?;
    Ok(Lock { _file: file })
}

/// The process that serves the directory, if one does.
pub fn holder(path: &Path) -> Option<u32> {
    let mut file = OpenOptions::new().read(true).write(true).open(path.join("serve.lock")).ok()?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return None;
    }
    holder_of(&mut file)
}

fn holder_of(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_server_is_told_which_process_holds_the_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(holder(directory.path()), None);
        let first = lock(directory.path()).expect("the first gets it");
        let problem = lock(directory.path()).expect_err("the second does not");
        assert_eq!(problem.code, ProblemCode::DataDirectoryInUse);
        assert!(problem.message.contains(&std::process::id().to_string()));
        assert_eq!(holder(directory.path()), Some(std::process::id()));
        drop(first);
        assert!(lock(directory.path()).is_ok());
    }
}
