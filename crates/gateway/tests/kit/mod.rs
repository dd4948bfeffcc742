//! What the tests of this crate share: a gateway in this process, certificates, files, and a way to wait.
#![allow(dead_code, clippy::unwrap_used)]

pub mod engines;
pub mod fake_postgresql;

use moorage_domain::ClusterId;
use moorage_domain::endpoint_file::{EndpointFile, EndpointStatus, EngineLeg, GatewayAnswer, GatewayAsk, TlsFiles, VERSION};
use moorage_domain::engine::EngineName;
use moorage_gateway::{Options, serve_with};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Asks again and again until the answer is there; fails after a generous while.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A loopback address nobody else uses.
pub fn fresh_address(port: u16) -> SocketAddr {
    let pid = std::process::id().to_be_bytes();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed) as u8;
    SocketAddr::from((Ipv4Addr::new(127, 128 + (pid[2] & 0x3f), pid[3], number), port))
}

pub fn fresh_cluster() -> ClusterId {
    ClusterId::from_bits((u128::from(std::process::id()) << 64) | u128::from(NUMBER.fetch_add(1, Ordering::Relaxed)))
}

/// A certificate authority and a certificate for one address, as files.
pub struct Certificates {
    pub files: TlsFiles,
    pub authority: PathBuf,
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    address: String,
}

impl Certificates {
    pub fn new(folder: &Path, address: SocketAddr) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "Test authority");
        let key = KeyPair::generate().unwrap();
        let authority = folder.join("ca.pem");
        fs::write(&authority, parameters.self_signed(&key).unwrap().pem()).unwrap();
        let files = TlsFiles { certificate: folder.join("server.pem"), key: folder.join("server.key") };
        let issuer = Issuer::new(parameters, key);
        let made = Self { files, authority, folder: folder.to_owned(), issuer, address: address.ip().to_string() };
        made.renew();
        made
    }

    /// Writes another certificate of the same authority; returns it in PEM.
    pub fn renew(&self) -> String {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![self.address.clone()]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, self.address.clone());
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        for (path, text) in [(&self.files.certificate, &certificate), (&self.files.key, &key.serialize_pem())] {
            let draft = self.folder.join("draft");
            fs::write(&draft, text).unwrap();
            fs::rename(&draft, path).unwrap();
        }
        certificate
    }
}

/// A directory of endpoint files with its control socket.
pub struct Files {
    pub root: TempDir,
}

impl Files {
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("moorage-gw-").tempdir().unwrap();
        fs::create_dir(root.path().join("endpoints")).unwrap();
        Self { root }
    }

    pub fn control(&self) -> PathBuf {
        self.root.path().join("control")
    }

    pub fn path(&self, cluster: &ClusterId) -> PathBuf {
        self.root.path().join("endpoints").join(format!("{cluster}.json"))
    }

    pub fn accepted(&self, cluster: &ClusterId) -> PathBuf {
        self.root.path().join("accepted").join(format!("{cluster}.json"))
    }

    pub fn write(&self, file: &EndpointFile) {
        self.write_text(&file.cluster, &serde_json::to_string(file).unwrap());
    }

    pub fn write_text(&self, cluster: &ClusterId, text: &str) {
        let draft = self.root.path().join("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(&draft, self.path(cluster)).unwrap();
    }

    pub fn certificates(&self, address: SocketAddr) -> Certificates {
        Certificates::new(&self.root.path().join("tls"), address)
    }
}

/// A file that admits the loopback network, without TLS.
pub fn endpoint_file(engine: EngineName, listen: SocketAddr, socket: &Path) -> EndpointFile {
    EndpointFile {
        version: VERSION,
        generation: 1,
        cluster: fresh_cluster(),
        engine,
        listen,
        interface: None,
        public: None,
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        tls: None,
        tls_required: false,
        most_connections: 100,
        term: 1,
        primary: Some(EngineLeg::Unix(socket.to_owned())),
        hold: false,
        instances: Vec::new(),
    }
}

/// A gateway in this process.
pub struct Gateway {
    control: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Gateway {
    pub fn start(files: &Files) -> Self {
        Self::start_with(files, Options { drain: Duration::from_millis(200), look_every: Duration::from_millis(100), ..Options::default() })
    }

    pub fn start_with(files: &Files, options: Options) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (directory, control) = (files.root.path().to_owned(), files.control());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let served = runtime.block_on(serve_with(&directory, &directory.join("control"), options, async {
                let _ = stopped.await;
            }));
            served.expect("the gateway serves");
        });
        let gateway = Self { control, stop: Some(stop), thread: Some(thread) };
        wait_for("the gateway answers", || UnixStream::connect(&gateway.control).ok());
        gateway.status();
        gateway
    }

    pub fn ask(&self, ask: &GatewayAsk) -> GatewayAnswer {
        ask_at(&self.control, ask)
    }

    pub fn apply(&self, cluster: &ClusterId) -> GatewayAnswer {
        self.ask(&GatewayAsk::Apply { cluster: cluster.clone() })
    }

    /// Writes and applies a file that must be accepted.
    pub fn put(&self, files: &Files, file: &EndpointFile) {
        files.write(file);
        let answer = self.apply(&file.cluster);
        assert_eq!(answer, GatewayAnswer::Applied { cluster: file.cluster.clone(), generation: file.generation });
    }

    pub fn status(&self) -> Vec<EndpointStatus> {
        match self.ask(&GatewayAsk::Status) {
            GatewayAnswer::Status { endpoints, .. } => endpoints,
            other => panic!("{other:?}"),
        }
    }

    pub fn status_of(&self, cluster: &ClusterId) -> EndpointStatus {
        self.status().into_iter().find(|endpoint| endpoint.cluster == *cluster).expect("the cluster is known")
    }

    /// Waits until nobody is connected any more.
    pub fn wait_until_empty(&self, cluster: &ClusterId) {
        wait_for("all connections are gone", || (self.status_of(cluster).connections == 0).then_some(()));
    }

    pub fn stop(mut self) {
        self.end().expect("the gateway ended without a panic");
    }

    fn end(&mut self) -> std::thread::Result<()> {
        self.stop.take();
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

pub fn ask_at(control: &Path, ask: &GatewayAsk) -> GatewayAnswer {
    let mut stream = UnixStream::connect(control).expect("the control socket answers");
    let mut line = serde_json::to_vec(ask).unwrap();
    line.push(b'\n');
    stream.write_all(&line).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).expect("an answer")
}
