//! `moorage database` and `moorage credential`: what is inside a cluster, and by which accounts it is used.

use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::path::PathBuf;

use crate::cluster::{accepted, pretty};
use crate::failure::Failure;
use crate::options::{Output, Waiting};
use crate::password;
use crate::people::{show_list, show_one};
use crate::server::{Server, segment, strange};
use crate::table::rows;
use crate::talk::Talk;

/// What can be done with databases.
#[derive(Debug, Subcommand)]
pub enum DatabaseCommand {
    /// Lists the databases of a cluster
    List(InCluster),
    /// Shows a database with its credentials
    Show(WhichDatabase),
    /// Creates a database beside those that a cluster has, with the credential of its owner
    Create(CreateDatabase),
    /// Lets nobody into a database any more; its data stays, and it can be restored
    Quarantine(ChangeDatabase),
    /// Takes a database out of quarantine
    Restore(WhichDatabase),
    /// Deletes a database for good, its data included
    Delete(DeleteDatabase),
}

/// What can be done with credentials.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Lists the credentials of a database
    List(WhichDatabase),
    /// Creates a credential and shows its password
    Create(CreateCredential),
    /// Shows the password of a credential
    Password(WhichCredential),
    /// Gives a credential another password and shows it; its sessions end
    Reset(ResetCredential),
    /// Deletes a credential; its sessions end, and what it made stays
    Delete(ChangeCredential),
}

/// A cluster.
#[derive(Debug, Args)]
pub struct InCluster {
    /// Name or identifier of the cluster
    cluster: String,
}

/// A database.
#[derive(Debug, Args)]
pub struct WhichDatabase {
    /// Name or identifier of the cluster
    cluster: String,
    /// Name or identifier of the database
    database: String,
}

/// A database and whether to wait.
#[derive(Debug, Args)]
pub struct ChangeDatabase {
    #[command(flatten)]
    which: WhichDatabase,
    #[command(flatten)]
    waiting: Waiting,
}

/// A database to be made.
#[derive(Debug, Args)]
pub struct CreateDatabase {
    /// Name or identifier of the cluster
    cluster: String,
    /// Its name
    name: String,
    /// The account of its owner [default: called like the database]
    #[arg(long)]
    user: Option<String>,
    /// Character set (MariaDB) or encoding (PostgreSQL) [default: that of the cluster's first database]
    #[arg(long)]
    character_set: Option<String>,
    /// File with the owner's password, '-' for standard input [default: made up and shown]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    waiting: Waiting,
}

/// A database that is to go.
#[derive(Debug, Args)]
pub struct DeleteDatabase {
    #[command(flatten)]
    which: WhichDatabase,
    /// Do not ask on a terminal
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// A credential.
#[derive(Debug, Args)]
pub struct WhichCredential {
    #[command(flatten)]
    of: WhichDatabase,
    /// Name of its account, or its identifier
    user: String,
}

/// A credential and whether to wait.
#[derive(Debug, Args)]
pub struct ChangeCredential {
    #[command(flatten)]
    which: WhichCredential,
    #[command(flatten)]
    waiting: Waiting,
}

/// What a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Privileges {
    /// Everything inside its database
    Owner,
    /// Reads and writes rows
    ReadWrite,
    /// Reads rows
    ReadOnly,
}

/// A credential to be made.
#[derive(Debug, Args)]
pub struct CreateCredential {
    #[command(flatten)]
    which: WhichCredential,
    /// What it may do
    #[arg(long, value_enum, default_value_t = Privileges::Owner)]
    privileges: Privileges,
    /// File with its password, '-' for standard input [default: made up and shown]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    waiting: Waiting,
}

/// A credential that gets another password.
#[derive(Debug, Args)]
pub struct ResetCredential {
    #[command(flatten)]
    which: WhichCredential,
    /// File with the new password, '-' for standard input [default: made up and shown]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    waiting: Waiting,
}

fn path(WhichDatabase { cluster, database }: &WhichDatabase) -> String {
    format!("/clusters/{}/databases/{}", segment(cluster), segment(database))
}

fn credential_path(WhichCredential { of, user }: &WhichCredential) -> String {
    format!("{}/credentials/{}", path(of), segment(user))
}

const CREDENTIAL: &[&str] = &["user", "privileges", "stage", "created_at", "id"];

/// Carries out a database command.
pub async fn database(command: DatabaseCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    match command {
        DatabaseCommand::List(InCluster { cluster }) => {
            let found = server.get_all(&format!("/clusters/{}/databases", segment(&cluster)), &[]).await?;
            show_list(
                &found,
                &["name", "stage", "used_bytes", "quarantined_at", "created_at", "id"],
                "There are no databases.",
                output,
                talk,
            )
        }
        DatabaseCommand::Show(which) => show(&server.get(&path(&which), &[]).await?, output, talk),
        DatabaseCommand::Create(wanted) => {
            let chosen = wanted.password_file.as_deref().map(password::read).transpose()?;
            let body = json!({
                "name": wanted.name,
                "user": wanted.user,
                "character_set": wanted.character_set,
                "password": chosen.as_ref().map(ExposeSecret::expose_secret),
            });
            let begun = server.post(&format!("/clusters/{}/databases", segment(&wanted.cluster)), &body).await?;
            ready(&begun, chosen.is_none(), wanted.waiting, server, output, talk).await
        }
        DatabaseCommand::Quarantine(change) => {
            let begun = server.post(&format!("{}/quarantine", path(&change.which)), &json!({})).await?;
            accepted(&begun, change.waiting, server, talk).await?;
            show(&server.get(&path(&change.which), &[]).await?, output, talk)
        }
        DatabaseCommand::Restore(which) => {
            let document = server.post(&format!("{}/restore", path(&which)), &json!({})).await?;
            talk.say("Its credentials kept the passwords they got in quarantine: read or reset them with moorage credential.");
            show(&document, output, talk)
        }
        DatabaseCommand::Delete(gone) => {
            if talk.on_terminal() && !gone.yes {
                let name = &gone.which.database;
                talk.say(&format!("This deletes the database '{name}' and its data for good. Type its name to go on:"));
                if password::line()?.trim() != name {
                    return Err(Failure::new("Nothing was deleted."));
                }
            }
            let begun = server.delete(&path(&gone.which)).await?;
            accepted(&begun, gone.waiting, server, talk).await?;
            if output == Output::Json { talk.data(&pretty(&begun)) } else { Ok(()) }
        }
    }
}

/// Carries out a credential command.
pub async fn credential(command: CredentialCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    match command {
        CredentialCommand::List(which) => {
            let found = server.get_all(&format!("{}/credentials", path(&which)), &[]).await?;
            show_list(&found, CREDENTIAL, "There are no credentials.", output, talk)
        }
        CredentialCommand::Create(wanted) => {
            let chosen = wanted.password_file.as_deref().map(password::read).transpose()?;
            let privileges = wanted.privileges.to_possible_value().map(|value| value.get_name().to_owned());
            let body = json!({
                "user": wanted.which.user,
                "privileges": privileges,
                "password": chosen.as_ref().map(ExposeSecret::expose_secret),
            });
            let begun = server.post(&format!("{}/credentials", path(&wanted.which.of)), &body).await?;
            ready(&begun, chosen.is_none(), wanted.waiting, server, output, talk).await
        }
        CredentialCommand::Password(which) => {
            show_one(&server.get(&format!("{}/password", credential_path(&which)), &[]).await?, &["user", "password"], output, talk)
        }
        CredentialCommand::Reset(wanted) => {
            let chosen = wanted.password_file.as_deref().map(password::read).transpose()?;
            let body = json!({"password": chosen.as_ref().map(ExposeSecret::expose_secret)});
            let begun = server.post(&format!("{}/reset-password", credential_path(&wanted.which)), &body).await?;
            ready(&begun, chosen.is_none(), wanted.waiting, server, output, talk).await
        }
        CredentialCommand::Delete(change) => {
            let begun = server.delete(&credential_path(&change.which)).await?;
            accepted(&begun, change.waiting, server, talk).await?;
            if output == Output::Json { talk.data(&pretty(&begun)) } else { Ok(()) }
        }
    }
}

/// Waits if wanted, and shows the password then, where the server made it up.
async fn ready(begun: &Value, made_up: bool, waiting: Waiting, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let waits = waiting.wanted(talk.on_terminal());
    accepted(begun, waiting, server, talk).await?;
    let part = |name: &str| begun[name].as_str().ok_or_else(|| strange("an answer without what it is about"));
    let (cluster, database, credential) = (part("cluster")?, part("database")?, part("credential")?);
    let path = format!("/clusters/{}/databases/{}/credentials/{}", segment(cluster), segment(database), segment(credential));
    if !waits || !made_up {
        if made_up {
            talk.say(&format!("Once it is done, its password is shown by: moorage credential password {cluster} {database} {credential}"));
        }
        return if output == Output::Json { talk.data(&pretty(begun)) } else { Ok(()) };
    }
    let mut document = server.get(&format!("{path}/password"), &[]).await?;
    for name in ["cluster", "database", "credential", "operation"] {
        document[name] = begun[name].clone();
    }
    show_one(&document, &["user", "password"], output, talk)
}

fn show(document: &Value, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    if output == Output::Json {
        return talk.data(&pretty(document));
    }
    let fields =
        &["name", "id", "cluster", "stage", "character_set", "locale", "used_bytes", "quarantined_at", "quarantined_by", "created_at"];
    show_one(document, fields, output, talk)?;
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let credentials = document["credentials"].as_array().cloned().unwrap_or_default();
    let lines = credentials.iter().map(|item| CREDENTIAL.iter().map(|name| text(item, name)).collect());
    talk.data(&format!("\n{}", rows(&CREDENTIAL.iter().map(|name| name.trim_end_matches("_at")).collect::<Vec<_>>(), lines)))
}
