//! Paths and methods. One table names every operation of the two services; what it does not serve yet answers so by name.

use super::auth::{Caller, admit};
use super::{ids, problems, read, write};
use crate::kit::Kit;
use crate::kit::exchange::Content;
use crate::kit::parts::Id;
use crate::kit::query::Query;
use crate::kit::refusal::{Answer, Refusal, header};
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Json, Router};
use http::{HeaderMap, StatusCode};
use moorage_app::{Accepted, ClusterRef, Clusters, SwitchOver};
use moorage_domain::engine::EngineName;
use moorage_domain::{Problem, ProblemCode};

/// An operation of the API.
pub(crate) struct Operation {
    /// Its name in the vendor's documents, without spaces.
    pub(crate) name: &'static str,
    /// Its method.
    pub(crate) method: &'static str,
    /// Its path below a base.
    pub(crate) path: &'static str,
}

macro_rules! operations {
    ($($name:ident $method:ident $path:literal;)*) => {
        &[$(Operation { name: stringify!($name), method: stringify!($method), path: $path }),*]
    };
}

/// Every operation: the 44 of `mariadb 1.0`, and what 1.1 and `postgresql` add.
pub(crate) const OPERATIONS: &[Operation] = operations! {
    AddBlockStorages POST "/v1/instance-groups/{instance_group_id}/block-storage-groups";
    CreateCluster POST "/v1/clusters";
    CreateReplica POST "/v1/clusters/{cluster_id}/replicas";
    CreateRestoreCluster POST "/v1/clusters/{cluster_id}/restore";
    ExportLog POST "/v1/clusters/{cluster_id}/log-export-configs/{log_type}/export";
    ListBackupHistories GET "/v1/clusters/{cluster_id}/backup-histories";
    ListClusters GET "/v1/clusters";
    ListEngineVersionProperties GET "/v1/engine-versions/{dbaas_engine_version_id}/properties";
    ListEngineVersions GET "/v1/engine-versions";
    ListLogExportConfigs GET "/v1/clusters/{cluster_id}/log-export-configs";
    ListParameterGroups GET "/v1/parameter-groups";
    ListParameterValues GET "/v1/clusters/{cluster_id}/parameters";
    ListParameters GET "/v1/parameters";
    ListReplicas GET "/v1/clusters/{cluster_id}/replicas";
    ListServerTypes GET "/v1/server-types";
    PatchMinorVersion PUT "/v1/clusters/{cluster_id}/patch";
    PromoteReplicaCluster POST "/v1/clusters/{cluster_id}/promote";
    RegisterLogExportConfig POST "/v1/clusters/{cluster_id}/log-export-configs";
    RemoveBackupHistories PUT "/v1/clusters/{cluster_id}/backup-histories";
    ResetReplica POST "/v1/clusters/{cluster_id}/reset-replica";
    RestartCluster POST "/v1/clusters/{cluster_id}/restart";
    SetArchiveConfig PUT "/v1/clusters/{cluster_id}/archive";
    SetAuditLog PUT "/v1/clusters/{cluster_id}/audit-log";
    SetBackup POST "/v1/clusters/{cluster_id}/backups";
    SetBlockStorageSize POST "/v1/block-storage-groups/{block_storage_group_id}/resize";
    SetLogExportConfig PUT "/v1/clusters/{cluster_id}/log-export-configs/{log_type}";
    SetMaintenance POST "/v1/clusters/{cluster_id}/maintenance";
    SetParameterValues PUT "/v1/clusters/{cluster_id}/parameters";
    SetSecurityGroupRules POST "/v1/clusters/{cluster_id}/security-group-rules";
    SetServerType POST "/v1/instance-groups/{instance_group_id}/resize";
    ShowArchiveConfig GET "/v1/clusters/{cluster_id}/archive";
    ShowCluster GET "/v1/clusters/{cluster_id}";
    ShowRequest GET "/v1/requests/{request_id}";
    StartCluster POST "/v1/clusters/{cluster_id}/start";
    StopCluster POST "/v1/clusters/{cluster_id}/stop";
    SwitchoverCluster POST "/v1/clusters/{cluster_id}/switchover";
    SynchronizeArchiveConfig POST "/v1/clusters/{cluster_id}/archive/sync";
    SynchronizeClusterState POST "/v1/clusters/{cluster_id}/sync-state";
    SynchronizeParameterValues POST "/v1/clusters/{cluster_id}/parameters/sync";
    SynchronizeReplicaState POST "/v1/clusters/{cluster_id}/sync-replica-state";
    TerminateCluster DELETE "/v1/clusters/{cluster_id}";
    UnregisterLogExportConfig DELETE "/v1/clusters/{cluster_id}/log-export-configs/{log_type}";
    UnsetBackup DELETE "/v1/clusters/{cluster_id}/backups";
    UnsetMaintenance DELETE "/v1/clusters/{cluster_id}/maintenance";
    UpgradeKernel PUT "/v1/clusters/{cluster_id}/kernel-upgrade";
    CreateOtherRegionReplica POST "/v1/clusters/{cluster_id}/replicas/other-region";
    UnsetArchiveConfig DELETE "/v1/clusters/{cluster_id}/archive";
};

/// The bases operations are served at: one for all services, one for each.
const BASES: [(&str, Option<EngineName>); 3] =
    [("", None), ("/mariadb", Some(EngineName::MariaDb)), ("/postgresql", Some(EngineName::PostgreSql))];

/// All routes of the family.
pub(crate) fn router(kit: &Kit) -> Router<Kit> {
    let mut router = super::companions::router(kit);
    for (base, prefix) in BASES {
        let mut operations = Router::new();
        for operation in OPERATIONS {
            operations = operations.route(&format!("{base}{}", operation.path), handler(operation));
        }
        router = router.merge(operations.route_layer(from_fn_with_state((kit.clone(), prefix), admit)));
    }
    router
}

fn handler(operation: &'static Operation) -> MethodRouter<Kit> {
    let method = match operation.method {
        "POST" => MethodFilter::POST,
        "PUT" => MethodFilter::PUT,
        "DELETE" => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    };
    match operation.name {
        "CreateCluster" => on(method, create_cluster),
        "ShowCluster" => on(method, show_cluster),
        "ListClusters" => on(method, list_clusters),
        "StartCluster" => on(method, start_cluster),
        "StopCluster" => on(method, stop_cluster),
        "RestartCluster" => on(method, restart_cluster),
        "SwitchoverCluster" => on(method, switchover_cluster),
        "TerminateCluster" => on(method, terminate_cluster),
        "SetSecurityGroupRules" => on(method, set_security_group_rules),
        "SetMaintenance" => on(method, set_maintenance),
        "UnsetMaintenance" => on(method, unset_maintenance),
        "ListParameterGroups" => on(method, list_parameter_groups),
        "ListParameters" => on(method, list_parameters),
        "ListParameterValues" => on(method, list_parameter_values),
        "SynchronizeClusterState" => on(method, synchronize_cluster_state),
        "SynchronizeParameterValues" => on(method, synchronize_parameter_values),
        "ShowRequest" => on(method, show_request),
        "ListEngineVersions" => on(method, list_engine_versions),
        "ListEngineVersionProperties" => on(method, list_engine_version_properties),
        "ListServerTypes" => on(method, list_server_types),
        name => on(method, move || async move { not_there_yet(name) }),
    }
}

fn not_there_yet(name: &'static str) -> Refusal {
    Problem::new(ProblemCode::NotSupportedYet, format!("The operation {name} is not supported yet."))
        .hint("README.md lists what is served.")
        .into()
}

/// Unsigned. A browser at the shared base gets a page instead.
pub(crate) fn version_document(kit: &Kit, headers: &HeaderMap, base: &str) -> Response {
    if base.is_empty() && header(headers, "accept").is_some_and(|accept| accept.to_ascii_lowercase().contains("text/html")) {
        return axum::response::Html(WELCOME).into_response();
    }
    Json(read::versions(&format!("{}{base}", address(kit, headers)))).into_response()
}

/// Where the client reaches this server.
pub(crate) fn address(kit: &Kit, headers: &HeaderMap) -> String {
    match &kit.options.public_base {
        Some(public_base) => public_base.clone(),
        None => {
            let scheme = if kit.options.tls { "https" } else { "http" };
            format!("{scheme}://{}", header(headers, "host").unwrap_or("localhost"))
        }
    }
}

const WELCOME: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Moorage</title>\
<style>body{font:1rem/1.5 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem}</style>\
<h1>Moorage</h1><p>This server runs databases. Use it with the <code>moorage</code> command, over its own API at \
<code>/moorage/v1</code>, or over the Samsung Cloud Platform API at <code>/v1</code>.</p></html>";

impl Caller {
    fn cluster(&self, id: Id) -> ClusterRef {
        ClusterRef::id(id.0, self.dialect.engine)
    }
    /// Problems from behind the door, with fields as this service calls them.
    fn translate(&self, problem: Problem) -> Refusal {
        let character_set = match self.dialect.engine {
            EngineName::MariaDb => "database_character_set",
            EngineName::PostgreSql => "database_encoding",
        };
        problems::rename_field(problem, character_set).into()
    }
}

fn accepted(accepted: &Accepted) -> Response {
    (StatusCode::ACCEPTED, Json(read::accepted(accepted))).into_response()
}

async fn create_cluster(State(kit): State<Kit>, Extension(caller): Extension<Caller>, content: Content) -> Answer {
    let command = write::create::create_cluster(content.bytes()?, caller.dialect)?;
    let done = kit.app.create_cluster(&caller.actor, command).await.map_err(|problem| caller.translate(in_body(problem)))?;
    Ok(accepted(&done))
}

/// In a body, an unknown engine version is a wrong value and not a missing resource.
fn in_body(problem: Problem) -> Problem {
    if problem.code == ProblemCode::EngineVersionUnknown && problem.field.is_none() {
        return problem.field("version");
    }
    problem
}

async fn show_cluster(State(kit): State<Kit>, Extension(caller): Extension<Caller>, id: Id) -> Answer {
    let dialect = caller.dialect;
    let view = kit.app.cluster(&caller.actor, &caller.cluster(id)).await?;
    Ok(Json(read::cluster(&view, dialect)).into_response())
}

async fn list_clusters(State(kit): State<Kit>, Extension(caller): Extension<Caller>, query: Query) -> Answer {
    let listing = write::list_clusters(&query, caller.dialect)?;
    let found = match listing.matches_nothing {
        true => Clusters { rows: Vec::new(), total: 0 },
        false => kit.app.clusters(&caller.actor, &listing.command).await?,
    };
    Ok(Json(read::clusters(&found, &listing)).into_response())
}

async fn start_cluster(State(kit): State<Kit>, Extension(caller): Extension<Caller>, id: Id, content: Content) -> Answer {
    content.bytes()?;
    Ok(accepted(&kit.app.start_cluster(&caller.actor, &caller.cluster(id)).await?))
}

async fn stop_cluster(State(kit): State<Kit>, Extension(caller): Extension<Caller>, id: Id, content: Content) -> Answer {
    content.bytes()?;
    Ok(accepted(&kit.app.stop_cluster(&caller.actor, &caller.cluster(id)).await?))
}

async fn restart_cluster(State(kit): State<Kit>, Extension(caller): Extension<Caller>, id: Id, content: Content) -> Answer {
    content.bytes()?;
    Ok(accepted(&kit.app.restart_cluster(&caller.actor, &caller.cluster(id)).await?))
}

async fn switchover_cluster(State(kit): State<Kit>, Extension(caller): Extension<Caller>, id: Id, content: Content) -> Answer {
    content.bytes()?;
    Ok(accepted(&kit.app.switch_over(&caller.actor, &caller.cluster(id), SwitchOver::default()).await?))
}

async fn terminate_cluster(State(kit): State<Kit>, Extension(caller): Extension<Caller>, id: Id, content: Content) -> Answer {
    content.bytes()?;
    Ok(accepted(&kit.app.terminate_cluster(&caller.actor, &caller.cluster(id)).await?))
}

async fn set_security_group_rules(State(kit): State<Kit>, Extension(caller): Extension<Caller>, id: Id, content: Content) -> Answer {
    let (add, remove) = write::security_group_rules(content.bytes()?)?;
    let cluster = caller.cluster(id);
    let done = kit.app.change_allow_list(&caller.actor, &cluster, &add, &remove).await;
    Ok(accepted(&done.map_err(|problem| caller.translate(problem))?))
}

async fn set_maintenance(State(kit): State<Kit>, Extension(caller): Extension<Caller>, id: Id, content: Content) -> Answer {
    let window = write::create::maintenance_window(content.bytes()?)?;
    Ok(accepted(&kit.app.set_maintenance(&caller.actor, &caller.cluster(id), Some(window)).await?))
}

async fn unset_maintenance(State(kit): State<Kit>, Extension(caller): Extension<Caller>, id: Id, content: Content) -> Answer {
    content.bytes()?;
    Ok(accepted(&kit.app.set_maintenance(&caller.actor, &caller.cluster(id), None).await?))
}

async fn synchronize_cluster_state(State(kit): State<Kit>, Extension(caller): Extension<Caller>, id: Id, content: Content) -> Answer {
    content.bytes()?;
    Ok(accepted(&kit.app.synchronize_state(&caller.actor, &caller.cluster(id)).await?))
}

async fn synchronize_parameter_values(State(kit): State<Kit>, Extension(caller): Extension<Caller>, id: Id, content: Content) -> Answer {
    content.bytes()?;
    Ok(accepted(&kit.app.synchronize_parameters(&caller.actor, &caller.cluster(id)).await?))
}

async fn list_parameter_groups(State(kit): State<Kit>, Extension(caller): Extension<Caller>, query: Query) -> Answer {
    let filter = write::list_parameter_groups(&query)?;
    let groups = kit.app.parameter_groups(Some(caller.dialect.engine)).await?;
    Ok(Json(read::parameter_groups(&groups, &filter, caller.dialect)).into_response())
}

async fn list_parameters(State(kit): State<Kit>, Extension(caller): Extension<Caller>, query: Query) -> Answer {
    let listing = write::list_parameters(&query)?;
    let (group, parameters) = kit.app.parameters(&listing.group, Some(caller.dialect.engine)).await?;
    Ok(Json(read::parameters(&group, &parameters, &listing, caller.dialect)).into_response())
}

async fn list_parameter_values(State(kit): State<Kit>, Extension(caller): Extension<Caller>, id: Id) -> Answer {
    let (_, applied) = kit.app.cluster_parameters(&caller.actor, &caller.cluster(id)).await?;
    Ok(Json(read::parameter_values(&applied, caller.dialect)).into_response())
}

async fn show_request(State(kit): State<Kit>, Extension(caller): Extension<Caller>, Id(id): Id) -> Answer {
    let unknown = || Problem::new(ProblemCode::OperationNotFound, "There is no such request.").hint("A request id looks like req-<uuid>.");
    let operation = ids::operation_id(&id).ok_or_else(unknown)?;
    let view = kit.app.operation(&caller.actor, &operation).await.map_err(|problem| match problem.code {
        ProblemCode::OperationNotFound => unknown(),
        _ => problem,
    })?;
    // Another service's requests are not there, as its clusters are not (decisions 20).
    if view.engine != caller.dialect.engine {
        return Err(unknown().into());
    }
    Ok(Json(read::request(&view)).into_response())
}

async fn list_engine_versions(State(kit): State<Kit>, Extension(caller): Extension<Caller>, query: Query) -> Answer {
    let filter = write::list_engine_versions(&query)?;
    let versions = kit.app.engine_versions(Some(caller.dialect.engine)).await?;
    Ok(Json(read::engine_versions(&versions, &filter, caller.dialect)).into_response())
}

async fn list_engine_version_properties(State(kit): State<Kit>, Extension(caller): Extension<Caller>, Id(id): Id) -> Answer {
    let version = kit.app.engine_version(&id, caller.dialect.engine).await?;
    Ok(Json(read::properties(&version)).into_response())
}

async fn list_server_types(State(kit): State<Kit>, Extension(caller): Extension<Caller>, query: Query) -> Answer {
    let types = kit.app.server_types();
    let rows = read::server_types(&types, query.get("name"), query.get("product_image_type"), &kit.app.abilities(), caller.dialect);
    Ok(Json(rows).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_there_once() {
        assert_eq!(OPERATIONS.len(), 44 + 2 + 1);
        for (index, operation) in OPERATIONS.iter().enumerate() {
            let twin =
                |other: &&Operation| other.name == operation.name || (other.method == operation.method && other.path == operation.path);
            assert_eq!(OPERATIONS[index + 1..].iter().find(twin).map(|o| o.name), None);
        }
    }
}
