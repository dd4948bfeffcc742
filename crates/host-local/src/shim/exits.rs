//! How a process ended and why, as far as can be known.

use super::protocol::{CANNOT_RUN, PastEnd, ProcessFile, StatusFile, now};
use crate::files;
use moorage_domain::instance::ProcessExit;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

/// Characters of an engine's own words that are kept.
pub(super) const MOST_WORDS: usize = 2_000;
/// Past ends that are kept; all but the last few keep only the end of their words.
const MOST_ENDS: usize = 20;
const ENDS_WITH_ALL_WORDS: usize = 3;
/// Room below which a volume counts as full.
const FULL_BELOW: u64 = 1 << 20;

/// The last whole lines of a text, at most `most` characters.
pub(crate) fn last_lines(text: &str, most: usize) -> String {
    let text = text.trim_end();
    let count = text.chars().count();
    if count <= most {
        return text.trim_start_matches('\n').to_owned();
    }
    let cut = text.char_indices().nth(count - most).map_or(0, |(at, _)| at);
    let (before, rest) = text.split_at(cut);
    if before.ends_with('\n') {
        return rest.to_owned();
    }
    rest.split_once('\n').map_or(rest, |(_, whole)| whole).to_owned()
}

/// Whether words say that a file system was full.
pub(crate) fn speaks_of_full(words: &str) -> bool {
    ["No space left on device", "Disk quota exceeded", "Errcode: 28", "Errcode: 122", "errno: 28", "error: 28", "error 28", "Disk full"]
        .iter()
        .any(|sign| words.contains(sign))
}

/// Describes an end. `status` is none when nobody was there to see it.
pub(super) fn describe(
    process: &ProcessFile,
    state: &StatusFile,
    status: Option<ExitStatus>,
    own_log: &Path,
    own_log_from: u64,
) -> ProcessExit {
    let code = status.and_then(|status| status.code());
    let signal = status.and_then(|status| status.signal());
    let logged = process.log.as_ref().and_then(|log| files::tail(log, state.log_from, 16 * 1024).ok()).unwrap_or_default();
    let words = if logged.trim().is_empty() && code == Some(CANNOT_RUN) {
        files::tail(own_log, own_log_from, 4096).unwrap_or_default()
    } else {
        logged
    };
    let last_words = last_lines(&words, MOST_WORDS);
    let full = files::free_room(&process.working_directory).is_some_and(|room| room < FULL_BELOW);
    let killed_for_memory = process.groups.memory_kills() > state.memory_kills_before;
    ProcessExit {
        at: now(),
        code,
        signal,
        out_of_memory: killed_for_memory && (signal == Some(9) || status.is_none()),
        volume_full: full || speaks_of_full(&last_words),
        last_words,
    }
}

/// Adds an end to the history and keeps it short.
pub(super) fn remember(history: &mut Vec<PastEnd>, end: PastEnd) {
    history.push(end);
    let excess = history.len().saturating_sub(MOST_ENDS);
    history.drain(..excess);
    let long = history.len().saturating_sub(ENDS_WITH_ALL_WORDS);
    for end in history.iter_mut().take(long) {
        end.exit.last_words = last_lines(&end.exit.last_words, 200);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_whole_lines_of_at_most_the_given_length() {
        assert_eq!(last_lines("one\ntwo\nthree\n", 100), "one\ntwo\nthree");
        assert_eq!(last_lines("one\ntwo\nthree\n", 5), "three");
        assert_eq!(last_lines("one\ntwo\nthree\n", 7), "three");
        assert_eq!(last_lines("a line that is too long", 8), "too long");
        assert_eq!(last_lines("\u{e4}\u{f6}\u{fc}", 2), "\u{f6}\u{fc}");
    }

    #[test]
    fn history_keeps_twenty_ends_and_shortens_old_words() {
        let mut history = Vec::new();
        for incarnation in 0..30 {
            let exit = ProcessExit {
                at: now(),
                code: Some(1),
                signal: None,
                out_of_memory: false,
                volume_full: false,
                last_words: "w".repeat(2_000),
            };
            remember(&mut history, PastEnd { incarnation, exit, reason: None, asked: false });
        }
        assert_eq!(history.len(), 20);
        assert_eq!(history[0].incarnation, 10);
        assert_eq!(history[0].exit.last_words.len(), 200);
        assert_eq!(history[19].exit.last_words.len(), 2_000);
    }
}
