//! Which server, as whom, and how answers look.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What every client command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection and output")]
pub struct ClientOptions {
    /// URL of the server [default: the one of the data directory]
    #[arg(long, global = true, env = "MOORAGE_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// File that holds a bearer token [default: MOORAGE_TOKEN, else the administrator of the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Data directory of a server on this machine, whose bootstrap.json says where it listens and who may ask
    #[arg(long, global = true, env = "MOORAGE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Certificate that a server with https is trusted by
    #[arg(long, global = true, env = "MOORAGE_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Tables for people, JSON for scripts
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// How answers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// Whether to wait for the end of an operation.
#[derive(Debug, Clone, Copy, Args)]
pub struct Waiting {
    /// Wait until it is done [default on a terminal]
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return as soon as it is accepted [default elsewhere]
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
}

impl Waiting {
    /// The decision, given whether somebody watches.
    pub fn wanted(self, on_terminal: bool) -> bool {
        self.wait || (on_terminal && !self.no_wait)
    }
}
