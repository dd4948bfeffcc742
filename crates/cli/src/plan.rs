//! `moorage environment`, `plan`, `team` and `sample-data`: what databases are asked for by.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::create::Engine;
use crate::failure::Failure;
use crate::options::Output;
use crate::people::show_one;
use crate::server::{Server, segment};
use crate::table::rows;
use crate::talk::Talk;

/// What can be done with environments.
#[derive(Debug, Subcommand)]
pub enum EnvironmentCommand {
    /// Lists environments
    List,
    /// Makes an environment
    Create(CreateEnvironment),
}

/// Whom an environment serves.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Stage {
    /// Those who build
    Development,
    /// Those who use what was built
    Production,
}

/// An environment to be made.
#[derive(Debug, Args)]
pub struct CreateEnvironment {
    /// Its name
    name: String,
    /// Whom it serves
    #[arg(long, value_enum, default_value_t = Stage::Development)]
    stage: Stage,
    /// The subnet of its endpoints [default: the first one]
    #[arg(long)]
    subnet: Option<String>,
}

/// What can be done with plans.
#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Lists plans
    List,
    /// Makes a plan and offers it in environments
    Create(CreatePlan),
}

/// A plan to be made.
#[derive(Debug, Args)]
pub struct CreatePlan {
    /// Its name
    name: String,
    /// The engine of its databases
    #[arg(long, value_enum)]
    engine: Engine,
    /// An environment it is offered in; may be given several times
    #[arg(long, value_name = "NAME", required = true)]
    environment: Vec<String>,
    /// What it is, for people
    #[arg(long, default_value = "")]
    description: String,
    /// The size of its clusters
    #[arg(long, default_value = "db1v1m1")]
    server_type: String,
    /// The most their volumes may take, in GiB
    #[arg(long, default_value_t = 16)]
    size_gb: u32,
    /// How many databases share a cluster; with 1 each has one of its own
    #[arg(long, default_value_t = 1)]
    capacity: u32,
    /// Its clusters have a standby
    #[arg(long)]
    highly_available: bool,
}

/// What can be done with teams.
#[derive(Debug, Subcommand)]
pub enum TeamCommand {
    /// Lists teams
    List,
    /// Makes a team
    Create(CreateTeam),
    /// Puts a user into a team
    Add(Membership),
    /// Takes a user out of a team
    Remove(Membership),
}

/// A team to be made.
#[derive(Debug, Args)]
pub struct CreateTeam {
    /// Its name
    name: String,
    /// A user who is in it; may be given several times
    #[arg(long, value_name = "NAME")]
    member: Vec<String>,
    /// Where it is written to
    #[arg(long)]
    email: Option<String>,
    /// It looks after all databases of the project, those in quarantine included
    #[arg(long)]
    administers: bool,
    /// Databases at most in each environment; 0: as many as it likes
    #[arg(long, default_value_t = 2)]
    limit: u32,
}

/// A user in a team.
#[derive(Debug, Args)]
pub struct Membership {
    /// Name or identifier of the team
    team: String,
    /// Name of the user
    user: String,
}

const ENVIRONMENT: &[&str] = &["name", "stage", "subnet", "id"];
const PLAN: &[&str] = &["name", "engine", "server_type", "size_gb", "capacity", "highly_available", "active", "environments", "id"];
const TEAM: &[&str] = &["name", "administers", "allocation_limit", "email", "id"];

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

async fn list(server: &Server, path: &str, fields: &[&str], output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let items = server.get_all(path, &[]).await?;
    if output == Output::Json {
        return talk.data(&crate::cluster::pretty(&json!(items)));
    }
    let headings: Vec<String> = fields.iter().map(|field| field.replace('_', " ")).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    talk.data(&rows(&headings, items.iter().map(|item| fields.iter().map(|field| cell(&item[*field])).collect())))
}

/// Carries out an environment command.
pub async fn environment(command: EnvironmentCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    match command {
        EnvironmentCommand::List => list(server, "/environments", ENVIRONMENT, output, talk).await,
        EnvironmentCommand::Create(new) => {
            let stage = match new.stage {
                Stage::Development => "development",
                Stage::Production => "production",
            };
            let body = json!({"name": new.name, "stage": stage, "subnet": new.subnet});
            show_one(&server.post("/environments", &body).await?, ENVIRONMENT, output, talk)
        }
    }
}

/// Carries out a plan command.
pub async fn plan(command: PlanCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    match command {
        PlanCommand::List => list(server, "/plans", PLAN, output, talk).await,
        PlanCommand::Create(new) => {
            let body = json!({
                "name": new.name,
                "description": new.description,
                "engine": new.engine.name(),
                "server_type": new.server_type,
                "size_gb": new.size_gb,
                "capacity": new.capacity,
                "highly_available": new.highly_available,
                "environments": new.environment,
            });
            show_one(&server.post("/plans", &body).await?, PLAN, output, talk)
        }
    }
}

/// Carries out a team command.
pub async fn team(command: TeamCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let member = |Membership { team, user }: &Membership| format!("/teams/{}/members/{}", segment(team), segment(user));
    match command {
        TeamCommand::List => list(server, "/teams", TEAM, output, talk).await,
        TeamCommand::Create(new) => {
            let body = json!({
                "name": new.name,
                "email": new.email,
                "administers": new.administers,
                "allocation_limit": new.limit,
                "members": new.member,
            });
            show_one(&server.post("/teams", &body).await?, TEAM, output, talk)
        }
        TeamCommand::Add(membership) => {
            server.put(&member(&membership), &json!({})).await?;
            talk.say(&format!("'{}' is in '{}'.", membership.user, membership.team));
            Ok(())
        }
        TeamCommand::Remove(membership) => {
            server.delete(&member(&membership)).await?;
            talk.say(&format!("'{}' is not in '{}' any more.", membership.user, membership.team));
            Ok(())
        }
    }
}

/// Loads the sample data.
pub async fn sample_data(server: &Server, talk: &mut Talk) -> Result<(), Failure> {
    server.post("/sample-data", &json!({})).await?;
    talk.say("The sample data is there: user 'admin' with the password '123456', environment 1 'laboratory', plan 1 'small'.");
    Ok(())
}
