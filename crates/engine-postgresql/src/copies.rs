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

/// Starts a server and stops it: nothing of a step outlives it. Arguments: `pg_ctl`, the volume, a log, the server's options.
const RECOVER: &str = r#"set -eu
"$1" start --pgdata="$2" --wait --timeout=3600 --log="$3" -o "$4" || { tail -n 20 "$3"; exit 1; }
"$1" stop --pgdata="$2" --wait --timeout=3600 --mode=fast
"#;

/// A server that was promoted and has not written a checkpoint since is taken for one that never was, and `pg_rewind` would overlook what
/// it did then: it is copied. So is one that took over and was called back, whose history has the number of the primary's and is
/// another. Otherwise it is first tried what would be done: a server that has nothing beyond the point where its successor took over
/// finds no record there; it cannot be rewound and needs not be, and the trial has changed nothing. Arguments: `pg_rewind`, the volume,
/// the primary, `pg_controldata`.
const REWIND: &str = r#"set -eu
rewind() { "$@" --target-pgdata="$volume" --no-ensure-shutdown --source-server="$primary"; }
program=$1 volume=$2 primary=$3
found=$("$4" "$volume")
of() { printf '%s\n' "$found" | sed -n "s/^$1: *//p"; }
checkpoint=$(of "Latest checkpoint's TimeLineID") replayed=$(of "Min recovery ending loc's timeline")
if [ "$checkpoint" != "$replayed" ]; then
  echo "its last checkpoint is of timeline $checkpoint and what it has of timeline $replayed: it has to be copied"
  exit 1
fi
if said=$(rewind "$program" --dry-run 2>&1); then
  case $said in *"are on the same timeline"*) printf '%s\n' "$said"; exit 1 ;; esac
  rewind "$program"
  exit
fi
printf '%s\n' "$said"
case $said in *"invalid record length"*"wanted 24, got 0"*) exit 0 ;; esac
exit 1
"#;

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

/// Steps that take back what the peer does not have. The server that died is recovered first by starting it as a standby of nobody:
/// a server on its own (`--single`), by which `pg_rewind` would do it, refuses an account without a name. The primary writes a
/// checkpoint before: until it has, its control file names the history it had as a standby, and nothing would be found to take back.
pub fn rewind(spec: &InstanceSpec, place: &Place) -> Vec<JobStep> {
    let (Some((passwords, environment)), Some(peer)) = (knowing_the_password(spec), peer(spec, "postgres")) else { return Vec::new() };
    let run = |program: &str, arguments: &[&str]| JobStep::Run {
        argv: std::iter::once(program).chain(arguments.iter().copied()).map(str::to_owned).collect(),
        environment: environment.clone(),
        stdin: String::new(),
        limit: REWIND_LIMIT,
    };
    let program = |name: &str| programs::program(&spec.installation, name);
    let file = |name: &str| format!("{{volume}}/{name}");
    let settings = format!(
        "-c config_file={} -c listen_addresses= -c unix_socket_directories={{scratch}} -c primary_conninfo=",
        place.config.join("postgresql.conf").display()
    );
    vec![
        passwords,
        run("/bin/rm", &["-f", &file("postmaster.pid")]),
        JobStep::Write { path: file(STANDBY), contents: String::new() },
        run("/bin/sh", &["-c", RECOVER, "sh", &program("pg_ctl"), "{volume}", "{scratch}/log", &settings]),
        run(&program("psql"), &["--no-psqlrc", "--no-password", "--quiet", "--command=CHECKPOINT", &peer]),
        run("/bin/sh", &["-c", REWIND, "sh", &program("pg_rewind"), "{volume}", &peer, &program("pg_controldata")]),
        JobStep::Write { path: file(STANDBY), contents: String::new() },
    ]
}
