//! Benchmarks: ours, the floor or the peer, and the ratio, from one alternating run.

mod api;
mod databases;
mod engines;
mod failover;
mod footprint;
mod gateway;
mod haproxy;
mod installation;
mod limits;
mod load;
mod provision;
mod report;

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
    /// From asking for a database by a plan to its first query, and pages of two hundred databases while their engine is stopped
    Databases {
        /// Rounds; in each, every way is taken once.
        #[arg(long, default_value_t = 15)]
        rounds: usize,
        /// The program to measure.
        #[arg(long, default_value = "target/release/moorage")]
        program: PathBuf,
        /// Where data goes while it is measured: a directory on the file system to measure, that every account may pass through.
        #[arg(long, default_value = "/var/tmp")]
        directory: PathBuf,
    },
    /// Signed requests per second and their times, with ten thousand clusters in the store
    Api {
        /// Rounds.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Seconds of load in each.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// The program to measure.
        #[arg(long, default_value = "target/release/moorage")]
        program: PathBuf,
        /// Where data goes while it is measured: a directory that every account may pass through.
        #[arg(long, default_value = "/var/tmp")]
        directory: PathBuf,
    },
    /// Memory of server, gateway and shims with twenty clusters, after work and a rest
    Footprint {
        /// Seconds of rest before anything is measured.
        #[arg(long, default_value_t = 600)]
        rest: u64,
        /// The program to measure.
        #[arg(long, default_value = "target/release/moorage")]
        program: PathBuf,
        /// Where data goes while it is measured: a directory that every account may pass through.
        #[arg(long, default_value = "/var/tmp")]
        directory: PathBuf,
    },
    /// Queries through the gateway, beside HAProxy on the same engines, and beside no gateway at all
    Gateway {
        /// Rounds; in each, every way is taken once.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Seconds that each way is measured for in a round.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// The program to measure.
        #[arg(long, default_value = "target/release/moorage")]
        program: PathBuf,
        /// Where data goes while it is measured: a directory that every account may pass through.
        #[arg(long, default_value = "/var/tmp")]
        directory: PathBuf,
    },
    /// What a neighbour feels of a cluster that eats memory, and how clusters share processors
    Limits {
        /// Rounds.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Seconds that each thing is measured for in a round.
        #[arg(long, default_value_t = 8)]
        seconds: u64,
        /// The program to measure.
        #[arg(long, default_value = "target/release/moorage")]
        program: PathBuf,
        /// Where data goes while it is measured: a directory that every account may pass through.
        #[arg(long, default_value = "/var/tmp")]
        directory: PathBuf,
    },
    /// How long writing pauses when an instance of two is killed or hangs, and during a switchover, beside Patroni
    Failover {
        /// Rounds at most of every event; those that take long have fewer.
        #[arg(long, default_value_t = 50)]
        rounds: usize,
        /// Only this event; may be repeated.
        #[arg(long = "event", value_enum)]
        events: Vec<failover::Event>,
        /// Only databases of these; may be repeated.
        #[arg(long = "of", value_enum)]
        makers: Vec<failover::Maker>,
        /// The program to measure.
        #[arg(long, default_value = "target/release/moorage")]
        program: PathBuf,
        /// Where data goes while it is measured: a directory that every account may pass through.
        #[arg(long, default_value = "/var/tmp")]
        directory: PathBuf,
    },
}

/// Runs one.
pub fn run(bench: Bench) -> Result<ExitCode> {
    match bench {
        Bench::Provision { rounds, program, directory } => provision::run(rounds, &program.canonicalize()?, &directory),
        Bench::Databases { rounds, program, directory } => databases::run(rounds, &program.canonicalize()?, &directory),
        Bench::Api { rounds, seconds, program, directory } => api::run(rounds, seconds, &program.canonicalize()?, &directory),
        Bench::Failover { rounds, events, makers, program, directory } => {
            failover::run(&failover::Choice { rounds, events, makers }, &program.canonicalize()?, &directory)
        }
        Bench::Footprint { rest, program, directory } => footprint::run(rest, &program.canonicalize()?, &directory),
        Bench::Limits { rounds, seconds, program, directory } => limits::run(rounds, seconds, &program.canonicalize()?, &directory),
        Bench::Gateway { rounds, seconds, program, directory } => gateway::run(rounds, seconds, &program.canonicalize()?, &directory),
    }
}

/// The middle of some durations.
pub fn median(values: &[Duration]) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
