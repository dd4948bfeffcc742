//! Problems in the original's words and shapes (Globo's wire reference, section 1): errors are documents with links, too.

use super::hal::{Linked, Site, answer};
use crate::kit::refusal::Refusal;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use moorage_domain::{Category, Problem, ProblemCode};
use serde_json::{Map, Value, json};

/// Fields of ours as this family calls them.
const FIELDS: &[(&str, &str)] =
    &[("database_name", "name"), ("database.name", "name"), ("database.owner", "user"), ("database_user_name", "user")];

/// A refusal as a document.
pub(crate) fn render(refusal: &Refusal, site: &Site) -> Response {
    let status = status(&refusal.first);
    let body = Linked::at(site.own(), body(refusal, status));
    let mut response = answer(status, &body);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"api\""));
    }
    response
}

/// The status a problem is answered with.
pub(crate) fn status(problem: &Problem) -> StatusCode {
    match problem.code {
        ProblemCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ProblemCode::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ProblemCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ProblemCode::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        ProblemCode::NameTaken | ProblemCode::NameInQuarantine => StatusCode::BAD_REQUEST,
        ProblemCode::DatabaseInQuarantine | ProblemCode::DeletionProtected | ProblemCode::ClusterBusy => StatusCode::CONFLICT,
        _ => match problem.code.category() {
            Category::Invalid | Category::Conflict | Category::Exhausted | Category::NotSupported => StatusCode::BAD_REQUEST,
            Category::Unauthenticated => StatusCode::UNAUTHORIZED,
            Category::Forbidden => StatusCode::FORBIDDEN,
            Category::NotFound => StatusCode::NOT_FOUND,
            Category::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Category::Failed | Category::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

fn body(refusal: &Refusal, status: StatusCode) -> Map<String, Value> {
    let first = &refusal.first;
    let detail = |words: &str| Map::from_iter([("detail".to_owned(), json!(words))]);
    match status {
        StatusCode::NOT_FOUND => return detail("Not found"),
        StatusCode::FORBIDDEN => {
            let mut said = detail("You do not have permission to perform this action.");
            said.insert("reason".to_owned(), json!(first.message));
            return said;
        }
        StatusCode::UNAUTHORIZED
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::PAYLOAD_TOO_LARGE => return detail(&first.message),
        _ if first.code == ProblemCode::MalformedBody => return detail(&first.message),
        _ => {}
    }
    let mut fields: Map<String, Value> = Map::new();
    let mut rest = Vec::new();
    for problem in refusal.problems() {
        match &problem.field {
            Some(field) => {
                let name = FIELDS.iter().find(|(ours, _)| ours == field).map_or(field.as_str(), |(_, theirs)| theirs);
                if let Value::Array(said) = fields.entry(name.to_owned()).or_insert_with(|| json!([])) {
                    said.push(json!(problem.message));
                }
            }
            None => rest.extend([Some(&problem.message), problem.detail.as_ref(), problem.hint.as_ref()].into_iter().flatten().cloned()),
        }
    }
    if !rest.is_empty() {
        fields.insert("error".to_owned(), json!(rest));
    }
    fields
}
