//! `moorage stop`: ends the server, and with `--all` the gateway and every engine too.

use crate::identity::Identity;
use crate::{config, data_directory, first_start, output, serve};
use anyhow::Result;
use clap::Args;
use moorage_domain::{Problem, ProblemCode};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What `moorage stop` takes.
#[derive(Args)]
pub struct StopArguments {
    /// Directory of the installation [default: /var/lib/moorage for root, else ./moorage-data].
    #[arg(long, env = "MOORAGE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Also stop the gateway and every engine cleanly; the next `serve` starts what was running.
    #[arg(long)]
    all: bool,
    /// Configuration file the server was started with.
    #[arg(long, env = "MOORAGE_CONFIG")]
    config: Option<PathBuf>,
}

/// How long the server may take to end.
const SERVER_LIMIT: Duration = Duration::from_secs(15);

/// Stops what was asked for.
pub async fn run(arguments: StopArguments) -> Result<ExitCode> {
    let directory = arguments.data_dir.unwrap_or_else(data_directory::default_path);
    if !first_start::store_file(&directory).exists() && Identity::read(&directory)?.is_none() {
        return Err(Problem::new(ProblemCode::DataDirectoryUnusable, format!("There is no installation in {}.", directory.display()))
            .hint("Name its directory with --data-dir.")
            .into());
    }
    let directory = data_directory::prepare(&directory)?;
    match data_directory::holder(&directory) {
        Some(pid) => end_server(&directory, pid).await?,
        None => output::say("no server runs on this data directory"),
    }
    if !arguments.all {
        return Ok(ExitCode::SUCCESS);
    }
    let _lock = data_directory::lock(&directory)?;
    let config = config::read(arguments.config.as_deref())?;
    let identity = match Identity::read(&directory)? {
        Some(identity) => identity,
        None => {
            let opened = first_start::open(&directory, &config.store_address(&directory), serve::now()).await?;
            opened.store.close().await;
            opened.identity
        }
    };
    moorage_host_local::stop_all(serve::host_options(&directory, &identity, &config)?).await?;
    output::say("gateway and engines are stopped; the next `moorage serve` starts what was running");
    Ok(ExitCode::SUCCESS)
}

async fn end_server(directory: &Path, pid: u32) -> Result<()> {
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    kill_process(process, Signal::TERM)?;
    let begun = Instant::now();
    // The lock tells, not the process: one that its parent has not waited for yet looks alive.
    while data_directory::holder(directory) == Some(pid) {
        if begun.elapsed() > SERVER_LIMIT {
            return Err(Problem::new(
                ProblemCode::HostFailed,
                format!("The server (process {pid}) did not end within {} s.", SERVER_LIMIT.as_secs()),
            )
            .hint(format!("Look at its log; `kill -9 {pid}` ends it without harm to the databases."))
            .into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    output::say(&format!("the server (process {pid}) has ended"));
    Ok(())
}
