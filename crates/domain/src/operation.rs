//! Operations as users see them.

use crate::engine::EngineName;
use crate::{ClusterId, OperationId, Problem, Timestamp};
use serde::{Deserialize, Serialize};

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationStatus {
    /// Waiting for its turn on the cluster.
    Queued,
    /// Being carried out.
    Running,
    /// Undoing what it did, because it failed or was cancelled.
    CleaningUp,
    /// Stopped in the middle; an operator has to decide.
    NeedsOperator,
    /// Done.
    Succeeded,
    /// Ended with a problem.
    Failed,
    /// Ended because somebody called it off.
    Cancelled,
}

impl OperationStatus {
    /// Every status.
    pub const ALL: &'static [Self] =
        &[Self::Queued, Self::Running, Self::CleaningUp, Self::NeedsOperator, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::CleaningUp => "cleaning-up",
            Self::NeedsOperator => "needs-operator",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
    /// Reads a stored status.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }
    /// Nothing more will happen.
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// Who asked for what was begun without anybody's asking. No user has a name with a space.
pub const ITSELF: &str = "moorage itself";

/// An operation and its timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationView {
    /// Its identifier.
    pub id: OperationId,
    /// What it does: `cluster.provision`.
    pub kind: String,
    /// The cluster it works on.
    pub cluster: ClusterId,
    /// The engine that cluster runs.
    pub engine: EngineName,
    /// Where it stands.
    pub status: OperationStatus,
    /// The step it is at, or ended at.
    pub step: String,
    /// How often the current step was tried.
    pub attempt: u32,
    /// Why the current step has to be tried again, in public words.
    pub waiting_for: Option<String>,
    /// Why it failed or needs an operator.
    pub problem: Option<Problem>,
    /// Who asked for it.
    pub requested_by: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What happened, oldest first.
    pub events: Vec<OperationEvent>,
}

/// One line of an operation's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationEvent {
    /// When.
    pub at: Timestamp,
    /// At which step.
    pub step: String,
    /// `started`, `step-done`, `retrying`, `cleaning-up`, `needs-operator`, `ended`, `note`.
    pub kind: String,
    /// In words.
    pub detail: String,
}
