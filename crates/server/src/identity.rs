//! Who a machine is: kept beside its data, not in the store, because several machines may share one store.

use anyhow::{Context, Result};
use moorage_domain::HostId;
use moorage_secrets as secrets;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A machine's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Random: what belongs to this data directory on its machine is marked with it.
    pub id: u128,
    /// Its name in the store.
    pub host: HostId,
}

#[derive(Serialize, Deserialize)]
struct IdentityFile {
    id: String,
    host: HostId,
}

const FILE: &str = "identity.json";

impl Identity {
    /// A new one.
    pub fn random() -> Result<Self> {
        Ok(Self { id: secrets::random_bits()?, host: HostId::from_bits(uuid::Uuid::now_v7().as_u128()) })
    }

    /// The eight digits that mark what belongs to the data directory on its machine.
    pub fn short(&self) -> String {
        format!("{:032x}", self.id)[..8].to_owned()
    }

    /// The uids its clusters and its gateway run under: one of 1,024 ranges above a thousand million, so that two data
    /// directories on one machine are strangers too.
    pub fn uids(&self) -> std::ops::Range<u32> {
        let start = 1_000_000_000 + u32::try_from(self.id % 1024).unwrap_or(0) * 65_536;
        start..start + 65_536
    }

    /// What the data directory says, if it has been served before.
    pub fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let file: IdentityFile = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        let id = u128::from_str_radix(&file.id, 16).with_context(|| format!("reading {}", path.display()))?;
        Ok(Some(Self { id, host: file.host }))
    }

    /// Writes it down, durably.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let file = IdentityFile { id: format!("{:032x}", self.id), host: self.host.clone() };
        write_durably(&directory.join(FILE), &file)
    }
}

/// Writes a JSON document that only the owner may read, so that after a crash there is the old one or the new one.
pub fn write_durably(path: &Path, document: &impl Serialize) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let doing = || format!("writing {}", path.display());
    drop(std::fs::remove_file(&temporary));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).with_context(doing)?;
    file.write_all(serde_json::to_string_pretty(document)?.as_bytes()).with_context(doing)?;
    file.write_all(b"\n").with_context(doing)?;
    file.sync_all().with_context(doing)?;
    std::fs::rename(&temporary, path).with_context(doing)?;
    if let Some(directory) = path.parent() {
        std::fs::File::open(directory).and_then(|directory| directory.sync_all()).with_context(doing)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(Identity::read(directory.path()).expect("read"), None);
        let identity = Identity::random().expect("random");
        identity.write(directory.path()).expect("written");
        assert_eq!(Identity::read(directory.path()).expect("read"), Some(identity));
    }
}
