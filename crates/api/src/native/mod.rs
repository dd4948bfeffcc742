//! Our own family, `/moorage/v1`: where new abilities appear first. The command line and the console need nothing else.

pub(crate) mod auth;
pub(crate) mod databases;
pub(crate) mod docs;
pub(crate) mod etag;
pub(crate) mod idempotency;
pub(crate) mod ids;
pub(crate) mod openapi;
pub(crate) mod plans;
pub(crate) mod problems;
pub(crate) mod read;
pub(crate) mod routes;
pub(crate) mod write;
