//! What the vendor's provider for Terraform asks of other services than the databases' own: the catalogue of endpoints, its
//! caller's access keys (iam) and the tags of clusters (resourcemanager). Served at the shared base and at bases of their own.

use super::auth::identified;
use super::write;
use crate::kit::Kit;
use crate::kit::exchange::Content;
use crate::kit::parts::Id;
use crate::kit::refusal::Answer;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use moorage_app::ClusterRef;
use moorage_domain::cluster::Tag;
use moorage_domain::engine::EngineName;
use moorage_domain::tenant::{AccessKey, Actor};
use moorage_domain::{Problem, ProblemCode};
use serde::Serialize;
use serde_json::{Value, json};

/// The bases these are served at: a client that is told of one base asks for everything there, whichever it is.
const BASES: [&str; 5] = ["", "/iam", "/resourcemanager", "/mariadb", "/postgresql"];
/// Shown in place of a secret key, which is shown once, when it is made (decisions 3).
const MASKED: &str = "********";
/// An access key that does not end has to say when it does.
const NEVER: &str = "2999-12-31T23:59:59Z";

/// The routes, with the version document of every base.
pub(crate) fn router(kit: &Kit) -> Router<Kit> {
    let mut router = Router::new();
    for base in BASES {
        router = router
            .route(&format!("{base}/v1/endpoints"), get(list_endpoints))
            .route(&format!("{base}/v1/access-keys"), get(list_access_keys))
            .route(&format!("{base}/v1/tags/{{srn}}"), get(list_tags))
            .route(&format!("{base}/v1/tags/{{srn}}/bulk"), put(set_tags));
    }
    let router = router.route_layer(from_fn_with_state(kit.clone(), identified));
    BASES.iter().fold(router, |router, base| {
        let document =
            move |State(kit): State<Kit>, headers: HeaderMap| async move { super::routes::version_document(&kit, &headers, base) };
        let router = router.route(&format!("{base}/"), get(document));
        if base.is_empty() { router } else { router.route(base, get(document)) }
    })
}

#[derive(Serialize)]
struct Endpoint {
    region: &'static str,
    service_type: &'static str,
    service_name: &'static str,
    url: String,
}

/// Every service at its base, all in one region.
async fn list_endpoints(State(kit): State<Kit>, headers: HeaderMap) -> Response {
    let address = super::routes::address(&kit, &headers);
    let services = [
        ("scp-mariadb", "MariaDB", "/mariadb"),
        ("scp-postgresql", "PostgreSQL", "/postgresql"),
        ("scp-iam", "IAM", "/iam"),
        ("scp-resourcemanager", "Resource Manager", "/resourcemanager"),
    ];
    let endpoints = services.map(|(service_type, service_name, base)| Endpoint {
        region: "kr-west1",
        service_type,
        service_name,
        url: format!("{address}{base}"),
    });
    Json(json!({"endpoints": endpoints})).into_response()
}

async fn list_access_keys(State(kit): State<Kit>, Extension(actor): Extension<Actor>) -> Answer {
    let keys = kit.app.access_keys(&actor, "me").await?;
    let list: Vec<Value> = keys.iter().map(|key| access_key(key, &actor)).collect();
    Ok(Json(json!({"count": list.len(), "links": [], "access_keys": list})).into_response())
}

fn access_key(key: &AccessKey, actor: &Actor) -> Value {
    let created = key.created_at.rfc3339();
    json!({
        "access_key": key.access_key,
        "access_key_type": "PERMANENT",
        "account_id": actor.project,
        "created_at": created,
        "created_by": actor.user,
        "description": key.name,
        "expiration_timestamp": key.expires_at.map_or_else(|| NEVER.to_owned(), |at| at.rfc3339()),
        "id": key.access_key,
        "is_enabled": true,
        "modified_at": created,
        "modified_by": actor.user,
        "parent_access_key_id": null,
        "secret_key": MASKED,
    })
}

/// The resource a name stands for: `srn:<offering>::<account>:<region>::mariadb:mariadb/<cluster>`, in base 64.
struct Named {
    srn: String,
    cluster: ClusterRef,
}

impl Named {
    fn read(encoded: &str) -> Result<Self, Problem> {
        let wrong = || {
            Problem::new(ProblemCode::InvalidRequest, "The resource name cannot be read.")
                .hint("It is base64 of srn:<offering>::<account>:<region>::<service>:<service>/<cluster id>.")
                .field("srn")
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| wrong())?;
        let srn = String::from_utf8(bytes).map_err(|_| wrong())?;
        let (before, id) = srn.rsplit_once('/').ok_or_else(wrong)?;
        let service = before.rsplit(':').next().unwrap_or_default();
        let engine = EngineName::parse(service).filter(|_| before.starts_with("srn:")).ok_or_else(wrong)?;
        let cluster = ClusterRef::id(id, engine);
        Ok(Self { srn, cluster })
    }
}

fn shown(tags: &[Tag]) -> Vec<Value> {
    // The vendor's provider does not survive a value that is null.
    tags.iter().map(|tag| json!({"key": tag.key, "value": tag.value.as_deref().unwrap_or_default()})).collect()
}

/// A cluster that is not there has no tags: the provider asks after a removal too, and does not survive an error.
async fn list_tags(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(srn): Id) -> Answer {
    let named = Named::read(&srn)?;
    let tags = match kit.app.cluster(&actor, &named.cluster).await {
        Ok(view) => shown(&view.cluster.spec.tags),
        Err(problem) if problem.code == ProblemCode::ClusterNotFound => Vec::new(),
        Err(problem) => return Err(problem.into()),
    };
    Ok(Json(json!({"content": {"srn": named.srn, "tags": tags}, "count": tags.len(), "page": 0, "size": tags.len(), "sort": null}))
        .into_response())
}

async fn set_tags(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(srn): Id, content: Content) -> Answer {
    let named = Named::read(&srn)?;
    let tags = write::create::tags_of_cluster(content.bytes()?)?;
    let set = shown(&tags);
    kit.app.set_tags(&actor, &named.cluster, tags).await?;
    Ok(Json(json!({"content": {named.srn: set}})).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_databases_are_read() {
        let id = "109a585ae67b4e8482fdafc8a4a5be74";
        let name = |text: &str| Named::read(&STANDARD.encode(text));
        let found = name(&format!("srn:e::acct:kr-west1::postgresql:postgresql/{id}")).expect("a database");
        assert_eq!(found.cluster, ClusterRef::id(id, EngineName::PostgreSql));
        for wrong in ["", "srn:e", "srn:e::a:r::vpc:vpc/x", &format!("x::mariadb:mariadb/{id}")] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
        assert!(Named::read("not base 64!").is_err());
    }
}
