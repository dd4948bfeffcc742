//! The API of Globo.com's database-as-a-service: databases, credentials and what they are asked for by, as documents with links.

pub(crate) mod auth;
pub(crate) mod hal;
mod handlers;
pub(crate) mod ids;
mod pages;
pub(crate) mod problems;
pub(crate) mod read;
pub(crate) mod routes;
pub(crate) mod tsuru;
pub(crate) mod write;
