//! PostgreSQL as installed on this machine, and every version that is named in `MOORAGE_TEST_POSTGRESQL_PREFIXES`
//! (prefixes separated by colons).

#![allow(clippy::print_stdout)]

use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::engine::{EngineName, Installation};
use moorage_engine::Engine;
use moorage_engine::contract::local::Bench;
use moorage_engine::contract::{self, Runner};
use moorage_engine_postgresql::PostgreSql;
use std::path::{Path, PathBuf};
use std::process::Command;
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
