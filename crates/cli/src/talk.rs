//! Where words go: data to standard output, everything else to standard error, progress only where somebody watches.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Duration;

use crate::failure::Failure;
use crate::options::Output;

/// The two outputs and whether a person watches.
pub struct Talk {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    terminal: bool,
    unread: bool,
}

impl Talk {
    /// The process's own outputs.
    pub fn with_terminal() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { out: Box::new(std::io::stdout()), err: Box::new(std::io::stderr()), terminal, unread: false }
    }

    /// Outputs of a test, without a terminal.
    #[cfg(test)]
    pub fn into(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), err: Box::new(err), terminal: false, unread: false }
    }

    /// Whether a person watches and can be asked.
    pub fn on_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes data as a line (or lines) of its own. A reader that went away is not a failure.
    pub fn data(&mut self, text: &str) -> Result<(), Failure> {
        match writeln!(self.out, "{}", harmless(text)).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::new("The answer could not be written to standard output.").why(error))
            }
            written => {
                self.unread |= written.is_err();
                Ok(())
            }
        }
    }

    /// Whether the reader of the data went away.
    pub fn is_unread(&self) -> bool {
        self.unread
    }

    /// Says something that is not data; whether anybody hears it does not matter.
    pub fn say(&mut self, text: &str) {
        let _unheard = writeln!(self.err, "{}", harmless(text));
    }

    /// Says what went wrong: in sentences, or as a JSON object where answers are JSON.
    pub fn fail(&mut self, failure: &Failure, output: Output) {
        match output {
            Output::Table => self.say(&failure.to_string()),
            Output::Json => self.say(&failure.in_json()),
        }
    }

    /// A line that shows progress, where somebody watches.
    pub fn progress(&self) -> ProgressBar {
        let target = if self.terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4}  {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}

/// The text with control characters made visible: an engine's log holds what its tenants say, and a terminal obeys it.
fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_given_no_orders() {
        assert_eq!(harmless("one\ttwo\nthree ü"), "one\ttwo\nthree ü");
        assert_eq!(harmless("\u{1b}[2Jgone\u{7}\r\u{9b}"), "\\u{1b}[2Jgone\\u{7}\\r\\u{9b}");
    }
}
