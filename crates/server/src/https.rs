//! https for the API: with a certificate of the installation's own authority, or with files that somebody else renews. Either is taken
//! up without a restart.

use anyhow::{Context, Result};
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use moorage_domain::{Problem, ProblemCode, Timestamp};
use moorage_secrets::{CertificateAuthority, ServerName};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections whose handshake has ended and that wait to be served.
const WAITING: usize = 256;
/// How often it is looked whether another certificate is due.
const PERIOD: Duration = Duration::from_secs(60);
/// How long before its end a certificate of our own is renewed.
const AHEAD: Duration = Duration::from_secs(30 * 24 * 3600);

/// Where the certificate comes from.
pub enum Source {
    /// The installation's own authority issues it for these names.
    Authority(Arc<CertificateAuthority>, Vec<ServerName>),
    /// Somebody keeps these files.
    Files {
        /// PEM chain, the leaf first.
        certificate: PathBuf,
        /// PEM private key.
        key: PathBuf,
    },
}

/// The certificate in force.
#[derive(Debug)]
struct Current {
    key: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// What was loaded, and when something else is due.
#[derive(PartialEq, Eq)]
enum Loaded {
    Until(Timestamp),
    Modified(Option<SystemTime>, Option<SystemTime>),
}

impl Source {
    fn load(&self, now: Timestamp) -> Result<(CertifiedKey, Loaded)> {
        match self {
            Self::Authority(authority, names) => {
                let issued = authority.issue(names, now)?;
                let key = certified(issued.certificate.as_bytes(), issued.key.expose_secret().as_bytes())?;
                Ok((key, Loaded::Until(issued.expires_at)))
            }
            Self::Files { certificate, key } => {
                let seen = self.seen();
                let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
                Ok((certified(&read(certificate)?, &read(key)?)?, seen))
            }
        }
    }

    fn seen(&self) -> Loaded {
        match self {
            Self::Authority(..) => Loaded::Until(Timestamp(0)),
            Self::Files { certificate, key } => {
                let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|found| found.modified()).ok();
                Loaded::Modified(modified(certificate), modified(key))
            }
        }
    }

    fn is_due(&self, loaded: &Loaded, now: Timestamp) -> bool {
        match loaded {
            Loaded::Until(end) => *end < now.plus(AHEAD),
            Loaded::Modified(..) => self.seen() != *loaded,
        }
    }
}

fn certified(chain: &[u8], key: &[u8]) -> Result<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().context("reading the certificate")?;
    anyhow::ensure!(!chain.is_empty(), "there is no certificate in the file");
    let key = PrivateKeyDer::from_pem_slice(key).context("reading the key")?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).context("certificate and key do not belong together")
}

/// A listener whose connections have shaken hands.
pub struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl TlsListener {
    /// Listens with the certificate of this source and keeps it fresh, for as long as the runtime lives.
    pub fn start(listener: TcpListener, source: Source, now: fn() -> Timestamp) -> Result<Self> {
        let (key, loaded) = source.load(now()).map_err(|error| {
            Problem::new(ProblemCode::ConfigInvalid, "The API cannot serve https with its certificate.")
                .detail(format!("{error:#}."))
                .hint("Check `tls_cert` and `tls_key` in `[server]`: PEM, the leaf first, and readable to this account.")
        })?;
        let current = Arc::new(Current { key: RwLock::new(Arc::new(key)) });
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let address = listener.local_addr()?;
        let (ready_in, ready) = mpsc::channel(WAITING);
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), ready_in));
        tokio::spawn(keep_fresh(source, current, loaded, now));
        Ok(Self { ready, address })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }
    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A slow or foreign client holds up nobody else: each handshake is a task of its own.
async fn accept(mut listener: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>) {
    while !ready.is_closed() {
        // Waits out what passes, such as a lack of descriptors.
        let (stream, peer) = Listener::accept(&mut listener).await;
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => drop(ready.send((stream, peer)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a handshake failed"),
                Err(_) => tracing::debug!(%peer, "a handshake took too long"),
            }
        });
    }
}

async fn keep_fresh(source: Source, current: Arc<Current>, mut loaded: Loaded, now: fn() -> Timestamp) {
    let mut told = false;
    loop {
        tokio::time::sleep(PERIOD).await;
        if !source.is_due(&loaded, now()) {
            continue;
        }
        match source.load(now()) {
            Ok((key, fresh)) => {
                *current.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                (loaded, told) = (fresh, false);
                tracing::info!("the API has another certificate");
            }
            Err(error) if !told => {
                told = true;
                tracing::error!(error = format!("{error:#}"), "the API's certificate cannot be renewed; the present one stays in force");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moorage_secrets::expiry;

    #[test]
    fn a_certificate_is_due_when_it_ends_soon_or_its_file_was_replaced() {
        let now = Timestamp(1_790_000_000_000_000);
        let authority = Arc::new(CertificateAuthority::create("test", now).expect("an authority"));
        let names = vec![ServerName::Dns("localhost".into())];
        let source = Source::Authority(authority.clone(), names.clone());
        let (_, loaded) = source.load(now).expect("issued");
        assert!(!source.is_due(&loaded, now) && source.is_due(&loaded, now.plus(Duration::from_secs(390 * 24 * 3600))));

        let room = tempfile::tempdir().expect("a directory");
        let (certificate, key) = (room.path().join("cert.pem"), room.path().join("key.pem"));
        let issued = authority.issue(&names, now).expect("issued");
        assert!(expiry(&issued.certificate).is_ok());
        std::fs::write(&certificate, &issued.certificate).expect("written");
        std::fs::write(&key, issued.key.expose_secret()).expect("written");
        let source = Source::Files { certificate: certificate.clone(), key: key.clone() };
        let (_, loaded) = source.load(now).expect("loaded");
        assert!(!source.is_due(&loaded, now));
        std::thread::scope(|_| {
            let later = SystemTime::now() + Duration::from_secs(5);
            std::fs::File::options().write(true).open(&key).and_then(|file| file.set_modified(later)).expect("touched");
        });
        assert!(source.is_due(&loaded, now));
        let other = authority.issue(&names, now).expect("issued");
        std::fs::write(&key, other.key.expose_secret()).expect("written");
        assert!(source.load(now).is_err(), "a key of another certificate");
    }
}
