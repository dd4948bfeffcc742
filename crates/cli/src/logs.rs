//! `moorage cluster logs`: the end of an engine's log, and what is added to it.

use clap::Args;
use std::time::Duration;

use crate::failure::Failure;
use crate::server::{Server, segment};
use crate::talk::Talk;

/// How often a log that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most the server gives at once.
const MOST_BYTES: u64 = 1 << 20;

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

/// Prints the log; follows it for as long as the server answers and somebody reads.
pub async fn carry_out(logs: &Logs, server: &Server, talk: &mut Talk) -> Result<(), Failure> {
    let end = async |bytes: u64| server.get_text(&format!("/clusters/{}/logs?bytes={bytes}", segment(&logs.cluster))).await;
    let mut shown = end(logs.bytes).await?;
    say(&shown, talk)?;
    while logs.follow && !talk.is_unread() {
        tokio::time::sleep(LOOK_EVERY).await;
        let looked = match end(logs.bytes).await {
            Ok(now) if added(&shown, &now).is_none() => end(MOST_BYTES).await,
            looked => looked,
        };
        match looked {
            Ok(now) => {
                let new = added(&shown, &now).unwrap_or_else(|| {
                    talk.say("The log grew faster than it could be read, or began anew: lines may be missing here.");
                    &now
                });
                say(new, talk)?;
                shown = now;
            }
            Err(failure) if failure.passing => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

fn say(lines: &str, talk: &mut Talk) -> Result<(), Failure> {
    if lines.is_empty() { Ok(()) } else { talk.data(lines.trim_end_matches('\n')) }
}

/// What is new in the end of a log, after an earlier end of it: both begin at the start of a line, either maybe further on than the other.
/// None where they have no line in common.
fn added<'a>(before: &str, now: &'a str) -> Option<&'a str> {
    let lines = before.split_inclusive('\n').scan(0, |start, line| Some(std::mem::replace(start, *start + line.len())));
    let seen = lines.filter_map(|start| before.get(start..)).find(|rest| now.starts_with(rest));
    match seen {
        Some(rest) => now.get(rest.len()..),
        None if before.is_empty() => Some(now),
        None => {
            let at = now.rfind(before).filter(|at| *at == 0 || now[..*at].ends_with('\n'))?;
            now.get(at + before.len()..)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_added_is_new() {
        assert_eq!(added("a\nb\n", "a\nb\nc\n"), Some("c\n"));
        assert_eq!(added("a\nb\n", "a\nb\n"), Some(""));
        assert_eq!(added("a\nb\nc\n", "b\nc\nd\ne\n"), Some("d\ne\n"), "the beginning has moved on");
        assert_eq!(added("b\nc\n", "a\nb\nc\nd\n"), Some("d\n"), "more of it was asked for");
        assert_eq!(added("b\n", "ab\nx\n"), None, "the end of a line is not that line");
        assert_eq!(added("a\n", "x\ny\n"), None, "more was added than is looked at, or the log began anew");
        assert_eq!(added("", "x\n"), Some("x\n"));
    }
}
