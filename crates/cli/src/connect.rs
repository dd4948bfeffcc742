//! `moorage connect`: becomes the engine's own client, over TLS and with the authority's certificate.

use clap::Args;
use rustix::fs::{MemfdFlags, memfd_create};
use secrecy::{ExposeSecret, SecretString};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::fetch;
use crate::failure::Failure;
use crate::password;
use crate::reply::{Cluster, read};
use crate::server::Server;
use crate::talk::Talk;

/// Which cluster, as whom.
#[derive(Debug, Args)]
pub struct Connect {
    /// Name or identifier of the cluster
    cluster: String,
    /// Database [default: the one the cluster was created with]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Account [default: the owner of that database]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// File with the password, '-' for standard input [default: MOORAGE_DB_PASSWORD, else the client asks]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Without TLS
    #[arg(long)]
    plain: bool,
    /// Arguments for the client, after --
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Replaces this process by the client; returns only when that fails.
pub async fn carry_out(connect: Connect, server: &Server, talk: &mut Talk) -> Result<(), Failure> {
    let cluster: Cluster = read(&fetch(server, &connect.cluster).await?, "a cluster")?;
    let password = match &connect.password_file {
        Some(path) => Some(password::read(path)?),
        None => std::env::var("MOORAGE_DB_PASSWORD").ok().map(SecretString::from),
    };
    // Open until the client replaces this process; the client reads it by its number.
    let authority = if connect.plain { None } else { Some(in_memory(&server.get_text("/ca").await?)?) };
    let path = authority.as_ref().map(|file| PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
    let mut command = client(&cluster, &connect, password.as_ref(), path.as_deref())?;
    if cluster.state != "RUNNING" {
        talk.say(&format!("The cluster is {}; the client may not get through.", cluster.state));
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let package = if cluster.engine == "mariadb" { "mariadb-client" } else { "postgresql-client" };
    let error = command.exec();
    Err(Failure::new(format!("The client '{program}' cannot be started.")).why(error).hint(format!("On Debian: apt-get install {package}")))
}

fn client(cluster: &Cluster, connect: &Connect, password: Option<&SecretString>, authority: Option<&Path>) -> Result<Command, Failure> {
    let (Some(address), Some(port)) = (&cluster.address, cluster.port) else {
        return Err(Failure::new(format!("The cluster '{}' has no endpoint yet.", cluster.name)).why(format!("It is {}.", cluster.state)));
    };
    let user = connect.user.as_deref().or(cluster.owner_name()).unwrap_or_default();
    let database = connect.database.as_deref().or(cluster.database_name()).unwrap_or_default();
    let port = port.to_string();
    let mut command;
    match cluster.engine.as_str() {
        "mariadb" => {
            command = Command::new("mariadb");
            // Left to itself the client takes a host that looks local for a reason to look for a socket.
            command.arg("--protocol=tcp").args(["--host", address, "--port", &port, "--user", user]);
            match authority {
                Some(path) => command.arg(format!("--ssl-ca={}", path.display())).arg("--ssl-verify-server-cert"),
                None => command.arg("--skip-ssl"),
            };
            match password {
                Some(password) => command.env("MYSQL_PWD", password.expose_secret()),
                None => command.arg("--password"),
            };
            command.args(&connect.arguments).arg(database);
        }
        "postgresql" => {
            command = Command::new("psql");
            command.args(["--host", address, "--port", &port, "--username", user, "--dbname", database]);
            match authority {
                Some(path) => command.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", path),
                None => command.env("PGSSLMODE", "disable"),
            };
            if let Some(password) = password {
                command.env("PGPASSWORD", password.expose_secret());
            }
            command.args(&connect.arguments);
        }
        other => return Err(Failure::new(format!("There is no client for the engine '{other}'."))),
    }
    command.env_remove("MOORAGE_DB_PASSWORD").env_remove("MOORAGE_TOKEN");
    Ok(command)
}

/// A file without a name that the next program inherits, so that nothing is left to clean up.
fn in_memory(text: &str) -> Result<File, Failure> {
    let failed = |error: std::io::Error| Failure::new("The authority's certificate cannot be handed to the client.").why(error);
    let descriptor = memfd_create("moorage-ca.pem", MemfdFlags::empty()).map_err(|error| failed(error.into()))?;
    let mut file = File::from(descriptor);
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cluster(engine: &str) -> Cluster {
        let document = json!({"name": "c", "engine": engine, "state": "RUNNING", "address": "127.64.0.10", "port": 2866,
            "database": {"name": "shop", "owner": "keeper"}});
        read(&document, "a cluster").expect("read")
    }

    fn connect(arguments: &[&str]) -> Connect {
        Connect {
            cluster: "c".into(),
            database: None,
            user: None,
            password_file: None,
            plain: false,
            arguments: arguments.iter().map(ToString::to_string).collect(),
        }
    }

    fn arguments(command: &Command) -> Vec<&str> {
        command.get_args().filter_map(|argument| argument.to_str()).collect()
    }

    fn environment<'a>(command: &'a Command, name: &str) -> Option<&'a str> {
        command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value?.to_str())
    }

    #[test]
    fn mariadb_is_called_over_tcp_with_the_authority_and_without_the_password_in_its_arguments() {
        let password = SecretString::from("s3cret");
        let command = client(&cluster("mariadb"), &connect(&["-e", "SELECT 1"]), Some(&password), Some(Path::new("/x"))).expect("a client");
        assert_eq!(command.get_program(), "mariadb");
        assert_eq!(
            arguments(&command).join(" "),
            "--protocol=tcp --host 127.64.0.10 --port 2866 --user keeper --ssl-ca=/x --ssl-verify-server-cert -e SELECT 1 shop"
        );
        assert_eq!(environment(&command, "MYSQL_PWD"), Some("s3cret"));
        let asking = client(&cluster("mariadb"), &connect(&[]), None, None).expect("a client");
        assert!(arguments(&asking).contains(&"--password") && arguments(&asking).contains(&"--skip-ssl"));
    }

    #[test]
    fn psql_verifies_the_whole_name_of_the_server() {
        let password = SecretString::from("s3cret");
        let command = client(&cluster("postgresql"), &connect(&[]), Some(&password), Some(Path::new("/x"))).expect("a client");
        assert_eq!(arguments(&command).join(" "), "--host 127.64.0.10 --port 2866 --username keeper --dbname shop");
        assert_eq!(environment(&command, "PGSSLMODE"), Some("verify-full"));
        assert_eq!(environment(&command, "PGSSLROOTCERT"), Some("/x"));
        assert_eq!(environment(&command, "PGPASSWORD"), Some("s3cret"));
    }

    #[test]
    fn a_cluster_without_endpoint_or_with_an_unknown_engine_is_refused() {
        let mut nowhere = cluster("mariadb");
        nowhere.address = None;
        assert!(client(&nowhere, &connect(&[]), None, None).is_err());
        assert!(client(&cluster("sqlite"), &connect(&[]), None, None).is_err());
    }

    #[test]
    fn another_program_can_read_the_certificate_that_is_handed_to_it() {
        let file = in_memory("the certificate").expect("in memory");
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let output = Command::new("cat").arg(path).output().expect("cat runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "the certificate");
    }
}
