//! Problems as RFC 9457 problem+json.

use crate::kit::refusal::Refusal;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use moorage_domain::{Category, Problem, ProblemCode};
use schemars::JsonSchema;
use serde::Serialize;

/// The field that the app names, as this family calls it.
const FIELDS: &[(&str, &str)] = &[
    ("allowable_ip_addresses", "allow"),
    ("allow_list", "allow"),
    ("add_ip_addresses", "add"),
    ("del_ip_addresses", "remove"),
    ("database_port", "port"),
    ("database_name", "database.name"),
    ("database_user_name", "database.owner"),
    ("database_user_password", "database.password"),
    ("subnet_id", "subnet"),
    ("dbaas_engine_version_id", "version"),
    ("service_ip_address", "address"),
    ("virtual_ip_address", "address"),
    ("instance_groups.0.instances.0.service_ip_address", "instance_addresses.0"),
    ("instance_groups.0.instances.1.service_ip_address", "instance_addresses.1"),
    ("instance_groups.0.server_type_name", "server_type"),
    ("instance_groups.0.block_storage_groups", "size_gb"),
];

fn field_name(field: &str) -> &str {
    FIELDS.iter().find(|(theirs, _)| *theirs == field).map_or(field, |(_, ours)| ours)
}

/// The problem document.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// Every failing field, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    errors: Vec<FieldError<'a>>,
    instance: &'a str,
}

#[derive(Serialize, JsonSchema)]
struct FieldError<'a> {
    field: Option<&'a str>,
    title: &'a str,
}

/// The problem document of a refusal.
pub(crate) fn render(refusal: &Refusal, request_id: &str) -> Response {
    let first = &refusal.first;
    let status = status(first);
    let errors = if refusal.others.is_empty() {
        Vec::new()
    } else {
        refusal.problems().map(|problem| FieldError { field: problem.field.as_deref().map(field_name), title: &problem.message }).collect()
    };
    let body = Body {
        r#type: format!("/docs/problems/{}", first.code.as_str()),
        title: &first.message,
        status: status.as_u16(),
        code: first.code.as_str(),
        detail: first.detail.as_deref(),
        hint: first.hint.as_deref(),
        field: first.field.as_deref().map(field_name),
        errors,
        instance: request_id,
    };
    let bytes = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], bytes).into_response();
    if status == StatusCode::UNAUTHORIZED {
        // Basic works too, but naming it would make browsers ask for a password and keep it.
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"moorage\""));
    }
    response
}

fn status(problem: &Problem) -> StatusCode {
    match problem.code {
        ProblemCode::PreconditionFailed => return StatusCode::PRECONDITION_FAILED,
        ProblemCode::IdempotencyKeyReused => return StatusCode::UNPROCESSABLE_ENTITY,
        ProblemCode::BodyTooLarge => return StatusCode::PAYLOAD_TOO_LARGE,
        ProblemCode::MethodNotAllowed => return StatusCode::METHOD_NOT_ALLOWED,
        ProblemCode::EngineVersionUnknown if problem.field.is_some() => return StatusCode::BAD_REQUEST,
        _ => {}
    }
    match problem.category() {
        Category::Invalid | Category::NotSupported => StatusCode::BAD_REQUEST,
        Category::Unauthenticated => StatusCode::UNAUTHORIZED,
        Category::Forbidden => StatusCode::FORBIDDEN,
        Category::NotFound => StatusCode::NOT_FOUND,
        Category::Conflict => StatusCode::CONFLICT,
        Category::Exhausted => StatusCode::INSUFFICIENT_STORAGE,
        Category::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Category::Failed | Category::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    async fn body(refusal: Refusal) -> Value {
        let response = render(&refusal, "req-1");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        serde_json::from_slice(&response.into_body().collect().await.expect("a body").to_bytes()).expect("JSON")
    }

    #[tokio::test]
    async fn a_problem_says_what_why_where_and_what_next() {
        let problem = Problem::invalid("database_port", "Too low.").detail("Why.").hint("Next.");
        assert_eq!(
            body(problem.into()).await,
            json!({
                "type": "/docs/problems/invalid-request", "title": "Too low.", "status": 400, "code": "invalid-request",
                "detail": "Why.", "hint": "Next.", "field": "port", "instance": "req-1",
            })
        );
    }

    #[tokio::test]
    async fn several_failing_fields_are_all_listed() {
        let refusal = Refusal { first: Box::new(Problem::invalid("name", "A.")), others: vec![Problem::invalid("port", "B.")] };
        let body = body(refusal).await;
        assert_eq!(body["errors"], json!([{"field": "name", "title": "A."}, {"field": "port", "title": "B."}]));
    }

    #[test]
    fn every_code_has_a_status_that_is_an_error() {
        for code in ProblemCode::ALL {
            assert!(status(&Problem::new(*code, "x")).as_u16() >= 400);
        }
    }
}
