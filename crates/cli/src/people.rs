//! `moorage user`, `project`, `token`, `access-key` and `audit`: who may do what, and what was asked for.

use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

use crate::cluster::pretty;
use crate::failure::Failure;
use crate::options::Output;
use crate::password;
use crate::server::{Server, segment};
use crate::table::{properties, rows};
use crate::talk::Talk;

/// What a user may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Role {
    /// Looks, changes nothing.
    Viewer,
    /// Runs clusters.
    Operator,
    /// Everything, people included.
    Administrator,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }
}

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Lists the users you may see
    List,
    /// Shows a user with its tokens and access keys
    Show(WhichUser),
    /// Makes a user
    Create(CreateUser),
    /// Changes a user's role or e-mail address
    Change(ChangeUser),
    /// Gives a user another password; its tokens end
    Password(Password),
    /// Removes a user with its tokens and access keys
    Remove(WhichUser),
}

/// A user.
#[derive(Debug, Args)]
pub struct WhichUser {
    /// Name or identifier of the user; 'me' is yourself
    user: String,
}

/// A user to be made.
#[derive(Debug, Args)]
pub struct CreateUser {
    /// Its name
    name: String,
    /// What it may do
    #[arg(long, value_enum)]
    role: Role,
    /// Its e-mail address; it signs in as well as the name does [default: NAME@localhost]
    #[arg(long)]
    email: Option<String>,
    /// Its project [default: your own]
    #[arg(long)]
    project: Option<String>,
    /// File with its password, '-' for standard input [default: asked for on a terminal, else made up and printed once]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// What is to change about a user.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct ChangeUserTo {
    /// Another role
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Another e-mail address
    #[arg(long)]
    email: Option<String>,
}

/// A user to be changed.
#[derive(Debug, Args)]
pub struct ChangeUser {
    /// Name or identifier of the user; 'me' is yourself
    user: String,
    #[command(flatten)]
    to: ChangeUserTo,
}

/// A user who gets another password.
#[derive(Debug, Args)]
pub struct Password {
    /// Name or identifier of the user; 'me' is yourself
    user: String,
    /// File with the new password, '-' for standard input [default: asked for on a terminal, else made up and printed once]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File with your present password, needed for your own [default: asked for on a terminal]
    #[arg(long, value_name = "FILE")]
    current_password_file: Option<PathBuf>,
}

/// What can be done with projects.
#[derive(Debug, Subcommand)]
pub enum ProjectCommand {
    /// Lists the projects you may see
    List,
    /// Makes a project (a tenant)
    Create(Named),
    /// Ends a project without clusters; its users go with it
    Remove(Named),
}

/// A project.
#[derive(Debug, Args)]
pub struct Named {
    /// Its name
    name: String,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Lists tokens: that they are there, not what they are
    List(OfUser),
    /// Makes a token and prints it, this once
    Create(CreateCredential),
    /// Ends a token
    Remove(RemoveCredential),
}

/// What can be done with access keys.
#[derive(Debug, Subcommand)]
pub enum AccessKeyCommand {
    /// Lists access keys, without their secrets
    List(OfUser),
    /// Makes an access key and prints it with its secret, this once
    Create(CreateCredential),
    /// Ends an access key
    Remove(RemoveCredential),
}

/// Whose.
#[derive(Debug, Args)]
pub struct OfUser {
    /// Whose
    #[arg(long, default_value = "me")]
    user: String,
}

/// A credential to be made.
#[derive(Debug, Args)]
pub struct CreateCredential {
    #[command(flatten)]
    of: OfUser,
    /// What it is for
    #[arg(long)]
    name: Option<String>,
    /// How long it lives, in days [default: 30 for a token, for ever for an access key]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: Option<u64>,
}

/// A credential to be ended.
#[derive(Debug, Args)]
pub struct RemoveCredential {
    #[command(flatten)]
    of: OfUser,
    /// Its identifier
    id: String,
}

/// What can be done with the record of changes.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Lists what was asked for, the newest first: who, what, from where and with what result
    List(ListAudit),
}

/// Which entries to list.
#[derive(Debug, Args)]
pub struct ListAudit {
    /// Only what this user asked for
    #[arg(long)]
    user: Option<String>,
    /// How many, at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
}

fn text(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A list as a table of these fields, or as JSON.
/// A list, column by column.
pub(crate) fn show_list(items: &[Value], fields: &[&str], empty: &str, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    match output {
        Output::Json => talk.data(&pretty(&json!(items))),
        Output::Table if items.is_empty() => {
            talk.say(empty);
            Ok(())
        }
        Output::Table => {
            let headings: Vec<String> = fields.iter().map(|field| field.replace('_', " ")).collect();
            let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
            talk.data(&rows(&headings, items.iter().map(|item| fields.iter().map(|field| text(item, field)).collect())))
        }
    }
}

/// One thing, field by field.
pub(crate) fn show_one(document: &Value, fields: &[&str], output: Output, talk: &mut Talk) -> Result<(), Failure> {
    match output {
        Output::Json => talk.data(&pretty(document)),
        Output::Table => {
            let headings: Vec<String> = fields.iter().map(|field| field.replace('_', " ")).collect();
            let lines: Vec<_> = headings.iter().map(String::as_str).zip(fields.iter().map(|field| Some(text(document, field)))).collect();
            talk.data(&properties(&lines))
        }
    }
}

const USER: &[&str] = &["name", "id", "email", "project", "role", "created_at"];
const TOKEN: &[&str] = &["id", "name", "created_at", "expires_at"];
const ACCESS_KEY: &[&str] = &["access_key", "name", "created_at", "expires_at"];

/// Carries out a user command.
pub async fn user(command: UserCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    match command {
        UserCommand::List => {
            let users = server.get_all("/users", &[]).await?;
            show_list(&users, &["name", "email", "role", "project", "created_at"], "There are no users.", output, talk)
        }
        UserCommand::Show(WhichUser { user }) => {
            let path = format!("/users/{}", segment(&user));
            let mut document = server.get(&path, &[]).await?;
            let tokens = server.get_all(&format!("{path}/tokens"), &[]).await?;
            let keys = server.get_all(&format!("{path}/access-keys"), &[]).await?;
            if output == Output::Json {
                document["tokens"] = json!(tokens);
                document["access_keys"] = json!(keys);
                return talk.data(&pretty(&document));
            }
            show_one(&document, USER, output, talk)?;
            if !tokens.is_empty() {
                talk.data("\ntokens")?;
                show_list(&tokens, TOKEN, "", output, talk)?;
            }
            if !keys.is_empty() {
                talk.data("\naccess keys")?;
                show_list(&keys, ACCESS_KEY, "", output, talk)?;
            }
            Ok(())
        }
        UserCommand::Create(new) => {
            let chosen = password::choose(new.password_file.as_deref(), &new.name, talk)?;
            let mut body = Map::new();
            body.insert("name".into(), json!(new.name));
            body.insert("role".into(), json!(new.role.name()));
            body.insert("password".into(), json!(chosen.password.expose_secret()));
            body.insert("email".into(), json!(new.email));
            body.insert("project".into(), json!(new.project));
            let mut document = server.post("/users", &Value::Object(body)).await?;
            show_with_password(&mut document, USER, &chosen, output, talk)
        }
        UserCommand::Change(ChangeUser { user, to }) => {
            let body = json!({"role": to.role.map(Role::name), "email": to.email});
            show_one(&server.patch(&format!("/users/{}", segment(&user)), &body).await?, USER, output, talk)
        }
        UserCommand::Password(change) => {
            let own = change.user == "me" || server.get("/users/me", &[]).await?["name"] == json!(change.user);
            let current = match &change.current_password_file {
                Some(path) => Some(password::read(path)?),
                None if own && talk.on_terminal() => Some(password::ask("Your present password:", talk)?),
                None => None,
            };
            let chosen = password::choose(change.password_file.as_deref(), &change.user, talk)?;
            let current = current.as_ref().map(ExposeSecret::expose_secret);
            let body = json!({"current": current, "password": chosen.password.expose_secret()});
            server.put(&format!("/users/{}/password", segment(&change.user)), &body).await?;
            talk.say("The password is changed. Tokens of that user have ended; access keys have not: see moorage access-key list.");
            show_with_password(&mut json!({"name": change.user}), &["name"], &chosen, output, talk)
        }
        UserCommand::Remove(WhichUser { user }) => {
            server.delete(&format!("/users/{}", segment(&user))).await?;
            talk.say(&format!("The user '{user}' is removed."));
            Ok(())
        }
    }
}

fn show_with_password(
    document: &mut Value,
    fields: &[&str],
    chosen: &password::Chosen,
    output: Output,
    talk: &mut Talk,
) -> Result<(), Failure> {
    if !chosen.generated {
        return show_one(document, fields, output, talk);
    }
    document["password"] = json!(chosen.password.expose_secret());
    show_one(document, &[fields, &["password"]].concat(), output, talk)?;
    talk.say("The password was made up and is shown this once.");
    Ok(())
}

/// Carries out a project command.
pub async fn project(command: ProjectCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let fields = &["name", "id", "created_at"];
    match command {
        ProjectCommand::List => show_list(&server.get_all("/projects", &[]).await?, fields, "There are no projects.", output, talk),
        ProjectCommand::Create(Named { name }) => show_one(&server.post("/projects", &json!({"name": name})).await?, fields, output, talk),
        ProjectCommand::Remove(Named { name }) => {
            server.delete(&format!("/projects/{}", segment(&name))).await?;
            talk.say(&format!("The project '{name}' has ended."));
            Ok(())
        }
    }
}

/// The two kinds of credentials differ in names only.
struct Kind {
    path: &'static str,
    fields: &'static [&'static str],
    secret: &'static str,
    what: &'static str,
}

const TOKENS: Kind = Kind { path: "tokens", fields: TOKEN, secret: "token", what: "token" };
const ACCESS_KEYS: Kind = Kind { path: "access-keys", fields: ACCESS_KEY, secret: "secret_key", what: "access key" };

enum Wanted {
    List(OfUser),
    Create(CreateCredential),
    Remove(RemoveCredential),
}

/// Carries out a token command.
pub async fn token(command: TokenCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let wanted = match command {
        TokenCommand::List(of) => Wanted::List(of),
        TokenCommand::Create(new) => Wanted::Create(new),
        TokenCommand::Remove(gone) => Wanted::Remove(gone),
    };
    credential(&TOKENS, wanted, server, output, talk).await
}

/// Carries out an access key command.
pub async fn access_key(command: AccessKeyCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let wanted = match command {
        AccessKeyCommand::List(of) => Wanted::List(of),
        AccessKeyCommand::Create(new) => Wanted::Create(new),
        AccessKeyCommand::Remove(gone) => Wanted::Remove(gone),
    };
    credential(&ACCESS_KEYS, wanted, server, output, talk).await
}

async fn credential(kind: &Kind, wanted: Wanted, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let path = |user: &str| format!("/users/{}/{}", segment(user), kind.path);
    match wanted {
        Wanted::List(OfUser { user }) => {
            let empty = format!("There is no {}.", kind.what);
            show_list(&server.get_all(&path(&user), &[]).await?, kind.fields, &empty, output, talk)
        }
        Wanted::Create(new) => {
            let body = json!({"name": new.name, "expires_in_seconds": new.days.map(|days| days * 24 * 3600)});
            let document = server.post(&path(&new.of.user), &body).await?;
            show_one(&document, &[kind.fields, &[kind.secret]].concat(), output, talk)?;
            talk.say("It is shown this once.");
            Ok(())
        }
        Wanted::Remove(RemoveCredential { of, id }) => {
            server.delete(&format!("{}/{}", path(&of.user), segment(&id))).await?;
            talk.say(&format!("The {} has ended.", kind.what));
            Ok(())
        }
    }
}

/// Carries out an audit command.
pub async fn audit(command: AuditCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let AuditCommand::List(ListAudit { user, limit }) = command;
    let mut query = vec![("limit", limit.to_string())];
    query.extend(user.map(|user| ("user", user)));
    let mut page = server.get("/actions", &query).await?;
    let items = page["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    show_list(&items, &["at", "user", "source", "method", "path", "status", "problem"], "Nothing is on record.", output, talk)
}
