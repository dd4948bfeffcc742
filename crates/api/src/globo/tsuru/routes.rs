//! Paths and methods. The name of an environment at their beginning says which of tsuru's services it is: the environments of one stage.

use crate::globo::auth::admit;
use crate::kit::Kit;
use crate::kit::exchange::Content;
use axum::extract::{FromRequestParts, Path};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::HeaderMap;
use http::request::Parts;
use moorage_domain::tenant::Actor;
use std::collections::HashMap;

/// All routes.
pub(crate) fn router(kit: &Kit) -> Router<Kit> {
    Router::new()
        .route("/{environment}/tsuru/resources/plans", get(async |asked: Asked| asked.plans().await))
        .route("/{environment}/tsuru/resources", post(async |asked: Asked| asked.create().await))
        .route(
            "/{environment}/tsuru/resources/{name}",
            get(async |asked: Asked| asked.info().await)
                .put(async |asked: Asked| asked.update().await)
                .delete(async |asked: Asked| asked.remove().await),
        )
        .route("/{environment}/tsuru/resources/{name}/status", get(async |asked: Asked| asked.status().await))
        .route(
            "/{environment}/tsuru/resources/{name}/bind-app",
            post(async |asked: Asked| asked.bind_application().await).delete(async |asked: Asked| asked.unbind().await),
        )
        .route(
            "/{environment}/tsuru/resources/{name}/bind",
            post(async |asked: Asked| asked.bind_unit().await).delete(async |asked: Asked| asked.unbind().await),
        )
        .route_layer(from_fn_with_state(kit.clone(), admit))
}

/// What a request is about.
pub(super) struct Asked {
    pub(super) kit: Kit,
    pub(super) actor: Actor,
    pub(super) environment: String,
    /// The database's name; empty where the path has none.
    pub(super) name: String,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
}

impl FromRequestParts<Kit> for Asked {
    type Rejection = axum::response::Response;
    async fn from_request_parts(parts: &mut Parts, kit: &Kit) -> Result<Self, Self::Rejection> {
        use axum::response::IntoResponse;
        let Extension(actor) = Extension::<Actor>::from_request_parts(parts, kit).await.map_err(IntoResponse::into_response)?;
        let Path(mut named) = Path::<HashMap<String, String>>::from_request_parts(parts, kit).await.map_err(IntoResponse::into_response)?;
        let Ok(content) = Content::from_request_parts(parts, kit).await;
        Ok(Self {
            kit: kit.clone(),
            actor,
            environment: named.remove("environment").unwrap_or_default(),
            name: named.remove("name").unwrap_or_default(),
            headers: parts.headers.clone(),
            content,
        })
    }
}
