//! From a request to a database people use, and back to nothing: both engines, stock clients.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;
use support::{Installation, PASSWORD, kill, seed_body};

fn create_by_seed(installation: &Installation, version: &str) -> (String, Value) {
    let engine = version.split(' ').next().expect("an engine");
    let (status, versions) = installation.scp(version, "GET", "/v1/engine-versions", None);
    assert_eq!(status, 200, "{versions}");
    let version_id = versions["contents"][0]["id"].as_str().expect("a version").to_owned();
    let (status, accepted) = installation.scp(version, "POST", "/v1/clusters", Some(seed_body(&version_id, engine)));
    assert_eq!(status, 202, "{accepted}");
    let id = accepted["resource"]["id"].as_str().expect("an id").to_owned();
    let (_, shown) = installation.scp(version, "GET", &format!("/v1/clusters/{id}"), None);
    assert_eq!(shown["service_state"], "CREATING", "{shown}");
    let request = accepted["request_id"].as_str().expect("a request").to_owned();
    installation.until(Duration::from_secs(120), "the request ends", |this| {
        let (_, state) = this.scp(version, "GET", &format!("/v1/requests/{request}"), None);
        assert_ne!(state["state"], "FAIL");
        (state["state"] == "SUCCESS").then_some(())
    });
    let (_, shown) = installation.scp(version, "GET", &format!("/v1/clusters/{id}"), None);
    assert_eq!(shown["service_state"], "RUNNING", "{shown}");
    (id, shown)
}

#[test]
fn the_seed_body_gives_a_running_mariadb_and_the_sibling_a_postgresql() {
    let installation = Installation::start();
    for version in ["mariadb 1.0", "postgresql 1.1"] {
        let (id, shown) = create_by_seed(&installation, version);
        let cluster = installation.running(&id);
        assert_eq!(shown["init_config_option"]["database_port"], 2866);
        assert_eq!(shown["instance_groups"][0]["instances"][0]["service_ip_address"], cluster.address.as_str());
        assert_eq!(cluster.sql("SELECT 1"), Ok("1".into()));
        let (character_set, zone) = match cluster.engine.as_str() {
            "postgresql" => (cluster.sql("SHOW server_encoding"), cluster.sql("SHOW timezone")),
            _ => (cluster.sql("SELECT @@character_set_database"), cluster.sql("SELECT @@time_zone")),
        };
        assert!(matches!(character_set.expect("character set").as_str(), "UTF8" | "utf8mb3" | "utf8"));
        assert_eq!(zone, Ok("Asia/Seoul".into()));
    }
}

#[test]
fn clients_get_in_over_tls_and_nobody_else_gets_in() {
    let installation = Installation::start();
    let authority = installation.directory.join("authority.pem");
    let (status, pem) = installation.native("GET", "/moorage/v1/ca", None);
    assert_eq!(status, 200);
    std::fs::write(&authority, pem.as_str().expect("PEM")).expect("written");
    let authority = authority.to_string_lossy().into_owned();
    for engine in ["mariadb", "postgresql"] {
        let cluster = installation.create(engine, &format!("tls{engine}"));
        let verified: Vec<String> = match engine {
            "postgresql" => vec![format!("sslmode=verify-full sslrootcert={authority}")],
            _ => vec!["--ssl".into(), "--ssl-verify-server-cert".into(), format!("--ssl-ca={authority}")],
        };
        let verified: Vec<&str> = verified.iter().map(String::as_str).collect();
        assert_eq!(cluster.sql_as("keeper", PASSWORD, "SELECT 1", &verified), Ok("1".into()));
        let plain = cluster.sql_as("keeper", PASSWORD, "SELECT 1", &[]);
        assert_eq!(plain, Ok("1".into()));

        let refused = cluster.sql_as("keeper", "wrong", "SELECT 1", &[]).expect_err("a wrong password");
        assert!(refused.contains("Access denied") || refused.contains("password authentication failed"), "{refused}");
        for administrator in ["root", "postgres", "moorage_admin", "mysql"] {
            for password in ["", PASSWORD] {
                for more in [&[][..], &verified] {
                    assert!(cluster.sql_as(administrator, password, "SELECT 1", more).is_err(), "{administrator} got into {engine}");
                }
            }
        }
        // Nobody but the listed network from now on.
        let (status, accepted) = installation.native(
            "POST",
            &format!("/moorage/v1/clusters/{}/allow-list", cluster.id),
            Some(json!({"add": ["192.0.2.0/24"], "remove": []})),
        );
        assert_eq!(status, 202, "{accepted}");
        assert_eq!(installation.ended(accepted["operation"]["id"].as_str().expect("an operation"))["status"], "succeeded");
        let refused = cluster.sql("SELECT 1").expect_err("an address outside the allow-list");
        assert!(refused.contains("not allowed") || refused.contains("allow-list"), "{refused}");
    }
}

#[test]
fn a_cluster_keeps_its_rows_through_stop_start_and_restart_and_leaves_nothing_when_it_goes() {
    let installation = Installation::start();
    for engine in ["mariadb", "postgresql"] {
        let cluster = installation.create(engine, &format!("life{engine}"));
        cluster.sql("CREATE TABLE t (n INT PRIMARY KEY)").expect("a table");
        cluster.sql("INSERT INTO t VALUES (1), (2), (3)").expect("rows");
        for (verb, passing, then) in
            [("stop", "STOPPING", "STOPPED"), ("start", "STARTING", "RUNNING"), ("restart", "RESTARTING", "RUNNING")]
        {
            let path = format!("/moorage/v1/clusters/{}/{verb}", cluster.id);
            let (status, accepted) = installation.native("POST", &path, None);
            assert_eq!(status, 202, "{accepted}");
            assert_eq!(accepted["cluster"]["state"], passing);
            let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an operation"));
            assert_eq!(ended["status"], "succeeded", "{ended}");
            let now = installation.reaches(&cluster.id, then);
            assert_eq!((now.address.clone(), now.port), (cluster.address.clone(), cluster.port), "users keep their address");
            if then == "STOPPED" {
                assert!(cluster.sql("SELECT 1").is_err());
            } else {
                assert_eq!(cluster.sql("SELECT count(*) FROM t"), Ok("3".into()));
            }
        }
        let (status, accepted) = installation.native("DELETE", &format!("/moorage/v1/clusters/{}", cluster.id), None);
        assert_eq!(status, 202, "{accepted}");
        let operation = accepted["operation"]["id"].as_str().expect("an operation").to_owned();
        assert_eq!(installation.ended(&operation)["status"], "succeeded");
        let (status, _) = installation.native("GET", &format!("/moorage/v1/clusters/{}", cluster.id), None);
        assert_eq!(status, 404);
        assert!(std::net::TcpStream::connect((cluster.address.as_str(), cluster.port)).is_err(), "the address is not listened on");
        assert_eq!(installation.instance_directories(), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn tenants_cannot_reach_each_other_or_the_machine() {
    let installation = Installation::start();
    let postgresql = installation.create("postgresql", "tenanta");
    let mariadb = installation.create("mariadb", "tenantb");
    for (cluster, attacks) in [
        (
            &postgresql,
            &[
                "COPY (SELECT 1) TO PROGRAM 'id'",
                "CREATE TABLE x (t text); COPY x FROM '/etc/passwd'",
                "SELECT pg_read_file('/etc/passwd')",
                "CREATE ROLE other",
                "SELECT lo_import('/etc/passwd')",
                "ALTER SYSTEM SET archive_command = 'id'",
                "CREATE EXTENSION adminpack",
                "SET ROLE moorage_admin",
                "CREATE EXTENSION dblink",
                "CREATE EXTENSION postgres_fdw",
                "CREATE EXTENSION file_fdw",
                "CREATE FUNCTION f() RETURNS text LANGUAGE internal AS 'pg_read_file_all'",
                "LOAD '$libdir/auto_explain'",
                "ALTER DATABASE shop SET session_preload_libraries = 'auto_explain'",
                "ALTER ROLE keeper SET log_statement = 'none'",
                "SET log_directory = '/tmp'",
                "SET SESSION AUTHORIZATION moorage_admin",
                "CREATE TABLESPACE elsewhere LOCATION '/tmp'",
                "SELECT rolpassword FROM pg_authid",
                "SHOW data_directory",
            ][..],
        ),
        (
            &mariadb,
            &[
                "SELECT 1 INTO OUTFILE '/tmp/moorage-out'",
                "LOAD DATA INFILE '/etc/passwd' INTO TABLE known",
                "CREATE USER other",
                "CREATE FUNCTION f RETURNS STRING SONAME 'x.so'",
                "INSTALL SONAME 'ha_connect'",
                "SET GLOBAL general_log_file = '/tmp/x'",
                "SELECT * FROM mysql.global_priv",
                "GRANT ALL ON *.* TO keeper",
                "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE known",
                "CREATE DEFINER = moorage_admin@localhost VIEW v AS SELECT 1",
                "CREATE DEFINER = root@localhost PROCEDURE p() SELECT * FROM mysql.user",
                "SET SESSION sql_log_bin = 0",
                "SET GLOBAL event_scheduler = ON",
                "CREATE DATABASE other",
                "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST '127.0.0.1')",
                "SHUTDOWN",
            ][..],
        ),
    ] {
        cluster.sql("CREATE TABLE known (t TEXT)").expect("an owner makes tables");
        for attack in attacks {
            let got = cluster.sql(attack).expect_err(attack).to_lowercase();
            let refusals = [
                "permission denied",
                "denied",
                "must be",
                "not allowed",
                "disabled",
                "--secure-file-priv",
                "cannot be executed",
                "cannot be changed",
                "restricted",
            ];
            assert!(refusals.iter().any(|word| got.contains(word)), "{attack} was not refused but failed: {got}");
        }
    }
    assert_eq!(mariadb.sql("SELECT coalesce(LOAD_FILE('/etc/passwd'), 'nothing')"), Ok("nothing".into()));

    // An engine's own account, whatever an attacker makes it run, reads nothing of a neighbour and reaches no network.
    let uid = |cluster: &support::Cluster| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.engine_pid(&installation))).expect("status");
        status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:"))
            .and_then(|line| line.split_whitespace().next())
            .expect("a uid")
            .parse::<u32>()
            .expect("a number")
    };
    let network = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("a namespace");
    let own = network(std::process::id());
    let api = installation.bootstrap()["base_url"].as_str().expect("a URL").trim_start_matches("http://").to_owned();
    for (cluster, other) in [(&postgresql, &mariadb), (&mariadb, &postgresql)] {
        let pid = cluster.engine_pid(&installation);
        assert_ne!(network(pid), own);
        for target in [api.clone(), format!("{}:{}", other.address, other.port)] {
            let target = target.replace(':', "/");
            let script = format!("exec 3<>/dev/tcp/{target}");
            assert!(Command::new("bash").args(["-c", &script]).status().expect("bash runs").success(), "{target} is there");
            let inside =
                Command::new("nsenter").args(["-t", &pid.to_string(), "-n", "bash", "-c", &script]).output().expect("nsenter runs");
            assert!(!inside.status.success(), "the engine's processes reach {target}");
        }
    }
    let (a, b) = (uid(&postgresql), uid(&mariadb));
    assert!(a != b && a >= 1000 && b >= 1000);
    for (uid, other) in [(a, &mariadb), (b, &postgresql)] {
        let instance = other.shown["instances"][0]["id"].as_str().expect("an instance");
        let volume = installation.directory.join("instances").join(instance).join("volume");
        for path in [
            volume,
            installation.directory.join("store.db"),
            installation.directory.join("master.key"),
            installation.directory.join("bootstrap.json"),
        ] {
            assert!(path.exists(), "{}", path.display());
            use std::os::unix::process::CommandExt;
            let tried = Command::new("ls").arg(path.join(".")).uid(uid).gid(uid).output().expect("ls runs");
            assert!(!tried.status.success(), "uid {uid} reads {}", path.display());
            let tried = Command::new("cat").arg(&path).uid(uid).gid(uid).output().expect("cat runs");
            assert!(!tried.status.success(), "uid {uid} reads {}", path.display());
        }
    }
}

#[test]
fn a_server_ends_in_time_and_leaves_databases_running() {
    let mut installation = Installation::start();
    let cluster = installation.create("postgresql", "stays");
    let (took, code) = installation.end_server();
    assert!(took < Duration::from_secs(10) && code == Some(0), "{took:?} {code:?}");
    assert_eq!(cluster.sql("SELECT 1"), Ok("1".into()));
    installation.serve();
    assert_eq!(installation.running(&cluster.id).sql("SELECT 1"), Ok("1".into()));
    let second = Command::new(support::PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&installation.directory)
        .output()
        .expect("it runs");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&installation.server_pid().to_string()), "{said}");
}

#[test]
fn stop_all_leaves_no_process_and_the_next_serve_starts_what_was_running() {
    let mut installation = Installation::start();
    let running = installation.create("mariadb", "runs");
    let stopped = installation.create("postgresql", "rests");
    running.sql("CREATE TABLE t (n INT PRIMARY KEY)").expect("a table");
    let (_, accepted) = installation.native("POST", &format!("/moorage/v1/clusters/{}/stop", stopped.id), None);
    installation.ended(accepted["operation"]["id"].as_str().expect("an operation"));
    installation.end_server();
    let output = installation.cli(&["stop", "--all"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(installation.processes(), Vec::<u32>::new());
    installation.serve();
    let running = installation.running(&running.id);
    assert_eq!(running.sql("SELECT count(*) FROM t"), Ok("0".into()));
    assert_eq!(installation.reaches(&stopped.id, "STOPPED").id, stopped.id);
    let _ = kill;
}
