//! `moorage cluster ...`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::create::{self, Create};
use crate::failure::Failure;
use crate::logs::{self, Logs};
use crate::operation;
use crate::options::{Output, Waiting};
use crate::parameter;
use crate::password;
use crate::reply::{Cluster, read};
use crate::server::{Server, segment, strange};
use crate::table::{properties, rows};
use crate::talk::Talk;

/// What can be done with clusters.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Creates a cluster with a database and its owner
    Create(Box<Create>),
    /// Lists clusters
    List(List),
    /// Shows a cluster
    Show(Which),
    /// Starts a stopped cluster
    Start(Change),
    /// Stops a cluster; its data stays
    Stop(Change),
    /// Restarts a cluster's engine
    Restart(Change),
    /// Lets primary and standby change places; transactions end first and new connections wait
    Switchover(Switchover),
    /// Lets the standby take the primary's place at once; what was not committed is cut off
    Failover(Failover),
    /// Ends a cluster for good, its data included
    Terminate(Terminate),
    /// Changes what a cluster is: whether it is protected from deletion, and whether it is strict
    Change(ChangeCluster),
    /// Gives the owner of the database another password
    Password(OwnerPassword),
    /// Shows which parameters the engine applies
    Parameters(Parameters),
    /// Changes who may connect
    Allow(Allow),
    /// Prints the end of the engine's log, and goes on with what is added if wanted
    Logs(Logs),
}

/// Which clusters to list.
#[derive(Debug, Args)]
pub struct List {
    /// Only those with this name
    #[arg(long)]
    name: Option<String>,
    /// Only those in this state, as RUNNING
    #[arg(long)]
    state: Option<String>,
    /// Only those of this engine
    #[arg(long, value_enum)]
    engine: Option<create::Engine>,
}

/// A cluster.
#[derive(Debug, Args)]
pub struct Which {
    /// Name or identifier of the cluster
    cluster: String,
}

/// A cluster and whether to wait.
#[derive(Debug, Args)]
pub struct Change {
    /// Name or identifier of the cluster
    cluster: String,
    #[command(flatten)]
    waiting: Waiting,
}

/// A cluster whose primary and standby are to change places.
#[derive(Debug, Args)]
pub struct Switchover {
    /// Name or identifier of the cluster
    cluster: String,
    /// How long transactions may take to end; if they do not, the primary stays the primary
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    grace: u32,
    /// Cut off transactions that take longer, instead of calling the switchover off
    #[arg(long)]
    force: bool,
    /// Follow it step by step to its end
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// A cluster whose standby is to take over.
#[derive(Debug, Args)]
pub struct Failover {
    /// Name or identifier of the cluster
    cluster: String,
    /// Do not ask on a terminal
    #[arg(long)]
    yes: bool,
    /// Follow it step by step to its end
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// A cluster that is to end.
#[derive(Debug, Args)]
pub struct Terminate {
    /// Name or identifier of the cluster
    cluster: String,
    /// Do not ask on a terminal
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// It holds.
    On,
    /// It does not.
    Off,
}

/// A cluster that is to be changed.
#[derive(Debug, Args)]
pub struct ChangeCluster {
    /// Name or identifier of the cluster
    cluster: String,
    /// While it is on, nobody terminates the cluster
    #[arg(long, value_enum, required_unless_present = "strict")]
    deletion_protection: Option<Switch>,
    /// While it is on, commits of a highly available cluster wait as long as only one instance has them
    #[arg(long, value_enum)]
    strict: Option<Switch>,
}

/// A cluster whose database's owner gets another password.
#[derive(Debug, Args)]
pub struct OwnerPassword {
    /// Name or identifier of the cluster
    cluster: String,
    /// File with the new password, '-' for standard input [default: asked for on a terminal, else made up and printed once]
    #[arg(long, value_name = "FILE")]
    password_file: Option<std::path::PathBuf>,
    #[command(flatten)]
    waiting: Waiting,
}

/// A cluster whose list of who may connect is changed.
#[derive(Debug, Args)]
pub struct Allow {
    /// Name or identifier of the cluster
    cluster: String,
    /// Address or network that may connect from now on; may be given several times
    #[arg(long, value_name = "CIDR", required_unless_present = "remove")]
    add: Vec<String>,
    /// Address or network that may not connect any more; may be given several times
    #[arg(long, value_name = "CIDR")]
    remove: Vec<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Which parameters.
#[derive(Debug, Args)]
pub struct Parameters {
    /// Name or identifier of the cluster
    cluster: String,
    /// Only those whose name contains this
    #[arg(long)]
    name: Option<String>,
}

/// Carries out a cluster command.
pub async fn carry_out(command: ClusterCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    match command {
        ClusterCommand::Create(create) => create::carry_out(*create, server, output, talk).await,
        ClusterCommand::List(wanted) => list(&wanted, server, output, talk).await,
        ClusterCommand::Show(which) => {
            let document = fetch(server, &which.cluster).await?;
            show(&document, output, talk)
        }
        ClusterCommand::Start(change) => ask_for(&change, "start", server, output, talk).await,
        ClusterCommand::Stop(change) => ask_for(&change, "stop", server, output, talk).await,
        ClusterCommand::Restart(change) => ask_for(&change, "restart", server, output, talk).await,
        ClusterCommand::Switchover(wanted) => {
            let body = json!({"grace_seconds": wanted.grace, "force": wanted.force});
            let document = server.post(&format!("/clusters/{}/switchover", segment(&wanted.cluster)), &body).await?;
            followed(&document, wanted.watch, wanted.waiting, server, output, talk).await
        }
        ClusterCommand::Failover(wanted) => fail_over(&wanted, server, output, talk).await,
        ClusterCommand::Terminate(terminate) => end(&terminate, server, output, talk).await,
        ClusterCommand::Change(change) => {
            let on = |switch: Option<Switch>| switch.map(|switch| switch == Switch::On);
            let body = json!({"deletion_protection": on(change.deletion_protection), "strict": on(change.strict)});
            show(&server.patch(&format!("/clusters/{}", segment(&change.cluster)), &body).await?, output, talk)
        }
        ClusterCommand::Password(change) => set_owner_password(&change, server, output, talk).await,
        ClusterCommand::Parameters(wanted) => parameter::applied(server, &wanted.cluster, wanted.name.as_deref(), output, talk).await,
        ClusterCommand::Allow(change) => {
            let body = json!({"add": change.add, "remove": change.remove});
            let document = server.post(&format!("/clusters/{}/allow-list", segment(&change.cluster)), &body).await?;
            follow_up(&document, change.waiting, server, output, talk).await
        }
        ClusterCommand::Logs(wanted) => logs::carry_out(&wanted, server, talk).await,
    }
}

/// The cluster as the server describes it.
pub async fn fetch(server: &Server, cluster: &str) -> Result<Value, Failure> {
    server.get(&format!("/clusters/{}", segment(cluster)), &[]).await
}

/// Says what was accepted and, if wanted, waits for its end.
pub async fn accepted(document: &Value, waiting: Waiting, server: &Server, talk: &mut Talk) -> Result<(), Failure> {
    let id = document["operation"]["id"].as_str().ok_or_else(|| strange("an answer without an operation"))?;
    if waiting.wanted(talk.on_terminal()) {
        operation::wait(id, server, talk).await
    } else {
        talk.say(&format!("Accepted as operation {id}; follow it with: moorage operation show {id} --watch"));
        Ok(())
    }
}

/// A cluster for people.
pub fn table(cluster: &Cluster) -> String {
    let engine = [Some(cluster.engine.clone()), cluster.version.clone()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let mut text = properties(&[
        ("name", Some(cluster.name.clone())),
        ("id", Some(cluster.id.clone())),
        ("engine", Some(engine)),
        ("state", Some(cluster.state.clone())),
        ("reason", cluster.state_reason.clone()),
        ("endpoint", cluster.endpoint()),
        ("from outside", cluster.public_address.clone()),
        ("database", cluster.database_name().map(str::to_owned)),
        ("owner", cluster.owner_name().map(str::to_owned)),
        ("server type", cluster.server_type.clone()),
        ("time zone", cluster.timezone.clone()),
        ("allowed", Some(if cluster.allow.is_empty() { "its own subnet".to_owned() } else { cluster.allow.join(", ") })),
        ("protection", cluster.protection_in_words()),
        ("deletion", cluster.deletion_protection.map(|on| if on { "protected" } else { "not protected" }.to_owned())),
        ("strict", cluster.strict.filter(|strict| *strict).map(|_| "commits wait as long as no standby is in sync".to_owned())),
        ("limits", Some(cluster.limits_in_words())),
        ("disk used", cluster.used_in_words()),
        ("isolation", Some(cluster.isolation_in_words())),
        ("created", cluster.created_at.clone()),
    ]);
    if !cluster.instances.is_empty() {
        let instances = cluster.instances.iter().map(|instance| {
            vec![
                instance.name.clone(),
                instance.role.clone().unwrap_or_default(),
                instance.state.clone(),
                instance.address.clone().unwrap_or_default(),
                instance.restarts.unwrap_or_default().to_string(),
                instance.last_restart_reason.clone().unwrap_or_default(),
            ]
        });
        text += "\n\n";
        text += &rows(&["instance", "role", "state", "address", "restarts", "last restart"], instances);
    }
    text
}

/// JSON for scripts.
pub fn pretty(document: &Value) -> String {
    format!("{document:#}")
}

fn show(document: &Value, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    match output {
        Output::Json => talk.data(&pretty(document)),
        Output::Table => talk.data(&table(&read(document, "a cluster")?)),
    }
}

async fn list(wanted: &List, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let mut query = Vec::new();
    query.extend(wanted.name.clone().map(|name| ("name", name)));
    query.extend(wanted.state.clone().map(|state| ("state", state.to_ascii_uppercase())));
    query.extend(wanted.engine.map(|engine| ("engine", engine.name().to_owned())));
    let items = server.get_all("/clusters", &query).await?;
    if output == Output::Json {
        return talk.data(&pretty(&json!(items)));
    }
    if items.is_empty() {
        talk.say("There are no clusters. Make one with: moorage cluster create");
        return Ok(());
    }
    let clusters = items.iter().map(|item| read(item, "a cluster")).collect::<Result<Vec<Cluster>, _>>()?;
    let line = |cluster: &Cluster| {
        vec![
            cluster.name.clone(),
            cluster.engine.clone(),
            cluster.version.clone().unwrap_or_default(),
            cluster.state.clone(),
            cluster.endpoint().unwrap_or_default(),
            cluster.database_name().unwrap_or_default().to_owned(),
            cluster.protection.clone().unwrap_or_default(),
            cluster.created_at.clone().unwrap_or_default(),
        ]
    };
    let headings = ["name", "engine", "version", "state", "endpoint", "database", "protection", "created"];
    talk.data(&rows(&headings, clusters.iter().map(line)))
}

async fn ask_for(change: &Change, verb: &str, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let document = server.post(&format!("/clusters/{}/{verb}", segment(&change.cluster)), &json!({})).await?;
    follow_up(&document, change.waiting, server, output, talk).await
}

/// Waits if wanted, and shows the cluster as it is then.
async fn follow_up(document: &Value, waiting: Waiting, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    accepted(document, waiting, server, talk).await?;
    let id = document["cluster"]["id"].as_str().ok_or_else(|| strange("an answer without a cluster"))?;
    show(&fetch(server, id).await?, output, talk)
}

/// The same, or every step of the operation if somebody wants to watch it.
async fn followed(
    document: &Value,
    watch: bool,
    waiting: Waiting,
    server: &Server,
    output: Output,
    talk: &mut Talk,
) -> Result<(), Failure> {
    if !watch {
        return follow_up(document, waiting, server, output, talk).await;
    }
    let id = document["operation"]["id"].as_str().ok_or_else(|| strange("an answer without an operation"))?;
    operation::watch(id, server, output, talk).await
}

async fn fail_over(wanted: &Failover, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    if talk.on_terminal() && !wanted.yes {
        let name = &wanted.cluster;
        talk.say(&format!(
            "This ends every connection to '{name}' at once; what is not committed is lost. A switchover lets transactions end first."
        ));
        talk.say("Type the cluster's name to go on:");
        if password::line()?.trim() != name {
            return Err(Failure::new("Nothing was failed over."));
        }
    }
    let document = server.post(&format!("/clusters/{}/failover", segment(&wanted.cluster)), &json!({})).await?;
    followed(&document, wanted.watch, wanted.waiting, server, output, talk).await
}

async fn set_owner_password(change: &OwnerPassword, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let chosen = password::choose(change.password_file.as_deref(), "the owner", talk)?;
    let path = format!("/clusters/{}/owner-password", segment(&change.cluster));
    let body = json!({"password": secrecy::ExposeSecret::expose_secret(&chosen.password)});
    let mut document = server.put(&path, &body).await?;
    let done = accepted(&document, change.waiting, server, talk).await;
    // Nobody else knows a password that was made up: it is shown even when waiting ends badly.
    if chosen.generated {
        let password = body["password"].as_str().unwrap_or_default();
        match output {
            Output::Json => document["password"] = body["password"].clone(),
            Output::Table => talk.data(&format!("Password of the owner, shown this once: {password}"))?,
        }
    }
    if output == Output::Json {
        talk.data(&pretty(&document))?;
    }
    done
}

async fn end(terminate: &Terminate, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    if talk.on_terminal() && !terminate.yes {
        let name = &terminate.cluster;
        talk.say(&format!("This ends '{name}' and deletes its data for good. Type its name to go on:"));
        if password::line()?.trim() != name {
            return Err(Failure::new("Nothing was terminated."));
        }
    }
    let document = server.delete(&format!("/clusters/{}", segment(&terminate.cluster))).await?;
    accepted(&document, terminate.waiting, server, talk).await?;
    if output == Output::Json { talk.data(&pretty(&document)) } else { Ok(()) }
}
