//! The API by which tsuru gives databases to its applications (Globo's wire reference, section 7): texts and forms instead of documents.

mod handlers;
pub(crate) mod problems;
mod read;
pub(crate) mod routes;
