//! Clients that mean no good, or do not know what they do: nothing panics, nothing is let through, every slot comes back.
#![allow(clippy::unwrap_used)]

mod kit;

use kit::engines::{mariadb, postgresql};
use kit::fake_postgresql::{fake_server, log_in, startup};
use kit::{Files, Gateway, endpoint_file, fresh_address, wait_for};
use moorage_domain::endpoint_file::EndpointFile;
use moorage_domain::engine::EngineName;
use moorage_gateway::Options;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// The type of a record of TLS that says why there is no connection.
const TLS_ALERT: u8 = 0x15;

/// Short, for those who stay silent; long enough for those who log in on a busy machine.
const HANDSHAKE: Duration = Duration::from_secs(1);

fn bench(engine: EngineName, socket: &Path, tls: bool) -> (Files, Gateway, EndpointFile) {
    let files = Files::new();
    let mut file = endpoint_file(engine, fresh_address(5432), socket);
    file.tls = tls.then(|| files.certificates(file.listen).files);
    let options = Options { handshake: HANDSHAKE, login: Duration::from_secs(5), drain: Duration::ZERO, ..Options::default() };
    let gateway = Gateway::start_with(&files, options);
    gateway.put(&files, &file);
    (files, gateway, file)
}

fn fake() -> (Files, Gateway, EndpointFile, Files) {
    let home = Files::new();
    let socket = fake_server(home.root.path(), 1);
    let (files, gateway, file) = bench(EngineName::PostgreSql, &socket, true);
    (files, gateway, file, home)
}

/// Sends bytes and returns everything that comes back until the other side closes.
fn exchange(file: &EndpointFile, bytes: &[u8], then_close: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(file.listen).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stream.write_all(bytes);
    if then_close {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return answer,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return answer,
            Err(error) => panic!("not closed: {error}"),
        }
    }
}

/// Bytes that look random and are the same in every run.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

#[test]
fn clients_of_postgresql_that_stay_silent_or_trickle_are_closed_in_time() {
    let (_files, gateway, file, _home) = fake();
    let start = Instant::now();
    for beginning in [&b""[..], b"\0", &startup("alice")[..20], SSL_REQUEST, b"\x16", b"\x16\x03\x01\x02\0"] {
        exchange(&file, beginning, false);
    }
    assert!(start.elapsed() < HANDSHAKE * 6 + Duration::from_secs(3));
    let mut trickle = TcpStream::connect(file.listen).unwrap();
    let start = Instant::now();
    let closed = startup("alice").iter().any(|byte| {
        std::thread::sleep(Duration::from_millis(50));
        trickle.write_all(&[*byte]).is_err()
    });
    assert!(closed && start.elapsed() < Duration::from_secs(5));
    gateway.wait_until_empty(&file.cluster);
    assert!(log_in(file.listen).is_ok());
}

#[test]
fn garbage_for_postgresql_gets_nothing_and_holds_nothing() {
    let (_files, gateway, file, _home) = fake();
    let http = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    let oversized = [&b"\0\0\x27\x11\0\x03\0\0"[..], &[b'a'; 9993]].concat();
    let huge = b"\x7f\xff\xff\xff\0\x03\0\0".to_vec();
    let smuggled = [SSL_REQUEST, &startup("alice")].concat();
    for bytes in [http, oversized, huge, b"\0\0\0\x04".to_vec(), [SSL_REQUEST, SSL_REQUEST].concat(), smuggled] {
        let answer = exchange(&file, &bytes, false);
        // At most the yes to TLS, an alert of TLS, and never a login.
        assert!(!answer.contains(&b'R') && answer.len() < 40, "{bytes:?}: {answer:?}");
    }
    for seed in 0..300 {
        let mut bytes = noise(seed, seed as usize % 90);
        match seed % 4 {
            0 => bytes.splice(0..0, [0, 0, 0, 9 + (seed % 90) as u8, 0, 3, 0, 0]).for_each(drop),
            1 => bytes.splice(0..0, SSL_REQUEST.iter().copied()).for_each(drop),
            2 => bytes.splice(0..0, *b"\x16\x03\x01\0\x40").for_each(drop),
            _ => {}
        }
        exchange(&file, &bytes, true);
    }
    gateway.wait_until_empty(&file.cluster);
    assert!(log_in(file.listen).is_ok());
}

#[test]
fn garbage_after_the_startup_reaches_the_real_postgresql_and_holds_nothing() {
    let (_files, gateway, file) = bench(EngineName::PostgreSql, &postgresql().socket, true);
    for seed in 0..40 {
        exchange(&file, &[startup("alice"), noise(seed, 200)].concat(), true);
    }
    gateway.wait_until_empty(&file.cluster);
    let mut old = 196_608_u32.to_be_bytes().to_vec();
    old[1] = 2;
    let answer = exchange(&file, &[&[0, 0, 0, 9], &old[..], &[0]].concat(), false);
    assert!(String::from_utf8_lossy(&answer).contains("unsupported frontend protocol 2.0"));
}

#[test]
fn garbage_for_mariadb_gets_no_login_and_holds_nothing() {
    let (_files, gateway, file) = bench(EngineName::MariaDb, &mariadb().socket, true);
    let ssl_request = |rest: &[u8]| [&[32, 0, 0, 1, 0x00, 0x8a, 0, 0, 0, 0, 0, 1, 45][..], &[0; 23], rest].concat();
    let cases = [
        Vec::new(),
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(),
        b"\xff\xff\xff\x01aaaa".to_vec(),
        [&[36, 0, 0, 7, 0, 0x82, 0, 0][..], &[0; 28], b"bob\0"].concat(),
        [&[8, 0, 0, 1][..], &[0; 8]].concat(),
        ssl_request(b"not a handshake of TLS at all"),
        ssl_request(&ssl_request(b"")),
        [&[40, 0, 0, 1, 0x00, 0x8a, 0, 0, 0, 0, 0, 1, 45][..], &[0; 23], b"alice\0\0\0"].concat(),
    ];
    for bytes in cases {
        let answer = exchange(&file, &bytes, false);
        let text = String::from_utf8_lossy(&answer).into_owned();
        // The greeting, and at most one refusal or alert. The greeting has a random part, in which anything may stand.
        assert!(answer.len() > 4, "{bytes:?}: {text}");
        let (greeting, rest) = answer.split_at(4 + usize::from(answer[0]));
        assert!(greeting[4] == 10 && String::from_utf8_lossy(greeting).contains("MariaDB"), "{bytes:?}: {text}");
        assert!(rest.is_empty() || rest.get(4) == Some(&0xff) || rest[0] == TLS_ALERT, "{bytes:?}: {text}");
        assert!(answer.len() < 300, "{bytes:?}: {text}");
    }
    for seed in 0..100 {
        let mut bytes = noise(seed, seed as usize % 120);
        if seed % 2 == 0 {
            let length = bytes.len() as u8;
            bytes.splice(0..0, [length + 4, 0, 0, 1, 0x00, 0x82, 8, 0]).for_each(drop);
        }
        exchange(&file, &bytes, true);
    }
    gateway.wait_until_empty(&file.cluster);
}

#[test]
fn many_who_are_not_allowed_cost_no_slots_and_those_who_are_still_come_in() {
    let (files, gateway, mut file, _home) = fake();
    file.most_connections = 1;
    gateway.put(&files, &file);
    let (holder, _) = log_in(file.listen).unwrap();
    let crowd: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(file.listen).unwrap()).collect();
    assert_eq!(gateway.status_of(&file.cluster).connections, 1);
    drop(holder);
    gateway.wait_until_empty(&file.cluster);
    wait_for("there is room again", || log_in(file.listen).ok());
    drop(crowd);
}

#[test]
fn a_client_that_does_not_read_stops_its_engine_and_nobody_else() {
    let (_files, gateway, file, _home) = fake();
    let (mut lazy, _) = log_in(file.listen).unwrap();
    lazy.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while let Ok(count) = lazy.write(&chunk) {
        sent += count;
        assert!(sent < 1 << 30, "somebody keeps all this in memory");
    }
    let (mut other, _) = log_in(file.listen).unwrap();
    assert!(kit::fake_postgresql::echoes(&mut other));
    drop((lazy, other));
    gateway.wait_until_empty(&file.cluster);
}
