//! Databases inside clusters and their credentials: paths and methods.

use super::{read, write};
use crate::kit::Kit;
use crate::kit::exchange::Content;
use crate::kit::parts::{Id, Ids, ThreeIds};
use crate::kit::query::Query;
use crate::kit::refusal::Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http::{HeaderMap, StatusCode};
use moorage_app::{Begun, ClusterRef, CredentialRef};
use moorage_domain::tenant::Actor;

/// The routes.
pub(crate) fn router() -> Router<Kit> {
    Router::new()
        .route("/moorage/v1/clusters/{cluster}/databases", get(list).post(create))
        .route("/moorage/v1/clusters/{cluster}/databases/{database}", get(show).delete(remove))
        .route("/moorage/v1/clusters/{cluster}/databases/{database}/quarantine", post(quarantine))
        .route("/moorage/v1/clusters/{cluster}/databases/{database}/restore", post(restore))
        .route("/moorage/v1/clusters/{cluster}/databases/{database}/credentials", get(list_credentials).post(create_credential))
        .route(
            "/moorage/v1/clusters/{cluster}/databases/{database}/credentials/{credential}",
            get(show_credential).delete(remove_credential),
        )
        .route("/moorage/v1/clusters/{cluster}/databases/{database}/credentials/{credential}/password", get(show_password))
        .route("/moorage/v1/clusters/{cluster}/databases/{database}/credentials/{credential}/reset-password", post(reset_password))
}

fn begun(begun: &Begun) -> Response {
    (StatusCode::ACCEPTED, Json(read::begun(begun))).into_response()
}

async fn list(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(cluster): Id, query: Query) -> Answer {
    let (offset, limit) = write::rows(&query)?;
    let found = kit.app.databases(&actor, &ClusterRef::any(cluster), offset, limit).await?;
    let more = found.len() as u64 == limit;
    Ok(Json(read::Page::after(offset, found.iter().map(read::database).collect(), more)).into_response())
}

async fn create(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    Id(cluster): Id,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let wanted = write::create_database(content.json(&headers)?)?;
    Ok(begun(&kit.app.create_database(&actor, &ClusterRef::any(cluster), wanted).await?))
}

async fn show(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Ids(cluster, database): Ids) -> Answer {
    Ok(Json(read::database(&kit.app.database(&actor, &ClusterRef::any(cluster), &database).await?)).into_response())
}

async fn remove(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Ids(cluster, database): Ids) -> Answer {
    Ok(begun(&kit.app.delete_database(&actor, &ClusterRef::any(cluster), &database).await?))
}

async fn quarantine(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Ids(cluster, database): Ids) -> Answer {
    Ok(begun(&kit.app.quarantine_database(&actor, &ClusterRef::any(cluster), &database).await?))
}

async fn restore(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Ids(cluster, database): Ids) -> Answer {
    Ok(Json(read::database(&kit.app.restore_database(&actor, &ClusterRef::any(cluster), &database).await?)).into_response())
}

async fn list_credentials(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Ids(cluster, database): Ids) -> Answer {
    let view = kit.app.database(&actor, &ClusterRef::any(cluster), &database).await?;
    Ok(Json(read::Page::whole(view.credentials.iter().map(read::credential).collect())).into_response())
}

async fn create_credential(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    Ids(cluster, database): Ids,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let wanted = write::create_database_credential(content.json(&headers)?)?;
    Ok(begun(&kit.app.create_database_credential(&actor, &ClusterRef::any(cluster), &database, wanted).await?))
}

async fn show_credential(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    ThreeIds(cluster, database, credential): ThreeIds,
) -> Answer {
    let wanted = CredentialRef { cluster: &ClusterRef::any(cluster), database: &database, credential: &credential };
    Ok(Json(read::credential(&kit.app.database_credential(&actor, wanted).await?)).into_response())
}

async fn show_password(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    ThreeIds(cluster, database, credential): ThreeIds,
) -> Answer {
    let wanted = CredentialRef { cluster: &ClusterRef::any(cluster), database: &database, credential: &credential };
    let (credential, password) = kit.app.credential_password(&actor, wanted).await?;
    Ok(Json(read::password(&credential, &password)).into_response())
}

async fn reset_password(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    ThreeIds(cluster, database, credential): ThreeIds,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let password = write::reset_password(content.json_or_nothing(&headers)?)?;
    let wanted = CredentialRef { cluster: &ClusterRef::any(cluster), database: &database, credential: &credential };
    Ok(begun(&kit.app.reset_credential(&actor, wanted, password).await?))
}

async fn remove_credential(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    ThreeIds(cluster, database, credential): ThreeIds,
) -> Answer {
    let wanted = CredentialRef { cluster: &ClusterRef::any(cluster), database: &database, credential: &credential };
    Ok(begun(&kit.app.delete_database_credential(&actor, wanted).await?))
}
