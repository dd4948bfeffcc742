//! The Samsung Cloud Platform v2 DBaaS API, services `mariadb` and `postgresql`, versions 1.0 and 1.1.

pub(crate) mod auth;
pub(crate) mod companions;
pub(crate) mod dialect;
pub(crate) mod ids;
pub(crate) mod problems;
pub(crate) mod read;
pub(crate) mod routes;
pub(crate) mod write;
