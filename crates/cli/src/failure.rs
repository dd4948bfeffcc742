//! What went wrong, as it is told on standard error: what happened, why, what to do next.

use serde::Deserialize;
use std::fmt::{Display, Formatter};
use std::process::ExitCode;

/// A command that did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub message: String,
    /// Why.
    pub why: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// Stable code of the problem, where the server gave one.
    pub code: Option<String>,
    /// Called off by the user rather than failed.
    pub interrupted: bool,
    /// The server could not be reached or was not ready; trying again may help.
    pub passing: bool,
}

/// problem+json as the server sends it (RFC 9457), every part optional.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ProblemBody {
    #[serde(rename = "type")]
    kind: Option<String>,
    title: Option<String>,
    message: Option<String>,
    detail: Option<String>,
    hint: Option<String>,
    field: Option<String>,
    code: Option<String>,
    errors: Vec<FieldError>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct FieldError {
    field: Option<String>,
    title: String,
}

impl Display for FieldError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.title),
            None => f.write_str(&self.title),
        }
    }
}

impl Failure {
    /// Something happened.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), why: None, hint: None, code: None, interrupted: false, passing: false }
    }
    /// Adds why.
    pub fn why(mut self, why: impl Display) -> Self {
        self.why = Some(why.to_string());
        self
    }
    /// Adds what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Said to be passing.
    pub fn passing(mut self) -> Self {
        self.passing = true;
        self
    }
    /// The user pressed Ctrl-C.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self { interrupted: true, ..Self::new(message) }
    }
    /// For scripts: title, code, detail and hint under the names they have in a problem of the API (RFC 9457), without what is not known.
    pub fn in_json(&self) -> String {
        let parts =
            [("title", Some(&self.message)), ("code", self.code.as_ref()), ("detail", self.why.as_ref()), ("hint", self.hint.as_ref())];
        let known = parts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.as_str().into())));
        serde_json::Value::Object(known.collect()).to_string()
    }
    /// What the process ends with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.interrupted { 130 } else { 1 })
    }
}

impl From<ProblemBody> for Failure {
    fn from(body: ProblemBody) -> Self {
        let code = body.code.or_else(|| body.kind.and_then(|kind| kind.rsplit('/').next().map(str::to_owned)));
        let message = body.message.or(body.title).unwrap_or_else(|| "The server refused.".to_owned());
        let message = match body.field {
            Some(field) => format!("{field}: {message}"),
            None => message,
        };
        // The first of several failing fields is the message itself.
        let others = body.errors.iter().map(ToString::to_string).filter(|other| *other != message);
        let why: Vec<String> = body.detail.into_iter().filter(|detail| *detail != message).chain(others).collect();
        let why = (!why.is_empty()).then(|| why.join("\n"));
        Self { why, hint: body.hint, code, ..Self::new(message) }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(code) = self.code.as_ref().filter(|code| *code != "about:blank") {
            write!(f, " [{code}]")?;
        }
        for (label, text) in [("why", &self.why), ("hint", &self.hint)] {
            if let Some(text) = text {
                write!(f, "\n{label:>5}: {}", text.trim_end().replace('\n', "\n       "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_as_message_why_and_hint() {
        let body: ProblemBody = serde_json::from_str(
            r#"{"type": "https://x/problems/name-taken", "title": "The name is taken.", "status": 409, "detail": "Two\nlines.", "hint": "Choose another."}"#,
        )
        .expect("read");
        assert_eq!(
            Failure::from(body).to_string(),
            "error: The name is taken. [name-taken]\n  why: Two\n       lines.\n hint: Choose another."
        );
        let body: ProblemBody = serde_json::from_str(
            r#"{"title": "A.", "field": "name", "errors": [{"field": "name", "title": "A."}, {"field": "port", "title": "B."}]}"#,
        )
        .expect("read");
        assert_eq!(Failure::from(body).to_string(), "error: name: A.\n  why: port: B.");
        assert_eq!(Failure::from(ProblemBody::default()).to_string(), "error: The server refused.");
    }
}
