//! The durable core on real store files.

mod harness;
mod rows;
mod runner;
mod speed;
mod toy;
