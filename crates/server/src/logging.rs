//! Where log lines go: to the standard error, filtered by the environment.

use std::io::IsTerminal;

/// Starts logging: `MOORAGE_LOG` filters (default `info`), `MOORAGE_LOG_FORMAT=json` makes every line a JSON object.
pub fn start() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MOORAGE_LOG").unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // These libraries log statements as they are, verifiers of passwords among them.
    let quiet = ["tokio_postgres=info", "mysql_async=info", "sqlx=warn"];
    let filter =
        quiet.iter().filter_map(|directive| directive.parse().ok()).fold(filter, |filter, directive| filter.add_directive(directive));
    let json = std::env::var("MOORAGE_LOG_FORMAT").is_ok_and(|format| format == "json");
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    let started = if json { builder.json().try_init() } else { builder.try_init() };
    drop(started);
}
