//! What the server sends, as far as tables and waiting need it. Everything is optional: a newer server may say more, an
//! older one less.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

use crate::failure::{Failure, ProblemBody};
use crate::server::strange;

/// A cluster.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Cluster {
    pub id: String,
    pub name: String,
    pub engine: String,
    pub version: Option<String>,
    pub state: String,
    pub state_reason: Option<String>,
    pub address: Option<String>,
    pub port: Option<u16>,
    pub public_address: Option<String>,
    pub database: Value,
    pub owner: Option<String>,
    pub server_type: Option<String>,
    pub timezone: Option<String>,
    pub allow: Vec<String>,
    pub protection: Option<String>,
    pub protection_reason: Option<String>,
    pub size_gb: Option<u32>,
    pub used_bytes: Option<u64>,
    pub deletion_protection: Option<bool>,
    pub strict: Option<bool>,
    pub limits: BTreeMap<String, Option<Limit>>,
    pub isolation: BTreeMap<String, bool>,
    pub instances: Vec<Instance>,
    pub created_at: Option<String>,
}

/// Something that was asked for and whether the host makes it bind.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Limit {
    pub value: Value,
    pub unit: String,
    pub enforced: bool,
}

/// An instance of a cluster.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Instance {
    pub name: String,
    pub role: Option<String>,
    pub state: String,
    pub address: Option<String>,
    pub restarts: Option<u64>,
    pub last_restart_reason: Option<String>,
}

/// An operation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Operation {
    pub id: String,
    pub kind: String,
    pub cluster: String,
    pub status: String,
    pub step: Option<String>,
    pub attempt: Option<u64>,
    pub waiting_for: Option<String>,
    pub problem: Option<ProblemBody>,
    pub requested_by: Option<String>,
    pub created_at: Option<String>,
    pub finished_at: Option<String>,
    pub events: Vec<Event>,
}

/// A line of an operation's timeline.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    pub at: String,
    pub step: String,
    pub kind: String,
    pub detail: String,
}

impl Cluster {
    /// Where users connect, once that is known.
    pub fn endpoint(&self) -> Option<String> {
        Some(format!("{}:{}", self.address.as_deref()?, self.port?))
    }
    /// The name of its database, whether it came as a name or as an object.
    pub fn database_name(&self) -> Option<&str> {
        self.database.as_str().or_else(|| self.database["name"].as_str())
    }
    /// The owner of its database.
    pub fn owner_name(&self) -> Option<&str> {
        self.owner.as_deref().or_else(|| self.database["owner"].as_str())
    }
}

impl Cluster {
    /// Its limits, and plainly which of them bind.
    pub fn limits_in_words(&self) -> String {
        let limit = |(name, limit): (&String, &Option<Limit>)| {
            let limit = limit.as_ref()?;
            let not = if limit.enforced { "" } else { " (not enforced)" };
            let unit = if limit.unit == *name { String::new() } else { format!(" {}", limit.unit) };
            Some(format!("{name} {}{unit}{not}", limit.value))
        };
        self.limits.iter().filter_map(limit).collect::<Vec<_>>().join(", ")
    }
    /// Whether it is protected, and why or why not.
    pub fn protection_in_words(&self) -> Option<String> {
        let said: Vec<&str> = [&self.protection, &self.protection_reason].into_iter().flatten().map(String::as_str).collect();
        (!said.is_empty()).then(|| said.join(". "))
    }
    /// What its data takes on disk, once that was measured.
    pub fn used_in_words(&self) -> Option<String> {
        Some(format!("{} MiB of {} GiB", self.used_bytes? >> 20, self.size_gb?))
    }
    /// What it is isolated from, and plainly from what it is not.
    pub fn isolation_in_words(&self) -> String {
        let part = |(name, isolated): (&String, &bool)| format!("{name} {}", if *isolated { "isolated" } else { "not isolated" });
        self.isolation.iter().map(part).collect::<Vec<_>>().join(", ")
    }
}

impl Operation {
    /// Nothing more happens by itself.
    pub fn rests(&self) -> bool {
        ["succeeded", "failed", "cancelled", "needs-operator"].contains(&self.status.as_str())
    }
    /// It did what was asked.
    pub fn succeeded(&self) -> bool {
        self.status == "succeeded"
    }
    /// One line about where it stands.
    pub fn progress(&self) -> String {
        let mut line = format!("{}: {}", self.kind, self.status);
        if let Some(step) = self.step.as_ref().filter(|_| !self.rests()) {
            line += &format!(", {step}");
        }
        if let Some(attempt) = self.attempt.filter(|attempt| *attempt > 1 && !self.rests()) {
            line += &format!(" (attempt {attempt})");
        }
        if let Some(reason) = self.waiting_for.as_ref().filter(|_| !self.rests()) {
            line += &format!(": {reason}");
        }
        line
    }
}

/// Reads a part of a document.
pub fn read<T: DeserializeOwned>(document: &Value, what: &str) -> Result<T, Failure> {
    T::deserialize(document).map_err(|error| strange(&format!("{what} that cannot be read")).why(error))
}
