//! Whatever is wrong with a request is said in its family's own dialect, makes nothing and loses nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod bodies;
mod command_line;
mod credentials;
mod data_directory;
mod fields;
mod long;
mod options;
mod places;
