//! MariaDB 10.11 and its stock clients through a gateway.
#![allow(clippy::unwrap_used)]

mod kit;

use kit::engines::{PASSWORD, Said, mariadb, said};
use kit::{Certificates, Files, Gateway, endpoint_file, fresh_address, wait_for};
use moorage_domain::endpoint_file::EndpointFile;
use moorage_domain::engine::EngineName;
use mysql_async::prelude::Queryable;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

struct Bench {
    gateway: Gateway,
    file: EndpointFile,
    certificates: Certificates,
    files: Files,
}

/// A gateway with TLS in front of the real server.
fn bench() -> Bench {
    let files = Files::new();
    let address = fresh_address(3306);
    let certificates = files.certificates(address);
    let mut file = endpoint_file(EngineName::MariaDb, address, &mariadb().socket);
    file.tls = Some(certificates.files.clone());
    let gateway = Gateway::start(&files);
    gateway.put(&files, &file);
    Bench { gateway, file, certificates, files }
}

const PLAIN: &[&str] = &["--skip-ssl"];
const TLS: &[&str] = &["--ssl"];

impl Bench {
    fn client(&self, user: &str, options: &[&str]) -> Command {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "-N", "-B", "-D", "shop", "--local-infile=1", "--max-allowed-packet=64M"]);
        command.arg(format!("--user={user}")).arg(format!("--password={PASSWORD}"));
        command.arg(format!("--host={}", self.file.listen.ip())).arg(format!("--port={}", self.file.listen.port()));
        command.args(options);
        command
    }

    fn sql(&self, user: &str, options: &[&str], sql: &str) -> Said {
        said(self.client(user, options).args(["-e", sql]))
    }
}

const CIPHER: &str =
    "select current_user(), (select variable_value <> '' from information_schema.session_status where variable_name = 'ssl_cipher')";

#[test]
fn a_user_gets_in_plain_and_over_tls_and_with_the_certificate_verified() {
    let bench = bench();
    let ca = format!("--ssl-ca={}", bench.certificates.authority.display());
    for options in [PLAIN, TLS, &["--ssl", "--ssl-verify-server-cert", &ca]] {
        // Inside the engine there is no TLS: it ends at the gateway.
        let said = bench.sql("alice", options, CIPHER);
        assert_eq!((said.out.as_str(), said.err.as_str()), ("alice@%\t0", ""), "{options:?}");
    }
    let status = bench.sql("alice", TLS, "status");
    assert!(status.out.contains("Cipher in use is"), "{}", status.out);
    let other = Certificates::new(&bench.files.root.path().join("other"), bench.file.listen);
    let unknown = format!("--ssl-ca={}", other.authority.display());
    assert!(!bench.sql("alice", &["--ssl", "--ssl-verify-server-cert", &unknown], "select 1").success);
    for options in [PLAIN, TLS] {
        let wrong = said(bench.client("alice", options).args(["--password=wrong", "-e", "select 1"]));
        assert!(wrong.err.contains("1045") && wrong.err.contains("'alice'@'127.0.0.1' (using password: YES)"), "{}", wrong.err);
        let missing = said(bench.client("alice", options).args(["-D", "elsewhere", "-e", "select 1"]));
        assert!(missing.err.contains("Access denied for user 'alice'@'%' to database 'elsewhere'"), "{}", missing.err);
    }
}

#[test]
fn a_login_that_switches_its_plugin_works_plain_and_over_tls() {
    let bench = bench();
    for options in [PLAIN, TLS] {
        // The plugin the client offers first is not the one of the account.
        let options = [options, &["--default-auth=client_ed25519"]].concat();
        let said = bench.sql("alice", &options, "select current_user()");
        assert_eq!((said.out.as_str(), said.err.as_str()), ("alice@%", ""), "{options:?}");
        let wrong = said_wrong(&bench, "alice", &options);
        assert!(wrong.contains("Access denied for user 'alice'"), "{wrong}");
        let compressed = bench.sql("alice", &[options.as_slice(), &["--compress"]].concat(), "select repeat('x', 100)");
        assert_eq!(compressed.out.len(), 100, "{options:?} {}", compressed.err);
    }
}

fn said_wrong(bench: &Bench, user: &str, options: &[&str]) -> String {
    said(bench.client(user, options).args(["--password=wrong", "-e", "select 1"])).err
}

#[test]
fn nobody_gets_in_as_an_administrator_even_with_the_right_password() {
    let bench = bench();
    for user in ["root", "moorage_admin", "mysql", "postgres", "'root'", "'moorage_admin'", "mariadb.sys"] {
        for options in [PLAIN, TLS] {
            let said = bench.sql(user, options, "select 1");
            let words = format!("ERROR 1045 (28000): Access denied for user '{user}'@'127.0.0.1' (using password: YES)");
            assert_eq!((said.success, said.err.as_str()), (false, words.as_str()), "{options:?}");
        }
    }
    // What the server itself says of a wrong password has the same form.
    let words = "ERROR 1045 (28000): Access denied for user 'alice'@'127.0.0.1' (using password: YES)";
    assert_eq!(said_wrong(&bench, "alice", PLAIN), words);
}

#[test]
fn changing_the_user_later_does_not_open_the_administrators_accounts() {
    let bench = bench();
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(bench.file.listen.ip().to_string())
        .tcp_port(bench.file.listen.port())
        .user(Some("alice"))
        .pass(Some(PASSWORD))
        .db_name(Some("shop"))
        .prefer_socket(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = mysql_async::Conn::new(options.clone()).await.unwrap();
        let prepared: Option<(String, u32)> = connection.exec_first("select ?, ?", ("text", 7)).await.unwrap();
        assert_eq!(prepared, Some(("text".to_owned(), 7)));
        // The gateway of this test runs as root, which is all that the server asks of its `root`.
        let to_root = mysql_async::ChangeUserOpts::new().with_user(Some("root".to_owned())).with_pass(None);
        let refused = connection.change_user(to_root).await.expect_err("refused").to_string();
        assert!(refused.contains("Access denied") && refused.contains("reserved account"), "{refused}");
        let mut connection = mysql_async::Conn::new(options).await.unwrap();
        let to_alice = mysql_async::ChangeUserOpts::new().with_user(Some("alice".to_owned())).with_pass(Some(PASSWORD.to_owned()));
        connection.change_user(to_alice).await.unwrap();
        assert_eq!(connection.query_first::<u32, _>("select 1").await.unwrap(), Some(1));
        connection.disconnect().await.unwrap();
    });
}

/// A packet as the protocol frames it.
fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&[length[0], length[1], length[2], sequence], payload].concat()
}

/// The next packet: its number and what it says; none at the end.
fn next_packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).ok()?;
    let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((header[3], payload))
}

/// A client that has heard the greeting.
fn greeted(bench: &Bench) -> TcpStream {
    let mut stream = TcpStream::connect(bench.file.listen).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    assert_eq!(next_packet(&mut stream).unwrap().1[0], 10);
    stream
}

/// A login with an empty secret.
fn login(user: &str, plugin: &str) -> Vec<u8> {
    const PROTOCOL_41_SECURE_AND_PLUGINS: u32 = 1 << 9 | 1 << 15 | 1 << 19;
    let mut payload = PROTOCOL_41_SECURE_AND_PLUGINS.to_le_bytes().to_vec();
    payload.extend_from_slice(&(1_u32 << 24).to_le_bytes());
    payload.push(45);
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(format!("{user}\0\0{plugin}\0").as_bytes());
    packet(1, &payload)
}

fn change_user(sequence: u8, user: &str, character_set: u8) -> Vec<u8> {
    packet(sequence, &[b"\x11", user.as_bytes(), b"\0\0\0", &[character_set, 0], b"unix_socket\0"].concat())
}

/// One that no account here has: the server asks again by the account's own.
const OTHER_PLUGIN: &str = "client_ed25519";
const BAD_HANDSHAKE: &[u8] = b"\xff\x13\x04#08S01Bad handshake";

#[test]
fn what_a_client_says_before_it_is_asked_does_not_reach_the_engine() {
    let bench = bench();
    let mut accepted = greeted(&bench);
    accepted.write_all(&login("nopass", "mysql_native_password")).unwrap();
    assert_eq!(next_packet(&mut accepted).map(|(sequence, said)| (sequence, said[0])), Some((2, 0)));
    drop(accepted);

    // Behind a login that needs no further answer, and that the engine accepts meanwhile.
    for sequence in [0, 2, 3] {
        let mut stream = greeted(&bench);
        let ahead = change_user(sequence, "root", 45);
        stream.write_all(&[login("nopass", "mysql_native_password"), ahead].concat()).unwrap();
        let mut said = Vec::new();
        while let Some((_, packet)) = next_packet(&mut stream) {
            said.push(packet);
        }
        let last = said.last().map(Vec::as_slice).unwrap_or_default();
        let denied = last.starts_with(b"\xff\x15\x04#28000") && String::from_utf8_lossy(last).contains("reserved account");
        assert!(last == BAD_HANDSHAKE || denied, "{sequence}: {said:?}");
    }
    // Behind the answer the engine asked for, and instead of it with another number.
    for (answers, sequence) in [(true, 0), (true, 4), (true, 5), (false, 0), (false, 2), (false, 4)] {
        let mut stream = greeted(&bench);
        stream.write_all(&login("alice", OTHER_PLUGIN)).unwrap();
        let (asked, payload) = next_packet(&mut stream).unwrap();
        assert_eq!((asked, payload[0]), (2, 0xfe));
        let answer = if answers { packet(3, &[7; 20]) } else { Vec::new() };
        stream.write_all(&[answer, change_user(sequence, "root", 45)].concat()).unwrap();
        let mut last = Vec::new();
        while let Some((_, packet)) = next_packet(&mut stream) {
            last = packet;
        }
        // The answer is wrong, which the engine may say first.
        let words = String::from_utf8_lossy(&last);
        assert!(last == BAD_HANDSHAKE || answers && words.contains("Access denied for user 'alice'"), "{answers} {sequence}: {words}");
    }
    bench.gateway.wait_until_empty(&bench.file.cluster);
    assert_eq!(bench.sql("alice", PLAIN, "select 1").out, "1");
}

#[test]
fn changing_the_user_in_a_character_set_that_spells_names_differently_is_denied() {
    let bench = bench();
    for (user, character_set, denied) in [("@0072oot", 17, true), ("nopass", 17, true), ("nopass", 45, false)] {
        let mut stream = greeted(&bench);
        stream.write_all(&login("nopass", "mysql_native_password")).unwrap();
        assert_eq!(next_packet(&mut stream).unwrap().1[0], 0);
        stream.write_all(&change_user(0, user, character_set)).unwrap();
        let (mut sequence, mut said) = next_packet(&mut stream).unwrap();
        if !denied && said[0] == 0xfe {
            stream.write_all(&packet(sequence + 1, b"")).unwrap();
            (sequence, said) = next_packet(&mut stream).unwrap();
        }
        let words = String::from_utf8_lossy(&said);
        assert_eq!((said[0] == 0xff && words.contains("reserved account"), said[0] == 0), (denied, !denied), "{sequence} {words}");
        assert!(!denied || next_packet(&mut stream).is_none());
    }
}

#[test]
fn the_administrator_of_this_host_is_reserved_too() {
    let files = Files::new();
    let file = endpoint_file(EngineName::MariaDb, fresh_address(3306), &mariadb().socket);
    let options = moorage_gateway::Options { administrator: Some("alice".to_owned()), ..moorage_gateway::Options::default() };
    let gateway = Gateway::start_with(&files, options);
    gateway.put(&files, &file);
    let certificates = files.certificates(file.listen);
    let bench = Bench { gateway, file, certificates, files };
    assert!(bench.sql("alice", PLAIN, "select 1").err.contains("Access denied for user 'alice'@'127.0.0.1' (using password: YES)"));
    let mut stream = greeted(&bench);
    stream.write_all(&login("nopass", "mysql_native_password")).unwrap();
    assert_eq!(next_packet(&mut stream).unwrap().1[0], 0);
    stream.write_all(&change_user(0, "alice", 45)).unwrap();
    assert!(String::from_utf8_lossy(&next_packet(&mut stream).unwrap().1).contains("reserved account"));
}

#[test]
fn the_server_sees_the_address_of_the_client() {
    let bench = bench();
    for options in [PLAIN, TLS] {
        let said = bench.sql("alice", options, "select user(), host from information_schema.processlist where id = connection_id()");
        let (user, host) = said.out.split_once('\t').unwrap();
        assert_eq!(user, "alice@127.0.0.1");
        assert!(host.starts_with("127.0.0.1:") && !host.ends_with(":0"), "{host}");
    }
}

#[test]
fn an_address_outside_the_allow_list_is_told_so() {
    let mut bench = bench();
    bench.file.allow = vec!["192.0.2.0/24".parse().unwrap()];
    bench.gateway.put(&bench.files, &bench.file);
    for options in [PLAIN, TLS] {
        let said = bench.sql("alice", options, "select 1");
        assert!(
            said.err.contains("1130") && said.err.contains("Host '127.0.0.1' is not allowed to connect to this MariaDB server"),
            "{}",
            said.err
        );
    }
    assert_eq!(bench.gateway.status_of(&bench.file.cluster).refused, 2);
}

#[test]
fn an_endpoint_that_requires_tls_says_so_to_those_who_come_without() {
    let mut bench = bench();
    bench.file.tls_required = true;
    bench.gateway.put(&bench.files, &bench.file);
    let said = bench.sql("alice", PLAIN, "select 1");
    assert!(said.err.contains("3159") && said.err.contains("requires TLS"), "{}", said.err);
    assert_eq!(bench.sql("alice", TLS, "select 1").out, "1");
}

#[test]
fn without_a_certificate_clients_that_would_like_tls_come_in_plain_and_those_that_insist_do_not() {
    let mut bench = bench();
    bench.file.tls = None;
    bench.gateway.put(&bench.files, &bench.file);
    assert_eq!(bench.sql("alice", PLAIN, "select 1").out, "1");
    let ca = format!("--ssl-ca={}", bench.certificates.authority.display());
    let insists = bench.sql("alice", &["--ssl", "--ssl-verify-server-cert", &ca], "select 1");
    assert!(insists.err.contains("SSL"), "{}", insists.err);
}

#[test]
fn a_full_endpoint_says_so_and_serves_again_when_there_is_room() {
    let mut bench = bench();
    bench.file.most_connections = 1;
    bench.gateway.put(&bench.files, &bench.file);
    let mut holder = bench.client("alice", TLS).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the first is connected", || (bench.gateway.status_of(&bench.file.cluster).connections == 1).then_some(()));
    let said = bench.sql("alice", TLS, "select 1");
    assert!(said.err.contains("1040") && said.err.contains("Too many connections"), "{}", said.err);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    bench.gateway.wait_until_empty(&bench.file.cluster);
    assert_eq!(bench.sql("alice", TLS, "select 1").out, "1");
}

#[test]
fn an_interrupted_statement_is_cancelled() {
    let bench = bench();
    for options in [PLAIN, TLS] {
        let marker = format!("select sleep(600), '{}'", bench.file.listen);
        let mut client = bench.client("alice", options);
        let mut client = client.args(["-e", &marker]).stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let running = format!("select count(*) from information_schema.processlist where info = '{}'", marker.replace('\'', "''"));
        wait_for("the statement runs", || {
            if client.try_wait().unwrap().is_some() {
                let mut words = String::new();
                client.stderr.take().unwrap().read_to_string(&mut words).unwrap();
                panic!("{options:?}: the client ended before it was interrupted: {words}");
            }
            let seen = bench.sql("alice", PLAIN, &running);
            assert_eq!(seen.err, "", "{options:?}");
            (seen.out == "1").then_some(())
        });
        let start = Instant::now();
        let pid = rustix::process::Pid::from_raw(i32::try_from(client.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let said = Said::from(client.wait_with_output().unwrap());
        assert!(said.err.contains("Query execution was interrupted"), "{options:?}: {}", said.err);
        assert!(start.elapsed().as_secs() < 10);
    }
}

#[test]
fn big_results_big_statements_and_local_files_arrive_whole_plain_and_over_tls() {
    let bench = bench();
    let rows: String = (1..=40_000_u32).map(|n| format!("{n}\t{}\n", "abcdefgh".repeat(60))).collect();
    let path = bench.files.root.path().join("rows.tsv");
    fs::write(&path, &rows).unwrap();
    for (options, table) in [(PLAIN, "big_plain"), (TLS, "big_tls")] {
        let load =
            format!("create table {table} (n int primary key, t text); load data local infile '{}' into table {table}", path.display());
        let loaded = bench.sql("alice", options, &load);
        assert!(loaded.success, "{}", loaded.err);
        let down = bench.sql("alice", options, &format!("select * from {table} order by n"));
        assert!(down.out.len() > 19_000_000 && down.out == rows.trim_end(), "{} bytes came back", down.out.len());

        // One statement and one row that each take more than one packet of 16 MiB.
        let mut client = bench.client("alice", options).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let long = "y".repeat(20_000_000);
        let mut input = client.stdin.take().unwrap();
        let writer = std::thread::spawn({
            let statement = format!("select length('{long}'), repeat('z', 18000000);\n");
            move || input.write_all(statement.as_bytes()).unwrap()
        });
        let said = Said::from(client.wait_with_output().unwrap());
        writer.join().unwrap();
        assert!(said.out == format!("20000000\t{}", "z".repeat(18_000_000)), "{options:?} {} bytes {}", said.out.len(), said.err);
    }
}

#[test]
fn without_a_primary_clients_are_told_that_the_database_is_not_available() {
    let mut bench = bench();
    bench.file.primary = None;
    bench.gateway.put(&bench.files, &bench.file);
    let said = bench.sql("alice", TLS, "select 1");
    assert!(said.err.contains("1053") && said.err.contains("The database is not available: its cluster has no primary"), "{}", said.err);
}
