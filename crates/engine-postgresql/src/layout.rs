//! The process of one instance.

use crate::{programs, settings};
use moorage_domain::layout::{ConfigFile, InstanceSpec, Place, ProcessLayout, StopPlan};
use std::time::Duration;

/// The file by which a server starts as a standby.
pub const STANDBY: &str = "standby.signal";

/// SIGINT: a fast shutdown, which ends sessions and writes a checkpoint.
const FAST_SHUTDOWN: i32 = 2;
/// A checkpoint of large buffers takes a while; killing it only costs a recovery at the next start.
const GRACE: Duration = Duration::from_secs(60);

/// Describes the postmaster of an instance: in the foreground, all of its configuration out of the tenant's reach.
pub fn layout(spec: &InstanceSpec, place: &Place) -> ProcessLayout {
    let replicates = spec.replication.is_some();
    let main_file = place.config.join("postgresql.conf");
    let file = |name: &str, contents: String| ConfigFile { name: String::from(name), contents };
    ProcessLayout {
        argv: vec![programs::program(&spec.installation, "postgres"), String::from("-c"), format!("config_file={}", main_file.display())],
        environment: programs::environment(&spec.installation),
        files: vec![
            file("postgresql.conf", settings::main_file(spec, place)),
            file("pg_hba.conf", settings::access_file(replicates)),
            file("pg_ident.conf", settings::identity_file(&spec.administrator)),
        ],
        stop: StopPlan { signal: FAST_SHUTDOWN, grace: GRACE },
        socket: place.run.join(format!(".s.PGSQL.{}", settings::SOCKET_PORT)),
        working_directory: place.volume.clone(),
        // They name a process id; a dead process that nobody has waited for yet, or a stranger, may have it.
        stale: vec![place.volume.join("postmaster.pid"), place.run.join(format!(".s.PGSQL.{}.lock", settings::SOCKET_PORT))],
        // With peers it always starts as a standby: only being promoted makes it writable.
        marks: if replicates { vec![place.volume.join(STANDBY)] } else { Vec::new() },
        has_peers: replicates,
        log: place.logs.join("postgresql.log"),
    }
}
