//! How an empty data directory is made, and how a copy of it gets an identity of its own.

use crate::programs;
use crate::settings::ADMINISTRATOR;
use moorage_domain::engine::Installation;
use moorage_domain::layout::{JobStep, TemplateSpec};
use std::time::Duration;

/// Raise it when the recipe changes: templates of the old one are then no longer used.
const RECIPE: u32 = 3;
/// How large the log's files are, in MiB: a promotion copies a whole one before it is done (decision record 0021).
const LOG_FILE: &str = "--wal-segsize=4";
/// Initialising takes about a second on a quiet machine.
const LIMIT: Duration = Duration::from_secs(180);

/// A database that waits, empty and in the default encoding and locale, to become a tenant's first one: renaming it takes
/// milliseconds, creating one takes copying three hundred files.
pub const READY_DATABASE: &str = "moorage_ready";

/// What is true of the name of a database that is no tenant's.
pub const OF_OUR_OWN: &str = "datname ~ '^(postgres|moorage_.*)$'";

/// Databases of our own are closed to everybody but the administrator, the one that waits too: it becomes a tenant's.
fn statements() -> String {
    format!(
        "REVOKE ALL ON DATABASE postgres FROM PUBLIC;\n\
         REVOKE ALL ON DATABASE template1 FROM PUBLIC;\n\
         CREATE DATABASE {READY_DATABASE} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';\n\
         REVOKE ALL ON DATABASE {READY_DATABASE} FROM PUBLIC;\n"
    )
}

/// The template of an installation. It does not depend on the administrator: the role has a fixed name, and the file that
/// says which account may use it is written at every start.
pub fn template(installation: &Installation) -> TemplateSpec {
    let environment = programs::environment(installation);
    let run = |argv: &[&str], stdin: String| JobStep::Run {
        argv: std::iter::once(programs::program(installation, argv[0])).chain(argv[1..].iter().map(|s| String::from(*s))).collect(),
        environment: environment.clone(),
        stdin,
        limit: LIMIT,
    };
    TemplateSpec {
        key: format!("postgresql-{}-{}-{RECIPE}", installation.version, if installation.system { "system" } else { "prefix" }),
        make: vec![
            run(
                &[
                    "initdb",
                    "--pgdata={volume}",
                    "--username",
                    ADMINISTRATOR,
                    "--encoding=UTF8",
                    "--locale=C",
                    "--data-checksums",
                    LOG_FILE,
                    "--auth=reject",
                    "--no-instructions",
                ],
                String::new(),
            ),
            run(&["postgres", "--single", "-D", "{volume}", "-c", "exit_on_error=true", "postgres"], statements()),
        ],
        personalise: vec![
            // The system identifier is the first eight bytes; rewriting the file gives it a valid checksum again.
            JobStep::Randomise { path: String::from("{volume}/global/pg_control"), offset: 0, length: 8 },
            run(&["pg_resetwal", "--force", "--pgdata={volume}"], String::new()),
            // After that, the log counts as too poor to be followed until a server has run once. It notes how many connections it
            // allowed, and one that follows may not allow fewer.
            run(
                &["postgres", "--single", "-D", "{volume}", "-c", "max_connections=5", "-c", "wal_level=replica", "postgres"],
                String::new(),
            ),
        ],
    }
}
