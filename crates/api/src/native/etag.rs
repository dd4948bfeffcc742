//! `ETag`, `If-Match` and `If-None-Match`: nobody overwrites what they have not seen.
//!
//! A tag has two parts: what a change has to match, and what the whole answer has to match for a copy of it to be still good. What
//! a cluster *is* changes when somebody asks for it; what it is *doing* changes all the time and is no reason to refuse a change.

use crate::kit::parts::Id;
use crate::kit::refusal::header;
use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use moorage_app::ClusterRef;
use moorage_domain::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::convert::Infallible;

/// A cluster as a request names it: in the path by identifier or name, and by what it was when the caller read it.
pub(crate) struct Wanted(pub(crate) ClusterRef);

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let Id(id) = Id::from_request_parts(parts, state).await?;
        let mut cluster = ClusterRef::any(id);
        if parts.method != Method::GET {
            // A tag that was never ours matches nothing.
            cluster.unchanged_since = wanted(&parts.headers).map(|mark| Timestamp(mark.parse().unwrap_or(i64::MIN)));
        }
        Ok(Self(cluster))
    }
}

/// The first part of the tag in `If-Match`; none when there is none, or any will do.
pub(crate) fn wanted(headers: &HeaderMap) -> Option<String> {
    let value = header(headers, "if-match")?.trim();
    if value == "*" {
        return None;
    }
    // Of several, the first: what is read is one thing.
    let tag = value.split(',').next().unwrap_or_default().trim().trim_start_matches("W/").trim_matches('"');
    Some(tag.split_once('.').map_or(tag, |(mark, _)| mark).to_owned())
}

/// An answer with its tag; without a body where the caller has a good copy already.
pub(crate) fn tagged(headers: &HeaderMap, mark: &str, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let digest = Sha256::digest(&bytes);
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{mark}.{short}\"");
    let known = header(headers, "if-none-match").is_some_and(|value| value.split(',').any(|known| known.trim() == tag));
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Json(body).into_response(),
    };
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(http::header::ETAG, value);
    }
    response
}

/// The mark of a cluster: when what it is was last changed.
pub(crate) fn of_cluster(modified_at: Timestamp) -> String {
    modified_at.0.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn if_match(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("if-match", value.parse().expect("a header value"));
        wanted(&headers)
    }

    #[test]
    fn the_part_that_a_change_has_to_match_is_read_from_whatever_clients_send() {
        assert_eq!(if_match("\"123.abc\"").as_deref(), Some("123"));
        assert_eq!(if_match("W/\"123.abc\", \"9.x\"").as_deref(), Some("123"));
        assert_eq!(if_match("*"), None);
        assert_eq!(if_match("something else").as_deref(), Some("something else"));
        assert_eq!(wanted(&HeaderMap::new()), None);
    }
}
