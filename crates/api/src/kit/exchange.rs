//! What happens around every request: an id, a span, the whole body in hand within its limit, a time limit, a net under
//! panics, and refusals rendered in the right dialect.

use super::Kit;
use super::refusal::{Family, Refusal};
use crate::globo::hal::Site;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt;
use moorage_app::NewAction;
use moorage_domain::tenant::Actor;
use moorage_domain::{Problem, ProblemCode};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

/// How much of a body that is too large is read and thrown away before it is refused: a client that is cut off while it
/// still writes sees a broken connection instead of the refusal.
const DRAINED: usize = 32 << 20;

/// The id of one HTTP exchange, `req-` and a UUID: in the answer's `x-request-id`, in errors and in the log.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    fn fresh() -> Self {
        Self(format!("req-{}", uuid::Uuid::new_v4()))
    }
}

/// The body of a request as it came, or why there is none.
#[derive(Clone, Debug)]
pub(crate) struct Content(Result<Bytes, Problem>);

impl Content {
    /// The body's bytes.
    pub(crate) fn bytes(&self) -> Result<&Bytes, Problem> {
        self.0.as_ref().map_err(Clone::clone)
    }
    /// The bytes of a body that is said to be JSON. One that says it is something else is refused: a browser can be made to send
    /// such a body from a foreign page without asking anybody.
    pub(crate) fn json(&self, headers: &HeaderMap) -> Result<&Bytes, Problem> {
        let bytes = self.bytes()?;
        match headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) {
            Some(kind) if kind.to_ascii_lowercase().contains("json") => Ok(bytes),
            _ => Err(Problem::new(ProblemCode::MalformedBody, "The request's body is not said to be JSON.")
                .hint("Send Content-Type: application/json.")),
        }
    }
    /// The same where a body is optional.
    pub(crate) fn json_or_nothing(&self, headers: &HeaderMap) -> Result<&Bytes, Problem> {
        let bytes = self.bytes()?;
        if bytes.is_empty() { Ok(bytes) } else { self.json(headers) }
    }
}

impl From<String> for Content {
    fn from(body: String) -> Self {
        Self(Ok(body.into()))
    }
}

impl<S: Sync> FromRequestParts<S> for Content {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self(Ok(Bytes::new()))))
    }
}

/// Puts the exchange around all routes.
pub(crate) fn around(routes: Router, kit: Kit) -> Router {
    routes.layer(CatchPanicLayer::custom(panicked)).layer(from_fn_with_state(kit, exchange))
}

/// Whoever asks for a change may go away before the answer: what was begun is ended and written down all the same.
async fn exchange(State(kit): State<Kit>, request: Request, next: Next) -> Response {
    let (id, family) = (RequestId::fresh(), Family::of(request.uri().path()));
    let site = Site::of(request.headers(), request.uri(), kit.options.public_base.as_deref(), kit.options.tls);
    let handled = handle(kit, request, next, id.clone(), family, site.clone());
    tokio::spawn(handled).await.unwrap_or_else(|error| {
        tracing::error!(id = %id.0, %error, "a request was not handled to its end");
        family.render(&Problem::internal().into(), &id.0, &site)
    })
}

/// Who asks, and which method is meant where that is not the request's own, once that is known; filled in by whoever finds it out, and there
/// also when no answer is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asking(Arc<(OnceLock<Actor>, OnceLock<Method>)>);

impl Asking {
    /// Notes who asks.
    pub(crate) fn is(request: &Request, actor: &Actor) {
        if let Some(Self(asking)) = request.extensions().get::<Self>() {
            // Whoever is noted first stays.
            let _ = asking.0.set(actor.clone());
        }
    }
    /// Notes which method a form means.
    pub(crate) fn means(request: &Request, method: &Method) {
        if let Some(Self(asking)) = request.extensions().get::<Self>() {
            let _ = asking.1.set(method.clone());
        }
    }
    /// Who asks, where that is known by now.
    pub(crate) fn actor(&self) -> Option<&Actor> {
        self.0.0.get()
    }
}

/// That a problem was told, and in which shape is none of the exchange's business; for the record of actions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told(pub(crate) &'static str);

async fn handle(kit: Kit, mut request: Request, next: Next, id: RequestId, family: Family, site: Site) -> Response {
    let asking = Asking::default();
    request.extensions_mut().insert(asking.clone());
    let source = source(&request);
    let asked = Asked::of(&request);
    let span = tracing::info_span!(
        "request",
        id = %id.0,
        method = %request.method(),
        path = %request.uri().path(),
        client = source,
        status = tracing::field::Empty
    );
    let limit = kit.options.request_timeout;
    let answered = tokio::time::timeout(limit, async {
        let request = receive(request, &id, kit.options.body_limit, limit).await;
        next.run(request).await
    })
    .instrument(span.clone())
    .await;
    let mut response = answered.unwrap_or_else(|_| too_slow(limit).into_response());
    let mut problem = response.extensions_mut().remove::<Told>().map(|Told(code)| code);
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        problem = Some(refusal.first.code.as_str());
        let mut rendered = family.render(&refusal, &id.0, &site);
        if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
            rendered.headers_mut().insert(header::ALLOW, allow);
        }
        response = rendered;
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert("x-request-id", value);
    }
    let status = response.status().as_u16();
    if let (Some(actor), Some(asked)) = (asking.actor().cloned(), asked) {
        let Asked { method, path } = asked;
        let method = asking.0.1.get().map_or(method, Method::to_string);
        let new = NewAction { actor, source, request_id: id.0, family: family.name(), method, path, status, problem };
        kit.app.record(new).instrument(span.clone()).await;
    }
    span.record("status", status);
    span.in_scope(|| {
        if response.status().is_server_error() {
            tracing::warn!("answered with an error of ours");
        } else {
            tracing::debug!("answered");
        }
    });
    response
}

/// The address a request came from.
pub(crate) fn source(request: &Request) -> Option<String> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map(|ConnectInfo(address)| address.ip().to_canonical().to_string())
}

/// What a change asks for, for the record of actions; none for requests that only look.
struct Asked {
    method: String,
    path: String,
}

impl Asked {
    fn of(request: &Request) -> Option<Self> {
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return None;
        }
        Some(Self { method: request.method().as_str().chars().take(16).collect(), path: request.uri().path().chars().take(500).collect() })
    }
}

/// Takes the whole body in; the request goes on with its content beside it. Three quarters of the request's time at most,
/// so that a refusal can still be given.
async fn receive(request: Request, id: &RequestId, body_limit: usize, time_limit: Duration) -> Request {
    let (mut parts, body) = request.into_parts();
    let content = match tokio::time::timeout(time_limit * 3 / 4, read(body, body_limit)).await {
        Ok(content) => content,
        Err(_) => Err(Problem::new(ProblemCode::MalformedBody, "The request's body did not arrive in time.")),
    };
    parts.extensions.insert(Content(content));
    parts.extensions.insert(id.clone());
    Request::from_parts(parts, Body::empty())
}

async fn read(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut kept = BytesMut::new();
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(ProblemCode::MalformedBody, "The request's body broke off."))?;
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= limit {
            kept.extend_from_slice(&data);
        } else {
            kept = BytesMut::new();
        }
        if seen > DRAINED {
            break;
        }
    }
    if seen > limit {
        return Err(Problem::new(ProblemCode::BodyTooLarge, format!("The request's body is larger than {limit} bytes."))
            .hint("Send less in one request."));
    }
    Ok(kept.freeze())
}

fn too_slow(limit: Duration) -> Refusal {
    tracing::error!(seconds = limit.as_secs(), "a request was given up because it took too long");
    Problem::new(ProblemCode::Internal, format!("No answer was found within {} seconds.", limit.as_secs()))
        .hint("Whether it was carried out is not known: look at the cluster before you repeat the request.")
        .into()
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = what.unwrap_or("of unknown kind"), "a request handler panicked");
    Refusal::from(Problem::internal()).into_response()
}
