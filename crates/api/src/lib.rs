//! HTTP: a kit that every family shares, and a folder per family with the same six files: `routes` (paths and methods),
//! `auth` (who asks), `write` (request to command), `read` (snapshot to wire), `problems` (problem to answer) and `ids`.
//! Adapters only: whatever is about databases is decided behind [`moorage_app::App`].

mod globo;
mod kit;
mod native;
mod scp;

use axum::Router;
use axum::routing::get;
use moorage_app::App;
use moorage_domain::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Tells the time; handed in so that tests can choose it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Says whether requests can be served, or in one sentence why not.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// How the HTTP side behaves.
#[derive(Clone)]
pub struct ApiOptions {
    /// The address clients use when it is not the one they connect to (behind a proxy): scheme, host and perhaps a path
    /// prefix, `https://db.example.org/moorage`. Signatures over it are accepted and links in answers start with it.
    pub public_base: Option<String>,
    /// Whether the listener speaks TLS, for links in answers.
    pub tls: bool,
    /// Bytes at most in a request's body.
    pub body_limit: usize,
    /// How long a request may take, its body's arrival included.
    pub request_timeout: Duration,
    /// The clock against which signatures are checked; the app's where none is given.
    pub clock: Option<Clock>,
    /// Whether `/metrics` answers without credentials, because only this machine can ask (decisions 21).
    pub open_metrics: bool,
    /// What `/readyz` asks.
    pub ready: Readiness,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            public_base: None,
            tls: false,
            body_limit: 1 << 20,
            request_timeout: Duration::from_secs(30),
            clock: None,
            open_metrics: false,
            ready: Arc::new(|| Ok(())),
        }
    }
}

/// Everything that is served over HTTP.
pub fn router(app: App, options: ApiOptions) -> Router {
    let kit = kit::Kit::new(app, options);
    let routes = Router::new()
        .route("/healthz", get(kit::health::alive))
        .route("/readyz", get(kit::health::ready))
        .route("/metrics", get(kit::metrics::figures))
        .route("/openapi.json", get(native::openapi::serve))
        .route("/docs", get(native::docs::serve))
        .route("/docs/problems/{code}", get(native::docs::problem))
        .route("/docs/operations/{kind}", get(native::docs::operation))
        .merge(native::routes::router(&kit))
        .merge(globo::routes::router(&kit))
        .merge(globo::tsuru::routes::router(&kit))
        .merge(scp::routes::router(&kit))
        .fallback(kit::refusal::unknown_path)
        .method_not_allowed_fallback(kit::refusal::wrong_method)
        .with_state(kit.clone());
    kit::exchange::around(routes, kit)
}
