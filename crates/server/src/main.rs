//! Composition root: the one place that knows every room, and the command line that enters them.
//!
//! The hidden commands `shim`, `exec` and `gateway` run without the control plane's runtime: they outlive `serve`.

mod backup_file;
mod config;
mod config_command;
mod data_directory;
mod engine_command;
mod first_start;
mod https;
mod identity;
mod logging;
mod network;
mod output;
mod place;
mod rebuild;
mod reserve;
mod serve;
mod stop;
mod store_command;
mod traces;

use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// A self-hosted database-as-a-service: real MariaDB and PostgreSQL clusters on one machine.
#[derive(Parser)]
#[command(
    name = "moorage",
    version,
    about = "A self-hosted database-as-a-service: real MariaDB and PostgreSQL clusters on one machine",
    after_help = "serve, stop, engine, config, store and completions work without a server; the others talk to one, which they find by \
                  --data-dir (MOORAGE_DATA_DIR) or --server (MOORAGE_SERVER).",
    max_term_width = 110
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server in the foreground. Engines and gateway keep running when it ends.
    Serve(serve::ServeArguments),
    /// Stop the server, the gateway and every engine of a data directory; the next `serve` starts what was running.
    Stop(stop::StopArguments),
    /// Engine versions on this machine (works without a server).
    #[command(subcommand)]
    Engine(engine_command::EngineCommand),
    /// The configuration file (works without a server).
    #[command(subcommand)]
    Config(config_command::ConfigCommand),
    /// What the control plane itself keeps: backup, restore, copy to PostgreSQL, rebuild (works without a server).
    #[command(subcommand)]
    Store(store_command::StoreCommand),
    /// Print a script that completes this program's commands in a shell (works without a server).
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    #[command(flatten)]
    Client(moorage_cli::ClientCommand),
    /// Keep one process (started by the server).
    #[command(hide = true)]
    Shim { directory: PathBuf },
    /// Become an engine's process (started by a shim).
    #[command(hide = true)]
    Exec { directory: PathBuf },
    /// Carry users' connections (started by a shim).
    #[command(hide = true)]
    Gateway {
        directory: PathBuf,
        control: PathBuf,
        /// The account that administers the engines of this host; nobody may use it.
        #[arg(long)]
        administrator: Option<String>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Shim { directory } => moorage_host_local::shim_main(&directory),
        Command::Exec { directory } => moorage_host_local::exec_main(&directory),
        Command::Gateway { directory, control, administrator } => {
            logging::start();
            let options = moorage_gateway::Options { administrator, ..moorage_gateway::Options::default() };
            moorage_gateway::main(&directory, &control, options)
        }
        Command::Serve(arguments) => in_runtime(serve::run(arguments)),
        Command::Stop(arguments) => in_runtime(stop::run(arguments)),
        Command::Engine(command) => in_runtime(engine_command::run(command)),
        Command::Config(command) => in_runtime(async { config_command::run(command) }),
        Command::Store(command) => in_runtime(store_command::run(command)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "moorage", &mut script);
            output::print(String::from_utf8_lossy(&script).trim_end());
            ExitCode::SUCCESS
        }
        Command::Client(command) => in_runtime(async { Ok(moorage_cli::run(command).await) }),
    }
}

/// Runs a command to its end; what went wrong is told as message, reason and advice.
fn in_runtime(work: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&anyhow::Error::new(error).context("The runtime could not be started"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(work);
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ended.unwrap_or_else(|error| {
        output::complain(&error);
        ExitCode::FAILURE
    })
}
