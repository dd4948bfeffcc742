//! PostgreSQL 15 and its stock clients through a gateway.
#![allow(clippy::unwrap_used)]

mod kit;

use kit::engines::{PASSWORD, Said, postgresql, said};
use kit::{Certificates, Files, Gateway, endpoint_file, fresh_address, wait_for};
use moorage_domain::endpoint_file::EndpointFile;
use moorage_domain::engine::EngineName;
use std::io::Write;
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
    let address = fresh_address(5432);
    let certificates = files.certificates(address);
    let mut file = endpoint_file(EngineName::PostgreSql, address, &postgresql().socket);
    file.tls = Some(certificates.files.clone());
    let gateway = Gateway::start(&files);
    gateway.put(&files, &file);
    Bench { gateway, file, certificates, files }
}

impl Bench {
    fn client(&self, program: &str, user: &str, options: &str) -> Command {
        let mut command = Command::new(program);
        let (host, port) = (self.file.listen.ip(), self.file.listen.port());
        command.env("PGPASSWORD", PASSWORD).env("PGROOTCERT", "").env_remove("PGSSLMODE");
        let address = format!("host={host} port={port} user={user} dbname=shop connect_timeout=20 {options}");
        if program == "pgbench" {
            command.env("PGHOST", host.to_string()).env("PGPORT", port.to_string()).env("PGUSER", user).env("PGDATABASE", "shop");
        } else {
            command.args(["-X", "-Atq", "-v", "ON_ERROR_STOP=1", "-d", &address]);
        }
        command
    }

    fn psql(&self, user: &str, options: &str, sql: &str) -> Said {
        said(self.client("psql", user, options).args(["-c", sql]))
    }
}

#[test]
fn a_user_gets_in_plain_and_over_tls_and_with_the_certificate_verified() {
    let bench = bench();
    let ca = bench.certificates.authority.display().to_string();
    for options in
        ["sslmode=disable", "sslmode=prefer", "sslmode=require", &format!("sslmode=verify-full sslrootcert={ca}"), "gssencmode=prefer"]
    {
        let said = bench.psql("alice", options, "select current_user || '@' || current_database()");
        assert_eq!((said.out.as_str(), said.err.as_str()), ("alice@shop", ""), "{options}");
    }
    let channel_binding = bench.psql("alice", "sslmode=require channel_binding=require", "select 1");
    assert!(!channel_binding.success && channel_binding.err.contains("channel binding"), "{}", channel_binding.err);
    let wrong = said(bench.client("psql", "alice", "").env("PGPASSWORD", "wrong").args(["-c", "select 1"]));
    assert!(wrong.err.contains("password authentication failed for user \"alice\""), "{}", wrong.err);
}

#[test]
fn nobody_gets_in_as_an_administrator_even_with_the_right_password() {
    let bench = bench();
    for user in ["root", "postgres", "moorage_admin", "mysql", "pg_monitor"] {
        for options in ["sslmode=disable", "sslmode=require"] {
            let said = bench.psql(user, options, "select 1");
            assert!(!said.success, "{user} {options}");
            assert!(said.err.contains(&format!("password authentication failed for user \"{user}\"")), "{}", said.err);
        }
    }
    let replication = bench.psql("alice", "replication=database", "select 1");
    assert!(replication.err.contains("replication connections are not accepted"), "{}", replication.err);
}

#[test]
fn an_address_outside_the_allow_list_is_told_so_plain_and_over_tls() {
    let mut bench = bench();
    bench.file.allow = vec!["192.0.2.0/24".parse().unwrap()];
    bench.file.generation = 2;
    bench.gateway.put(&bench.files, &bench.file);
    for options in ["sslmode=disable", "sslmode=prefer", "sslmode=require"] {
        let said = bench.psql("alice", options, "select 1");
        assert!(said.err.contains("no entry in the allow-list for host \"127.0.0.1\""), "{options}: {}", said.err);
    }
    assert!(bench.gateway.status_of(&bench.file.cluster).refused >= 3);
    assert_eq!(bench.gateway.status_of(&bench.file.cluster).connections, 0);
}

#[test]
fn an_endpoint_that_requires_tls_says_so_to_those_who_come_without() {
    let mut bench = bench();
    bench.file.tls_required = true;
    bench.gateway.put(&bench.files, &bench.file);
    let said = bench.psql("alice", "sslmode=disable", "select 1");
    assert!(said.err.contains("this database requires TLS") && said.err.contains("sslmode=require"), "{}", said.err);
    assert_eq!(bench.psql("alice", "sslmode=require", "select 1").out, "1");
}

#[test]
fn a_full_endpoint_says_so_and_serves_again_when_there_is_room() {
    let mut bench = bench();
    bench.file.most_connections = 1;
    bench.gateway.put(&bench.files, &bench.file);
    let mut holder = bench.client("psql", "alice", "").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the first is connected", || (bench.gateway.status_of(&bench.file.cluster).connections == 1).then_some(()));
    for options in ["sslmode=disable", "sslmode=require"] {
        let said = bench.psql("alice", options, "select 1");
        assert!(said.err.contains("too many clients already"), "{}", said.err);
    }
    drop(holder.stdin.take());
    holder.wait().unwrap();
    bench.gateway.wait_until_empty(&bench.file.cluster);
    assert_eq!(bench.psql("alice", "", "select 1").out, "1");
}

#[test]
fn an_interrupted_statement_is_cancelled_also_when_the_endpoint_is_full() {
    let mut bench = bench();
    bench.file.most_connections = 1;
    bench.gateway.put(&bench.files, &bench.file);
    for options in ["sslmode=disable", "sslmode=require"] {
        let marker = format!("select pg_sleep(60) /* {options} of {} */", bench.file.listen);
        let mut client = bench.client("psql", "alice", options);
        let client = client.args(["-c", &marker]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        wait_until_running(&marker);
        let start = Instant::now();
        interrupt(client.id());
        let said = Said::from(client.wait_with_output().unwrap());
        assert!(said.err.contains("canceling statement due to user request"), "{options}: {}", said.err);
        assert!(start.elapsed().as_secs() < 10);
        bench.gateway.wait_until_empty(&bench.file.cluster);
    }
}

#[test]
fn big_results_and_big_loads_arrive_whole_plain_and_over_tls() {
    let bench = bench();
    bench.psql("alice", "", "create table big (n int, t text)");
    for options in ["sslmode=disable", "sslmode=require"] {
        let sql = "copy (select n, md5(n::text) || repeat('x', 400) from generate_series(1, 60000) n) to stdout";
        let down = bench.client("psql", "alice", options).args(["-c", sql]).output().unwrap();
        assert_eq!(down.stdout.len(), 60_000 * (1 + 32 + 400 + 1) + (1..=60_000_u32).map(|n| n.to_string().len()).sum::<usize>());
        let mut up = bench.client("psql", "alice", options);
        let mut up = up.args(["-c", "truncate big", "-c", "copy big from stdin"]).stdin(Stdio::piped()).spawn().unwrap();
        up.stdin.take().unwrap().write_all(&down.stdout).unwrap();
        assert!(up.wait().unwrap().success());
        let check = "select count(*), bool_and(t = md5(n::text) || repeat('x', 400)) from big";
        assert_eq!(bench.psql("alice", options, check).out, "60000|t", "{options}");
    }
}

#[test]
fn prepared_statements_work_with_several_clients_at_once() {
    let bench = bench();
    let init = said(bench.client("pgbench", "alice", "").args(["-i", "-q", "-s", "1"]));
    assert!(init.success, "{}", init.err);
    for mode in ["disable", "require"] {
        let mut run = bench.client("pgbench", "alice", "");
        let run = said(run.env("PGSSLMODE", mode).args(["-M", "prepared", "-n", "-c", "4", "-t", "100"]));
        assert!(run.out.contains("number of failed transactions: 0"), "{} {}", run.out, run.err);
        assert!(run.out.contains("400/400"), "{}", run.out);
    }
}

#[test]
fn without_a_primary_clients_are_told_that_the_database_is_not_available() {
    let mut bench = bench();
    let primary = bench.file.primary.take();
    bench.gateway.put(&bench.files, &bench.file);
    let said = bench.psql("alice", "sslmode=require", "select 1");
    assert!(said.err.contains("the database is not available: its cluster has no primary"), "{}", said.err);
    bench.file.primary = Some(moorage_domain::endpoint_file::EngineLeg::Unix("/nowhere/socket".into()));
    bench.gateway.put(&bench.files, &bench.file);
    let said = bench.psql("alice", "", "select 1");
    assert!(said.err.contains("the database is not available: its server does not accept"), "{}", said.err);
    bench.file.primary = primary;
    bench.gateway.put(&bench.files, &bench.file);
    assert_eq!(bench.psql("alice", "", "select 1").out, "1");
}

#[test]
fn a_session_that_an_administrator_ends_is_told_so() {
    let bench = bench();
    let marker = format!("select pg_sleep(60) /* ended at {} */", bench.file.listen);
    let mut client = bench.client("psql", "alice", "sslmode=require");
    let client = client.args(["-c", &marker]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_until_running(&marker);
    let like = marker.replace('\'', "");
    as_administrator(&format!("select pg_terminate_backend(pid) from pg_stat_activity where query = '{like}'"));
    let said = Said::from(client.wait_with_output().unwrap());
    assert!(said.err.contains("terminating connection due to administrator command"), "{}", said.err);
}

fn as_administrator(sql: &str) -> String {
    let mut psql = Command::new("psql");
    psql.arg("-h").arg(&postgresql().folder).args(["-U", "moorage_admin", "-d", "postgres", "-Atqc", sql]);
    said(psql.env("PGPASSWORD", PASSWORD)).out
}

fn wait_until_running(sql: &str) {
    let count = format!("select count(*) from pg_stat_activity where state = 'active' and query = '{sql}'");
    wait_for("the statement runs", || (as_administrator(&count) == "1").then_some(()));
}

fn interrupt(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}
