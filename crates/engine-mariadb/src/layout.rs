//! The process of one instance.

use crate::{programs, settings};
use moorage_domain::layout::{ConfigFile, InstanceSpec, Place, ProcessLayout, StopPlan};
use std::time::Duration;

/// SIGTERM: an orderly shutdown.
const SHUTDOWN: i32 = 15;
/// Writing out a large buffer pool takes a while; killing the server only costs a recovery at the next start.
const GRACE: Duration = Duration::from_secs(60);

const FILE: &str = "mariadb.cnf";

/// Describes the server of an instance: in the foreground, all of its configuration out of the tenant's reach. It writes
/// its log to standard error, which is the log file.
pub fn layout(spec: &InstanceSpec, place: &Place) -> ProcessLayout {
    ProcessLayout {
        argv: vec![
            programs::server(&spec.installation.prefix).to_string_lossy().into_owned(),
            format!("--defaults-file={}", place.config.join(FILE).display()),
        ],
        environment: programs::environment(&spec.installation),
        files: vec![ConfigFile { name: String::from(FILE), contents: settings::main_file(spec, place) }],
        stop: StopPlan { signal: SHUTDOWN, grace: GRACE },
        socket: place.run.join("mariadb.sock"),
        working_directory: place.volume.clone(),
        stale: Vec::new(),
        marks: Vec::new(),
        has_peers: spec.replication.is_some(),
        log: place.logs.join("mariadb.log"),
    }
}
