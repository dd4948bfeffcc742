//! `Idempotency-Key`: a request that is repeated gets the answer of the first one.

use crate::kit::Kit;
use crate::kit::exchange::Content;
use crate::kit::refusal::{Refusal, header};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header as names};
use http_body_util::BodyExt;
use moorage_app::Keyed;
use moorage_domain::tenant::Actor;
use moorage_domain::{Problem, ProblemCode};
use serde::{Deserialize, Serialize};
use tracing::Instrument;

/// Says of an answer that it is an earlier one.
const REPEATED: &str = "idempotent-replayed";

/// Carries a request with a key out once. One that takes longer than a request may goes on, and its answer is there for whoever repeats it.
pub(crate) async fn once(State(kit): State<Kit>, request: Request, next: Next) -> Response {
    if *request.method() == Method::GET || !request.headers().contains_key("idempotency-key") {
        return next.run(request).await;
    }
    match tokio::spawn(keyed(kit, request, next).in_current_span()).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => Refusal::from(problem).into_response(),
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Refusal::from(Problem::internal()).into_response(),
        },
    }
}

async fn keyed(kit: Kit, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(key) = header(request.headers(), "idempotency-key").map(str::to_owned) else {
        return Err(Problem::invalid("Idempotency-Key", "An idempotency key has 1 to 128 printable characters without spaces."));
    };
    let Some(actor) = request.extensions().get::<Actor>().cloned() else { return Err(Problem::internal()) };
    let mut said =
        format!("{} {} {}\n", request.method(), request.uri(), header(request.headers(), "if-match").unwrap_or_default()).into_bytes();
    if let Some(content) = request.extensions().get::<Content>() {
        said.extend_from_slice(content.bytes()?);
    }
    if let Keyed::Answered { status, body } = kit.app.begin_keyed(&actor, &key, &said).await? {
        return again(status, &body);
    }
    let response = next.run(request).await;
    match response.extensions().get::<Refusal>() {
        Some(refusal) if nothing_was_done(&refusal.first) => kit.app.forget_keyed(&actor, &key).await,
        Some(_) => kit.app.break_off_keyed(&actor, &key).await,
        None => match kept(&kit, &actor, &key, response).await {
            Ok(answer) => return Ok(answer),
            Err(problem) => {
                kit.app.break_off_keyed(&actor, &key).await;
                return Err(problem);
            }
        },
    }
    Ok(response)
}

/// Keeps an answer, and gives it on.
async fn kept(kit: &Kit, actor: &Actor, key: &str, response: Response) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map_err(|_| Problem::internal())?.to_bytes();
    let kept = Kept { etag: header(&parts.headers, "etag").map(str::to_owned), body: String::from_utf8_lossy(&bytes).into_owned() };
    let kept = serde_json::to_string(&kept).map_err(|_| Problem::internal())?;
    kit.app.answer_keyed(actor, key, parts.status.as_u16(), &kept).await?;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

/// Whether a refusal came before anything was done. Where the store went away, its last word may have been lost on the way.
fn nothing_was_done(problem: &Problem) -> bool {
    !matches!(problem.code, ProblemCode::StoreUnavailable | ProblemCode::Internal)
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    etag: Option<String>,
    body: String,
}

fn again(status: u16, kept: &str) -> Result<Response, Problem> {
    let Kept { etag, body } = serde_json::from_str(kept).map_err(|_| Problem::internal())?;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut response = (status, body).into_response();
    response.headers_mut().remove(names::CONTENT_TYPE);
    if status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(names::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
        response.headers_mut().insert(names::ETAG, etag);
    }
    response.headers_mut().insert(REPEATED, HeaderValue::from_static("true"));
    Ok(response)
}
