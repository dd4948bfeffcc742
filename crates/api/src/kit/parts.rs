//! Parts of a request that are always there: reading them cannot fail, so no framework's words reach a caller.

use super::query::Query;
use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use std::convert::Infallible;

/// The one parameter of a path. One that cannot be decoded names nothing, like the empty one.
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self(Path::<String>::from_request_parts(parts, state).await.map(|Path(id)| id).unwrap_or_default()))
    }
}

/// The two parameters of a path.
pub(crate) struct Ids(pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Ids {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let (one, other) = Path::<(String, String)>::from_request_parts(parts, state).await.map(|Path(ids)| ids).unwrap_or_default();
        Ok(Self(one, other))
    }
}

/// The three parameters of a path.
pub(crate) struct ThreeIds(pub(crate) String, pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for ThreeIds {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let found = Path::<(String, String, String)>::from_request_parts(parts, state).await;
        let (one, two, three) = found.map(|Path(ids)| ids).unwrap_or_default();
        Ok(Self(one, two, three))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query()))
    }
}
