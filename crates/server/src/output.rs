//! What a person at the terminal reads: data on standard output, talk on standard error.

use moorage_domain::Problem;
use std::io::Write;

/// Says what went wrong. A problem keeps its reason and its advice; other causes are told as a chain.
pub fn complain(error: &anyhow::Error) {
    let mut out = std::io::stderr().lock();
    let written = match error.downcast_ref::<Problem>() {
        Some(problem) => {
            let mut text = format!("error: {}\n", problem.message);
            if let Some(detail) = &problem.detail {
                text.push_str(&format!("  why: {detail}\n"));
            }
            if let Some(hint) = &problem.hint {
                text.push_str(&format!(" hint: {hint}\n"));
            }
            out.write_all(text.as_bytes())
        }
        None => writeln!(out, "error: {error:#}"),
    };
    // Nobody is listening when standard error is closed.
    drop(written);
}

/// Says something on the way.
pub fn say(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Prints data.
pub fn print(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}
