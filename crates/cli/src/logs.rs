//! `moorage cluster logs`: the end of an engine's log, and what is added to it.

use clap::Args;
use std::time::Duration;

use crate::failure::Failure;
use crate::server::{Server, segment};
use crate::talk::Talk;

/// How often a log that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How much of a log.
#[derive(Debug, Args)]
pub struct Logs {
    /// Name or identifier of the cluster
    cluster: String,
    /// How much of its end, at most
    #[arg(long, default_value_t = 65536)]
    bytes: u64,
    /// Go on with what is added, until interrupted
    #[arg(long, short)]
    follow: bool,
}

/// Prints the log; follows it for as long as the server answers.
pub async fn carry_out(logs: &Logs, server: &Server, talk: &mut Talk) -> Result<(), Failure> {
    let path = format!("/clusters/{}/logs?bytes={}", segment(&logs.cluster), logs.bytes);
    let mut shown = server.get_text(&path).await?;
    say(&shown, talk)?;
    if !logs.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match server.get_text(&path).await {
            Ok(now) => {
                say(added(&shown, &now), talk)?;
                shown = now;
            }
            Err(failure) if failure.passing => {}
            Err(failure) => return Err(failure),
        }
    }
}

fn say(lines: &str, talk: &mut Talk) -> Result<(), Failure> {
    if lines.is_empty() { Ok(()) } else { talk.data(lines.trim_end_matches('\n')) }
}

/// What is new in the end of a log, after an earlier end of it: both begin at the start of a line, the later one maybe further on.
fn added<'a>(before: &str, now: &'a str) -> &'a str {
    let starts = std::iter::once(0).chain(before.match_indices('\n').map(|(at, _)| at + 1));
    let seen = starts.filter_map(|start| before.get(start..)).find(|rest| now.starts_with(rest)).map_or(0, str::len);
    now.get(seen..).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_added_is_new() {
        assert_eq!(added("a\nb\n", "a\nb\nc\n"), "c\n");
        assert_eq!(added("a\nb\n", "a\nb\n"), "");
        assert_eq!(added("a\nb\nc\n", "b\nc\nd\ne\n"), "d\ne\n", "the beginning has moved on");
        assert_eq!(added("a\n", "x\ny\n"), "x\ny\n", "more was added than is looked at, or the log began anew");
        assert_eq!(added("", "x\n"), "x\n");
    }
}
