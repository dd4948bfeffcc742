//! Client commands over the native API: they know HTTP and JSON, and nothing of how the server works. Data goes to
//! standard output, talk to standard error.

mod cluster;
mod connect;
mod create;
mod failure;
mod operation;
mod options;
mod password;
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
    Cluster(ClusterArguments),
    /// Lists and shows operations, and decides about those that wait for an operator
    Operation(OperationArguments),
    /// Opens the engine's own client (mariadb or psql) on a cluster
    Connect(ConnectArguments),
    /// Prints the certificate that signs the endpoints' certificates, for sslrootcert and --ssl-ca
    Ca(CaArguments),
}

/// `moorage cluster`.
#[derive(Debug, Args)]
pub struct ClusterArguments {
    #[command(flatten)]
    options: ClientOptions,
    #[command(subcommand)]
    command: cluster::ClusterCommand,
}

/// `moorage operation`.
#[derive(Debug, Args)]
pub struct OperationArguments {
    #[command(flatten)]
    options: ClientOptions,
    #[command(subcommand)]
    command: operation::OperationCommand,
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

/// Carries out a command and says on standard error what went wrong, if anything did. Succeeds only when it worked.
pub async fn run(command: ClientCommand) -> ExitCode {
    let mut talk = Talk::with_terminal();
    match carry_out(command, &mut talk).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            talk.fail(&failure);
            failure.exit_code()
        }
    }
}

async fn carry_out(command: ClientCommand, talk: &mut Talk) -> Result<(), Failure> {
    match command {
        ClientCommand::Cluster(ClusterArguments { options, command }) => {
            cluster::carry_out(command, &Server::reach(&options)?, options.output, talk).await
        }
        ClientCommand::Operation(OperationArguments { options, command }) => {
            operation::carry_out(command, &Server::reach(&options)?, options.output, talk).await
        }
        ClientCommand::Connect(ConnectArguments { options, connect }) => connect::carry_out(connect, &Server::reach(&options)?, talk).await,
        ClientCommand::Ca(CaArguments { options }) => {
            let certificate = Server::reach(&options)?.get_text("/ca").await?;
            talk.data(certificate.trim_end())
        }
    }
}

#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod tests;
