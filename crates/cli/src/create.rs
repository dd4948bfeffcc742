//! `moorage cluster create`.

use clap::{Args, ValueEnum};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::cluster::{accepted, fetch, pretty, table};
use crate::failure::Failure;
use crate::options::{Output, Waiting};
use crate::password;
use crate::reply::{Cluster, read};
use crate::server::Server;
use crate::talk::Talk;

/// A database product.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Engine {
    /// MariaDB Server
    Mariadb,
    /// PostgreSQL
    Postgresql,
}

impl Engine {
    /// As the server spells it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Mariadb => "mariadb",
            Engine::Postgresql => "postgresql",
        }
    }
}

/// What a new cluster is to be like.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct Create {
    /// Name of the cluster
    name: String,
    /// Database product
    #[arg(long, value_enum)]
    engine: Engine,
    /// Engine version, as 'moorage engine list' shows them [default: the newest that is installed]
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Name of its database
    #[arg(long, value_name = "NAME")]
    database: String,
    /// Account that owns the database
    #[arg(long, value_name = "NAME")]
    owner: String,
    /// File with the owner's password, '-' for standard input [default: asked for on a terminal, else made up and
    /// printed once]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Port of its endpoint
    #[arg(long)]
    port: Option<u16>,
    /// Address or network that may connect; may be repeated [default: the cluster's own subnet]
    #[arg(long, value_name = "CIDR")]
    allow: Vec<String>,
    /// Size, as db1v1m2 for one processor and 2 GiB of memory
    #[arg(long, value_name = "TYPE")]
    server_type: Option<String>,
    /// Ceiling of its data in GB
    #[arg(long, value_name = "GB")]
    size_gb: Option<u32>,
    /// Time zone, as Europe/Vienna
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Character set (MariaDB) or encoding (PostgreSQL)
    #[arg(long, value_name = "NAME")]
    character_set: Option<String>,
    /// Locale (PostgreSQL)
    #[arg(long, value_name = "NAME")]
    locale: Option<String>,
    /// Subnet of its endpoint
    #[arg(long, value_name = "NAME")]
    subnet: Option<String>,
    /// Address of its endpoint [default: a free one]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Ipv4Addr>,
    /// Keep a second instance that takes the first one's place when that dies, with everything that was acknowledged
    #[arg(long)]
    highly_available: bool,
    /// Let commits wait as long as no standby is in sync, however long that is
    #[arg(long, requires = "highly_available")]
    strict: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Creates the cluster, waits if wanted, shows it.
pub async fn carry_out(create: Create, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let chosen = password::choose(create.password_file.as_deref(), &create.owner, talk)?;
    let document = server.post("/clusters", &body(&create, chosen.password.expose_secret())).await?;
    let cluster = document["cluster"]["id"].as_str().unwrap_or(&create.name).to_owned();
    let generated = chosen.generated.then(|| chosen.password.expose_secret());
    let ended = accepted(&document, create.waiting, server, talk).await;
    // Nobody else knows a password that was made up: it is shown even when waiting ends badly.
    let shown = match (&ended, fetch(server, &cluster).await) {
        (_, Ok(shown)) => shown,
        (Ok(()), Err(failure)) => return Err(failure),
        (Err(_), Err(_)) => document["cluster"].clone(),
    };
    if ended.is_ok() || generated.is_some() {
        talk.data(&shown_as(&shown, generated, output)?)?;
    }
    ended
}

fn shown_as(cluster: &Value, generated: Option<&str>, output: Output) -> Result<String, Failure> {
    if output == Output::Json {
        let mut cluster = cluster.clone();
        if let (Some(password), Some(fields)) = (generated, cluster.as_object_mut()) {
            fields.insert("password".to_owned(), json!(password));
        }
        return Ok(pretty(&cluster));
    }
    let mut text = table(&read::<Cluster>(cluster, "a cluster")?);
    if let Some(password) = generated {
        text += &format!("\n\nPassword of the owner, shown this once: {password}");
    }
    Ok(text)
}

fn body(create: &Create, password: &str) -> Value {
    let database = json!({
        "name": create.database,
        "owner": create.owner,
        "password": password,
        "character_set": create.character_set,
        "locale": create.locale,
    });
    let mut body = json!({
        "name": create.name,
        "engine": create.engine.name(),
        "version": create.version,
        "database": stated(database),
        "port": create.port,
        "server_type": create.server_type,
        "size_gb": create.size_gb,
        "timezone": create.timezone,
        "subnet": create.subnet,
        "address": create.address,
    });
    if !create.allow.is_empty() {
        body["allow"] = json!(create.allow);
    }
    if create.highly_available {
        body["highly_available"] = json!(true);
    }
    if create.strict {
        body["strict"] = json!(true);
    }
    stated(body)
}

/// Leaves out what was not said, so that the server's own defaults apply.
fn stated(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>()),
        other => other,
    }
}
