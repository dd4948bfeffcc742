//! Requests to commands: JSON or form bodies, every fault named in the original's words.

use super::ids;
use crate::kit::exchange::Content;
use crate::kit::query::Query;
use crate::kit::refusal::{Refusal, header};
use http::{HeaderMap, HeaderValue};
use moorage_domain::{Problem, ProblemCode};
use serde_json::{Map, Value};

/// A body as fields, with the faults found in them so far.
#[derive(Debug)]
pub(crate) struct Fields {
    values: Map<String, Value>,
    faults: Vec<Problem>,
}

fn media_type(headers: &HeaderMap) -> String {
    header(headers, "content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A body in parts as one of JSON; others as they are.
pub(crate) async fn in_one_part(content: Content, headers: &mut HeaderMap) -> Result<Content, Refusal> {
    if media_type(headers) != "multipart/form-data" || content.bytes()?.is_empty() {
        return Ok(content);
    }
    let unreadable = |error: multer::Error| Problem::new(ProblemCode::MalformedBody, format!("Multipart form parse error - {error}"));
    let boundary = multer::parse_boundary(header(headers, "content-type").unwrap_or_default()).map_err(unreadable)?;
    let mut parts = multer::Multipart::with_reader(content.bytes()?.as_ref(), boundary);
    let mut values = Map::new();
    while let Some(part) = parts.next_field().await.map_err(unreadable)? {
        let Some(name) = part.name().map(str::to_owned) else { continue };
        values.insert(name, Value::String(part.text().await.map_err(unreadable)?));
    }
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Content::from(Value::from(values).to_string()))
}

impl Fields {
    /// Reads a body by its media type. One without bytes has no fields, whatever it says it is.
    pub(crate) fn of(content: &Content, headers: &HeaderMap) -> Result<Self, Refusal> {
        let bytes = content.bytes()?;
        let empty = || Ok(Self { values: Map::new(), faults: Vec::new() });
        match media_type(headers).as_str() {
            "application/json" if bytes.iter().all(u8::is_ascii_whitespace) => empty(),
            "application/json" => match serde_json::from_slice(bytes) {
                Ok(Value::Object(values)) => Ok(Self { values, faults: Vec::new() }),
                Ok(_) => Err(Problem::new(ProblemCode::MalformedBody, "JSON parse error - an object was expected").into()),
                Err(error) => {
                    let words = error.to_string();
                    Err(Problem::new(ProblemCode::MalformedBody, format!("JSON parse error - {words}")).into())
                }
            },
            "application/x-www-form-urlencoded" | "" => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Self { values: Query::parse(Some(text)).into_map(), faults: Vec::new() }),
                Err(_) => Err(Problem::new(ProblemCode::MalformedBody, "The form cannot be read: it is not UTF-8.").into()),
            },
            _ if bytes.is_empty() => empty(),
            other => {
                let words = format!("Unsupported media type '{}' in request.", other.chars().take(100).collect::<String>());
                Err(Problem::new(ProblemCode::UnsupportedMediaType, words).into())
            }
        }
    }

    /// Notes a fault of a field.
    pub(crate) fn fault(&mut self, field: &str, words: impl Into<String>) {
        self.faults.push(Problem::invalid(field, words.into()));
    }
    /// Whether a field was sent at all.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.values.contains_key(field)
    }
    /// A text; blank ones count as absent.
    pub(crate) fn text(&mut self, field: &str) -> Option<String> {
        let found = match self.values.get(field)? {
            Value::Null => return None,
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => {
                self.fault(field, "This value must be a text.");
                return None;
            }
        };
        (!found.is_empty()).then_some(found)
    }
    /// A text that has to be there.
    pub(crate) fn required_text(&mut self, field: &str) -> Option<String> {
        let before = self.faults.len();
        let found = self.text(field);
        if found.is_none() && self.faults.len() == before {
            self.fault(field, "This field is required.");
        }
        found
    }
    /// The number of what a link names.
    pub(crate) fn link(&mut self, field: &str, kind: &str) -> Option<u64> {
        let value = self.values.get(field).filter(|value| !value.is_null() && **value != Value::String(String::new()))?.clone();
        match ids::link(&value, kind) {
            Ok(number) => Some(number),
            Err(words) => {
                self.fault(field, words);
                None
            }
        }
    }
    /// The same of a link that has to be there.
    pub(crate) fn required_link(&mut self, field: &str, kind: &str) -> Option<u64> {
        let before = self.faults.len();
        let found = self.link(field, kind);
        if found.is_none() && self.faults.len() == before {
            self.fault(field, "This field is required.");
        }
        found
    }
    /// A truth value.
    pub(crate) fn truth(&mut self, field: &str) -> Option<bool> {
        match self.values.get(field)? {
            Value::Bool(truth) => Some(*truth),
            Value::String(text) if ["true", "on", "1"].contains(&text.to_ascii_lowercase().as_str()) => Some(true),
            Value::String(text) if ["false", "off", "0", ""].contains(&text.to_ascii_lowercase().as_str()) => Some(false),
            _ => {
                self.fault(field, "This value must be either true or false.");
                None
            }
        }
    }
    /// All faults at once.
    pub(crate) fn close(self) -> Result<(), Refusal> {
        let mut faults = self.faults.into_iter();
        match faults.next() {
            None => Ok(()),
            Some(first) => Err(Refusal { first: Box::new(first), others: faults.collect() }),
        }
    }
}
