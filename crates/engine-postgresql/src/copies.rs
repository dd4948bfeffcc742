//! How a data directory comes to fit its peer's: by a copy of all of it, or by taking back what only it has.

use crate::layout::STANDBY;
use crate::programs;
use crate::settings::{REPLICATION, SOCKET_PORT};
use moorage_domain::layout::{InstanceSpec, JobStep, Place};
use std::time::Duration;

/// A terabyte at 50 MB/s takes under six hours.
const COPY_LIMIT: Duration = Duration::from_secs(12 * 3600);
const REWIND_LIMIT: Duration = Duration::from_secs(3600);
const PASSWORDS: &str = "{scratch}/passwords";

/// The password file, and the environment that names it: nothing secret is an argument.
fn knowing_the_password(spec: &InstanceSpec) -> Option<(JobStep, Vec<(String, String)>)> {
    let replication = spec.replication.as_ref()?;
    let escaped = replication.password.0.replace('\\', "\\\\").replace(':', "\\:");
    let passwords = JobStep::Write { path: PASSWORDS.into(), contents: format!("*:*:*:{REPLICATION}:{escaped}\n") };
    let mut environment = programs::environment(&spec.installation);
    environment.push(("PGPASSFILE".into(), PASSWORDS.into()));
    Some((passwords, environment))
}

/// The connection to the peer over its Unix socket: a job has no network.
fn peer(spec: &InstanceSpec, database: &str) -> Option<String> {
    let run = spec.replication.as_ref()?.peer_place.run.display().to_string();
    let quoted = run.replace('\\', "\\\\").replace('\'', "\\'");
    Some(format!("host='{quoted}' port={SOCKET_PORT} user={REPLICATION} dbname={database} connect_timeout=5"))
}

/// Steps that copy the peer's directory while it works.
pub fn copy(spec: &InstanceSpec) -> Vec<JobStep> {
    let (Some((passwords, environment)), Some(peer)) = (knowing_the_password(spec), peer(spec, "postgres")) else { return Vec::new() };
    let run = |argv: &[&str]| JobStep::Run {
        argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: environment.clone(),
        stdin: String::new(),
        limit: COPY_LIMIT,
    };
    let program = programs::program(&spec.installation, "pg_basebackup");
    vec![
        passwords,
        run(&["/usr/bin/find", "{volume}", "-mindepth", "1", "-delete"]),
        run(&[&program, "--pgdata={volume}", "--dbname", &peer, "--no-password", "--wal-method=stream", "--checkpoint=fast"]),
    ]
}

/// Steps that take back what the peer does not have. The server that died is recovered first, by `pg_rewind` itself and on its own,
/// for which it must not be told to follow. The primary writes a checkpoint before: until it has, its control file names the history
/// it had as a standby, and nothing would be found to take back.
pub fn rewind(spec: &InstanceSpec, place: &Place) -> Vec<JobStep> {
    let (Some((passwords, environment)), Some(peer)) = (knowing_the_password(spec), peer(spec, "postgres")) else { return Vec::new() };
    let run = |argv: &[&str], limit: Duration| JobStep::Run {
        argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: environment.clone(),
        stdin: String::new(),
        limit,
    };
    let (client, program) = (programs::program(&spec.installation, "psql"), programs::program(&spec.installation, "pg_rewind"));
    let settings = format!("--config-file={}", place.config.join("postgresql.conf").display());
    let standby = format!("{{volume}}/{STANDBY}");
    vec![
        passwords,
        run(&[&client, "--no-psqlrc", "--no-password", "--quiet", "--command=CHECKPOINT", &peer], REWIND_LIMIT),
        run(
            &["/usr/bin/find", "{volume}", "-maxdepth", "1", "(", "-name", STANDBY, "-o", "-name", "postmaster.pid", ")", "-delete"],
            COPY_LIMIT,
        ),
        run(&[&program, "--target-pgdata={volume}", &settings, "--source-server", &peer], REWIND_LIMIT),
        JobStep::Write { path: standby, contents: String::new() },
    ]
}
