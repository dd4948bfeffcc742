//! MariaDB as installed on this machine, and every version that is named in `MOORAGE_TEST_MARIADB_PREFIXES` (prefixes
//! separated by colons).

#![allow(clippy::print_stdout)]

use moorage_domain::InstanceId;
use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::database::{AccountName, AccountSpec, Privileges};
use moorage_domain::engine::{EngineName, Installation};
use moorage_domain::layout::{Place, ReplicationPassword, ReplicationSpec};
use moorage_engine::Engine;
use moorage_engine::contract::local::Bench;
use moorage_engine::contract::{self, Runner};
use moorage_engine_mariadb::MariaDb;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PASSWORD: &str = "It's-a \\Secret$1";

fn installations() -> Vec<Installation> {
    let named = std::env::var("MOORAGE_TEST_MARIADB_PREFIXES").unwrap_or_default();
    let prefixes = std::iter::once("/").chain(named.split(':').filter(|prefix| !prefix.is_empty()));
    prefixes
        .map(|prefix| {
            let binary = MariaDb.server_binary(Path::new(prefix), "10.11");
            let mut command = Command::new(&binary);
            command.arg("--version").env("LD_LIBRARY_PATH", format!("{prefix}/usr/lib/{}-linux-gnu", std::env::consts::ARCH));
            let output = command.output().unwrap_or_else(|error| panic!("{} is needed: {error}", binary.display()));
            let version = MariaDb.read_version(&String::from_utf8_lossy(&output.stdout)).expect("a version");
            Installation { engine: EngineName::MariaDb, version, prefix: PathBuf::from(prefix), system: prefix == "/" }
        })
        .collect()
}

fn bench(directory: &Path, installation: &Installation) -> Bench {
    Bench::new(directory, installation.clone(), installation.prefix.join("usr/bin"))
}

fn temporary() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("moorage-my-").tempdir_in("/tmp").expect("a temporary directory")
}

/// Runs a statement with the stock client; its output, or its complaint.
fn mariadb(bench: &Bench, socket: &Path, user: &str, password: &str, database: &str, statement: &str) -> Result<String, String> {
    let mut environment = vec![(String::from("MYSQL_PWD"), String::from(password))];
    let libraries = bench.installation().prefix.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    environment.push((String::from("LD_LIBRARY_PATH"), libraries.to_string_lossy().into_owned()));
    let mut command = bench.command(bench.clients.join("mariadb"), &environment);
    command.args(["--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4", "-u", user, "-e", statement]);
    let output = command.arg("-S").arg(socket).arg(database).output().expect("the client runs");
    let text = |bytes: &[u8]| String::from(String::from_utf8_lossy(bytes).trim());
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Logs in as the gateway would: a PROXY header first, then the handshake without a password. Says what the server answers.
fn log_in_behind_a_proxy(socket: &Path, header: &str, user: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("the socket is open to all");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
    stream.write_all(header.as_bytes()).expect("the header is sent");
    let packet = |stream: &mut UnixStream| {
        let mut head = [0_u8; 4];
        stream.read_exact(&mut head).expect("a packet");
        let mut body = vec![0_u8; usize::from(head[0]) | usize::from(head[1]) << 8];
        stream.read_exact(&mut body).expect("its body");
        (head[3], body)
    };
    let (mut number, mut body) = packet(&mut stream);
    assert_eq!(body[0], 10, "a greeting: {}", String::from_utf8_lossy(&body));
    let mut answer = Vec::new();
    answer.extend(0x0008_a200_u32.to_le_bytes());
    answer.extend([0, 0, 0, 1, 45]);
    answer.extend([0; 23]);
    answer.extend(user.as_bytes());
    answer.extend(b"\0\0mysql_native_password\0");
    loop {
        let mut head = u32::try_from(answer.len()).expect("short").to_le_bytes();
        head[3] = number + 1;
        stream.write_all(&[&head[..], &answer].concat()).expect("the answer is sent");
        (number, body) = packet(&mut stream);
        match body[0] {
            0xfe => answer.clear(),
            0 => return String::from("welcome"),
            _ => return String::from_utf8_lossy(&body[3..]).into_owned(),
        }
    }
}

#[tokio::test]
async fn keeps_the_contract_of_two_instances() {
    for installation in installations() {
        let (first, second) = (temporary(), temporary());
        let (mut first, mut second) = (bench(first.path(), &installation), bench(second.path(), &installation));
        contract::replication::all(&MariaDb, &mut first, &mut second).await;
    }
}

/// Asks the server as its administrator.
fn administer(bench: &Bench, socket: &Path, statement: &str) -> String {
    let mut command = Command::new(bench.clients.join("mariadb"));
    command.args(["--no-defaults", "--batch", "--skip-column-names", "-e", statement]).arg("-S").arg(socket);
    let output = command.output().expect("the client runs");
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_standby_killed_between_a_statement_and_the_note_that_it_is_applied_follows_behind_it() {
    for installation in installations() {
        let directory = temporary();
        let mut bench = bench(directory.path(), &installation);
        let mut spec = contract::instance(&MariaDb, installation.clone(), bench.administrator());
        let place = bench.place(&MariaDb.template(&installation, &spec.administrator)).await;
        let peer_place = Place { replication: Ipv4Addr::new(127, 255, 255, 254), ..place.clone() };
        let (peer, password) = (InstanceId::from_bits(7), ReplicationPassword(PASSWORD.into()));
        spec.replication = Some(ReplicationSpec { becomes_primary: false, peer, peer_place: peer_place.clone(), password });
        let layout = MariaDb.layout(&spec, &place);
        bench.start(&layout).await;
        let mut session = contract::connect(&MariaDb, &mut bench, &spec, &layout).await;
        session.follow(&peer_place, &ReplicationPassword(PASSWORD.into())).await.expect("it tries to follow");
        // Logged, and no note of it: as if the server had been killed in between.
        administer(&bench, &layout.socket, "STOP SLAVE; SET SESSION server_id = 99; CREATE DATABASE logged");
        drop(session);
        bench.crash().await;
        bench.start(&layout).await;
        let mut session = contract::connect(&MariaDb, &mut bench, &spec, &layout).await;
        session.follow(&peer_place, &ReplicationPassword(PASSWORD.into())).await.expect("it tries to follow");
        let positions = administer(&bench, &layout.socket, "SELECT @@GLOBAL.gtid_binlog_pos, @@GLOBAL.gtid_slave_pos");
        assert_eq!(positions, "0-99-1\t0-99-1");
        drop(session);
        assert!(bench.stop().await);
    }
}

#[tokio::test]
async fn keeps_the_contract_of_an_engine() {
    for installation in installations() {
        let directory = temporary();
        let mut bench = bench(directory.path(), &installation);
        contract::all(&MariaDb, &mut bench).await;
    }
}

#[tokio::test]
async fn the_owner_gets_a_database_and_nothing_else() {
    for installation in installations() {
        let directory = temporary();
        let mut bench = bench(directory.path(), &installation);
        let spec = contract::instance(&MariaDb, installation.clone(), bench.administrator());
        let place = bench.place(&MariaDb.template(&installation, &spec.administrator)).await;
        let layout = MariaDb.layout(&spec, &place);
        bench.start(&layout).await;
        let mut session = contract::connect(&MariaDb, &mut bench, &spec, &layout).await;
        let odd = r#"o`d'd"_%\;x"#;
        let database = contract::database(&MariaDb, odd, odd);
        let verifier = MariaDb.verifier(PASSWORD, [9; 16]).expect("a verifier");
        let began = Instant::now();
        session.ensure_database_with_owner(&database, &verifier).await.expect("the first database");
        println!("{}: first database with its owner in {:?}", installation.label(), began.elapsed());

        let ask = |user: &str, password: &str, database: &str, statement: &str| {
            mariadb(&bench, &layout.socket, user, password, database, statement)
        };
        let owner = |statement: &str| ask(odd, PASSWORD, odd, statement);
        let table = "CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'x'); SELECT count(*) FROM t";
        assert_eq!(owner(table).as_deref(), Ok("1"));
        assert_eq!(owner("SELECT @@time_zone, @@character_set_database").as_deref(), Ok("Asia/Seoul\tutf8mb3"));
        assert_eq!(owner("SHOW DATABASES").map(|text| text.lines().count()), Ok(2));
        assert_eq!(owner("SELECT CONVERT_TZ('2024-07-01 00:00:00', 'UTC', 'Europe/Paris')").as_deref(), Ok("2024-07-01 02:00:00"));
        assert_eq!(owner("SELECT IFNULL(LOAD_FILE('/etc/passwd'), 'nothing')").as_deref(), Ok("nothing"));

        for (refused, why) in [
            (ask(odd, "wrong", odd, "SELECT 1"), "ERROR 1045"),
            (ask("root", PASSWORD, "mysql", "SELECT 1"), "Access denied"),
            (ask("mysql", "", "mysql", "SELECT 1"), "Access denied"),
            (ask("mariadb.sys", "", "mysql", "SELECT 1"), "locked"),
            (ask("nosuch", "", odd, "SELECT 1"), "Access denied"),
            (ask(odd, PASSWORD, "mysql", "SELECT 1"), "ERROR 1044"),
            (owner("SELECT 1 INTO OUTFILE '/tmp/moorage-never'"), "FILE privilege"),
            (owner("LOAD DATA INFILE '/etc/passwd' INTO TABLE t"), "denied"),
            (owner("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE t"), "ERROR 4166"),
            (owner("CREATE FUNCTION f RETURNS INTEGER SONAME 'libc.so.6'"), "ERROR 1044"),
            (owner("INSTALL SONAME 'auth_ed25519'"), "ERROR 1142"),
            (owner("CREATE USER u"), "ERROR 1227"),
            (owner("CREATE ROLE r"), "ERROR 1227"),
            (owner("CREATE DATABASE other"), "ERROR 1044"),
            (owner("CREATE DATABASE `o``d'd\"xx\\;x`"), "ERROR 1044"),
            (owner("GRANT SELECT ON *.* TO CURRENT_USER"), "ERROR 1045"),
            (owner("SET GLOBAL local_infile = ON"), "ERROR 1227"),
            (owner("SELECT * FROM mysql.global_priv"), "ERROR 1142"),
            (owner("SHUTDOWN"), "ERROR 1227"),
            (owner("CREATE TABLE e (a int) DATA DIRECTORY = '/tmp'"), "ERROR 1"),
        ] {
            let words = match refused {
                Err(words) => words,
                // Not refused, but without effect: a directory of the host is only ever named with symbolic links on.
                Ok(_) if why == "ERROR 1" => String::from("ERROR 1"),
                Ok(done) => panic!("expected {why:?}, but it was done: {done:?}"),
            };
            assert!(words.contains(why), "expected {why:?}, got {words:?}");
        }
        if bench.separates_accounts() {
            let words = ask(&spec.administrator, "", "mysql", "SELECT 1").expect_err("the administrator by name alone");
            assert!(words.contains("Access denied"), "{words}");
        }
        assert!(!Path::new("/tmp/e.ibd").exists() && !Path::new("/tmp/moorage-never").exists());
        drop(session);
        assert!(bench.stop().await);
    }
}

#[tokio::test]
async fn nobody_is_the_administrator_behind_a_proxy_header() {
    for installation in installations() {
        let directory = temporary();
        let mut bench = bench(directory.path(), &installation);
        let spec = contract::instance(&MariaDb, installation.clone(), bench.administrator());
        let place = bench.place(&MariaDb.template(&installation, &spec.administrator)).await;
        let layout = MariaDb.layout(&spec, &place);
        bench.start(&layout).await;
        drop(contract::connect(&MariaDb, &mut bench, &spec, &layout).await);
        // This test runs as the administrator's own account, as the gateway does where nobody is root.
        assert_eq!(log_in_behind_a_proxy(&layout.socket, "", &spec.administrator), "welcome");
        for client in ["TCP4 127.0.0.1", "TCP4 127.64.0.9", "TCP4 10.1.2.3", "TCP4 192.168.1.1", "TCP6 ::1", "TCP6 2001:db8::1"] {
            let words =
                log_in_behind_a_proxy(&layout.socket, &format!("PROXY {client} {} 4711 2866\r\n", &client[5..]), &spec.administrator);
            assert!(words.contains("Access denied for user"), "{client}: {words}");
        }
        assert!(bench.stop().await);
    }
}

#[tokio::test]
async fn databases_come_in_the_character_set_asked_for() {
    for installation in installations() {
        let directory = temporary();
        let mut bench = bench(directory.path(), &installation);
        let mut spec = contract::instance(&MariaDb, installation.clone(), bench.administrator());
        spec.character_set = String::from("EUCKR");
        let place = bench.place(&MariaDb.template(&installation, &spec.administrator)).await;
        let layout = MariaDb.layout(&spec, &place);
        bench.start(&layout).await;
        let mut session = contract::connect(&MariaDb, &mut bench, &spec, &layout).await;
        let verifier = MariaDb.verifier(PASSWORD, [9; 16]).expect("a verifier");
        let facts = MariaDb.facts(&installation.version);
        let sets = facts.iter().find(|fact| fact.name == "character_sets").expect("the fact");
        let mut names = Vec::new();
        for character_set in sets.value.split(", ") {
            let name = format!("in_{character_set}");
            let database = DatabaseSpec {
                name: name.clone(),
                owner: String::from("clerk"),
                character_set: character_set.to_uppercase(),
                locale: None,
            };
            for _ in 0..2 {
                session.ensure_database_with_owner(&database, &verifier).await.expect("a database");
            }
            names.push(name);
        }
        names.sort();
        assert_eq!(session.observe().await.expect("facts").databases, names);
        let question = "SELECT @@character_set_server, @@character_set_database";
        assert_eq!(mariadb(&bench, &layout.socket, "clerk", PASSWORD, "in_utf8mb4", question).as_deref(), Ok("euckr\tutf8mb4"));
        let other = DatabaseSpec {
            name: String::from("in_latin1"),
            owner: String::from("clerk"),
            character_set: String::from("utf8mb4"),
            locale: None,
        };
        let refused = session.ensure_database_with_owner(&other, &verifier).await.expect_err("another character set");
        assert!(refused.problem.message.contains("exists already"));
        assert!(bench.stop().await);
    }
}

#[tokio::test]
async fn a_clean_start_is_quiet_and_its_settings_are_the_ones_written() {
    for installation in installations() {
        let directory = temporary();
        let mut bench = bench(directory.path(), &installation);
        let spec = contract::instance(&MariaDb, installation.clone(), bench.administrator());
        let place = bench.place(&MariaDb.template(&installation, &spec.administrator)).await;
        let layout = MariaDb.layout(&spec, &place);
        bench.start(&layout).await;
        drop(contract::connect(&MariaDb, &mut bench, &spec, &layout).await);
        assert!(bench.stop().await);
        let log = bench.log().await;
        assert!(!["[ERROR]", "[Warning]"].iter().any(|mark| log.contains(mark)), "{log}");
        assert!(log.contains("Shutdown complete"), "{log}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let installation = installations().remove(0);
    let directory = temporary();
    let mut bench = bench(directory.path(), &installation);
    let mut spec = contract::instance(&MariaDb, installation.clone(), bench.administrator());
    let place = bench.place(&MariaDb.template(&installation, &spec.administrator)).await;
    spec.timezone = String::from("Mars/Olympus");
    let layout = MariaDb.layout(&spec, &place);
    bench.start(&layout).await;
    while !bench.ended() {
        bench.pause(Duration::from_millis(5)).await;
    }
    let words = MariaDb.last_words(&bench.log().await);
    assert!(words.contains("Mars/Olympus"), "{words}");
}

#[tokio::test]
async fn credentials_share_a_database_as_far_as_they_may_and_see_nothing_of_their_neighbours() {
    for installation in installations() {
        let directory = temporary();
        let mut bench = bench(directory.path(), &installation);
        let spec = contract::instance(&MariaDb, installation.clone(), bench.administrator());
        let place = bench.place(&MariaDb.template(&installation, &spec.administrator)).await;
        let layout = MariaDb.layout(&spec, &place);
        bench.start(&layout).await;
        let mut session = contract::connect(&MariaDb, &mut bench, &spec, &layout).await;
        let verifier = |password: &str| MariaDb.verifier(password, [9; 16]).expect("a verifier");
        session.ensure_database_with_owner(&contract::database(&MariaDb, "first", "boss"), &verifier(PASSWORD)).await.expect("made");
        let ask = |user: &str, database: &str, statement: &str| mariadb(&bench, &layout.socket, user, PASSWORD, database, statement);
        for (database, owner) in [("first", "boss"), ("second_x", "chief")] {
            let began = Instant::now();
            session.ensure_database(&contract::database(&MariaDb, database, owner)).await.expect("made");
            let account = |name: String, privileges| AccountSpec { name, database: database.into(), privileges };
            let accounts = [
                account(owner.into(), Privileges::Owner),
                account(format!("{owner}2"), Privileges::Owner),
                account(format!("{owner}_w"), Privileges::ReadWrite),
                account(format!("{owner}_r"), Privileges::ReadOnly),
            ];
            for account in &accounts {
                session.ensure_account(account, &verifier(PASSWORD)).await.expect("made");
            }
            println!("{}: database {database} with four credentials in {:?}", installation.label(), began.elapsed());
            let [_, other, writer, reader] = accounts.each_ref().map(|account| account.name.as_str());
            ask(owner, database, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)").expect("the owner's table");
            ask(other, database, "ALTER TABLE t ADD b int; INSERT INTO t (a) VALUES (2)").expect("another owner's as well");
            ask(writer, database, "INSERT INTO t (a) VALUES (3); UPDATE t SET a = 4 WHERE a = 3").expect("writes");
            assert_eq!(ask(reader, database, "SELECT count(*) FROM t").as_deref(), Ok("3"));
            for (refused, why) in [
                (ask(reader, database, "INSERT INTO t (a) VALUES (9)"), "INSERT command denied"),
                (ask(reader, database, "CREATE TABLE x (a int)"), "CREATE command denied"),
                (ask(writer, database, "DROP TABLE t"), "DROP command denied"),
                (ask(owner, database, "CREATE DATABASE x"), "Access denied"),
                (ask(owner, database, "CREATE USER x"), "Access denied"),
                (ask(owner, database, &format!("GRANT SELECT ON {database}.* TO {reader}")), "Access denied"),
                (ask(owner, "mysql", "SELECT 1"), "Access denied"),
            ] {
                let words = refused.expect_err(why);
                assert!(words.contains(why), "expected {why:?}, got {words:?}");
            }
            let mut seen: Vec<_> = ask(reader, database, "SHOW DATABASES").expect("a list").lines().map(str::to_owned).collect();
            seen.retain(|name| name != "information_schema");
            assert_eq!(seen, [database]);
        }
        // An underscore in a name stands for itself.
        administer(&bench, &layout.socket, "CREATE DATABASE secondyx");
        for (user, database) in [("boss", "second_x"), ("chief", "first"), ("chief_r", "secondyx")] {
            assert!(ask(user, database, "SELECT 1").expect_err("a neighbour").contains("Access denied"), "{user}");
        }
        administer(&bench, &layout.socket, "DROP DATABASE secondyx");

        // Another password ends what the former one opened.
        let mut open = bench.command(bench.clients.join("mariadb"), &[("MYSQL_PWD".into(), PASSWORD.into())]);
        open.args(["--no-defaults", "-u", "boss_w", "-e", "SELECT SLEEP(30)", "first", "-S"]).arg(&layout.socket);
        let mut open = open.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the client starts");
        let began = Instant::now();
        while administer(&bench, &layout.socket, "SELECT count(*) FROM information_schema.PROCESSLIST WHERE USER = 'boss_w'") != "1" {
            assert!(began.elapsed().as_secs() < 20, "it never connected");
        }
        session.replace_password("boss_w", &verifier("An0ther!")).await.expect("another password");
        assert!(!open.wait().expect("its end").success() && began.elapsed().as_secs() < 25);
        assert!(ask("boss_w", "first", "SELECT 1").expect_err("the former password").contains("Access denied"));
        assert_eq!(mariadb(&bench, &layout.socket, "boss_w", "An0ther!", "first", "SELECT 1").as_deref(), Ok("1"));

        for name in ["chief", "chief2", "chief_w", "chief_r"] {
            let account = AccountSpec { name: name.into(), database: "second_x".into(), privileges: Privileges::Owner };
            session.ensure_account_absent(&account).await.expect("gone");
        }
        session.ensure_database_absent("second_x").await.expect("gone");
        // A name that something still runs as is nobody's any more.
        ask("boss2", "first", "CREATE PROCEDURE p(q TEXT) SQL SECURITY DEFINER EXECUTE IMMEDIATE q").expect("a procedure");
        let stale = AccountSpec { name: "boss2".into(), database: "first".into(), privileges: Privileges::Owner };
        session.ensure_account_absent(&stale).await.expect("gone");
        let name = session.account_name("boss2").await.expect("asked");
        assert_eq!(name, AccountName::Definer, "the procedure would run as whoever gets that name");
        let left = administer(&bench, &layout.socket, "SELECT GROUP_CONCAT(User ORDER BY User) FROM mysql.global_priv WHERE Host = '%'");
        assert_eq!(left, "boss,boss_r,boss_w");
        drop(session);
        assert!(bench.stop().await);
    }
}
