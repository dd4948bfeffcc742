//! Where log lines go: to the standard error, filtered by the environment. A server sends its spans to a collector besides, where
//! the environment names one.

use crate::traces::{self, Traces};
use moorage_domain::Problem;
use std::io::IsTerminal;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

/// Starts logging: `MOORAGE_LOG` filters (default `info`), `MOORAGE_LOG_FORMAT=json` makes every line a JSON object.
pub fn start() {
    drop(Registry::default().with(lines().with_filter(filter())).try_init());
}

/// The same, and requests and operations are traced for as long as what is returned lives.
pub fn start_with_traces() -> Result<Option<Traces>, Problem> {
    let traces = traces::from_environment()?;
    // Spans alone, whatever is logged: lines may say more than a collector is meant to know.
    let spans = filter_fn(|metadata| metadata.is_span() && *metadata.level() <= Level::INFO);
    let layer = traces.as_ref().map(|traces| traces.layer().with_filter(spans));
    drop(Registry::default().with(lines().with_filter(filter())).with(layer).try_init());
    Ok(traces)
}

fn filter() -> EnvFilter {
    let filter = EnvFilter::try_from_env("MOORAGE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // These libraries log statements as they are, verifiers of passwords among them.
    let quiet = ["tokio_postgres=info", "mysql_async=info", "sqlx=warn"];
    quiet.iter().filter_map(|directive| directive.parse().ok()).fold(filter, |filter, directive| filter.add_directive(directive))
}

fn lines<S: Subscriber + for<'span> LookupSpan<'span>>() -> Box<dyn Layer<S> + Send + Sync> {
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(std::io::stderr().is_terminal());
    if std::env::var("MOORAGE_LOG_FORMAT").is_ok_and(|format| format == "json") { lines.json().boxed() } else { lines.boxed() }
}
