//! Durable operations: whatever changes the world is a row that walks through short, repeatable steps.
//!
//! A step may run any number of times, even beside a late twin of itself; what it decides is committed once, together with
//! the step that comes next. Restart, crash and upgrade are therefore one path: the next process reads the rows and goes on.
//! This crate knows no engine and no host; an operation names the [`Operation::World`] it acts on.

mod backoff;
mod clock;
mod context;
#[cfg(feature = "harness")]
pub mod harness;
mod operation;
mod registry;
mod runner;
mod step_name;
mod tamper;
mod turn;
mod worker;

pub use clock::{Clock, SteadyClock, wall_now};
pub use context::Context;
pub use operation::{Next, OnCancel, Operation, StepError};
pub use registry::Registry;
pub use runner::{Runner, Settings};
pub use step_name::{StepName, kebab, kebab_length};
