//! Certificates: read from files, used for new connections, replaced without touching open ones.

use moorage_domain::endpoint_file::TlsFiles;
use moorage_domain::engine::EngineName;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What direct TLS connections of PostgreSQL clients must ask for.
pub const POSTGRESQL_ALPN: &[u8] = b"postgresql";

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// There is no certificate in the file.
    #[error("there is no certificate in {0}")]
    Empty(PathBuf),
    /// Certificate and key are unusable or do not belong together.
    #[error("certificate and key cannot be used together")]
    Unusable(#[source] rustls::Error),
}

/// What a file looked like; differs whenever it was replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    /// Of the file now; none when it is not there.
    pub fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self { inode: found.ino(), size: found.size(), seconds: found.mtime(), nanoseconds: found.mtime_nsec() })
    }
}

/// Stamps of a certificate and its key.
pub type TlsStamps = (Option<Stamp>, Option<Stamp>);

/// Stamps of the files now.
pub fn stamps(files: &TlsFiles) -> TlsStamps {
    (Stamp::of(&files.certificate), Stamp::of(&files.key))
}

/// Reads certificate and key and checks that they belong together.
pub fn load(files: &TlsFiles, engine: EngineName) -> Result<TlsAcceptor, TlsError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Read { path: path.clone(), source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .map_err(read(&files.certificate))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(read(&files.certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(files.certificate.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(read(&files.key))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(TlsError::Unusable)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    // Database clients do not resume sessions; tickets would only cost every connection two signatures' worth of work.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if engine == EngineName::PostgreSql {
        config.alpn_protocols = vec![POSTGRESQL_ALPN.to_vec()];
    }
    Ok(TlsAcceptor::from(Arc::new(config)))
}
