//! Problems as texts, which tsuru shows to whoever asked it.

use crate::globo::problems::status;
use crate::kit::refusal::Refusal;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// A text that says why not.
pub(super) fn said(status: StatusCode, words: &str) -> Response {
    (status, Json(format!("[DBaaS Error] {words}"))).into_response()
}

/// A refusal as a text.
pub(crate) fn render(refusal: &Refusal) -> Response {
    let problem = &refusal.first;
    let mut words = problem.message.clone();
    for more in [&problem.detail, &problem.hint].into_iter().flatten() {
        words.push_str(if words.ends_with(['.', '!', '?']) { " " } else { ". " });
        words.push_str(more);
    }
    let mut response = said(status(problem), &words);
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"api\""));
    }
    response
}
