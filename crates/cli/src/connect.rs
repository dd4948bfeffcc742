//! `moorage connect`: becomes the engine's own client, over TLS and with the authority's certificate.

use clap::Args;
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use secrecy::{ExposeSecret, SecretString};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::fetch;
use crate::failure::Failure;
use crate::password;
use crate::reply::{Cluster, read};
use crate::server::{Server, segment};
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
    /// File with the password, '-' for standard input [default: MOORAGE_DB_PASSWORD, else the client asks where there is a terminal]
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
pub async fn carry_out(mut connect: Connect, server: &Server, talk: &mut Talk) -> Result<(), Failure> {
    let cluster: Cluster = read(&fetch(server, &connect.cluster).await?, "a cluster")?;
    let password = match &connect.password_file {
        Some(path) => Some(password::read(path)?),
        None => std::env::var("MOORAGE_DB_PASSWORD").ok().filter(|password| !password.is_empty()).map(SecretString::from),
    };
    if connect.user.is_none()
        && let Some(database) = &connect.database
    {
        connect.user = owner_of(server, &connect.cluster, database).await?;
    }
    // Open until the client replaces this process; the client reads them by their numbers.
    let authority = if connect.plain { None } else { Some(InMemory::new("moorage-ca.pem", &server.get_text("/ca").await?)?) };
    let secret = password.map(|password| InMemory::new("moorage-password", &password_file(&cluster.engine, &password))).transpose()?;
    let asked = if secret.is_some() { Asked::Not } else { Asked::here() };
    let mut command = client(
        &cluster,
        &connect,
        secret.as_ref().map(InMemory::path),
        authority.as_ref().map(InMemory::path),
        asked,
        takes_statements(&connect.arguments),
    )?;
    if asked == Asked::Nobody {
        talk.say("No password was given, and there is no terminal to ask for one at. Unless the client knows one itself, give it with --password-file or MOORAGE_DB_PASSWORD.");
    }
    if cluster.state != "RUNNING" {
        talk.say(&format!("The cluster is {}; the client may not get through.", cluster.state));
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let package = if cluster.engine == "mariadb" { "mariadb-client" } else { "postgresql-client" };
    let error = command.exec();
    Err(Failure::new(format!("The client '{program}' cannot be started.")).why(error).hint(format!("On Debian: apt-get install {package}")))
}

/// The account that a database belongs to; none for one that somebody made with SQL.
async fn owner_of(server: &Server, cluster: &str, database: &str) -> Result<Option<String>, Failure> {
    let path = format!("/clusters/{}/databases/{}", segment(cluster), segment(database));
    match server.get(&path, &[]).await {
        Ok(document) => {
            let owner = document["credentials"].as_array().into_iter().flatten().find(|credential| credential["privileges"] == "owner");
            Ok(owner.and_then(|owner| owner["user"].as_str()).map(str::to_owned))
        }
        Err(failure) if failure.code.as_deref() == Some("database-not-found") => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether the client takes its statements from a pipe or a file at its standard input, and not from its arguments.
fn takes_statements(arguments: &[String]) -> bool {
    let given = ["-c", "--command", "-f", "--file"];
    !std::io::stdin().is_terminal() && !arguments.iter().any(|argument| given.iter().any(|option| argument.starts_with(option)))
}

/// Who tells the client the password where it was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// It was given.
    Not,
    /// The person at the terminal.
    Person,
    /// Nobody: a client that asks all the same takes its first line of SQL for the answer.
    Nobody,
}

impl Asked {
    fn here() -> Self {
        if File::open("/dev/tty").is_ok() { Self::Person } else { Self::Nobody }
    }
}

fn client(
    cluster: &Cluster,
    connect: &Connect,
    password: Option<&Path>,
    authority: Option<&Path>,
    asked: Asked,
    piped: bool,
) -> Result<Command, Failure> {
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
            // Only taken as the first argument. Alone, as the person's own file would have the last word.
            command.args(password.map(|path| format!("--defaults-file={}", path.display())));
            // Left to itself the client takes a host that looks local for a reason to look for a socket.
            command.arg("--protocol=tcp").args(["--host", address, "--port", &port, "--user", user]);
            match authority {
                Some(path) => command.arg(format!("--ssl-ca={}", path.display())).arg("--ssl-verify-server-cert"),
                None => command.arg("--skip-ssl"),
            };
            command.args((asked == Asked::Person).then_some("--password"));
            command.args(&connect.arguments).arg(database);
        }
        "postgresql" => {
            command = Command::new("psql");
            command.args(["--host", address, "--port", &port, "--username", user, "--dbname", database]);
            match authority {
                Some(path) => command.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", path),
                None => command.env("PGSSLMODE", "disable"),
            };
            if let Some(path) = password {
                command.env("PGPASSFILE", path).env_remove("PGPASSWORD");
            }
            command.args((asked != Asked::Person).then_some("--no-password"));
            if piped {
                // As the other client does: the exit code says that a statement failed.
                command.args(["--set", "ON_ERROR_STOP=1"]);
            }
            command.args(&connect.arguments);
        }
        other => return Err(Failure::new(format!("There is no client for the engine '{other}'."))),
    }
    command.env_remove("MOORAGE_DB_PASSWORD").env_remove("MOORAGE_TOKEN");
    Ok(command)
}

/// The password in the words of the client's own file: it stays out of the environment, where `env` and the process list of the account show it.
fn password_file(engine: &str, password: &SecretString) -> String {
    let password = password.expose_secret();
    match engine {
        "postgresql" => format!("*:*:*:*:{}\n", password.replace('\\', "\\\\").replace(':', "\\:")),
        _ => format!("[client]\npassword=\"{}\"\n", password.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")),
    }
}

/// A file without a name that the next program inherits, so that nothing is left to clean up.
struct InMemory {
    _file: File,
    path: PathBuf,
}

impl InMemory {
    fn new(name: &str, text: &str) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("{name} cannot be handed to the client.")).why(error);
        let descriptor = memfd_create(name, MemfdFlags::empty()).map_err(|error| failed(error.into()))?;
        // Neither client reads a password that others could.
        fchmod(&descriptor, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
        let mut file = File::from(descriptor);
        file.write_all(text.as_bytes()).map_err(failed)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Self { _file: file, path })
    }
    fn path(&self) -> &Path {
        &self.path
    }
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
        let given = Some(Path::new("/p"));
        let command =
            client(&cluster("mariadb"), &connect(&["-e", "SELECT 1"]), given, Some(Path::new("/x")), Asked::Not, false).expect("a client");
        assert_eq!(command.get_program(), "mariadb");
        assert_eq!(
            arguments(&command).join(" "),
            "--defaults-file=/p --protocol=tcp --host 127.64.0.10 --port 2866 --user keeper --ssl-ca=/x --ssl-verify-server-cert -e SELECT 1 shop"
        );
        let asking = client(&cluster("mariadb"), &connect(&[]), None, None, Asked::Person, false).expect("a client");
        assert!(arguments(&asking).contains(&"--password") && arguments(&asking).contains(&"--skip-ssl"));
        let alone = client(&cluster("mariadb"), &connect(&[]), None, None, Asked::Nobody, false).expect("a client");
        assert!(!arguments(&alone).contains(&"--password"), "it would read the SQL for an answer");
    }

    #[test]
    fn psql_verifies_the_whole_name_of_the_server() {
        let given = Some(Path::new("/p"));
        let command = client(&cluster("postgresql"), &connect(&[]), given, Some(Path::new("/x")), Asked::Not, false).expect("a client");
        let wanted = "--host 127.64.0.10 --port 2866 --username keeper --dbname shop --no-password";
        assert_eq!(arguments(&command).join(" "), wanted, "a password that is not right is not asked for in its place");
        assert_eq!(environment(&command, "PGSSLMODE"), Some("verify-full"));
        assert_eq!(environment(&command, "PGSSLROOTCERT"), Some("/x"));
        assert_eq!(environment(&command, "PGPASSFILE"), Some("/p"));
        let alone = client(&cluster("postgresql"), &connect(&[]), None, None, Asked::Nobody, true).expect("a client");
        assert!(arguments(&alone).join(" ").ends_with("--no-password --set ON_ERROR_STOP=1"));
        let person = client(&cluster("postgresql"), &connect(&[]), None, None, Asked::Person, false).expect("a client");
        assert!(arguments(&person).join(" ").ends_with("--dbname shop"));
    }

    #[test]
    fn a_cluster_without_endpoint_or_with_an_unknown_engine_is_refused() {
        let mut nowhere = cluster("mariadb");
        nowhere.address = None;
        assert!(client(&nowhere, &connect(&[]), None, None, Asked::Not, false).is_err());
        assert!(client(&cluster("sqlite"), &connect(&[]), None, None, Asked::Not, false).is_err());
    }

    #[test]
    fn another_program_can_read_the_certificate_that_is_handed_to_it() {
        let file = InMemory::new("ca.pem", "the certificate").expect("in memory");
        let output = Command::new("cat").arg(file.path()).output().expect("cat runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "the certificate");
    }
}
