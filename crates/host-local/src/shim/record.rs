//! The shim's record on disk. A full disk must not keep a shim from saying that the disk is full: some room is set aside.

use super::protocol::{ShimDirectory, StatusFile};
use crate::files::{Durability, replace_json};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

const RESERVE_BYTES: usize = 32 * 1024;

/// Writes `status.json` so that readers see all of it or the one before.
pub(super) fn write(directory: &ShimDirectory, status: &StatusFile) -> io::Result<()> {
    match replace_json(&directory.file("status.json"), status, 0o600, Durability::Whole) {
        Ok(()) => {
            let _ = set_aside(directory);
            Ok(())
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            write_into_reserve(directory, status)
        }
        Err(error) => Err(error),
    }
}

fn set_aside(directory: &ShimDirectory) -> io::Result<()> {
    let reserve = directory.file("reserve");
    if reserve.exists() {
        return Ok(());
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&reserve)?;
    let filled = file.write_all_at(&[b' '; RESERVE_BYTES], 0);
    if filled.is_err() {
        let _ = std::fs::remove_file(&reserve);
    }
    filled
}

fn write_into_reserve(directory: &ShimDirectory, status: &StatusFile) -> io::Result<()> {
    let reserve = directory.file("reserve");
    let mut bytes = serde_json::to_vec(status)?;
    if bytes.len() > RESERVE_BYTES {
        let short = StatusFile { history: status.history.last().cloned().into_iter().collect(), ..status.clone() };
        bytes = serde_json::to_vec(&short)?;
    }
    bytes.resize(RESERVE_BYTES.max(bytes.len()), b' ');
    let target = if reserve.exists() { reserve.clone() } else { directory.file("status.json") };
    std::fs::OpenOptions::new().write(true).open(&target)?.write_all_at(&bytes, 0)?;
    if target == reserve { std::fs::rename(&reserve, directory.file("status.json")) } else { Ok(()) }
}
