//! Pure nouns and decisions. Nothing here reads a clock, opens a file or talks to a network: time, ids and random
//! bytes are handed in, so every rule can be tested by the thousand.

pub mod allocation;
pub mod allow_list;
pub mod cluster;
pub mod database;
pub mod decide;
pub mod endpoint_file;
pub mod engine;
pub mod id;
pub mod instance;
pub mod layout;
pub mod operation;
pub mod parameter;
pub mod parameters;
pub mod plan;
pub mod problem;
pub mod public_address;
pub mod replication;
pub mod secret;
pub mod server_type;
pub mod service_state;
pub mod subnet;
pub mod tenant;
pub mod time;

pub use id::{
    ActionId, ApplicationId, ClusterId, CredentialId, DatabaseId, EnvironmentId, GroupId, HostId, InstanceId, OperationId, PlanId,
    ProjectId, SecretId, TeamId, TokenId, UserId, VolumeId,
};
pub use problem::{Category, Problem, ProblemCode};
pub use time::Timestamp;
