//! The gateway as a process of its own: signals, sudden death, memory.
#![allow(clippy::unwrap_used)]

mod kit;

use kit::fake_postgresql::{echoes, fake_server, log_in, log_in_over};
use kit::{Certificates, Files, ask_at, endpoint_file, fresh_address, wait_for};
use moorage_domain::endpoint_file::{EndpointFile, GatewayAsk};
use moorage_domain::engine::EngineName;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const DIRECTORY: &str = "MOORAGE_TEST_GATEWAY_DIRECTORY";

/// Not a test of its own: the gateway's process, when the tests below start this program again.
#[test]
fn gateway_process() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let directory = Path::new(&directory);
        assert_eq!(moorage_gateway::main(directory, &directory.join("control"), moorage_gateway::Options::default()), ExitCode::SUCCESS);
    }
}

struct Process(Child);

impl Process {
    fn start(files: &Files) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "gateway_process", "--nocapture"]).env(DIRECTORY, files.root.path());
        let process = Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        wait_for("the control socket is there", || UnixStream::connect(files.control()).ok());
        // Answered when everything that can be served is.
        ask_at(&files.control(), &GatewayAsk::Status);
        process
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap(), signal).unwrap();
    }

    fn end(mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }

    /// Proportional set size in KiB.
    fn memory(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0.id())).unwrap();
        let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn bench() -> (Files, EndpointFile, Certificates) {
    let files = Files::new();
    let mut file = endpoint_file(EngineName::PostgreSql, fresh_address(5432), &fake_server(files.root.path(), 1));
    let certificates = files.certificates(file.listen);
    file.tls = Some(certificates.files.clone());
    file.most_connections = 5000;
    files.write(&file);
    (files, file, certificates)
}

#[test]
fn a_gateway_that_was_killed_serves_again_at_once_when_it_is_started_again() {
    let (files, file, _) = bench();
    let process = Process::start(&files);
    let (mut stream, _) = log_in(file.listen).unwrap();
    process.signal(Signal::KILL);
    process.end();
    assert!(!echoes(&mut stream));
    let start = Instant::now();
    let _process = Process::start(&files);
    assert!(log_in(file.listen).is_ok());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn sigterm_ends_the_process_well_and_a_second_one_ends_the_drain() {
    let (files, file, _) = bench();
    let process = Process::start(&files);
    log_in(file.listen).unwrap();
    process.signal(Signal::TERM);
    assert_eq!(process.end().code(), Some(0));

    let process = Process::start(&files);
    let (mut stream, _) = log_in(file.listen).unwrap();
    let start = Instant::now();
    process.signal(Signal::TERM);
    wait_for("no new connections", || TcpStream::connect(file.listen).err());
    assert!(echoes(&mut stream), "open connections go on");
    process.signal(Signal::TERM);
    assert_eq!(process.end().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(!echoes(&mut stream));
}

#[test]
fn idle_connections_cost_little_memory() {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let (files, file, certificates) = bench();
    let process = Process::start(&files);
    log_in(file.listen).unwrap();
    let empty = process.memory();
    let count = 1000;
    let plain: Vec<_> = (0..count).map(|_| log_in(file.listen).unwrap().0).collect();
    let with_plain = process.memory();
    let config = client_config(&certificates);
    let tls: Vec<_> = (0..count).map(|_| log_in_with_tls(&file, &config)).collect();
    let with_tls = process.memory();
    let (each_plain, each_tls) = ((with_plain.saturating_sub(empty)) / count, (with_tls.saturating_sub(with_plain)) / count);
    eprintln!("gateway: {empty} KiB with no connection, {each_plain} KiB per idle plain one, {each_tls} KiB per idle TLS one");
    // Generous: the goals are 25 MiB, 40 KiB and 80 KiB for a release build.
    assert!(empty < 50 * 1024 && each_plain < 60 && each_tls < 120);
    drop((plain, tls));
}

fn client_config(certificates: &Certificates) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificates.authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Arc::new(config)
}

/// Logs in the way newer clients may: TLS from the first byte.
fn log_in_with_tls(file: &EndpointFile, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::from(file.listen.ip());
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let stream = TcpStream::connect(file.listen).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    assert_eq!(log_in_over(&mut stream).unwrap(), 1);
    stream
}

#[test]
fn direct_tls_is_for_clients_that_name_the_protocol() {
    let (files, file, certificates) = bench();
    let _process = Process::start(&files);
    let mut stream = log_in_with_tls(&file, &client_config(&certificates));
    let mut back = [0; 4];
    stream.write_all(b"ping").unwrap();
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");

    let mut config = (*client_config(&certificates)).clone();
    config.alpn_protocols.clear();
    let connection = ClientConnection::new(Arc::new(config), ServerName::from(file.listen.ip())).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(file.listen).unwrap());
    assert!(log_in_over(&mut stream).is_err());
}
