//! Programs of engines that say something of themselves and end.

use crate::files::Account;
use crate::problems::{Doing, failed};
use moorage_domain::layout::Program;
use moorage_domain::{Problem, ProblemCode};
use moorage_host::HostResult;
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// How long one may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How much of it is read.
const MOST_BYTES: u64 = 4 << 20;

/// What a program says, run as an account that owns nothing.
pub(crate) async fn output_of(program: &Program, account: Option<Account>) -> HostResult<String> {
    let running = "ask an engine's program about itself";
    let Some((path, arguments)) = program.argv.split_first() else {
        return Err(Problem::new(ProblemCode::HostFailed, "There is no program to ask.").into());
    };
    let mut command = Command::new(path);
    command.args(arguments).env_clear().envs(program.environment.iter().map(|(name, value)| (name, value))).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    let mut child = command.spawn().doing(running)?;
    let asked = tokio::time::timeout(LIMIT, async {
        let mut said = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(MOST_BYTES).read_to_end(&mut said).await?;
        }
        Ok::<_, io::Error>((child.wait().await?, said))
    });
    let (status, said) = match asked.await {
        Ok(ended) => ended.doing(running)?,
        Err(late) => return Err(failed(running, io::Error::new(io::ErrorKind::TimedOut, late))),
    };
    if !status.success() {
        return Err(failed(running, io::Error::other(format!("it ended with {status}"))));
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}
