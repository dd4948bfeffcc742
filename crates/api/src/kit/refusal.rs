//! A request that is refused. Handlers and layers say *what* is wrong; the exchange around them renders it in the dialect
//! of the family that was addressed, so that no caller ever sees another family's error.

use crate::globo::hal::Site;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri};
use moorage_domain::{Problem, ProblemCode};

/// Why a request is refused; travels as a response extension until it is rendered.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The problem that decides status and code.
    pub(crate) first: Box<Problem>,
    /// Further ones of the same request.
    pub(crate) others: Vec<Problem>,
}

impl Refusal {
    /// All problems, the deciding one first.
    pub(crate) fn problems(&self) -> impl Iterator<Item = &Problem> {
        std::iter::once(self.first.as_ref()).chain(&self.others)
    }
}

impl From<Problem> for Refusal {
    fn from(first: Problem) -> Self {
        Self { first: Box::new(first), others: Vec::new() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What handlers return.
pub(crate) type Answer = Result<Response, Refusal>;

pub(crate) async fn unknown_path(uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(ProblemCode::PathNotFound, format!("There is nothing at '{path}'.")).into()
}

pub(crate) async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(ProblemCode::MethodNotAllowed, format!("'{path}' does not answer to {method}."))
        .hint("The Allow header lists the methods it answers to.")
        .into()
}

/// Which family speaks (decisions 21). With two families the path decides; an `Scp-*` header means SCP wherever no other
/// family owns the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Our own.
    Native,
    /// Samsung Cloud Platform.
    Scp,
    /// Globo.com's database-as-a-service.
    Globo,
    /// The same as tsuru asks it.
    Tsuru,
}

impl Family {
    pub(crate) fn of(path: &str) -> Self {
        if path == "/metrics" || path == "/openapi.json" || path.starts_with("/docs") {
            return Self::Native;
        }
        match path.strip_prefix("/moorage") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Self::Native,
            _ if path == "/api" || path.starts_with("/api/") || path.starts_with("/api-auth/") => Self::Globo,
            _ if is_of_tsuru(path) => Self::Tsuru,
            _ => Self::Scp,
        }
    }
    /// Its name in records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Scp => "scp",
            Self::Globo => "globo",
            Self::Tsuru => "tsuru",
        }
    }
    /// Renders a refusal in the family's dialect.
    pub(crate) fn render(self, refusal: &Refusal, request_id: &str, site: &Site) -> Response {
        match self {
            Self::Native => crate::native::problems::render(refusal, request_id),
            Self::Scp => crate::scp::problems::render(refusal, request_id),
            Self::Globo => crate::globo::problems::render(refusal, site),
            Self::Tsuru => crate::globo::tsuru::problems::render(refusal),
        }
    }
}

/// `/{environment}/tsuru/resources` and below.
fn is_of_tsuru(path: &str) -> bool {
    let mut parts = path.split('/').skip(2);
    parts.next() == Some("tsuru") && parts.next() == Some("resources")
}

/// The text of a header, if it is there once and readable.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_moorage_are_native() {
        assert_eq!(Family::of("/moorage/v1/clusters"), Family::Native);
        assert_eq!(Family::of("/moorage"), Family::Native);
        assert_eq!((Family::of("/api/database/"), Family::of("/api"), Family::of("/apix")), (Family::Globo, Family::Globo, Family::Scp));
        assert_eq!(Family::of("/laboratory/tsuru/resources/x/bind-app"), Family::Tsuru);
        for path in ["/", "/tsuru/resources", "/x/tsuru", "/v1/clusters", "/mooragex", "/nothing"] {
            assert_eq!(Family::of(path), Family::Scp, "{path}");
        }
    }
}
