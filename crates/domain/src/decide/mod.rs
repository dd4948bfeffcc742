//! Decisions: pure functions of what is known and the time handed in.

pub mod admission;
pub mod failover;
pub mod health;
pub mod protection;
pub mod reserve;
pub mod restart;
pub mod status;
pub mod synchrony;
