//! Parameters of an engine: what can be set, within which bounds, and what a running instance really applies.

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// What kind of value a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParameterType {
    /// On or off.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// One of a list.
    Enumeration,
    /// Any of a list.
    Set,
    /// Text.
    Text,
}

impl ParameterType {
    /// As written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Enumeration => "enumeration",
            Self::Set => "set",
            Self::Text => "text",
        }
    }
}

/// A parameter of an engine version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name, as the engine spells it.
    pub name: String,
    /// What it takes.
    pub data_type: ParameterType,
    /// The unit its numbers count in (`8kB`, `ms`), where the engine names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What the engine takes when nothing is set.
    #[serde(default)]
    pub default_value: Option<String>,
    /// What it may be: `least-greatest`, or a list with commas; none where the engine does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_values: Option<String>,
    /// A change takes a restart.
    pub needs_restart: bool,
    /// It is the user's to change: the engine lets it be set, and Moorage does not depend on what it is.
    pub modifiable: bool,
    /// What it is for, in the engine's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What a running instance applies; none in a catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_value: Option<String>,
    /// A change was made that the next restart applies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending_restart: bool,
}

/// What an instance applied at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedParameters {
    /// When it was asked.
    pub read_at: Timestamp,
    /// By name.
    pub parameters: Vec<Parameter>,
}
