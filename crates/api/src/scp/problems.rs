//! Problems in the vendor's envelope: `{"errors": [{code, detail, request_id, status, title, ...}]}`.
//!
//! Missing and wrong credentials are answered in the service's own shape (`Dbaas.Unauthorized.AuthNFailed`), not in the
//! gateway's two other shapes: clients parse `errors` only.

use crate::kit::refusal::Refusal;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use moorage_domain::{Problem, ProblemCode};
use serde::Serialize;

/// The field that the app names, as the create request calls it.
const FIELDS: &[(&str, &str)] = &[
    ("database.name", "init_config_option.database_name"),
    ("database.owner", "init_config_option.database_user_name"),
    ("database.password", "init_config_option.database_user_password"),
    ("database.locale", "init_config_option.database_locale"),
    ("database_name", "init_config_option.database_name"),
    ("database_user_name", "init_config_option.database_user_name"),
    ("database_user_password", "init_config_option.database_user_password"),
    ("database_port", "init_config_option.database_port"),
    ("port", "init_config_option.database_port"),
    ("subnet", "subnet_id"),
    ("version", "dbaas_engine_version_id"),
    ("allow_list", "allowable_ip_addresses"),
    ("server_type", "instance_groups.0.server_type_name"),
    ("service_ip_address", "instance_groups.0.instances.0.service_ip_address"),
];

/// Renames the field of a problem that came from behind the door; `character_set` is what the engine's service calls it.
pub(crate) fn rename_field(mut problem: Problem, character_set: &str) -> Problem {
    problem.field = problem.field.map(|field| {
        if field == "database.character_set" {
            return format!("init_config_option.{character_set}");
        }
        FIELDS.iter().find(|(ours, _)| *ours == field).map_or(field, |(_, theirs)| (*theirs).to_owned())
    });
    problem
}

#[derive(Serialize)]
struct Envelope<'a> {
    errors: [Error<'a>; 1],
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'static str,
    detail: Detail,
    global_request_id: &'a str,
    links: [(); 0],
    related_resources: [(); 0],
    request_id: &'a str,
    response: Option<()>,
    status: u16,
    title: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Detail {
    Text(String),
    List(Vec<String>),
}

/// The envelope of a refusal.
pub(crate) fn render(refusal: &Refusal, request_id: &str) -> Response {
    let (status, code) = classify(&refusal.first);
    let detail = if code == "ValidationError" {
        Detail::List(refusal.problems().map(line).collect())
    } else {
        Detail::Text(refusal.problems().map(sentences).collect::<Vec<_>>().join(" "))
    };
    let error = Error {
        code,
        detail,
        global_request_id: request_id,
        links: [],
        related_resources: [],
        request_id,
        response: None,
        status: status.as_u16(),
        title: code,
    };
    let body = serde_json::to_vec(&Envelope { errors: [error] }).unwrap_or_default();
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"moorage\""));
    }
    response
}

/// Status and code (which is also the title).
fn classify(problem: &Problem) -> (StatusCode, &'static str) {
    use ProblemCode as P;
    let bad = StatusCode::BAD_REQUEST;
    match problem.code {
        P::InvalidRequest | P::MalformedBody | P::ConfigInvalid => (bad, "ValidationError"),
        P::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "ValidationError"),
        P::Unauthenticated => (StatusCode::UNAUTHORIZED, "Dbaas.Unauthorized.AuthNFailed"),
        P::Forbidden => (StatusCode::FORBIDDEN, "Dbaas.Forbidden.AuthZFailed"),
        P::PathNotFound => (StatusCode::NOT_FOUND, "Dbaas.NotFound.Path"),
        P::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "ValidationError"),
        P::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "ValidationError"),
        P::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "Dbaas.MethodNotAllowed"),
        P::ClusterNotFound => (StatusCode::NOT_FOUND, "Dbaas.NotFound.Cluster"),
        P::ParameterGroupNotFound => (StatusCode::NOT_FOUND, "Dbaas.NotFound.ParameterGroup"),
        P::InstanceNotFound | P::UserNotFound | P::ProjectNotFound | P::CredentialNotFound | P::DatabaseNotFound | P::TeamNotFound => {
            (StatusCode::NOT_FOUND, "Dbaas.NotFound.Resource")
        }
        P::LoginLocked => (StatusCode::UNAUTHORIZED, "Dbaas.Unauthorized.AuthNFailed"),
        P::DeletionProtected => (bad, "Dbaas.ValidationError.DeletionProtected"),
        P::LastAdministrator | P::ProjectNotEmpty => (bad, "ValidationError"),
        P::OperationNotFound => (bad, "Dbaas.ValidationError.InvalidRequestId"),
        // In a body it is a wrong value, in a path it is not there.
        P::EngineVersionUnknown if problem.field.is_none() => (StatusCode::NOT_FOUND, "Dbaas.NotFound.EngineVersion"),
        P::EngineVersionUnknown | P::EngineVersionNotInstalled => (bad, "Dbaas.ValidationError.InvalidEngineVersion"),
        P::ServerTypeUnknown => (bad, "Dbaas.ValidationError.InvalidServerType"),
        P::SubnetUnknown => (bad, "Dbaas.ValidationError.InvalidSubnet"),
        P::NameTaken | P::NameInQuarantine => (bad, "Dbaas.ValidationError.DuplicatedClusterName"),
        P::AddressTaken => (bad, "Dbaas.ValidationError.IpAddressNotAvailable"),
        P::AddressOutsideSubnet => (bad, "Dbaas.ValidationError.InvalidIpAddress"),
        P::NoFreeAddress => (bad, "Dbaas.ValidationError.NoAvailableIpAddress"),
        P::WrongState
        | P::DatabaseInQuarantine
        | P::NoStandbyInSync
        | P::TransactionsGoOn
        | P::ClusterBusy
        | P::TermTooOld
        | P::OperationCancelled
        | P::Superseded => (bad, "Dbaas.ValidationError.InvalidServiceState"),
        P::NotSupportedYet => (bad, "Dbaas.ValidationError.NotSupportedYet"),
        P::NotEnoughSpace => (bad, "Dbaas.ValidationError.NotEnoughSpace"),
        P::NoCapacity => (bad, "Dbaas.ValidationError.NotEnoughSpace"),
        P::NotEnoughMemory => (bad, "Dbaas.ValidationError.NotEnoughMemory"),
        P::EngineRefused => (bad, "Dbaas.ValidationError.EngineRefused"),
        P::PreconditionFailed | P::IdempotencyKeyReused | P::IdempotencyKeyInUse | P::OutcomeUnknown => (bad, "ValidationError"),
        P::OnAnotherHost => (bad, "ValidationError"),
        P::EngineUnreachable | P::GatewayUnavailable | P::StoreUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "Dbaas.ServiceUnavailable"),
        P::EngineStartFailed
        | P::EngineCrashLoop
        | P::EngineHung
        | P::HostFailed
        | P::OperationUnreadable
        | P::StoreTooNew
        | P::DataDirectoryInUse
        | P::DataDirectoryUnusable
        | P::EngineInstallFailed
        | P::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "ContactAdminForAssistance"),
    }
}

/// The vendor's own words for a problem, which some clients match; ours follow.
fn vendors_words(code: ProblemCode) -> Option<&'static str> {
    match code {
        ProblemCode::WrongState | ProblemCode::NoStandbyInSync | ProblemCode::ClusterBusy => Some("Invalid service state."),
        ProblemCode::EngineVersionUnknown | ProblemCode::EngineVersionNotInstalled => Some("Invalid Engine Version."),
        ProblemCode::ServerTypeUnknown => Some("invalid data (Server type)."),
        _ => None,
    }
}

fn sentences(problem: &Problem) -> String {
    let parts = [vendors_words(problem.code), Some(&problem.message), problem.detail.as_deref(), problem.hint.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn line(problem: &Problem) -> String {
    match &problem.field {
        Some(field) if !problem.message.starts_with(field) => format!("{field}: {}", sentences(problem)),
        _ => sentences(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    fn rendered(refusal: &Refusal) -> (u16, Value) {
        let response = render(refusal, "req-1");
        let status = response.status().as_u16();
        let body = futures_body(response);
        (status, serde_json::from_slice(&body).expect("JSON"))
    }
    fn futures_body(response: Response) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async { response.into_body().collect().await.expect("a body").to_bytes().to_vec() })
    }

    #[test]
    fn the_envelope_has_every_key_of_the_vendors() {
        let (status, body) = rendered(&Problem::new(ProblemCode::WrongState, "The cluster is CREATING.").hint("Wait.").into());
        assert_eq!(status, 400);
        assert_eq!(
            body,
            json!({"errors": [{
                "code": "Dbaas.ValidationError.InvalidServiceState", "detail": "Invalid service state. The cluster is CREATING. Wait.",
                "global_request_id": "req-1", "links": [], "related_resources": [], "request_id": "req-1", "response": null,
                "status": 400, "title": "Dbaas.ValidationError.InvalidServiceState",
            }]})
        );
    }

    #[test]
    fn all_failing_fields_are_listed() {
        let refusal =
            Refusal { first: Box::new(Problem::invalid("name", "Field required")), others: vec![Problem::invalid("a.b", "Wrong.")] };
        let (_, body) = rendered(&refusal);
        assert_eq!(body["errors"][0]["detail"], json!(["name: Field required", "a.b: Wrong."]));
        assert_eq!(body["errors"][0]["code"], "ValidationError");
    }

    #[test]
    fn every_code_has_an_answer_whose_status_suits_its_category() {
        use moorage_domain::Category;
        for code in ProblemCode::ALL {
            let (status, _) = classify(&Problem::new(*code, "x"));
            match code.category() {
                Category::Internal => assert!(status.is_server_error(), "{code:?}"),
                Category::Unauthenticated => assert_eq!(status, StatusCode::UNAUTHORIZED),
                Category::Invalid | Category::Conflict | Category::NotSupported | Category::NotFound => {
                    let installation = matches!(code, ProblemCode::DataDirectoryInUse);
                    assert!(status.is_client_error() || installation, "{code:?}");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn the_apps_fields_are_named_as_the_caller_wrote_them() {
        let renamed = |field: &str| rename_field(Problem::invalid(field, "x"), "database_encoding").field.expect("a field");
        assert_eq!(renamed("database.character_set"), "init_config_option.database_encoding");
        assert_eq!(renamed("database.owner"), "init_config_option.database_user_name");
        assert_eq!(renamed("name"), "name");
    }
}
