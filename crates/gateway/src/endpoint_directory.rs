//! The gateway's files: what the control plane wishes, and what was last accepted.

use crate::tls::Stamp;
use moorage_domain::ClusterId;
use moorage_domain::endpoint_file::{EndpointFile, EngineLeg, VERSION};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// No endpoint file is longer.
const LONGEST_FILE: u64 = 1024 * 1024;
const ENDPOINTS: &str = "endpoints";
const ACCEPTED: &str = "accepted";

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    /// It is longer than any endpoint file.
    #[error("it is longer than {LONGEST_FILE} bytes")]
    TooLong,
    /// It is not an endpoint file.
    #[error("it is not an endpoint file: {0}")]
    NotAnEndpoint(#[source] serde_json::Error),
    /// Its format is newer.
    #[error("its format version is {0} and this gateway reads version {VERSION}: upgrade the gateway")]
    Version(u64),
    /// It belongs to another cluster.
    #[error("it names another cluster, {0}")]
    OtherCluster(ClusterId),
    /// It asks for a random port.
    #[error("port 0 is no address that a client could be given")]
    NoPort,
    /// It asks for something this gateway cannot do.
    #[error("its primary is on another machine, and this gateway reaches engines over a Unix socket only")]
    NotLocal,
    /// It demands TLS and offers none.
    #[error("it requires TLS but names no certificate, so nobody could connect")]
    TlsWithoutCertificate,
}

/// An endpoint file as read.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its meaning.
    pub file: EndpointFile,
}

/// The directory with `endpoints/` and `accepted/`.
#[derive(Clone, Debug)]
pub struct EndpointDirectory {
    root: PathBuf,
}

impl EndpointDirectory {
    /// At this path.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// What the directory of wishes looks like; differs whenever a file in it was replaced or removed.
    pub fn stamp(&self) -> Option<Stamp> {
        Stamp::of(&self.root.join(ENDPOINTS))
    }

    /// What the wish for this cluster looks like.
    pub fn stamp_of(&self, cluster: &ClusterId) -> Option<Stamp> {
        Stamp::of(&self.path(ENDPOINTS, cluster))
    }

    /// Every cluster there is a wish or an accepted file for.
    pub fn clusters(&self) -> io::Result<BTreeSet<ClusterId>> {
        let mut clusters = self.listed(ENDPOINTS)?;
        match self.listed(ACCEPTED) {
            Ok(accepted) => clusters.extend(accepted),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(clusters)
    }

    fn listed(&self, folder: &str) -> io::Result<BTreeSet<ClusterId>> {
        let mut clusters = BTreeSet::new();
        for entry in fs::read_dir(self.root.join(folder))? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            clusters.extend(id.and_then(|id| ClusterId::parse(id).ok()));
        }
        Ok(clusters)
    }

    fn path(&self, folder: &str, cluster: &ClusterId) -> PathBuf {
        self.root.join(folder).join(format!("{cluster}.json"))
    }

    /// The wish for this cluster; none when the file is gone. A directory that is gone altogether is an error and not the
    /// end of every endpoint.
    pub fn wish(&self, cluster: &ClusterId) -> Result<Option<Found>, FileError> {
        let found = self.read(ENDPOINTS, cluster)?;
        if found.is_none() {
            fs::read_dir(self.root.join(ENDPOINTS)).map_err(FileError::Read)?;
        }
        Ok(found)
    }

    /// The file that was last accepted for this cluster.
    pub fn accepted(&self, cluster: &ClusterId) -> Result<Option<Found>, FileError> {
        self.read(ACCEPTED, cluster)
    }

    fn read(&self, folder: &str, cluster: &ClusterId) -> Result<Option<Found>, FileError> {
        let file = match File::open(self.path(folder, cluster)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FileError::Read(error)),
        };
        let mut bytes = Vec::new();
        file.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(FileError::Read)?;
        if bytes.len() as u64 > LONGEST_FILE {
            return Err(FileError::TooLong);
        }
        let file = parse(&bytes, cluster)?;
        Ok(Some(Found { bytes, file }))
    }

    /// Keeps the bytes as the last good file of this cluster, durably.
    pub fn accept(&self, cluster: &ClusterId, bytes: &[u8]) -> io::Result<()> {
        let folder = self.root.join(ACCEPTED);
        fs::create_dir_all(&folder)?;
        let draft = folder.join(format!(".{cluster}.draft"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, self.path(ACCEPTED, cluster))?;
        File::open(&folder)?.sync_all()
    }

    /// Forgets the last good file of this cluster.
    pub fn forget(&self, cluster: &ClusterId) -> io::Result<()> {
        match fs::remove_file(self.path(ACCEPTED, cluster)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Reads an endpoint file and checks that this gateway can do what it asks.
fn parse(bytes: &[u8], cluster: &ClusterId) -> Result<EndpointFile, FileError> {
    // The version first: what else a newer format contains is not ours to judge.
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u64,
    }
    let Versioned { version } = serde_json::from_slice(bytes).map_err(FileError::NotAnEndpoint)?;
    if version != u64::from(VERSION) {
        return Err(FileError::Version(version));
    }
    let file: EndpointFile = serde_json::from_slice(bytes).map_err(FileError::NotAnEndpoint)?;
    if file.cluster != *cluster {
        return Err(FileError::OtherCluster(file.cluster));
    }
    if file.listen.port() == 0 {
        return Err(FileError::NoPort);
    }
    if matches!(file.primary, Some(EngineLeg::Tcp { .. })) {
        return Err(FileError::NotLocal);
    }
    if file.tls_required && file.tls.is_none() {
        return Err(FileError::TlsWithoutCertificate);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cluster() -> ClusterId {
        ClusterId::from_bits(7)
    }

    fn file() -> serde_json::Value {
        json!({
            "version": 1, "generation": 3, "cluster": cluster(), "engine": "mariadb", "listen": "127.64.0.2:3306",
            "allow": ["127.0.0.0/8"], "most_connections": 100, "term": 1, "primary": {"unix": "/run/m/e.sock"}
        })
    }

    fn refusal(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut file = file();
        change(&mut file);
        parse(file.to_string().as_bytes(), &cluster()).expect_err("refused").to_string()
    }

    #[test]
    fn a_good_file_is_read_also_with_keys_of_a_later_build() {
        let mut file = file();
        file["later"] = json!(true);
        let found = parse(file.to_string().as_bytes(), &cluster()).expect("a good file");
        assert_eq!((found.generation, found.term), (3, 1));
    }

    #[test]
    fn every_refusal_says_why() {
        assert!(refusal(|f| *f = json!({"version": 2, "anything": []})).contains("upgrade the gateway"));
        assert!(refusal(|f| f["cluster"] = json!(ClusterId::from_bits(8))).contains("another cluster"));
        assert!(refusal(|f| f["listen"] = json!("127.0.0.1:0")).contains("port 0"));
        assert!(refusal(|f| f["listen"] = json!("localhost")).contains("not an endpoint file"));
        assert!(refusal(|f| f["tls_required"] = json!(true)).contains("requires TLS"));
        assert!(refusal(|f| f["primary"] = json!({"tcp": {"address": "192.0.2.1:3306", "authority": "/ca"}})).contains("another machine"));
        assert!(refusal(|f| *f = json!([])).contains("not an endpoint file"));
    }

    #[test]
    fn a_directory_that_is_gone_is_not_the_end_of_its_endpoints() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = EndpointDirectory::new(root.path());
        assert!(matches!(directory.wish(&cluster()), Err(FileError::Read(_))));
        fs::create_dir(root.path().join(ENDPOINTS)).expect("made");
        assert!(matches!(directory.wish(&cluster()), Ok(None)));
    }

    #[test]
    fn what_was_accepted_is_found_again_until_it_is_forgotten() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = EndpointDirectory::new(root.path());
        fs::create_dir(root.path().join(ENDPOINTS)).expect("made");
        directory.accept(&cluster(), file().to_string().as_bytes()).expect("kept");
        assert_eq!(directory.accepted(&cluster()).expect("readable").expect("there").file.generation, 3);
        assert_eq!(directory.clusters().expect("listed").into_iter().collect::<Vec<_>>(), [cluster()]);
        directory.forget(&cluster()).expect("forgotten");
        directory.forget(&cluster()).expect("forgotten twice");
        assert!(directory.clusters().expect("listed").is_empty());
    }
}
