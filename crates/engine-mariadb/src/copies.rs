//! How a data directory becomes a copy of its peer's while that one works.

use crate::programs;
use crate::settings::{REPLICATION, TEMPORARY_DIRECTORY};
use moorage_domain::layout::{InstanceSpec, JobStep};
use std::time::Duration;

/// A terabyte at 50 MB/s takes under six hours.
const COPY_LIMIT: Duration = Duration::from_secs(12 * 3600);
const OPTIONS: &str = "{scratch}/options.cnf";

/// Writes where the copy stands in its peer's binary log to the table from which a server learns at its start where to go on.
/// Arguments: the volume, the server.
const SET_POSITION: &str = r#"set -eu
info="$1/xtrabackup_binlog_info"
[ -e "$info" ] || info="$1/mariadb_backup_binlog_info"
position=$(cut -f3 "$info")
shift
{
  echo "DELETE FROM mysql.gtid_slave_pos;"
  echo "$position" | tr , '\n' | while IFS=- read -r domain server sequence; do
    [ -n "$sequence" ] && echo "INSERT INTO mysql.gtid_slave_pos VALUES ($domain, 1, $server, $sequence);"
  done
} | "$@"
"#;

/// Steps that copy the peer's directory while it works. The copy is made by the cluster's own account, which may read both.
pub fn copy(spec: &InstanceSpec) -> Vec<JobStep> {
    let Some(replication) = &spec.replication else { return Vec::new() };
    let installation = &spec.installation;
    let inside = |path: &str| programs::inside(installation, path);
    let run = |argv: Vec<String>| JobStep::Run {
        argv,
        environment: programs::environment(installation),
        stdin: String::new(),
        limit: COPY_LIMIT,
    };
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let quoted = replication.password.0.replace('\\', "\\\\").replace('"', "\\\"");
    let peer = &replication.peer_place;
    let options = format!(
        "[mariabackup]\nuser = {REPLICATION}\npassword = \"{quoted}\"\nsocket = {}\ndatadir = {}\nplugin_dir = {}\n",
        peer.run.join("mariadb.sock").display(),
        peer.volume.display(),
        inside("usr/lib/mysql/plugin"),
    );
    let backup = inside("usr/bin/mariadb-backup");
    let mut server = vec![inside("usr/sbin/mariadbd"), "--no-defaults".into(), "--bootstrap".into(), "--datadir={volume}".into()];
    server.extend(programs::directories(installation).into_iter().map(|(option, path)| format!("--{option}={path}")));
    server.push("--tmpdir={scratch}".into());
    vec![
        JobStep::Write { path: OPTIONS.into(), contents: options },
        run(text(&["/usr/bin/find", "{volume}", "-mindepth", "1", "-delete"])),
        run(text(&[&backup, &format!("--defaults-file={OPTIONS}"), "--backup", "--target-dir={volume}", "--tmpdir={scratch}"])),
        run(text(&[&backup, &format!("--defaults-file={OPTIONS}"), "--prepare", "--target-dir={volume}", "--tmpdir={scratch}"])),
        run(text(&["/bin/mkdir", "-p", &format!("{{volume}}/{TEMPORARY_DIRECTORY}")])),
        run([text(&["/bin/sh", "-c", SET_POSITION, "sh", "{volume}"]), server].concat()),
    ]
}
