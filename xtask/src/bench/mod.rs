//! Benchmarks: ours, the floor or the peer, and the ratio, from one alternating run.

mod engines;
mod installation;
mod provision;

use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What can be measured.
#[derive(clap::Subcommand)]
pub enum Bench {
    /// From POST to the first query through the endpoint, beside the engine's own bare start and the stock way by hand
    Provision {
        /// Rounds; in each, every way is taken once.
        #[arg(long, default_value_t = 9)]
        rounds: usize,
        /// The program to measure.
        #[arg(long, default_value = "target/release/moorage")]
        program: PathBuf,
        /// Where data goes while it is measured: a directory on the file system to measure, that every account may pass through.
        #[arg(long, default_value = "/var/tmp")]
        directory: PathBuf,
    },
}

/// Runs one.
pub fn run(bench: Bench) -> Result<ExitCode> {
    match bench {
        Bench::Provision { rounds, program, directory } => provision::run(rounds, &program.canonicalize()?, &directory),
    }
}

/// The middle of some durations.
pub fn median(values: &[Duration]) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
