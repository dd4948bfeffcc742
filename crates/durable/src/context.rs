//! What a step is given, and what it leaves behind.

use crate::Clock;
use moorage_domain::{ClusterId, OperationId, Problem, Timestamp};
use moorage_store::{OperationRow, Write};
use std::sync::Arc;

/// What a step is given, and what it leaves behind.
pub struct Context<W> {
    world: Arc<W>,
    clock: Arc<dyn Clock>,
    operation: OperationId,
    cluster: ClusterId,
    attempt: u32,
    cancel_requested: bool,
    problem: Option<Problem>,
    writes: Vec<Write>,
    notes: Vec<String>,
}

impl<W> Context<W> {
    pub(crate) fn new(world: Arc<W>, clock: Arc<dyn Clock>, row: &OperationRow) -> Self {
        Self {
            world,
            clock,
            operation: row.id.clone(),
            cluster: row.cluster.clone(),
            attempt: row.attempt,
            cancel_requested: row.cancel_requested_at.is_some(),
            problem: row.problem.clone(),
            writes: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// What the operation acts on.
    pub fn world(&self) -> &W {
        &self.world
    }
    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
    /// The operation.
    pub fn operation_id(&self) -> &OperationId {
        &self.operation
    }
    /// The cluster it holds.
    pub fn cluster_id(&self) -> &ClusterId {
        &self.cluster
    }
    /// Which try of this step it is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
    /// Somebody wants it called off; it is asked about that before its next step.
    pub fn cancel_requested(&self) -> bool {
        self.cancel_requested
    }
    /// On the clean-up path: why it cleans up.
    pub fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }
    /// Bits of a fresh identifier, ordered by time. Commit it before it is used: a step that runs again gets another one.
    pub fn fresh_id(&self) -> u128 {
        uuid::Uuid::now_v7().as_u128()
    }
    /// Changes domain rows in the transaction that ends this step.
    pub fn write(&mut self, write: Write) {
        self.writes.push(write);
    }
    /// Adds a line to the operation's timeline in that transaction.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(crate) fn into_left_behind(self) -> (Vec<Write>, Vec<String>) {
        (self.writes, self.notes)
    }
}
