//! This machine as a host: shim, control groups, volumes, addresses.
//!
//! [`LocalHost`] implements the host trait. [`shim_main`] and [`exec_main`] are the hidden subcommands `moorage shim DIR`
//! and `moorage exec DIR`; both must be called before any thread or runtime is started. [`stop_all`] ends everything.

pub mod addresses;
mod cgroups;
pub mod debian;
mod endpoints;
mod files;
mod gateway_watch;
mod group;
mod host;
pub mod identity;
pub mod installations;
mod instance_jobs;
mod instances;
mod machine;
mod manifests;
mod mounts;
mod networks;
mod problems;
mod programs;
pub mod shim;
mod shims;
mod stop;
mod terms;
mod volumes;

pub use files::Account;
pub use host::LocalHost;
pub use machine::{FindInstallations, GatewayPatience, LocalHostOptions};
pub use manifests::Kept;
pub use shim::{exec_main, shim_main};
pub use stop::{Stopped, stop_all};
pub use volumes::drivers::VOLUME_DRIVERS;
