//! The master key of an installation, and what it seals.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::SecretString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::random::{NoRandomness, random_bytes};

/// The master key file could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// No key could be made.
    #[error("cannot make a master key")]
    Random(#[from] NoRandomness),
    /// There is one already; it is never overwritten, because what it sealed would be lost.
    #[error("there already is a master key at {0}; it is never overwritten")]
    Exists(PathBuf),
    /// There is none.
    #[error("there is no master key at {0}; what it sealed can only be read with it, so restore it from your copy")]
    Missing(PathBuf),
    /// The file could not be read or written.
    #[error("cannot {doing} the master key at {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Other accounts can read the file.
    #[error("the master key at {path} has mode {mode:04o}; only its owner may have access (chmod 600)")]
    TooOpen {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold a key.
    #[error("the file at {0} is not a master key: a master key is one line of 64 hexadecimal digits")]
    Malformed(PathBuf),
}

/// Something could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No nonce.
    #[error("no nonce to seal a secret with")]
    Random(#[from] NoRandomness),
    /// The cipher refused (a text longer than 256 GiB).
    #[error("a secret could not be sealed")]
    Cipher,
}

/// A sealed text could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It does not have the form of a sealed text.
    #[error("a sealed secret is not in a form that this version can read")]
    Malformed,
    /// It was sealed with another key or for another place, or it was changed.
    #[error("a sealed secret does not open: another master key sealed it, it belongs elsewhere, or it was changed")]
    Refused,
    /// It opened but is not text.
    #[error("a sealed secret is not text")]
    NotText,
}

/// How a sealed text begins; says how the rest is to be read.
const VERSION: &str = "v1:";
const NONCE_BYTES: usize = 24;

/// The key that seals every secret the store keeps. Erased from memory when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MasterKey {
    key: [u8; 32],
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(hidden)")
    }
}

impl MasterKey {
    /// A new key that lives in memory only.
    pub fn generate() -> Result<Self, NoRandomness> {
        Ok(Self { key: random_bytes()? })
    }

    /// Makes a new key and writes it, mode 0600 and durably, where there is none. An existing file is never touched, and
    /// a crash leaves either the whole file or none.
    pub fn create(path: &Path) -> Result<Self, MasterKeyError> {
        let failed = |doing| move |source| MasterKeyError::File { doing, path: path.to_owned(), source };
        let key = Self::generate()?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let draft = directory.join(format!(".master-key-{}", hex::encode(random_bytes::<8>()?)));
        let text = Zeroizing::new(format!("{}\n", Zeroizing::new(hex::encode(key.key)).as_str()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            // A hard link, unlike a rename, fails when the name is taken.
            fs::hard_link(&draft, path)?;
            File::open(directory)?.sync_all()
        })();
        let swept = fs::remove_file(&draft);
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(MasterKeyError::Exists(path.to_owned())),
            Err(error) => return Err(failed("write")(error)),
        }
        swept.and_then(|()| File::open(directory)?.sync_all()).map_err(failed("write"))?;
        Ok(key)
    }

    /// Reads the key of an existing installation. A file that others can read is refused.
    pub fn load(path: &Path) -> Result<Self, MasterKeyError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => MasterKeyError::Missing(path.to_owned()),
            _ => MasterKeyError::File { doing: "read", path: path.to_owned(), source },
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(MasterKeyError::TooOpen { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(66));
        file.take(66).read_to_end(&mut text).map_err(failed)?;
        let digits = text.strip_suffix(b"\n").unwrap_or(&text);
        let mut key = Self { key: [0; 32] };
        hex::decode_to_slice(digits, &mut key.key).map_err(|_| MasterKeyError::Malformed(path.to_owned()))?;
        Ok(key)
    }

    /// Reads the key, or makes it where there is none. For a first start only: an installation that has a store must
    /// [`load`](Self::load), or a lost key would be replaced by one that opens nothing.
    pub fn load_or_create(path: &Path) -> Result<Self, MasterKeyError> {
        match Self::create(path) {
            Err(MasterKeyError::Exists(_)) => Self::load(path),
            result => result,
        }
    }

    /// Seals bytes for one place. `context` names the place (`secret:<id>`) and has to be the same when opening, so that
    /// a sealed text moved to another row does not open.
    pub fn seal(&self, plain: &[u8], context: &str) -> Result<String, SealError> {
        let nonce: [u8; NONCE_BYTES] = random_bytes()?;
        let mut bytes = nonce.to_vec();
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        bytes.extend(self.cipher().encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| SealError::Cipher)?);
        Ok(format!("{VERSION}{}", STANDARD.encode(bytes)))
    }

    /// Opens what was sealed for the same context.
    pub fn open(&self, sealed: &str, context: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let encoded = sealed.strip_prefix(VERSION).ok_or(OpenError::Malformed)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| OpenError::Malformed)?;
        let (nonce, cipher_text) = bytes.split_at_checked(NONCE_BYTES).ok_or(OpenError::Malformed)?;
        let payload = Payload { msg: cipher_text, aad: context.as_bytes() };
        self.cipher().decrypt(XNonce::from_slice(nonce), payload).map(Zeroizing::new).map_err(|_| OpenError::Refused)
    }

    /// Opens what was sealed for the same context and is text.
    pub fn open_text(&self, sealed: &str, context: &str) -> Result<SecretString, OpenError> {
        let plain = self.open(sealed, context)?;
        std::str::from_utf8(&plain).map(SecretString::from).map_err(|_| OpenError::NotText)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.key.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_sealed_opens_in_its_own_place_only() {
        let key = MasterKey::generate().expect("a key");
        let sealed = key.seal("s3cret ✓".as_bytes(), "secret:1").expect("sealed");
        assert!(sealed.starts_with("v1:") && !sealed.contains("s3cret"));
        assert_eq!(key.open_text(&sealed, "secret:1").expect("opened").expose_secret(), "s3cret ✓");
        assert_eq!(key.open(&sealed, "secret:2").expect_err("moved"), OpenError::Refused);
        let other = MasterKey::generate().expect("a key");
        assert_eq!(other.open(&sealed, "secret:1").expect_err("another key"), OpenError::Refused);
    }

    #[test]
    fn sealing_twice_never_gives_the_same_text() {
        let key = MasterKey::generate().expect("a key");
        assert_ne!(key.seal(b"x", "c").expect("sealed"), key.seal(b"x", "c").expect("sealed"));
    }

    #[test]
    fn a_changed_or_cut_text_is_refused_without_panic() {
        let key = MasterKey::generate().expect("a key");
        let sealed = key.seal(b"some plain text", "c").expect("sealed");
        let raw = STANDARD.decode(&sealed[VERSION.len()..]).expect("base64");
        for at in 0..raw.len() {
            let mut changed = raw.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&format!("{VERSION}{}", STANDARD.encode(changed)), "c").expect_err("changed"), OpenError::Refused);
            assert!(key.open(&format!("{VERSION}{}", STANDARD.encode(&raw[..at])), "c").is_err());
        }
        for text in ["", "v1:", "v2:AAAA", "v1:not base64", "v1:AAAA"] {
            assert_eq!(key.open(text, "c").expect_err(text), OpenError::Malformed);
        }
        let binary = key.seal(&[0xff, 0xfe], "c").expect("sealed");
        assert_eq!(key.open_text(&binary, "c").expect_err("binary"), OpenError::NotText);
    }

    #[test]
    fn a_key_file_is_private_survives_reloading_and_is_never_overwritten() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("master.key");
        assert!(matches!(MasterKey::load(&path), Err(MasterKeyError::Missing(_))));
        let key = MasterKey::load_or_create(&path).expect("created");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
        let sealed = key.seal(b"x", "c").expect("sealed");
        assert!(MasterKey::load(&path).expect("loaded").open(&sealed, "c").is_ok());
        assert!(MasterKey::load_or_create(&path).expect("loaded").open(&sealed, "c").is_ok());
        assert!(matches!(MasterKey::create(&path), Err(MasterKeyError::Exists(_))));
        let left = fs::read_dir(directory.path()).expect("listed").count();
        assert_eq!(left, 1, "only the key itself is left");
    }

    #[test]
    fn a_key_file_that_is_open_to_others_or_broken_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("master.key");
        MasterKey::create(&path).expect("created");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
        let refused = MasterKey::load(&path).expect_err("too open").to_string();
        assert!(refused.contains("0640"), "{refused}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
        for content in [String::new(), "00".repeat(31), "00".repeat(33), format!("{}\n\n", "00".repeat(32)), "zz".repeat(32)] {
            fs::write(&path, content).expect("written");
            assert!(matches!(MasterKey::load(&path), Err(MasterKeyError::Malformed(_))));
        }
        fs::write(&path, "0A".repeat(32)).expect("written");
        assert!(MasterKey::load(&path).is_ok(), "the line end may be missing");
    }

    #[test]
    fn a_key_shows_nothing_in_debug_output() {
        assert_eq!(format!("{:?}", MasterKey::generate().expect("a key")), "MasterKey(hidden)");
    }
}
