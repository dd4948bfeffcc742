//! The data plane: endpoints, allow-lists, TLS, and the way from a client to the engine that is the primary.
//!
//! A process of its own that needs nothing but its files: `DIR/endpoints/<cluster>.json` says what to serve
//! ([`moorage_domain::endpoint_file`]), `DIR/accepted/<cluster>.json` is the last file that was good. It is a stranger to
//! the engines (decisions 1): it knows no password and has no account anywhere.
//!
//! Threads: one accepts, follows the files and answers the control socket; one per two processors carries connections, each
//! connection on one of them from beginning to end.

mod accept;
mod client_stream;
mod connection;
mod control;
mod endpoint;
mod endpoint_directory;
mod endpoints;
mod engine_leg;
mod engine_stream;
mod log_limit;
mod mariadb;
mod postgresql;
mod process;
mod relay;
mod tls;
mod turning_away;
mod workers;

pub use process::{Options, ServeError, main, serve, serve_with};
