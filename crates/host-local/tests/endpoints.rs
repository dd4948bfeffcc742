//! Endpoints and the keeping of the gateway, with a gateway that only speaks its control socket's words.

mod bench;

use bench::{Bench, is_root, kill, lives, shim_pid};
use moorage_domain::ProblemCode;
use moorage_domain::endpoint_file::EndpointFile;
use moorage_host::contract::{Subject, script_engine, small_template, until};
use moorage_host::{EndpointState, EndpointWish, Host};
use moorage_host_local::{GatewayPatience, LocalHost};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

async fn subject_with_process(host: &LocalHost) -> Subject {
    let subject = Subject::new(host).with_volume(host, &small_template("small")).await;
    let layout = script_engine(&host.place(&subject.instance), "");
    host.ensure_process(&subject.process(layout, 1)).await.expect("it starts");
    subject
}

fn free() -> SocketAddrV4 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    match listener.local_addr().expect("an address") {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => unreachable!("bound to an IPv4 address"),
    }
}

fn file_of(bench: &Bench, subject: &Subject) -> PathBuf {
    bench.data().join("gateway/endpoints").join(format!("{}.json", subject.cluster))
}

fn read(bench: &Bench, subject: &Subject) -> EndpointFile {
    serde_json::from_slice(&std::fs::read(file_of(bench, subject)).expect("a file")).expect("an endpoint file")
}

fn gateway_pid(bench: &Bench) -> u32 {
    let text = std::fs::read_to_string(bench.data().join("gateway/shim/main.json")).expect("main.json");
    let main: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    u32::try_from(main["identity"]["pid"].as_u64().expect("a pid")).expect("a pid")
}

#[tokio::test]
async fn the_generation_grows_only_with_a_change() {
    let bench = Bench::new();
    let host = bench.host().await;
    let subject = subject_with_process(&host).await;
    let wish = subject.endpoint(free(), 1);
    for _ in 0..3 {
        assert_eq!(host.ensure_endpoint(&wish).await.expect("applied"), EndpointState::Serving);
    }
    assert_eq!(read(&bench, &subject).generation, 1);
    let wider = EndpointWish { most_connections: 99, tls: None, ..wish.clone() };
    host.ensure_endpoint(&wider).await.expect("applied");
    let file = read(&bench, &subject);
    assert_eq!((file.generation, file.most_connections), (2, 99));
    let tls = file.tls.expect("a certificate that was given before is kept");
    if is_root() {
        let key = std::fs::metadata(&tls.key).expect("there");
        assert_eq!((key.mode() & 0o777, key.uid()), (0o600, 759_999));
    }
    let renewed = EndpointWish { tls: wish.tls.map(|tls| moorage_host::TlsPem { certificate: String::from("new"), ..tls }), ..wider };
    host.ensure_endpoint(&renewed).await.expect("applied");
    assert_eq!(read(&bench, &subject).generation, 3, "a renewed certificate has to be read");
}

#[tokio::test]
async fn a_lost_certificate_is_told_and_never_replaced_by_no_certificate() {
    let bench = Bench::new();
    let host = bench.host().await;
    let subject = subject_with_process(&host).await;
    assert_eq!(host.endpoint_certificate(&subject.cluster).await.expect("asked"), None);
    let leaf = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let chain = format!("{leaf}{}", leaf.replace("AAAA", "BBBB"));
    let tls = moorage_host::TlsPem { certificate: chain, key: String::from("key") };
    let wish = EndpointWish { tls: Some(tls), ..subject.endpoint(free(), 1) };
    host.ensure_endpoint(&wish).await.expect("applied");
    assert_eq!(host.endpoint_certificate(&subject.cluster).await.expect("asked").as_deref(), Some(leaf));
    let files = read(&bench, &subject).tls.expect("served with TLS");
    for lost in [&files.key, &files.certificate] {
        std::fs::remove_file(lost).expect("removed");
        assert_eq!(host.endpoint_certificate(&subject.cluster).await.expect("asked"), None);
        let error = host.ensure_endpoint(&EndpointWish { tls: None, ..wish.clone() }).await.expect_err("refused");
        assert_eq!(error.problem.code, ProblemCode::HostFailed);
        assert!(error.problem.message.contains("certificate of the endpoint is lost"), "{error:?}");
        assert!(read(&bench, &subject).tls.is_some());
        assert_eq!(host.ensure_endpoint(&wish).await.expect("given again"), EndpointState::Serving);
    }
}

#[tokio::test]
async fn a_gateway_that_hangs_is_replaced() {
    let mut bench = Bench::new();
    let short = Duration::from_millis(100);
    bench.options.gateway_patience = GatewayPatience { ask_every: short, answer: short * 3, silences: 3 };
    let host = bench.host().await;
    host.ensure_gateway().await.expect("it runs");
    let before = gateway_pid(&bench);
    let pid = rustix::process::Pid::from_raw(before.cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stopped");
    until("another one runs", async || gateway_pid(&bench) != before && host.ensure_gateway().await.is_ok()).await;
    assert!(!lives(before));
}

#[tokio::test]
async fn the_log_of_the_gateway_does_not_grow_for_ever() {
    let mut bench = Bench::new();
    bench.options.gateway_patience.ask_every = Duration::from_millis(50);
    let host = bench.host().await;
    host.ensure_gateway().await.expect("it runs");
    let log = bench.data().join("gateway/logs/gateway.log");
    std::fs::write(&log, "a line of the gateway\n".repeat(1 << 20)).expect("written");
    until("it is shorter", async || std::fs::metadata(&log).is_ok_and(|found| (1..=2 << 20).contains(&found.len()))).await;
}

#[tokio::test]
async fn an_address_that_somebody_else_has_is_told() {
    let bench = Bench::new();
    let host = bench.host().await;
    let subject = subject_with_process(&host).await;
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let taken = SocketAddrV4::new(Ipv4Addr::LOCALHOST, other.local_addr().expect("an address").port());
    assert_eq!(host.ensure_endpoint(&subject.endpoint(taken, 1)).await.expect("answered"), EndpointState::AddressInUse);
    assert_eq!(host.ensure_endpoint(&subject.endpoint(free(), 1)).await.expect("answered"), EndpointState::Serving);
}

#[tokio::test]
async fn a_killed_gateway_serves_again_within_a_second_also_without_its_host_and_when_its_shim_died_too() {
    let bench = Bench::new();
    let host = bench.host().await;
    let subject = subject_with_process(&host).await;
    let wish = subject.endpoint(free(), 1);
    host.ensure_endpoint(&wish).await.expect("applied");
    let serving_again = async |bench: &Bench, before: u32| {
        let began = Instant::now();
        until("it serves again", async || TcpStream::connect(wish.listen).is_ok() && gateway_pid(bench) != before).await;
        began.elapsed()
    };
    let mut pauses = Vec::new();
    for _ in 0..2 {
        let gateway = gateway_pid(&bench);
        kill(gateway);
        pauses.push(serving_again(&bench, gateway).await);
    }
    let (gateway, shim) = (gateway_pid(&bench), shim_pid(&bench.data().join("gateway/shim")));
    kill(shim);
    kill(gateway);
    serving_again(&bench, gateway).await;
    host.ensure_endpoint(&wish).await.expect("applied");
    drop(host);
    let gateway = gateway_pid(&bench);
    kill(gateway);
    serving_again(&bench, gateway).await;
    assert!(lives(gateway_pid(&bench)));
    // Not each of them: the machine that runs the tests may be busy with others.
    assert!(pauses.iter().any(|pause| *pause < Duration::from_secs(1)), "{pauses:?}");
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_is_a_passing_trouble() {
    let mut bench = Bench::new();
    // A program without a gateway: it ends at once, again and again.
    bench.options.program.push(String::from("/nothing"));
    let host = bench.host().await;
    let error = host.ensure_gateway().await.expect_err("there is none");
    assert_eq!(error.problem.code, ProblemCode::GatewayUnavailable);
    assert!(error.passing);
    bench.options.program.pop();
}

#[tokio::test]
async fn the_gateway_also_runs_from_a_binary_that_its_account_cannot_reach() {
    let mut bench = Bench::new();
    let closed = bench.data().with_file_name("closed");
    std::fs::create_dir(&closed).expect("made");
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("closed");
    let program = closed.join("program");
    std::fs::copy(bench::PROGRAM, &program).expect("copied");
    bench.options.program = vec![program.display().to_string()];
    let host = bench.host().await;
    host.ensure_gateway().await.expect("the gateway runs");
}
