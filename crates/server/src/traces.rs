//! Spans for a collector: what a request or an operation did and for how long, over OTLP (protobuf over http). Which collector and
//! everything else is said by the variables of the OpenTelemetry specification; without them nothing is sent.

use moorage_domain::{Problem, ProblemCode};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use std::time::Duration;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

/// The base of the collector's addresses, and the one for traces, which goes before it.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// How long the end of a server waits for its last spans to be taken.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Sends spans until it is dropped.
pub struct Traces(SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that is away is no reason not to end.
        drop(self.0.shutdown_with_timeout(LAST_SPANS));
    }
}

impl Traces {
    /// What makes spans of the ones that are logged.
    pub fn layer<S: Subscriber + for<'span> LookupSpan<'span>>(&self) -> OpenTelemetryLayer<S, Tracer> {
        let layer = tracing_opentelemetry::layer().with_tracer(self.0.tracer("moorage"));
        layer.with_location(false).with_threads(false).with_tracked_inactivity(false)
    }
}

/// The collector that the environment names, if it names one.
pub fn from_environment() -> Result<Option<Traces>, Problem> {
    let said = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(endpoint) = ENDPOINTS.iter().find_map(said) else { return Ok(None) };
    let unusable = |why: String| {
        Problem::new(ProblemCode::ConfigInvalid, format!("Traces cannot be sent to '{endpoint}'."))
            .detail(why)
            .hint("Name a collector that takes OTLP over http, as http://127.0.0.1:4318, in OTEL_EXPORTER_OTLP_ENDPOINT, or none.")
    };
    if !endpoint.starts_with("http://") {
        return Err(unusable("It does not begin with http://; a collector on this machine can pass spans on with TLS.".into()));
    }
    let exporter = SpanExporter::builder().with_http().build().map_err(|error| unusable(error.to_string()))?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("moorage");
    }
    Ok(Some(Traces(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())))
}
