//! Endpoint files and the control socket: what is put in force, refused, cut, closed, and kept over a restart.
#![allow(clippy::unwrap_used)]

mod kit;

use kit::fake_postgresql::{echoes, fake_server, log_in, startup};
use kit::{Files, Gateway, endpoint_file, fresh_address, fresh_cluster, wait_for};
use moorage_domain::endpoint_file::{EndpointFile, EngineLeg, GatewayAnswer, GatewayAsk, InstanceEndpoint};
use moorage_domain::engine::EngineName;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

fn bench() -> (Files, Gateway, EndpointFile) {
    let files = Files::new();
    let socket = fake_server(files.root.path(), 1);
    let file = endpoint_file(EngineName::PostgreSql, fresh_address(5432), &socket);
    let gateway = Gateway::start(&files);
    gateway.put(&files, &file);
    (files, gateway, file)
}

fn reason(answer: GatewayAnswer) -> String {
    match answer {
        GatewayAnswer::Refused { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gateway_serves_from_its_files_alone_and_serves_again_after_a_restart() {
    let files = Files::new();
    let socket = fake_server(files.root.path(), 1);
    let file = endpoint_file(EngineName::PostgreSql, fresh_address(5432), &socket);
    files.write(&file);
    for _ in 0..2 {
        let gateway = Gateway::start(&files);
        assert_eq!(log_in(file.listen).unwrap().1, 1);
        assert!(gateway.status_of(&file.cluster).listening);
        gateway.stop();
        assert!(TcpStream::connect(file.listen).is_err());
        assert!(!files.control().exists());
    }
}

#[test]
fn connections_go_on_through_changes_that_still_admit_them() {
    let (files, gateway, mut file) = bench();
    let (mut stream, _) = log_in(file.listen).unwrap();
    file.generation = 2;
    file.term = 2;
    file.most_connections = 1;
    file.allow = vec!["127.0.0.0/30".parse().unwrap()];
    file.tls = Some(files.certificates(file.listen).files);
    gateway.put(&files, &file);
    assert!(echoes(&mut stream));
    file.generation = 3;
    file.listen = fresh_address(5432);
    gateway.put(&files, &file);
    assert!(echoes(&mut stream), "another address is for new connections");
    assert_eq!(gateway.status_of(&file.cluster).generation, 3);
}

#[test]
fn connections_to_a_primary_that_is_none_any_more_are_closed_when_the_answer_comes() {
    let (files, gateway, mut file) = bench();
    let other = fake_server(files.root.path(), 2);
    let (mut stream, _) = log_in(file.listen).unwrap();
    file.term = 2;
    file.primary = None;
    gateway.put(&files, &file);
    assert_eq!(gateway.status_of(&file.cluster).connections, 0);
    assert!(!echoes(&mut stream));
    file.term = 3;
    file.primary = Some(EngineLeg::Unix(other));
    gateway.put(&files, &file);
    let (mut stream, backend) = log_in(file.listen).unwrap();
    assert_eq!(backend, 2);
    file.term = 4;
    file.primary = Some(EngineLeg::Unix(files.root.path().join("fake-1.sock")));
    gateway.put(&files, &file);
    assert_eq!(gateway.status_of(&file.cluster).connections, 0);
    assert!(!echoes(&mut stream));
    assert_eq!(log_in(file.listen).unwrap().1, 1);
}

fn left(gateway: &Gateway, file: &EndpointFile) -> u32 {
    match gateway.ask(&GatewayAsk::Drain { cluster: file.cluster.clone() }) {
        GatewayAnswer::Draining { sessions, .. } => sessions,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_held_endpoint_ends_idle_sessions_and_lets_new_ones_wait_for_the_next_primary() {
    let (files, gateway, mut file) = bench();
    let other = fake_server(files.root.path(), 2);
    let (mut idle, _) = log_in(file.listen).unwrap();
    let (mut busy, _) = log_in(file.listen).unwrap();
    assert_eq!(left(&gateway, &file), 2, "an endpoint that is not held keeps its sessions");
    // The fake server gives back what it is told: a query that nobody answers.
    let query = b"Q\0\0\0\x05\0";
    busy.write_all(query).unwrap();
    busy.read_exact(&mut [0; 6]).unwrap();
    (file.generation, file.hold) = (2, true);
    gateway.put(&files, &file);
    wait_for("the idle session ends", || (left(&gateway, &file) == 1).then_some(()));
    let mut words = Vec::new();
    idle.read_to_end(&mut words).unwrap();
    assert!(String::from_utf8_lossy(&words).contains("57P01"), "{words:?}");
    assert_eq!(left(&gateway, &file), 1, "nobody is closed while a query is not answered");
    let address = file.listen;
    let waiting = std::thread::spawn(move || log_in(address).unwrap().1);
    wait_for("somebody waits", || (gateway.status_of(&file.cluster).held == 1).then_some(()));
    // What is in the way in the end is cut by the next term.
    (file.generation, file.term, file.primary) = (3, 2, None);
    gateway.put(&files, &file);
    assert_eq!(busy.read(&mut [0; 8]).unwrap_or(0), 0);
    (file.generation, file.hold, file.primary) = (4, false, Some(EngineLeg::Unix(other)));
    gateway.put(&files, &file);
    assert_eq!(waiting.join().unwrap(), 2, "who waited is led to the next primary");
}

#[test]
fn a_hold_that_nobody_renews_ends() {
    let (files, gateway, mut file) = bench();
    (file.generation, file.hold) = (2, true);
    gateway.put(&files, &file);
    let begun = Instant::now();
    assert_eq!(log_in(file.listen).unwrap().1, 1, "the primary is well, and its control plane is gone");
    assert!(begun.elapsed() > Duration::from_secs(3), "it was held first: {:?}", begun.elapsed());
}

#[test]
fn a_login_that_is_on_its_way_to_the_old_primary_is_cut_too() {
    let (files, gateway, mut file) = bench();
    let silent = files.root.path().join("silent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&silent).unwrap();
    file.primary = Some(EngineLeg::Unix(silent));
    gateway.put(&files, &file);
    let mut stream = TcpStream::connect(file.listen).unwrap();
    stream.write_all(&startup("alice")).unwrap();
    let (mut engine, _) = listener.accept().unwrap();
    file.term = 2;
    file.primary = None;
    gateway.put(&files, &file);
    let mut heard = Vec::new();
    engine.read_to_end(&mut heard).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0);
}

#[test]
fn a_narrower_allow_list_cuts_those_it_excludes() {
    let (files, gateway, mut file) = bench();
    let (mut stream, _) = log_in(file.listen).unwrap();
    file.allow = vec!["192.0.2.0/24".parse().unwrap()];
    gateway.put(&files, &file);
    assert!(!echoes(&mut stream));
    assert_eq!(gateway.status_of(&file.cluster).connections, 0);
}

#[test]
fn an_older_term_is_refused_also_after_a_restart() {
    let (files, gateway, mut file) = bench();
    file.term = 7;
    gateway.put(&files, &file);
    file.term = 6;
    file.generation = 9;
    files.write(&file);
    assert!(reason(gateway.apply(&file.cluster)).contains("term 6 is older than term 7"));
    assert_eq!(gateway.status_of(&file.cluster).generation, 1);
    gateway.stop();
    let gateway = Gateway::start(&files);
    assert_eq!(gateway.status_of(&file.cluster).generation, 1);
    assert!(log_in(file.listen).is_ok());
}

#[test]
fn a_file_that_cannot_be_used_leaves_the_last_good_one_in_force_also_after_a_restart() {
    let (files, gateway, file) = bench();
    let mut newer = serde_json::to_value(&file).unwrap();
    newer["version"] = 99.into();
    for text in [newer.to_string(), "{".to_owned(), String::new(), "x".repeat(2_000_000)] {
        files.write_text(&file.cluster, &text);
        reason(gateway.apply(&file.cluster));
        assert!(log_in(file.listen).is_ok());
    }
    files.write_text(&file.cluster, &newer.to_string());
    gateway.stop();
    let gateway = Gateway::start(&files);
    assert!(log_in(file.listen).is_ok());
    assert!(reason(gateway.apply(&file.cluster)).contains("upgrade the gateway"));
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_and_a_renewed_one_is_taken_up_without_cutting_anybody() {
    let (files, gateway, mut file) = bench();
    let certificates = files.certificates(file.listen);
    file.tls = Some(certificates.files.clone());
    gateway.put(&files, &file);
    let (mut stream, _) = log_in(file.listen).unwrap();
    let listen = file.listen;
    let served = || {
        let port = listen.port();
        let mut client = std::process::Command::new("openssl");
        client.args(["s_client", "-starttls", "postgres", "-connect", &format!("{}:{port}", listen.ip())]);
        String::from_utf8_lossy(&client.stdin(std::process::Stdio::null()).output().unwrap().stdout).replace('\r', "")
    };
    let renewed = certificates.renew();
    let body = renewed.replace('\r', "").trim().to_owned();
    wait_for("the renewed certificate is served", || served().contains(&body).then_some(()));
    fs::write(&certificates.files.certificate, "broken").unwrap();
    assert!(reason(gateway.apply(&file.cluster)).contains("certificate cannot be used"));
    assert!(served().contains(&body), "the one before stays in use");
    assert!(echoes(&mut stream));
    file.term = 2;
    file.primary = None;
    gateway.put(&files, &file);
    assert!(!echoes(&mut stream), "a fence does not wait for a certificate");
    assert!(served().contains(&body));
}

#[test]
fn an_address_that_is_taken_is_reported_and_tried_again_and_stops_nobody_else() {
    let files = Files::new();
    let socket = fake_server(files.root.path(), 1);
    let blocked = endpoint_file(EngineName::PostgreSql, fresh_address(5432), &socket);
    let free = endpoint_file(EngineName::PostgreSql, fresh_address(5432), &socket);
    let holder = TcpListener::bind(blocked.listen).unwrap();
    files.write(&blocked);
    files.write(&free);
    let gateway = Gateway::start(&files);
    assert!(log_in(free.listen).is_ok());
    assert!(!gateway.status_of(&blocked.cluster).listening);
    match gateway.apply(&blocked.cluster) {
        GatewayAnswer::CannotListen { in_use: true, cluster, .. } => assert_eq!(cluster, blocked.cluster),
        other => panic!("{other:?}"),
    }
    drop(holder);
    wait_for("the endpoint listens", || gateway.status_of(&blocked.cluster).listening.then_some(()));
    assert!(log_in(blocked.listen).is_ok());

    let mut foreign = endpoint_file(EngineName::PostgreSql, "192.0.2.1:5432".parse().unwrap(), &socket);
    files.write(&foreign);
    assert!(matches!(gateway.apply(&foreign.cluster), GatewayAnswer::CannotListen { in_use: false, .. }));
    // Moving to an address that is taken leaves the one before in force.
    foreign = free.clone();
    foreign.generation = 2;
    foreign.listen = blocked.listen;
    files.write(&foreign);
    assert!(matches!(gateway.apply(&free.cluster), GatewayAnswer::CannotListen { in_use: true, .. }));
    assert!(log_in(free.listen).is_ok());
}

#[test]
fn a_public_address_comes_and_goes_beside_the_first_which_never_waits_for_it() {
    let (files, gateway, file) = bench();
    let (mut stream, _) = log_in(file.listen).unwrap();
    let public = fresh_address(5433);
    let holder = TcpListener::bind(public).unwrap();
    let offered = EndpointFile { generation: 2, public: Some(public), most_connections: 7, ..file.clone() };
    files.write(&offered);
    match gateway.apply(&file.cluster) {
        GatewayAnswer::CannotListen { at, in_use: true, .. } => assert_eq!(at, Some(public)),
        other => panic!("{other:?}"),
    }
    assert!(log_in(file.listen).is_ok(), "the first address serves");
    drop(holder);
    wait_for("the public address listens by itself", || log_in(public).ok());
    assert_eq!(gateway.apply(&file.cluster), GatewayAnswer::Applied { cluster: file.cluster.clone(), generation: 2 });
    files.write(&EndpointFile { generation: 3, ..file.clone() });
    assert!(matches!(gateway.apply(&file.cluster), GatewayAnswer::Applied { .. }));
    assert!(TcpStream::connect(public).is_err(), "withdrawn");
    assert!(echoes(&mut stream), "nobody else noticed");
}

fn reaches(address: std::net::SocketAddr, backend: i32) -> bool {
    log_in(address).is_ok_and(|(_, found)| found == backend)
}

#[test]
fn single_instances_are_reached_at_addresses_of_their_own() {
    let (files, gateway, mut file) = bench();
    let legs = [file.primary.clone().unwrap(), EngineLeg::Unix(fake_server(files.root.path(), 2))];
    let addresses = [fresh_address(5432), fresh_address(5432)];
    let instances = |first: Option<EngineLeg>| {
        let legs = [first, Some(legs[1].clone())];
        let instance = |(listen, leg): (_, Option<EngineLeg>)| InstanceEndpoint { listen, leg };
        addresses.into_iter().zip(legs).map(instance).collect::<Vec<_>>()
    };
    (file.generation, file.instances) = (2, instances(Some(legs[0].clone())));
    gateway.put(&files, &file);
    let (mut at_first, backend) = log_in(addresses[0]).unwrap();
    assert_eq!(backend, 1);
    let (mut at_second, backend) = log_in(addresses[1]).unwrap();
    assert_eq!(backend, 2);
    assert_eq!(gateway.status_of(&file.cluster).connections, 2);

    // The one that writes is about to be followed by the other: its sessions end wherever they came in, and only its.
    (file.generation, file.hold) = (3, true);
    gateway.put(&files, &file);
    wait_for("the session of the first ends", || (left(&gateway, &file) == 0).then_some(()));
    assert!(at_first.read_to_end(&mut Vec::new()).is_ok());
    assert!(echoes(&mut at_second), "the second stays");
    assert_eq!(log_in(addresses[1]).unwrap().1, 2, "and lets others in");
    (file.generation, file.term, file.primary, file.instances) = (4, 2, None, instances(None));
    gateway.put(&files, &file);
    let address = addresses[0];
    let waits = std::thread::spawn(move || reaches(address, 1));
    wait_for("somebody waits", || (gateway.status_of(&file.cluster).held == 1).then_some(()));
    (file.generation, file.hold, file.primary, file.instances) = (5, false, Some(legs[1].clone()), instances(Some(legs[0].clone())));
    gateway.put(&files, &file);
    assert!(waits.join().unwrap(), "it is reached again when it follows");
    assert!(echoes(&mut at_second), "whoever was there before stays through it all");
    assert_eq!(log_in(addresses[0]).unwrap().1, 1);
    assert_eq!(log_in(file.listen).unwrap().1, 2);

    // The allow-list is one for all.
    (file.generation, file.allow) = (6, vec!["192.0.2.0/24".parse().unwrap()]);
    gateway.put(&files, &file);
    assert!(!echoes(&mut at_second));
    assert!(!reaches(addresses[0], 1) && !reaches(addresses[1], 2));
    (file.generation, file.allow, file.instances) = (7, vec!["127.0.0.0/8".parse().unwrap()], Vec::new());
    gateway.put(&files, &file);
    assert!(addresses.iter().all(|address| TcpStream::connect(*address).is_err()), "withdrawn");
    assert!(log_in(file.listen).is_ok());
}

#[test]
fn the_limit_of_connections_is_one_for_all_addresses_of_a_cluster() {
    let (files, gateway, mut file) = bench();
    let own = fresh_address(5432);
    (file.generation, file.most_connections) = (2, 2);
    file.instances = vec![InstanceEndpoint { listen: own, leg: file.primary.clone() }];
    gateway.put(&files, &file);
    let (first, _) = log_in(file.listen).unwrap();
    let (second, _) = log_in(own).unwrap();
    assert!(!reaches(own, 1) && !reaches(file.listen, 1), "full");
    drop(first);
    wait_for("there is room", || reaches(own, 1).then_some(()));
    drop(second);
}

#[test]
fn an_address_of_an_instance_that_somebody_else_has_keeps_nobody_else_waiting() {
    let (files, gateway, mut file) = bench();
    let taken = fresh_address(5432);
    let holder = TcpListener::bind(taken).unwrap();
    (file.generation, file.instances) = (2, vec![InstanceEndpoint { listen: taken, leg: file.primary.clone() }]);
    files.write(&file);
    match gateway.apply(&file.cluster) {
        GatewayAnswer::CannotListen { at, in_use: true, applied: Some(2), .. } => assert_eq!(at, Some(taken)),
        other => panic!("{other:?}"),
    }
    assert!(log_in(file.listen).is_ok());
    drop(holder);
    wait_for("it listens by itself", || log_in(taken).ok());
}

#[test]
fn a_file_that_is_gone_closes_its_endpoint_and_its_connections() {
    let (files, gateway, file) = bench();
    let (mut stream, _) = log_in(file.listen).unwrap();
    wait_for("the file is kept", || files.accepted(&file.cluster).exists().then_some(()));
    fs::remove_file(files.path(&file.cluster)).unwrap();
    assert_eq!(gateway.apply(&file.cluster), GatewayAnswer::Closed { cluster: file.cluster.clone() });
    assert!(!echoes(&mut stream));
    assert!(TcpStream::connect(file.listen).is_err());
    assert!(!files.accepted(&file.cluster).exists());
    assert!(gateway.status().is_empty());
    let unknown = fresh_cluster();
    assert_eq!(gateway.apply(&unknown), GatewayAnswer::Closed { cluster: unknown });
}

#[test]
fn files_that_come_and_go_without_a_word_are_noticed() {
    let (files, gateway, file) = bench();
    let other = EndpointFile { cluster: fresh_cluster(), listen: fresh_address(5432), ..file.clone() };
    files.write(&other);
    wait_for("the new file is served", || log_in(other.listen).ok());
    fs::remove_file(files.path(&file.cluster)).unwrap();
    wait_for("the endpoint is closed", || TcpStream::connect(file.listen).err());
    assert_eq!(gateway.status().len(), 1);
    // A directory that is gone altogether is an accident, not a wish.
    fs::rename(files.root.path().join("endpoints"), files.root.path().join("elsewhere")).unwrap();
    assert!(reason(gateway.apply(&other.cluster)).contains("cannot be read"));
    std::thread::sleep(Duration::from_millis(700));
    assert!(log_in(other.listen).is_ok());
}

#[test]
fn the_control_socket_is_for_its_owner_survives_nonsense_and_is_never_shared() {
    let (files, gateway, file) = bench();
    assert_eq!(fs::metadata(files.control()).unwrap().permissions().mode() & 0o777, 0o660);
    for nonsense in [&b"\n"[..], b"{}\n", b"\xff\xfe\n", b"{\"ask\":\"apply\",\"cluster\":\"../../etc/passwd\"}\n", &[b'x'; 100_000]] {
        let mut stream = UnixStream::connect(files.control()).unwrap();
        let _ = stream.write_all(nonsense);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty());
    }
    fs::set_permissions(files.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(files.control(), fs::Permissions::from_mode(0o666)).unwrap();
    let program = "$s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; print $s qq({\"ask\":\"status\"}\n); $s->flush; print scalar <$s>";
    let speak_as = |uid: u32| {
        let mut perl = std::process::Command::new("perl");
        perl.args(["-MIO::Socket::UNIX", "-e", program]).arg(files.control()).uid(uid);
        String::from_utf8_lossy(&perl.output().unwrap().stdout).into_owned()
    };
    assert!(speak_as(0).contains("answer"));
    assert!(!speak_as(65534).contains("answer"), "a stranger gets no answer");
    assert!(matches!(gateway.ask(&GatewayAsk::Status), GatewayAnswer::Status { version: 1, .. }));

    let options = moorage_gateway::Options::default();
    assert_eq!(moorage_gateway::main(files.root.path(), &files.control(), options), std::process::ExitCode::FAILURE);
    assert!(gateway.status_of(&file.cluster).listening);

    fs::remove_file(files.control()).unwrap();
    wait_for("the socket is made again", || UnixStream::connect(files.control()).ok());
    assert!(gateway.status_of(&file.cluster).listening);
}

#[test]
fn stopping_lets_open_connections_finish_and_refuses_new_ones() {
    let files = Files::new();
    let socket = fake_server(files.root.path(), 1);
    let file = endpoint_file(EngineName::PostgreSql, fresh_address(5432), &socket);
    files.write(&file);
    let options = moorage_gateway::Options { drain: Duration::from_secs(20), ..moorage_gateway::Options::default() };
    let gateway = Gateway::start_with(&files, options);
    let (mut stream, _) = log_in(file.listen).unwrap();
    let start = Instant::now();
    let stopping = std::thread::spawn(move || gateway.stop());
    wait_for("no new connections", || TcpStream::connect(file.listen).err());
    assert!(echoes(&mut stream));
    assert!(!stopping.is_finished());
    drop(stream);
    stopping.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(15));
}
