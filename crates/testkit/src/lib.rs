//! Fakes that keep the contracts of the real things, deterministic and in memory: a machine that outlives a crash of the
//! control plane, the host and the engine on it, a clock that stands still, a store in a directory of its own.
//!
//! For tests only: no crate of the product depends on it.

// Errors carry a whole problem; their size is the traits' choice.
#![allow(clippy::result_large_err)]

mod clock;
mod engine;
mod host;
mod machine;
mod rows;
mod test_postgresql;

pub use clock::TestClock;
pub use engine::FakeEngine;
pub use host::FakeHost;
pub use machine::{Failure, Machine};
pub use moorage_durable::harness::{FastClock, in_fast_time, temporary_directory};
pub use rows::{TestStore, a_cluster, insert};
pub use test_postgresql::TestPostgreSql;
