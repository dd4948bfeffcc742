//! Paths and methods.

use super::auth::admit;
use super::etag::{self, Wanted, tagged};
use super::idempotency::once;
use super::{read, write};
use crate::kit::Kit;
use crate::kit::exchange::Content;
use crate::kit::parts::{Id, Ids};
use crate::kit::query::Query;
use crate::kit::refusal::{Answer, Refusal};
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use axum::{Extension, Json, Router};
use http::{HeaderMap, StatusCode};
use moorage_app::{Accepted, ChangeUser, ClusterRef, ClusterView, OperatorVerb, user_mark};
use moorage_domain::service_state::ServiceState;
use moorage_domain::tenant::Actor;
use moorage_domain::{ClusterId, Problem, ProblemCode};
use serde::Serialize;

/// All routes of the family.
pub(crate) fn router(kit: &Kit) -> Router<Kit> {
    Router::new()
        .route("/moorage/v1/tokens", post(issue_token))
        .route("/moorage/v1/projects", get(list_projects).post(create_project))
        .route("/moorage/v1/projects/{project}", get(show_project).delete(remove_project))
        .route("/moorage/v1/users", get(list_users).post(create_user))
        .route("/moorage/v1/users/{user}", get(show_user).patch(change_user).delete(remove_user))
        .route("/moorage/v1/users/{user}/password", put(change_password))
        .route("/moorage/v1/users/{user}/tokens", get(list_tokens).post(create_token))
        .route("/moorage/v1/users/{user}/tokens/{token}", delete(remove_token))
        .route("/moorage/v1/users/{user}/access-keys", get(list_access_keys).post(create_access_key))
        .route("/moorage/v1/users/{user}/access-keys/{access_key}", delete(remove_access_key))
        .route("/moorage/v1/actions", get(list_actions))
        .route("/moorage/v1/clusters", get(list_clusters).post(create_cluster))
        .route("/moorage/v1/clusters/{cluster}", get(show_cluster).patch(change_cluster).delete(terminate_cluster))
        .route("/moorage/v1/clusters/{cluster}/start", post(start_cluster))
        .route("/moorage/v1/clusters/{cluster}/stop", post(stop_cluster))
        .route("/moorage/v1/clusters/{cluster}/restart", post(restart_cluster))
        .route("/moorage/v1/clusters/{cluster}/failover", post(fail_over))
        .route("/moorage/v1/clusters/{cluster}/switchover", post(switch_over))
        .route("/moorage/v1/clusters/{cluster}/allow-list", post(change_allow_list))
        .route("/moorage/v1/clusters/{cluster}/owner-password", put(set_owner_password))
        .route("/moorage/v1/clusters/{cluster}/logs", get(cluster_log))
        .route("/moorage/v1/clusters/{cluster}/parameters", get(cluster_parameters))
        .route("/moorage/v1/parameter-groups", get(list_parameter_groups))
        .route("/moorage/v1/parameter-groups/{group}", get(show_parameter_group))
        .route("/moorage/v1/instances", get(list_instances))
        .route("/moorage/v1/instances/{instance}", get(show_instance))
        .route("/moorage/v1/volumes", get(list_volumes))
        .route("/moorage/v1/endpoints", get(list_endpoints))
        .route("/moorage/v1/watchers", get(list_watchers))
        .route("/moorage/v1/operations", get(list_operations))
        .route("/moorage/v1/operations/{operation}", get(show_operation))
        .route("/moorage/v1/operations/{operation}/cancel", post(cancel_operation))
        .route("/moorage/v1/operations/{operation}/retry", decision(OperatorVerb::Retry))
        .route("/moorage/v1/operations/{operation}/resume", decision(OperatorVerb::Resume))
        .route("/moorage/v1/operations/{operation}/roll-back", decision(OperatorVerb::RollBack))
        .route("/moorage/v1/operations/{operation}/abandon", decision(OperatorVerb::Abandon))
        .route("/moorage/v1/engine-versions", get(list_engine_versions))
        .route("/moorage/v1/server-types", get(list_server_types))
        .route("/moorage/v1/subnets", get(list_subnets))
        .route("/moorage/v1/host", get(show_host))
        .merge(super::databases::router())
        .merge(super::plans::router())
        .route_layer(from_fn_with_state(kit.clone(), once))
        .route_layer(from_fn_with_state(kit.clone(), admit))
        // What everybody may know.
        .route("/moorage/v1/ca", get(authority))
}

fn decision(verb: OperatorVerb) -> MethodRouter<Kit> {
    post(move |State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(id): Id| decide(kit, actor, id, verb))
}

fn created(body: impl Serialize) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}

/// A token of the caller's own, for a password for instance.
async fn issue_token(kit: State<Kit>, actor: Extension<Actor>, headers: HeaderMap, content: Content) -> Answer {
    create_token(kit, actor, Id("me".into()), headers, content).await
}

async fn list_projects(State(kit): State<Kit>, Extension(actor): Extension<Actor>) -> Answer {
    let projects = kit.app.projects(&actor).await?;
    Ok(Json(read::Page::whole(projects.iter().map(read::project).collect())).into_response())
}

async fn show_project(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(project): Id) -> Answer {
    Ok(Json(read::project(&kit.app.project(&actor, &project).await?)).into_response())
}

async fn create_project(State(kit): State<Kit>, Extension(actor): Extension<Actor>, headers: HeaderMap, content: Content) -> Answer {
    let name = write::create_project(content.json(&headers)?)?;
    Ok(created(read::project(&kit.app.create_project(&actor, &name).await?)))
}

async fn remove_project(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(project): Id) -> Answer {
    kit.app.remove_project(&actor, &project).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn list_users(State(kit): State<Kit>, Extension(actor): Extension<Actor>, query: Query) -> Answer {
    let (offset, limit) = write::rows(&query)?;
    let found = kit.app.users(&actor, offset, limit).await?;
    let more = found.len() as u64 == limit;
    Ok(Json(read::Page::after(offset, found.iter().map(read::user).collect(), more)).into_response())
}

async fn show_user(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(user): Id, headers: HeaderMap) -> Answer {
    let user = kit.app.user(&actor, &user).await?;
    Ok(tagged(&headers, &user_mark(&user), &read::user(&user)))
}

async fn create_user(State(kit): State<Kit>, Extension(actor): Extension<Actor>, headers: HeaderMap, content: Content) -> Answer {
    let new = write::create_user(content.json(&headers)?)?;
    Ok(created(read::user(&kit.app.create_user(&actor, new).await?)))
}

async fn change_user(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    Id(user): Id,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let change = ChangeUser { unchanged_since: etag::wanted(&headers), ..write::change_user(content.json(&headers)?)? };
    let user = kit.app.change_user(&actor, &user, change).await?;
    Ok(tagged(&HeaderMap::new(), &user_mark(&user), &read::user(&user)))
}

async fn change_password(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    Id(user): Id,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let (current, password) = write::change_password(content.json(&headers)?)?;
    kit.app.change_password(&actor, &user, current.as_ref(), &password).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn remove_user(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(user): Id, headers: HeaderMap) -> Answer {
    kit.app.remove_user(&actor, &user, etag::wanted(&headers).as_deref()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn list_tokens(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(user): Id) -> Answer {
    let tokens = kit.app.tokens(&actor, &user).await?;
    Ok(Json(read::Page::whole(tokens.iter().map(|token| read::token(token, None)).collect())).into_response())
}

async fn create_token(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    Id(user): Id,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let new = write::create_credential(content.json_or_nothing(&headers)?)?;
    let (token, secret) = kit.app.create_token(&actor, &user, &new).await?;
    Ok(created(read::token(&token, Some(&secret))))
}

async fn remove_token(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Ids(user, token): Ids) -> Answer {
    kit.app.remove_token(&actor, &user, &token).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn list_access_keys(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(user): Id) -> Answer {
    let keys = kit.app.access_keys(&actor, &user).await?;
    Ok(Json(read::Page::whole(keys.iter().map(|key| read::access_key(key, None)).collect())).into_response())
}

async fn create_access_key(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    Id(user): Id,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let new = write::create_credential(content.json_or_nothing(&headers)?)?;
    let (key, secret) = kit.app.create_access_key(&actor, &user, &new).await?;
    Ok(created(read::access_key(&key, Some(&secret))))
}

async fn remove_access_key(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Ids(user, key): Ids) -> Answer {
    kit.app.remove_access_key(&actor, &user, &key).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn list_actions(State(kit): State<Kit>, Extension(actor): Extension<Actor>, query: Query) -> Answer {
    let (offset, limit) = write::rows(&query)?;
    let found = kit.app.actions(&actor, query.get("user"), offset, limit).await?;
    let more = found.len() as u64 == limit;
    Ok(Json(read::Page::after(offset, found.iter().map(read::action).collect(), more)).into_response())
}

async fn change_cluster(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    Wanted(cluster): Wanted,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let change = write::change_cluster(content.json(&headers)?)?;
    kit.app.change_cluster(&actor, &cluster, change).await?;
    let now = ClusterRef { unchanged_since: None, ..cluster };
    shown(&HeaderMap::new(), &kit.app.cluster(&actor, &now).await?)
}

async fn set_owner_password(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    Wanted(cluster): Wanted,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let password = write::owner_password(content.json(&headers)?)?;
    let done = kit.app.set_owner_password(&actor, &cluster, password).await?;
    follow_up(&kit, &actor, &done).await
}

async fn create_cluster(State(kit): State<Kit>, Extension(actor): Extension<Actor>, headers: HeaderMap, content: Content) -> Answer {
    let done = kit.app.create_cluster(&actor, write::create_cluster(content.json(&headers)?)?).await?;
    let view = kit.app.cluster(&actor, &ClusterRef::any(done.cluster.as_str())).await?;
    Ok(accepted(&done, &view))
}

async fn list_clusters(State(kit): State<Kit>, Extension(actor): Extension<Actor>, query: Query) -> Answer {
    let list = write::list_clusters(&query)?;
    let found = kit.app.clusters(&actor, &list).await?;
    let mut items = Vec::with_capacity(found.rows.len());
    for row in &found.rows {
        // One that was removed since the page was read keeps its row, without what belonged to it.
        let view = match kit.app.cluster(&actor, &ClusterRef::any(row.id.as_str())).await {
            Ok(view) => view,
            Err(problem) if problem.code == ProblemCode::ClusterNotFound => {
                let enforcement = kit.app.enforcement_on(&row.host).await?;
                ClusterView { cluster: row.clone(), instances: Vec::new(), endpoint: None, enforcement }
            }
            Err(problem) => return Err(problem.into()),
        };
        items.push(read::cluster(&view));
    }
    let more = list.offset.saturating_add(items.len() as u64) < found.total && !items.is_empty();
    Ok(Json(read::Page::after(list.offset, items, more)).into_response())
}

async fn show_cluster(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Wanted(cluster): Wanted, headers: HeaderMap) -> Answer {
    shown(&headers, &kit.app.cluster(&actor, &cluster).await?)
}

fn shown(headers: &HeaderMap, view: &ClusterView) -> Answer {
    Ok(tagged(headers, &etag::of_cluster(view.cluster.modified_at), &read::cluster(view)))
}

async fn start_cluster(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Wanted(cluster): Wanted) -> Answer {
    let done = kit.app.start_cluster(&actor, &cluster).await?;
    follow_up(&kit, &actor, &done).await
}

async fn stop_cluster(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Wanted(cluster): Wanted) -> Answer {
    let done = kit.app.stop_cluster(&actor, &cluster).await?;
    follow_up(&kit, &actor, &done).await
}

async fn restart_cluster(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Wanted(cluster): Wanted) -> Answer {
    let done = kit.app.restart_cluster(&actor, &cluster).await?;
    follow_up(&kit, &actor, &done).await
}

async fn fail_over(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Wanted(cluster): Wanted) -> Answer {
    let done = kit.app.fail_over(&actor, &cluster).await?;
    follow_up(&kit, &actor, &done).await
}

async fn switch_over(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    Wanted(cluster): Wanted,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let how = write::switch_over(content.json_or_nothing(&headers)?)?;
    let done = kit.app.switch_over(&actor, &cluster, how).await?;
    follow_up(&kit, &actor, &done).await
}

async fn terminate_cluster(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Wanted(cluster): Wanted) -> Answer {
    let before = kit.app.cluster(&actor, &cluster).await?;
    let by_id = ClusterRef { id_or_name: before.cluster.id.to_string(), ..cluster };
    let done = kit.app.terminate_cluster(&actor, &by_id).await?;
    match kit.app.cluster(&actor, &ClusterRef::any(done.cluster.as_str())).await {
        Ok(view) => Ok(accepted(&done, &view)),
        // Gone already.
        Err(problem) if problem.code == ProblemCode::ClusterNotFound => {
            let mut view = before;
            view.cluster.state = ServiceState::Terminating;
            view.cluster.operation = Some(done.operation.clone());
            Ok(accepted(&done, &view))
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn change_allow_list(
    State(kit): State<Kit>,
    Extension(actor): Extension<Actor>,
    Wanted(cluster): Wanted,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let (add, remove) = write::change_allow_list(content.json(&headers)?)?;
    let done = kit.app.change_allow_list(&actor, &cluster, &add, &remove).await?;
    follow_up(&kit, &actor, &done).await
}

async fn follow_up(kit: &Kit, actor: &Actor, done: &Accepted) -> Answer {
    let view = kit.app.cluster(actor, &ClusterRef::any(done.cluster.as_str())).await?;
    Ok(accepted(done, &view))
}

fn accepted(done: &Accepted, view: &ClusterView) -> Response {
    (StatusCode::ACCEPTED, Json(read::accepted(done, read::cluster(view)))).into_response()
}

async fn cluster_log(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Wanted(cluster): Wanted, query: Query) -> Answer {
    let log = kit.app.cluster_log(&actor, &cluster, write::log_bytes(&query)?).await?;
    Ok(log.into_response())
}

async fn cluster_parameters(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Wanted(cluster): Wanted) -> Answer {
    let (_, applied) = kit.app.cluster_parameters(&actor, &cluster).await?;
    Ok(Json(read::applied_parameters(&applied)).into_response())
}

async fn list_parameter_groups(State(kit): State<Kit>) -> Answer {
    let groups = kit.app.parameter_groups(None).await?;
    Ok(Json(read::Page::whole(groups.iter().map(|group| read::parameter_group(group, None)).collect())).into_response())
}

async fn show_parameter_group(State(kit): State<Kit>, Id(group): Id) -> Answer {
    let (group, parameters) = kit.app.parameters(&group, None).await?;
    Ok(Json(read::parameter_group(&group, Some(&parameters))).into_response())
}

/// The clusters whose parts are asked for, where the page begins, and whether there is another.
async fn parts(kit: &Kit, actor: &Actor, query: &Query) -> Result<(Vec<ClusterView>, u64, bool), Refusal> {
    let (offset, limit) = write::rows(query)?;
    let cluster = query.get("cluster").map(ClusterRef::any);
    let found = kit.app.parts(actor, cluster.as_ref(), offset, limit).await?;
    Ok((found.clusters, offset, found.more))
}

/// A page counts clusters, so that what belongs to one is never torn apart.
fn page_of_parts<T: Serialize>(clusters: &[ClusterView], offset: u64, more: bool, rows: impl Fn(&ClusterView) -> Vec<T>) -> Response {
    let next = more.then_some(offset.saturating_add(clusters.len() as u64));
    Json(read::Page::until(clusters.iter().flat_map(rows).collect(), next)).into_response()
}

async fn list_instances(State(kit): State<Kit>, Extension(actor): Extension<Actor>, query: Query) -> Answer {
    let (clusters, offset, more) = parts(&kit, &actor, &query).await?;
    Ok(page_of_parts(&clusters, offset, more, read::instances))
}

async fn show_instance(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(instance): Id) -> Answer {
    let view = kit.app.instance(&actor, &instance).await?;
    match read::instances(&view).into_iter().next() {
        Some(instance) => Ok(Json(instance).into_response()),
        None => Err(Problem::new(ProblemCode::InstanceNotFound, "There is no such instance.").into()),
    }
}

async fn list_volumes(State(kit): State<Kit>, Extension(actor): Extension<Actor>, query: Query) -> Answer {
    let (clusters, offset, more) = parts(&kit, &actor, &query).await?;
    Ok(page_of_parts(&clusters, offset, more, read::volumes))
}

async fn list_endpoints(State(kit): State<Kit>, Extension(actor): Extension<Actor>, query: Query) -> Answer {
    let (clusters, offset, more) = parts(&kit, &actor, &query).await?;
    let traffic = kit.app.traffic().await;
    Ok(page_of_parts(&clusters, offset, more, |view| read::endpoints(view, traffic.get(&view.cluster.id))))
}

async fn list_watchers(State(kit): State<Kit>, Extension(actor): Extension<Actor>) -> Answer {
    let watchers = kit.app.watchers(&actor)?;
    Ok(Json(read::Page::whole(watchers.iter().map(read::watcher).collect())).into_response())
}

async fn list_operations(State(kit): State<Kit>, Extension(actor): Extension<Actor>, query: Query) -> Answer {
    let cluster = match query.get("cluster") {
        None => None,
        // One that is gone still has its operations.
        Some(text) => match ClusterId::parse(text) {
            Ok(id) => Some(id),
            Err(_) => Some(kit.app.cluster(&actor, &ClusterRef::any(text)).await?.cluster.id),
        },
    };
    let mut list = write::list_operations(&query, cluster)?;
    let limit = list.limit;
    list.limit = limit.saturating_add(1);
    let mut found = kit.app.operations(&actor, &list).await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    // A full page at the largest limit cannot be looked beyond: the next one may be empty.
    let more = found.len() > most || (limit == moorage_app::MOST_ROWS && found.len() == most);
    found.truncate(most);
    Ok(Json(read::Page::after(list.offset, found.iter().map(read::operation).collect(), more)).into_response())
}

async fn show_operation(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(id): Id) -> Answer {
    Ok(Json(read::operation(&kit.app.operation(&actor, &id).await?)).into_response())
}

async fn cancel_operation(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Id(id): Id) -> Answer {
    Ok(Json(read::operation(&kit.app.cancel_operation(&actor, &id).await?)).into_response())
}

async fn decide(kit: Kit, actor: Actor, id: String, verb: OperatorVerb) -> Answer {
    Ok(Json(read::operation(&kit.app.decide_operation(&actor, &id, verb).await?)).into_response())
}

async fn list_engine_versions(State(kit): State<Kit>) -> Answer {
    let versions = kit.app.engine_versions(None).await?;
    Ok(Json(read::Page::whole(versions.iter().map(read::engine_version).collect())).into_response())
}

async fn list_server_types(State(kit): State<Kit>) -> Answer {
    let abilities = kit.app.abilities();
    let types = kit.app.server_types().iter().map(|server_type| read::server_type(server_type, &abilities)).collect();
    Ok(Json(read::Page::whole(types)).into_response())
}

async fn list_subnets(State(kit): State<Kit>) -> Answer {
    Ok(Json(read::Page::whole(kit.app.subnets().iter().map(read::subnet).collect())).into_response())
}

async fn show_host(State(kit): State<Kit>) -> Answer {
    Ok(Json(read::host(&kit.app.host_id(), kit.app.abilities())).into_response())
}

async fn authority(State(kit): State<Kit>) -> Response {
    ([(http::header::CONTENT_TYPE, "application/x-pem-file")], kit.app.authority().to_owned()).into_response()
}
