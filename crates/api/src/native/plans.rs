//! What databases are asked for by, and the sample data: paths and methods.

use super::{read, write};
use crate::kit::Kit;
use crate::kit::exchange::Content;
use crate::kit::parts::Ids;
use crate::kit::refusal::Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use http::{HeaderMap, StatusCode};
use moorage_domain::tenant::Actor;
use serde::Serialize;

/// The routes.
pub(crate) fn router() -> Router<Kit> {
    Router::new()
        .route("/moorage/v1/environments", get(list_environments).post(create_environment))
        .route("/moorage/v1/plans", get(list_plans).post(create_plan))
        .route("/moorage/v1/teams", get(list_teams).post(create_team))
        .route("/moorage/v1/teams/{team}/members/{user}", put(add_member).delete(remove_member))
        .route("/moorage/v1/sample-data", post(load_sample_data))
}

fn created(body: impl Serialize) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}

async fn list_environments(State(kit): State<Kit>, Extension(actor): Extension<Actor>) -> Answer {
    let found = kit.app.environments(&actor).await?;
    Ok(Json(read::Page::whole(found.iter().map(|(_, environment)| read::environment(environment)).collect())).into_response())
}

async fn create_environment(State(kit): State<Kit>, Extension(actor): Extension<Actor>, headers: HeaderMap, content: Content) -> Answer {
    let new = write::create_environment(content.json(&headers)?)?;
    Ok(created(read::environment(&kit.app.create_environment(&actor, new).await?)))
}

async fn list_plans(State(kit): State<Kit>, Extension(actor): Extension<Actor>) -> Answer {
    let environments: Vec<_> = kit.app.environments(&actor).await?.into_iter().map(|(_, environment)| environment).collect();
    let found = kit.app.plans(&actor).await?;
    Ok(Json(read::Page::whole(found.iter().map(|(_, plan)| read::plan(plan, &environments)).collect())).into_response())
}

async fn create_plan(State(kit): State<Kit>, Extension(actor): Extension<Actor>, headers: HeaderMap, content: Content) -> Answer {
    let new = write::create_plan(content.json(&headers)?)?;
    let plan = kit.app.create_plan(&actor, new).await?;
    let environments: Vec<_> = kit.app.environments(&actor).await?.into_iter().map(|(_, environment)| environment).collect();
    Ok(created(read::plan(&plan, &environments)))
}

async fn list_teams(State(kit): State<Kit>, Extension(actor): Extension<Actor>) -> Answer {
    let found = kit.app.teams(&actor, None).await?;
    Ok(Json(read::Page::whole(found.iter().map(|(_, team)| read::team(team)).collect())).into_response())
}

async fn create_team(State(kit): State<Kit>, Extension(actor): Extension<Actor>, headers: HeaderMap, content: Content) -> Answer {
    let new = write::create_team(content.json(&headers)?)?;
    Ok(created(read::team(&kit.app.create_team(&actor, new).await?)))
}

async fn add_member(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Ids(team, user): Ids) -> Answer {
    kit.app.set_member(&actor, &team, &user, true).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn remove_member(State(kit): State<Kit>, Extension(actor): Extension<Actor>, Ids(team, user): Ids) -> Answer {
    kit.app.set_member(&actor, &team, &user, false).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn load_sample_data(State(kit): State<Kit>, Extension(actor): Extension<Actor>) -> Answer {
    kit.app.load_sample_data(&actor).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
