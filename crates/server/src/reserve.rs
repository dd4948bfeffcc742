//! A little of the disk that the control plane keeps for itself: when nothing else is left, it is given back, so that what
//! frees space, the deletion of clusters above all, can still be written down.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// How much is kept.
const SIZE: u64 = 64 << 20;
/// With less than this free, it is given back.
const LOW: u64 = 4 << 20;
/// How often the disk is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// The kept space.
pub struct Reserve {
    file: PathBuf,
}

impl Reserve {
    /// The reserve of a data directory.
    pub fn of(directory: &Path) -> Self {
        Self { file: directory.join("reserve") }
    }

    fn free(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(self.file.parent().unwrap_or(Path::new("/")))?;
        Ok(found.f_bavail * found.f_frsize)
    }

    /// Looks at the disk once: makes the reserve where there is ample room, gives it back where there is none.
    pub fn look(&self) -> io::Result<()> {
        let free = self.free()?;
        let kept = self.file.exists();
        if kept && free < LOW {
            std::fs::remove_file(&self.file)?;
            tracing::error!(
                path = %self.file.display(),
                "the disk of the data directory is full; the reserve was given back, so that clusters can still be deleted"
            );
        } else if !kept && free > 4 * SIZE {
            self.make()?;
            tracing::info!(path = %self.file.display(), "space for a full disk was put aside");
        }
        Ok(())
    }

    /// Whole under its name or not at all.
    fn make(&self) -> io::Result<()> {
        let half = self.file.with_extension("new");
        let made = (|| {
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SIZE)?;
            std::fs::rename(&half, &self.file)
        })();
        if made.is_err() {
            let _ = std::fs::remove_file(&half);
        }
        made
    }

    /// Looks at the disk again and again until the server ends.
    pub async fn keep(self, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(PERIOD);
        let mut complained = false;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = stop.changed() => return,
            }
            let looked = self.look();
            if let (Err(error), false) = (&looked, complained) {
                tracing::warn!(%error, "no space can be put aside for a full disk");
            }
            complained = looked.is_err();
        }
    }
}
