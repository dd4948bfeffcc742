//! `moorage operation ...`, and waiting for an operation's end.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use crate::cluster::pretty;
use crate::failure::Failure;
use crate::options::Output;
use crate::reply::{Operation, read};
use crate::server::{Server, segment};
use crate::table::{properties, rows};
use crate::talk::Talk;

/// How long a server may be away while somebody waits: it may be restarting, and the operation goes on afterwards.
const PATIENCE: Duration = Duration::from_secs(60);

/// What can be done with operations.
#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// Lists operations, the newest first
    List(List),
    /// Shows an operation and its timeline
    Show(Show),
    /// Calls an operation off, where that is still possible
    Cancel(Which),
    /// Tries the step again that waits for an operator
    Retry(Which),
    /// Goes on after the step that waits for an operator
    Resume(Which),
    /// Undoes what the operation did
    RollBack(Which),
    /// Leaves everything as it is and ends the operation
    Abandon(Which),
}

/// Which operations to list.
#[derive(Debug, Args)]
pub struct List {
    /// Only those of this cluster (name or identifier)
    #[arg(long)]
    cluster: Option<String>,
    /// Only those that stand like this, as running or needs-operator
    #[arg(long)]
    status: Option<String>,
    /// How many, at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

/// An operation, perhaps followed.
#[derive(Debug, Args)]
pub struct Show {
    /// Identifier of the operation
    operation: String,
    /// Follow it until it ends; fails if it fails
    #[arg(long)]
    watch: bool,
}

/// An operation.
#[derive(Debug, Args)]
pub struct Which {
    /// Identifier of the operation
    operation: String,
}

/// Carries out an operation command.
pub async fn carry_out(command: OperationCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let (which, verb) = match command {
        OperationCommand::List(wanted) => return list(wanted, server, output, talk).await,
        OperationCommand::Show(wanted) if wanted.watch => return watch(&wanted.operation, server, output, talk).await,
        OperationCommand::Show(wanted) => return show(&fetch(server, &wanted.operation).await?, output, talk),
        OperationCommand::Cancel(which) => (which, "cancel"),
        OperationCommand::Retry(which) => (which, "retry"),
        OperationCommand::Resume(which) => (which, "resume"),
        OperationCommand::RollBack(which) => (which, "roll-back"),
        OperationCommand::Abandon(which) => (which, "abandon"),
    };
    server.post(&format!("/operations/{}/{verb}", segment(&which.operation)), &json!({})).await?;
    show(&fetch(server, &which.operation).await?, output, talk)
}

/// Waits until an operation rests and shows its timeline; fails if it did not succeed.
pub async fn watch(id: &str, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let ended = wait(id, server, talk).await;
    if ended.as_ref().is_err_and(|failure| failure.interrupted) {
        return ended;
    }
    show(&fetch(server, id).await?, output, talk)?;
    ended
}

/// Waits until an operation rests; fails if it did not succeed. The operation does not need anybody to wait for it.
pub async fn wait(id: &str, server: &Server, talk: &mut Talk) -> Result<(), Failure> {
    let bar = talk.progress();
    let ended = tokio::select! {
        ended = rest(id, server, |line| bar.set_message(line)) => ended,
        _ = tokio::signal::ctrl_c() => {
            Err(Failure::interrupted("No longer waiting; the operation goes on.").hint(format!("Follow it with: moorage operation show {id} --watch")))
        }
    };
    bar.finish_and_clear();
    let operation = ended?;
    talk.say(&operation.progress());
    if operation.succeeded() {
        return Ok(());
    }
    let mut failure = match operation.problem {
        Some(problem) => Failure::from(problem),
        None => Failure::new(format!("The operation ended {}.", operation.status)),
    };
    let hint = if operation.status == "needs-operator" {
        format!("Decide with: moorage operation retry|resume|roll-back|abandon {id}")
    } else {
        format!("What happened: moorage operation show {id}")
    };
    failure.hint = Some(failure.hint.map_or(hint.clone(), |first| format!("{first}\n{hint}")));
    Err(failure)
}

async fn rest(id: &str, server: &Server, mut progress: impl FnMut(String)) -> Result<Operation, Failure> {
    let mut pause = Duration::from_millis(20);
    let mut away_since = None;
    loop {
        match fetch(server, id).await {
            Ok(document) => {
                away_since = None;
                let operation: Operation = read(&document, "an operation")?;
                if operation.rests() {
                    return Ok(operation);
                }
                progress(operation.progress());
            }
            Err(failure) if failure.passing && away_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE => {
                progress(failure.message);
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

async fn fetch(server: &Server, id: &str) -> Result<Value, Failure> {
    server.get(&format!("/operations/{}", segment(id)), &[]).await
}

async fn list(wanted: List, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let mut query = vec![("limit", wanted.limit.to_string())];
    query.extend(wanted.cluster.map(|cluster| ("cluster", cluster)));
    query.extend(wanted.status.map(|status| ("status", status)));
    let mut items = match server.get("/operations", &query).await?["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    items.truncate(wanted.limit);
    if output == Output::Json {
        return talk.data(&pretty(&json!(items)));
    }
    if items.is_empty() {
        talk.say("There are no such operations.");
        return Ok(());
    }
    let operations = items.iter().map(|item| read(item, "an operation")).collect::<Result<Vec<Operation>, _>>()?;
    // Names are for people; where they cannot be had (a cluster that is gone) the identifier has to do.
    let clusters = server.get_all("/clusters", &[]).await.unwrap_or_default();
    let named = |operation: &Operation| {
        let cluster = clusters.iter().find(|cluster| cluster["id"] == operation.cluster);
        cluster.and_then(|cluster| cluster["name"].as_str()).unwrap_or(&operation.cluster).to_owned()
    };
    let line = |operation: &Operation| {
        vec![
            operation.id.clone(),
            operation.kind.clone(),
            named(operation),
            operation.status.clone(),
            operation.step.clone().unwrap_or_default(),
            operation.created_at.clone().unwrap_or_default(),
            operation.finished_at.clone().unwrap_or_default(),
        ]
    };
    talk.data(&rows(&["id", "kind", "cluster", "status", "step", "created", "finished"], operations.iter().map(line)))
}

fn show(document: &Value, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    match output {
        Output::Json => talk.data(&pretty(document)),
        Output::Table => {
            let operation: Operation = read(document, "an operation")?;
            talk.data(&table(&operation))
        }
    }
}

fn table(operation: &Operation) -> String {
    let problem = operation.problem.clone().map(Failure::from);
    let mut text = properties(&[
        ("id", Some(operation.id.clone())),
        ("kind", Some(operation.kind.clone())),
        ("cluster", Some(operation.cluster.clone())),
        ("status", Some(operation.status.clone())),
        ("step", operation.step.clone()),
        ("attempt", operation.attempt.map(|attempt| attempt.to_string())),
        ("waiting for", operation.waiting_for.clone().filter(|_| !operation.rests())),
        ("problem", problem.as_ref().map(|problem| problem.message.clone())),
        ("why", problem.as_ref().and_then(|problem| problem.why.clone())),
        ("hint", problem.as_ref().and_then(|problem| problem.hint.clone())),
        ("requested by", operation.requested_by.clone()),
        ("created", operation.created_at.clone()),
        ("finished", operation.finished_at.clone()),
    ]);
    if !operation.events.is_empty() {
        let lines =
            operation.events.iter().map(|event| vec![event.at.clone(), event.step.clone(), event.kind.clone(), event.detail.clone()]);
        text += "\n\n";
        text += &rows(&["at", "step", "event", "detail"], lines);
    }
    text
}
