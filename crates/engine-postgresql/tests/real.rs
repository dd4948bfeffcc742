//! PostgreSQL as installed on this machine, and every version that is named in `MOORAGE_TEST_POSTGRESQL_PREFIXES`
//! (prefixes separated by colons).

#![allow(clippy::print_stdout)]

use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::database::{AccountSpec, Privileges};
use moorage_domain::engine::{EngineName, Installation};
use moorage_engine::Engine;
use moorage_engine::contract::local::Bench;
use moorage_engine::contract::{self, Runner};
use moorage_engine_postgresql::PostgreSql;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const PASSWORD: &str = "It's-a \\Secret$1";

fn installations() -> Vec<Installation> {
    let named = std::env::var("MOORAGE_TEST_POSTGRESQL_PREFIXES").unwrap_or_default();
    let prefixes = std::iter::once("/").chain(named.split(':').filter(|prefix| !prefix.is_empty()));
    prefixes
        .map(|prefix| {
            let binary = PostgreSql.server_binary(Path::new(prefix), "15");
            let mut command = Command::new(&binary);
            command.arg("--version").env("LD_LIBRARY_PATH", format!("{prefix}/usr/lib/{}-linux-gnu", std::env::consts::ARCH));
            let output = command.output().unwrap_or_else(|error| panic!("{} is needed: {error}", binary.display()));
            let version = PostgreSql.read_version(&String::from_utf8_lossy(&output.stdout)).expect("a version");
            Installation { engine: EngineName::PostgreSql, version, prefix: PathBuf::from(prefix), system: prefix == "/" }
        })
        .collect()
}

fn bench(directory: &Path, installation: &Installation) -> Bench {
    let binary = PostgreSql.server_binary(&installation.prefix, "15");
    Bench::new(directory, installation.clone(), binary.parent().expect("a directory").to_path_buf())
}

fn temporary() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("moorage-pg-").tempdir_in("/tmp").expect("a temporary directory")
}

/// Runs a statement with the stock client; its output, or its complaint.
fn psql(bench: &Bench, socket: &Path, user: &str, password: &str, database: &str, statement: &str) -> Result<String, String> {
    let mut environment = vec![(String::from("PGPASSWORD"), String::from(password)), (String::from("PATH"), String::from("/usr/bin:/bin"))];
    let libraries = bench.installation().prefix.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    environment.push((String::from("LD_LIBRARY_PATH"), libraries.to_string_lossy().into_owned()));
    let mut command = bench.command(bench.clients.join("psql"), &environment);
    command.args(["--no-psqlrc", "-w", "-qAtX", "-v", "ON_ERROR_STOP=1", "-p", "5432", "-U", user, "-d", database, "-c", statement]);
    let output = command.arg("-h").arg(socket.parent().expect("a directory")).output().expect("psql runs");
    let text = |bytes: &[u8]| String::from(String::from_utf8_lossy(bytes).trim());
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test]
async fn keeps_the_contract_of_two_instances() {
    for installation in installations() {
        let (first, second) = (temporary(), temporary());
        let (mut first, mut second) = (bench(first.path(), &installation), bench(second.path(), &installation));
        contract::replication::all(&PostgreSql, &mut first, &mut second).await;
    }
}

#[tokio::test]
async fn keeps_the_contract_of_an_engine() {
    for installation in installations() {
        let directory = temporary();
        let mut bench = bench(directory.path(), &installation);
        contract::all(&PostgreSql, &mut bench).await;
    }
}

#[tokio::test]
async fn the_owner_gets_a_database_and_nothing_else() {
    for installation in installations() {
        let directory = temporary();
        let mut bench = bench(directory.path(), &installation);
        let spec = contract::instance(&PostgreSql, installation.clone(), bench.administrator());
        let place = bench.place(&PostgreSql.template(&installation, &spec.administrator)).await;
        let layout = PostgreSql.layout(&spec, &place);
        bench.start(&layout).await;
        let mut session = contract::connect(&PostgreSql, &mut bench, &spec, &layout).await;
        let odd = r#"o"d'd; \ %_ "#;
        let database = contract::database(&PostgreSql, odd, odd);
        let verifier = PostgreSql.verifier(PASSWORD, [9; 16]).expect("a verifier");
        let began = Instant::now();
        session.ensure_database_with_owner(&database, &verifier).await.expect("the first database");
        println!("{}: first database with its owner in {:?}", installation.label(), began.elapsed());

        let ask =
            |user: &str, password: &str, database: &str, statement: &str| psql(&bench, &layout.socket, user, password, database, statement);
        let owner = |statement: &str| ask(odd, PASSWORD, odd, statement);
        assert_eq!(owner("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1); SELECT count(*) FROM t").as_deref(), Ok("1"));
        assert_eq!(owner("SHOW timezone").as_deref(), Ok("Asia/Seoul"));
        assert_eq!(owner("SHOW server_encoding").as_deref(), Ok("UTF8"));
        assert_eq!(owner("SHOW data_checksums").as_deref(), Ok("on"));
        assert_eq!(owner("SHOW listen_addresses").as_deref(), Ok(""));

        for (refused, why) in [
            (ask(odd, "wrong", odd, "SELECT 1"), "password authentication failed"),
            (ask("postgres", PASSWORD, "postgres", "SELECT 1"), "password authentication failed"),
            (ask(odd, PASSWORD, "postgres", "SELECT 1"), "permission denied for database"),
            (ask(odd, PASSWORD, "template1", "SELECT 1"), "permission denied for database"),
            (owner("COPY t FROM PROGRAM 'id'"), "pg_execute_server_program"),
            (owner("COPY t TO '/tmp/moorage-never'"), "pg_write_server_files"),
            (owner("SELECT pg_read_file('/etc/passwd')"), "permission denied for function"),
            (owner("SELECT pg_ls_dir('/')"), "permission denied for function"),
            (owner("SELECT lo_import('/etc/passwd')"), "permission denied for function"),
            (owner("CREATE ROLE r"), "permission denied to create role"),
            (owner("CREATE DATABASE d"), "permission denied to create database"),
            (owner("GRANT pg_execute_server_program TO CURRENT_USER"), "must have admin option"),
            (owner("ALTER ROLE CURRENT_USER SUPERUSER"), "must be superuser"),
            (owner("SET ROLE moorage_admin"), "permission denied to set role"),
            (owner("ALTER SYSTEM SET fsync = off"), "permission denied to set parameter"),
            (owner("CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc.so.6', 'system'"), "permission denied for language c"),
            (owner("LOAD '/lib/x86_64-linux-gnu/libc.so.6'"), "access to library"),
            (owner("CREATE EXTENSION file_fdw"), "permission denied to create extension"),
            (owner("SELECT rolpassword FROM pg_authid"), "permission denied for table pg_authid"),
        ] {
            let words = refused.expect_err(why);
            assert!(words.contains(why), "expected {why:?}, got {words:?}");
        }
        if bench.separates_accounts() {
            let words = ask("moorage_admin", PASSWORD, "postgres", "SELECT 1").expect_err("the administrator by name alone");
            assert!(words.contains("eer authentication failed"), "{words}");
        }
        drop(session);
        assert!(bench.stop().await);
    }
}

#[tokio::test]
async fn databases_come_in_the_encoding_and_locale_asked_for() {
    for installation in installations() {
        let directory = temporary();
        let mut bench = bench(directory.path(), &installation);
        let spec = contract::instance(&PostgreSql, installation.clone(), bench.administrator());
        let place = bench.place(&PostgreSql.template(&installation, &spec.administrator)).await;
        let layout = PostgreSql.layout(&spec, &place);
        bench.start(&layout).await;
        let mut session = contract::connect(&PostgreSql, &mut bench, &spec, &layout).await;
        let verifier = PostgreSql.verifier(PASSWORD, [9; 16]).expect("a verifier");
        let database = |name: &str, encoding: &str, locale: &str| DatabaseSpec {
            name: String::from(name),
            owner: String::from("clerk"),
            character_set: String::from(encoding),
            locale: Some(String::from(locale)),
        };
        for (name, encoding, locale, shown) in [
            ("korean", "euc-kr", "C", "EUC_KR|C"),
            ("western", "Latin1", "posix", "LATIN1|C"),
            ("unicode", "UTF-8", "C.utf8", "UTF8|C.UTF-8"),
        ] {
            let began = Instant::now();
            for _ in 0..2 {
                session.ensure_database_with_owner(&database(name, encoding, locale), &verifier).await.expect("a database");
            }
            println!("{}: database {name} twice in {:?}", installation.label(), began.elapsed());
            let query = "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = current_database()";
            assert_eq!(psql(&bench, &layout.socket, "clerk", PASSWORD, name, query).as_deref(), Ok(shown));
        }
        let other = session.ensure_database_with_owner(&database("korean", "UTF8", "C"), &verifier).await;
        assert!(other.expect_err("another encoding").problem.message.contains("exists already"));
        assert_eq!(session.observe().await.expect("facts").databases, ["korean", "unicode", "western"]);
        assert!(bench.stop().await);
    }
}

#[tokio::test]
async fn every_copy_is_a_system_of_its_own_with_checksums_and_a_quiet_log() {
    for installation in installations() {
        let (first, second) = (temporary(), temporary());
        let mut identifiers = Vec::new();
        for directory in [&first, &second] {
            let mut bench = bench(directory.path(), &installation);
            let spec = contract::instance(&PostgreSql, installation.clone(), bench.administrator());
            let place = bench.place(&PostgreSql.template(&installation, &spec.administrator)).await;
            let layout = PostgreSql.layout(&spec, &place);
            let control =
                bench.command(bench.clients.join("pg_controldata"), &layout.environment).arg(&place.volume).output().expect("it runs");
            let control = String::from_utf8_lossy(&control.stdout).into_owned();
            let line = |name: &str| String::from(control.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim());
            identifiers.push(line("Database system identifier:"));
            assert_eq!(line("Data page checksum version:"), "1");
            assert_eq!(line("Database cluster state:"), "shut down");
            bench.start(&layout).await;
            drop(contract::connect(&PostgreSql, &mut bench, &spec, &layout).await);
            assert!(bench.stop().await);
            let log = bench.log().await;
            assert!(!["WARNING", "ERROR", "PANIC", "recovery"].iter().any(|word| log.contains(word)), "{log}");
        }
        assert_ne!(identifiers[0], identifiers[1]);
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let installation = installations().remove(0);
    let directory = temporary();
    let mut bench = bench(directory.path(), &installation);
    let mut spec = contract::instance(&PostgreSql, installation.clone(), bench.administrator());
    let place = bench.place(&PostgreSql.template(&installation, &spec.administrator)).await;
    spec.timezone = String::from("Mars/Olympus");
    let layout = PostgreSql.layout(&spec, &place);
    bench.start(&layout).await;
    while !bench.ended() {
        bench.pause(std::time::Duration::from_millis(5)).await;
    }
    let words = PostgreSql.last_words(&bench.log().await);
    assert!(words.contains("Mars/Olympus"), "{words}");
}

#[tokio::test]
async fn credentials_share_a_database_as_far_as_they_may_and_see_nothing_of_their_neighbours() {
    for installation in installations() {
        let directory = temporary();
        let mut bench = bench(directory.path(), &installation);
        let spec = contract::instance(&PostgreSql, installation.clone(), bench.administrator());
        let place = bench.place(&PostgreSql.template(&installation, &spec.administrator)).await;
        let layout = PostgreSql.layout(&spec, &place);
        bench.start(&layout).await;
        let mut session = contract::connect(&PostgreSql, &mut bench, &spec, &layout).await;
        let verifier = |password: &str| PostgreSql.verifier(password, [9; 16]).expect("a verifier");
        session.ensure_database_with_owner(&contract::database(&PostgreSql, "first", "boss"), &verifier(PASSWORD)).await.expect("made");
        let ask = |user: &str, database: &str, statement: &str| psql(&bench, &layout.socket, user, PASSWORD, database, statement);
        ask("boss", "first", "CREATE SCHEMA deep; CREATE TABLE deep.old (a int); INSERT INTO deep.old VALUES (1)").expect("a table");

        // The first database, whose owner is an account, and one made beside it, which gets groups at once.
        for (database, owner) in [("first", "boss"), ("second", "chief")] {
            let began = Instant::now();
            session.ensure_database(&contract::database(&PostgreSql, database, owner)).await.expect("made");
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

            ask(owner, database, "CREATE TABLE t (id serial PRIMARY KEY, a int); INSERT INTO t (a) VALUES (1)").expect("the owner's table");
            ask(other, database, "ALTER TABLE t ADD b int; INSERT INTO t (a) VALUES (2); CREATE SCHEMA s; CREATE TABLE s.u (a int)")
                .expect("another owner's as well");
            ask(owner, database, "ALTER TABLE s.u ADD b int; DROP TABLE s.u; CREATE TABLE s.u (a int)").expect("and the other way round");
            ask(writer, database, "INSERT INTO t (a) VALUES (3); UPDATE t SET a = 4 WHERE a = 3; INSERT INTO s.u VALUES (1)")
                .expect("writes");
            assert_eq!(ask(reader, database, "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM s.u)").as_deref(), Ok("4"));
            for (refused, why) in [
                (ask(reader, database, "INSERT INTO t (a) VALUES (9)"), "permission denied for table t"),
                (ask(reader, database, "DELETE FROM s.u"), "permission denied for table u"),
                (ask(reader, database, "CREATE TABLE x (a int)"), "permission denied for schema public"),
                (ask(writer, database, "DROP TABLE t"), "must be owner of table t"),
                (ask(writer, database, "CREATE TABLE x (a int)"), "permission denied for schema public"),
                (ask(owner, database, "CREATE ROLE x"), "permission denied to create role"),
                (
                    ask(owner, database, &format!("DO $$ BEGIN EXECUTE format('GRANT %I TO {reader}', current_user); END $$")),
                    "must have admin option",
                ),
                (ask(owner, database, "SET ROLE moorage_admin"), "permission denied to set role"),
                (ask(owner, "postgres", "SELECT 1"), "permission denied for database"),
            ] {
                let words = refused.expect_err(why);
                assert!(words.contains(why), "expected {why:?}, got {words:?}");
            }
        }
        assert_eq!(ask("boss_r", "first", "SELECT count(*) FROM deep.old").as_deref(), Ok("1"), "what was there before");
        for (user, database) in [("boss", "second"), ("chief", "first"), ("chief_r", "first"), ("boss2", "second")] {
            assert!(ask(user, database, "SELECT 1").expect_err("a neighbour").contains("permission denied for database"), "{user}");
        }

        // Settings of a database are its owner's; whoever administers it is not stopped by them.
        ask("chief", "second", "ALTER DATABASE second SET statement_timeout = '1ms'; ALTER DATABASE second SET role = 'chief_r'")
            .expect("set");
        ask("chief", "second", "ALTER DATABASE second SET default_transaction_read_only = on").expect("set");
        let gone = AccountSpec { name: "chief".into(), database: "second".into(), privileges: Privileges::Owner };
        session.ensure_account_absent(&gone).await.expect("its owner goes");
        ask("chief2", "second", "SET TRANSACTION READ WRITE; SET statement_timeout = 0; ALTER DATABASE second RESET ALL")
            .expect("reset by the other owner");
        assert_eq!(ask("chief2", "second", "SELECT count(*) FROM t").as_deref(), Ok("3"), "what it made stays");
        ask("chief2", "second", "DROP TABLE t").expect("and is the other owner's");
        assert!(ask("chief", "second", "SELECT 1").expect_err("gone").contains("password authentication failed"));

        // Another password ends what the former one opened.
        let mut open =
            bench.command(bench.clients.join("psql"), &[("PGPASSWORD".into(), PASSWORD.into()), ("PATH".into(), "/usr/bin:/bin".into())]);
        open.args(["--no-psqlrc", "-w", "-p", "5432", "-U", "boss_w", "-d", "first", "-h"])
            .arg(layout.socket.parent().expect("a directory"));
        let mut open = open.args(["-c", "SELECT pg_sleep(30)"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql starts");
        let began = Instant::now();
        while ask("boss_r", "first", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'boss_w'").as_deref() != Ok("1") {
            assert!(began.elapsed().as_secs() < 20, "it never connected");
        }
        session.replace_password("boss_w", &verifier("An0ther!")).await.expect("another password");
        assert!(!open.wait().expect("its end").success() && began.elapsed().as_secs() < 25);
        assert!(ask("boss_w", "first", "SELECT 1").expect_err("the former password").contains("password authentication failed"));
        assert_eq!(psql(&bench, &layout.socket, "boss_w", "An0ther!", "first", "SELECT 1").as_deref(), Ok("1"));

        // Whoever an owner let in besides is out when nobody is to get in any more.
        ask("boss", "first", "GRANT CONNECT ON DATABASE first TO chief_r WITH GRANT OPTION").expect("its owner may");
        ask("chief_r", "first", "GRANT CONNECT ON DATABASE first TO chief_w").expect("and so may who was let");
        ask("boss", "first", "GRANT CONNECT ON DATABASE first TO boss_r WITH GRANT OPTION").expect("its owner may");
        ask("boss_r", "first", "GRANT CONNECT ON DATABASE first TO chief2").expect("and so may who was let");
        ask("boss", "first", "GRANT CONNECT ON DATABASE first TO PUBLIC").expect("its owner may");
        for guest in ["chief_r", "chief_w", "chief2"] {
            assert_eq!(ask(guest, "first", "SELECT 1").as_deref(), Ok("1"), "{guest}");
        }
        let mut guest =
            bench.command(bench.clients.join("psql"), &[("PGPASSWORD".into(), PASSWORD.into()), ("PATH".into(), "/usr/bin:/bin".into())]);
        guest
            .args(["--no-psqlrc", "-w", "-p", "5432", "-U", "chief2", "-d", "first", "-c", "SELECT pg_sleep(60)", "-h"])
            .arg(layout.socket.parent().expect("a directory"));
        let mut guest = guest.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql starts");
        let began = Instant::now();
        while ask("boss_r", "first", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'chief2'").as_deref() != Ok("1") {
            assert!(began.elapsed().as_secs() < 20, "it never connected");
        }
        let own = ["boss", "boss2", "boss_w", "boss_r"].map(String::from);
        for _ in 0..2 {
            session.shut_out_others("first", &own).await.expect("may be repeated");
            session.shut_out_others("no_such_database", &own).await.expect("an owner may have dropped it");
        }
        for guest in ["chief_r", "chief_w", "chief2"] {
            assert!(ask(guest, "first", "SELECT 1").expect_err("out").contains("permission denied for database"), "{guest}");
        }
        assert!(!guest.wait().expect("its end").success() && began.elapsed().as_secs() < 50, "its session ended");
        assert_eq!(ask("boss_r", "first", "SELECT 1").as_deref(), Ok("1"), "its own stay");

        // What an owner gives to others, or sets for its database, keeps nobody from going.
        ask("boss", "first", "GRANT SELECT ON t TO chief_r").expect("given to a neighbour");
        ask("chief2", "second", "ALTER DATABASE second IS_TEMPLATE true").expect("set");
        for name in ["chief2", "chief_w", "chief_r"] {
            let account = AccountSpec { name: name.into(), database: "second".into(), privileges: Privileges::Owner };
            session.ensure_account_absent(&account).await.expect("gone");
        }
        session.ensure_database_absent("second").await.expect("gone");
        let left = ask("boss", "first", "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^(pg_|boss)'");
        assert_eq!(
            left.map(|left| left.replace(|c: char| c.is_ascii_digit(), "")).as_deref(),
            Ok("moorage_admin moorage_owners_ moorage_readers_ moorage_writers_"),
            "of the first database only"
        );
        drop(session);
        assert!(bench.stop().await);
    }
}
