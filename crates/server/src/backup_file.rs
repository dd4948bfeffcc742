//! The file `moorage store backup` writes: a line of JSON about the whole, one per row, and a last one that proves that
//! nothing is missing.

use crate::identity::Identity;
use anyhow::{Context, Result};
use moorage_domain::{HostId, Problem, ProblemCode, Timestamp};
use moorage_store::{SCHEMA_VERSION, StoredRow};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    moorage_backup: u32,
    schema: i64,
    program: String,
    made_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<(String, HostId)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    master_key: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Tail {
    rows: u64,
    sha256: String,
}

/// A backup being written.
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    digest: Sha256,
    rows: u64,
}

impl Writer {
    /// Begins a file that is not there yet.
    pub fn create(path: &Path, identity: Option<&Identity>, master_key: Option<&str>, now: Timestamp) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
            Problem::new(ProblemCode::InvalidRequest, format!("The backup {} cannot be made.", path.display()))
                .detail(error.to_string())
                .hint("Name a file that is not there yet, in a directory that may be written.")
        })?;
        let mut writer = Self { path: path.to_owned(), file: BufWriter::new(file), digest: Sha256::new(), rows: 0 };
        writer.line(&Head {
            moorage_backup: VERSION,
            schema: SCHEMA_VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: now,
            identity: identity.map(|identity| (format!("{:032x}", identity.id), identity.host.clone())),
            master_key: master_key.map(str::to_owned),
        })?;
        Ok(writer)
    }

    fn line(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.digest.update(&line);
        self.file.write_all(&line).with_context(|| format!("writing {}", self.path.display()))
    }

    /// Adds a row.
    pub fn row(&mut self, row: &StoredRow) -> Result<()> {
        self.rows += 1;
        self.line(row)
    }

    /// Ends the file, durably; how many rows are in it.
    pub fn finish(mut self) -> Result<u64> {
        let tail = Tail { rows: self.rows, sha256: hex::encode(self.digest.clone().finalize()) };
        self.line(&tail)?;
        let file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).with_context(|| format!("writing {}", self.path.display()))?;
        Ok(self.rows)
    }
}

/// What a backup holds.
pub struct Contents {
    /// Schema version of its rows.
    pub schema: i64,
    /// When it was made.
    pub made_at: Timestamp,
    /// The machine's identity.
    pub identity: Option<Identity>,
    /// The master key, unless it was left out.
    pub master_key: Option<String>,
    /// Rows, in the order in which they refer to each other.
    pub rows: Vec<StoredRow>,
}

/// Reads a backup; one that is damaged or cut off is refused before anything is done with it.
pub fn read(path: &Path) -> Result<Contents> {
    let unusable = |why: String| {
        Problem::new(ProblemCode::InvalidRequest, format!("{} is not a whole backup.", path.display()))
            .detail(why)
            .hint("Use another copy of it; nothing was changed.")
    };
    let file = File::open(path).map_err(|error| {
        Problem::new(ProblemCode::InvalidRequest, format!("The backup {} cannot be read.", path.display()))
            .detail(error.to_string())
            .hint("Name the file that `moorage store backup` wrote; nothing was changed.")
    })?;
    let mut lines = BufReader::new(file).lines();
    let mut digest = Sha256::new();
    let first = lines.next().transpose().map_err(|error| unusable(error.to_string()))?.unwrap_or_default();
    let head: Head = serde_json::from_str(&first).map_err(|error| unusable(error.to_string()))?;
    if head.moorage_backup != VERSION {
        return Err(unusable(format!("it has form {}, this program knows {VERSION}", head.moorage_backup)).into());
    }
    let digest_line = |digest: &mut Sha256, line: &str| {
        digest.update(line.as_bytes());
        digest.update(b"\n");
    };
    digest_line(&mut digest, &first);
    let mut rows = Vec::new();
    let mut ended = None;
    for line in lines {
        let line = line.map_err(|error| unusable(error.to_string()))?;
        if ended.is_some() {
            return Err(unusable("it goes on after its end".to_owned()).into());
        }
        if let Ok(row) = serde_json::from_str::<StoredRow>(&line) {
            digest_line(&mut digest, &line);
            rows.push(row);
            continue;
        }
        ended = Some(serde_json::from_str::<Tail>(&line).map_err(|error| unusable(error.to_string()))?);
    }
    let Some(tail) = ended else { return Err(unusable("its end is missing".to_owned()).into()) };
    if tail.rows != rows.len() as u64 || tail.sha256 != hex::encode(digest.finalize()) {
        return Err(unusable("its contents are not what was written".to_owned()).into());
    }
    let identity = head.identity.map(|(id, host)| u128::from_str_radix(&id, 16).map(|id| Identity { id, host })).transpose();
    Ok(Contents {
        schema: head.schema,
        made_at: head.made_at,
        identity: identity.map_err(|error| unusable(error.to_string()))?,
        master_key: head.master_key,
        rows,
    })
}

/// Writes a file that only its owner reads and that was not there.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(doing)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(doing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use moorage_store::StoredValue;

    fn written() -> (tempfile::TempDir, PathBuf) {
        let room = tempfile::tempdir().expect("a directory");
        let path = room.path().join("backup");
        let mut writer = Writer::create(&path, None, Some("key"), Timestamp(5)).expect("made");
        for number in 0..3 {
            let columns = [("id".to_owned(), StoredValue::Number(number)), ("none".to_owned(), StoredValue::Null(()))];
            writer.row(&StoredRow { table: "project".into(), columns: columns.into() }).expect("written");
        }
        assert_eq!(writer.finish().expect("ended"), 3);
        (room, path)
    }

    #[test]
    fn a_backup_is_read_as_it_was_written_and_never_overwritten() {
        let (_room, path) = written();
        let contents = read(&path).expect("whole");
        assert_eq!((contents.rows.len(), contents.master_key.as_deref(), contents.made_at), (3, Some("key"), Timestamp(5)));
        assert_eq!(contents.rows[2].number("id"), Some(2));
        assert!(Writer::create(&path, None, None, Timestamp(5)).is_err());
    }

    #[test]
    fn a_backup_that_is_cut_off_or_changed_is_refused() {
        let (_room, path) = written();
        let text = std::fs::read_to_string(&path).expect("read");
        for length in 0..text.len() - 1 {
            std::fs::write(&path, &text[..length]).expect("written");
            assert!(read(&path).is_err(), "cut off after {length} bytes");
        }
        for (from, to) in [("\"id\":1", "\"id\":7"), ("key", "kex"), ("project", "projecu")] {
            std::fs::write(&path, text.replace(from, to)).expect("written");
            assert!(read(&path).is_err(), "{from} changed");
        }
    }
}
