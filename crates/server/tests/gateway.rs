//! The gateway of this program, as the host of this machine runs it.

use moorage_domain::endpoint_file::{EndpointFile, GatewayAnswer, GatewayAsk};
use moorage_domain::engine::EngineName;
use moorage_domain::{ClusterId, HostId};
use moorage_host::{EndpointState, EndpointWish, Host};
use moorage_host_local::{LocalHost, LocalHostOptions, stop_all};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A host in a directory of its own; everything of it ends with the test.
struct Bench {
    room: tempfile::TempDir,
    options: LocalHostOptions,
}

impl Bench {
    fn new() -> Self {
        let open = std::fs::Permissions::from_mode(0o711);
        let room = tempfile::Builder::new().prefix("moorage-gateway-").permissions(open).tempdir().expect("a directory");
        let hex8 = format!("{:08x}", uuid::Uuid::new_v4().as_fields().0);
        let mut options = LocalHostOptions::new(HostId::from_bits(1), hex8, room.path().join("data"));
        options.program = vec![env!("CARGO_BIN_EXE_moorage").to_owned()];
        options.run_dir = Some(room.path().join("run"));
        Self { room, options }
    }
    fn gateway(&self) -> PathBuf {
        self.room.path().join("data/gateway")
    }
    fn ask(&self, ask: &GatewayAsk) -> Option<GatewayAnswer> {
        let mut stream = UnixStream::connect(self.room.path().join("run/gateway/control")).ok()?;
        let mut line = serde_json::to_vec(ask).expect("JSON");
        line.push(b'\n');
        stream.write_all(&line).ok()?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }
    fn pid(&self) -> Option<u32> {
        match self.ask(&GatewayAsk::Status)? {
            GatewayAnswer::Status { pid, .. } => Some(pid),
            _ => None,
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let options = self.options.clone();
        let stopped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(stop_all(options)).map(drop)
        });
        let stopped = stopped.join();
        assert!(matches!(stopped, Ok(Ok(()))) || std::thread::panicking(), "cleaning up: {stopped:?}");
    }
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn free() -> SocketAddrV4 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    match listener.local_addr().expect("an address") {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => unreachable!("bound to an IPv4 address"),
    }
}

fn read(path: &Path) -> EndpointFile {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("an endpoint file")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_keeps_what_it_accepted_refuses_an_older_term_after_a_restart_and_logs_both() {
    let bench = Bench::new();
    let host = LocalHost::start(bench.options.clone()).await.expect("the host starts");
    let cluster = ClusterId::from_bits(7);
    let wish = EndpointWish {
        cluster: cluster.clone(),
        engine: EngineName::MariaDb,
        listen: free(),
        interface: None,
        public: None,
        allow: vec!["127.0.0.0/8".parse().expect("a network")],
        tls: None,
        most_connections: 10,
        term: 5,
        primary: None,
        hold: false,
        instances: Vec::new(),
    };
    assert_eq!(host.ensure_endpoint(&wish).await.expect("served"), EndpointState::Serving);
    let name = format!("{cluster}.json");
    let (wished, accepted) = (bench.gateway().join("endpoints").join(&name), bench.gateway().join("accepted").join(&name));
    until("the accepted file is kept", || accepted.is_file().then_some(())).await;
    assert_eq!(read(&accepted), read(&wished));
    let owner = std::fs::metadata(bench.gateway().join("accepted")).expect("there");
    assert_eq!(owner.mode() & 0o777, 0o700);
    let root = rustix::process::geteuid().is_root();
    assert_eq!(owner.uid(), if host.uid_range().is_some() { 759_999 } else { rustix::process::geteuid().as_raw() });
    assert!(!root || host.uid_range().is_none() || owner.uid() != 0);

    let older = EndpointFile { term: 4, generation: 9, ..read(&wished) };
    std::fs::write(&wished, serde_json::to_vec(&older).expect("JSON")).expect("written");
    let before = bench.pid().expect("it answers");
    let pid = rustix::process::Pid::from_raw(before.cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    until("another one answers", || bench.pid().filter(|pid| *pid != before)).await;
    match bench.ask(&GatewayAsk::Apply { cluster: cluster.clone() }) {
        Some(GatewayAnswer::Refused { reason, .. }) => assert!(reason.contains("older than term 5"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(read(&accepted).term, 5);
    let log = std::fs::read_to_string(bench.gateway().join("logs/gateway.log")).expect("a log");
    for line in ["endpoint in force", "endpoint file refused"] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(!log.contains('\u{1b}'), "no colours in a file");
}
