//! Checks that people and `make test` run alike. `cargo xtask check` tells whether the house rules hold.

mod bench;
mod check;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tasks around the source.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks the house rules: who may depend on whom, pages for problems and operations, sizes, words
    Check,
    /// Measures; figures go to the terminal and to target/bench/
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().task {
        Task::Check => check::run(),
        Task::Bench(bench) => bench::run(bench),
    }
}
