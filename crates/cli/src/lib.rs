//! Client commands over the native API: they know HTTP and JSON, and nothing of how the server works. Data goes to
//! standard output, talk to standard error.

mod catalogue;
mod cluster;
mod connect;
mod create;
mod database;
mod failure;
mod logs;
mod operation;
mod options;
mod parameter;
mod password;
mod people;
mod plan;
mod reply;
mod server;
mod table;
mod talk;

pub use options::{ClientOptions, Output};

use clap::{Args, Subcommand};
use failure::Failure;
use server::Server;
use std::process::ExitCode;
use talk::Talk;

/// The commands that talk to a server; mounted by the binary beside its own.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Creates, lists, shows, starts, stops, restarts and terminates clusters
    Cluster(ClientArguments<cluster::ClusterCommand>),
    /// Creates, lists, shows, quarantines, restores and deletes databases inside clusters
    Database(ClientArguments<database::DatabaseCommand>),
    /// Creates, lists, resets and deletes the accounts by which a database is used
    Credential(ClientArguments<database::CredentialCommand>),
    /// Lists and makes the places where databases of plans are made
    Environment(ClientArguments<plan::EnvironmentCommand>),
    /// Lists and makes the plans that databases are asked for by
    Plan(ClientArguments<plan::PlanCommand>),
    /// Lists and makes the teams that share databases, and says who is in them
    Team(ClientArguments<plan::TeamCommand>),
    /// Loads what the examples of the families' documents assume; only into a server that nobody but this machine reaches
    SampleData(CaArguments),
    /// Lists and shows the parameters that engines have
    ParameterGroup(ClientArguments<parameter::ParameterGroupCommand>),
    /// Lists and shows operations, and decides about those that wait for an operator
    Operation(ClientArguments<operation::OperationCommand>),
    /// Lists, makes, changes and removes the people and programs that sign in
    User(ClientArguments<people::UserCommand>),
    /// Lists, makes and ends projects (tenants)
    Project(ClientArguments<people::ProjectCommand>),
    /// Lists, makes and ends tokens
    Token(ClientArguments<people::TokenCommand>),
    /// Lists, makes and ends access keys, with which requests are signed
    AccessKey(ClientArguments<people::AccessKeyCommand>),
    /// Shows who asked for which change, from where and with what result
    Audit(ClientArguments<people::AuditCommand>),
    /// Lists the sizes that clusters can have
    ServerType(ClientArguments<catalogue::ServerTypeCommand>),
    /// Lists the ranges that endpoints take their addresses from
    Subnet(ClientArguments<catalogue::SubnetCommand>),
    /// Lists what looks after clusters in the background
    Watcher(ClientArguments<catalogue::WatcherCommand>),
    /// Shows what the server's machine can enforce
    Host(ClientArguments<catalogue::HostCommand>),
    /// Opens the engine's own client (mariadb or psql) on a cluster
    Connect(ConnectArguments),
    /// Prints the certificate that signs the endpoints' certificates, for sslrootcert and --ssl-ca
    Ca(CaArguments),
}

/// A command with subcommands, and which server it is for.
#[derive(Debug, Args)]
pub struct ClientArguments<C: Subcommand + std::fmt::Debug> {
    #[command(flatten)]
    options: ClientOptions,
    #[command(subcommand)]
    command: C,
}

/// `moorage connect`.
#[derive(Debug, Args)]
pub struct ConnectArguments {
    #[command(flatten)]
    options: ClientOptions,
    #[command(flatten)]
    connect: connect::Connect,
}

/// `moorage ca`.
#[derive(Debug, Args)]
pub struct CaArguments {
    #[command(flatten)]
    options: ClientOptions,
}

impl ClientCommand {
    fn options(&self) -> &ClientOptions {
        match self {
            Self::ParameterGroup(ClientArguments { options, .. })
            | Self::Cluster(ClientArguments { options, .. })
            | Self::Database(ClientArguments { options, .. })
            | Self::Credential(ClientArguments { options, .. })
            | Self::Environment(ClientArguments { options, .. })
            | Self::Plan(ClientArguments { options, .. })
            | Self::Team(ClientArguments { options, .. })
            | Self::Operation(ClientArguments { options, .. })
            | Self::User(ClientArguments { options, .. })
            | Self::Project(ClientArguments { options, .. })
            | Self::Token(ClientArguments { options, .. })
            | Self::AccessKey(ClientArguments { options, .. })
            | Self::Audit(ClientArguments { options, .. })
            | Self::ServerType(ClientArguments { options, .. })
            | Self::Subnet(ClientArguments { options, .. })
            | Self::Watcher(ClientArguments { options, .. })
            | Self::Host(ClientArguments { options, .. })
            | Self::SampleData(CaArguments { options })
            | Self::Ca(CaArguments { options })
            | Self::Connect(ConnectArguments { options, .. }) => options,
        }
    }
}

/// Carries out a command and says on standard error what went wrong, if anything did. Succeeds only when it worked.
pub async fn run(command: ClientCommand) -> ExitCode {
    let mut talk = Talk::with_terminal();
    let output = command.options().output;
    match carry_out(command, &mut talk).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            talk.fail(&failure, output);
            failure.exit_code()
        }
    }
}

async fn carry_out(command: ClientCommand, talk: &mut Talk) -> Result<(), Failure> {
    let (server, output) = (&Server::reach(command.options())?, command.options().output);
    match command {
        ClientCommand::ParameterGroup(given) => parameter::carry_out(given.command, server, output, talk).await,
        ClientCommand::Cluster(given) => cluster::carry_out(given.command, server, output, talk).await,
        ClientCommand::Database(given) => database::database(given.command, server, output, talk).await,
        ClientCommand::Credential(given) => database::credential(given.command, server, output, talk).await,
        ClientCommand::Environment(given) => plan::environment(given.command, server, output, talk).await,
        ClientCommand::Plan(given) => plan::plan(given.command, server, output, talk).await,
        ClientCommand::Team(given) => plan::team(given.command, server, output, talk).await,
        ClientCommand::Operation(given) => operation::carry_out(given.command, server, output, talk).await,
        ClientCommand::User(given) => people::user(given.command, server, output, talk).await,
        ClientCommand::Project(given) => people::project(given.command, server, output, talk).await,
        ClientCommand::Token(given) => people::token(given.command, server, output, talk).await,
        ClientCommand::AccessKey(given) => people::access_key(given.command, server, output, talk).await,
        ClientCommand::Audit(given) => people::audit(given.command, server, output, talk).await,
        ClientCommand::ServerType(given) => catalogue::server_types(given.command, server, output, talk).await,
        ClientCommand::Subnet(given) => catalogue::subnets(given.command, server, output, talk).await,
        ClientCommand::Watcher(given) => catalogue::watchers(given.command, server, output, talk).await,
        ClientCommand::Host(given) => catalogue::host(given.command, server, output, talk).await,
        ClientCommand::SampleData(_) => plan::sample_data(server, talk).await,
        ClientCommand::Connect(given) => connect::carry_out(given.connect, server, talk).await,
        ClientCommand::Ca(_) => {
            let certificate = server.get_text("/ca").await?;
            talk.data(certificate.trim_end())
        }
    }
}

#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod tests;
