//! `GET /openapi.json`: every route, what it takes and what it answers. Bodies are described by the code that reads and writes
//! them; the list of routes is compared with the router's by a test.

use super::{problems, read, write};
use crate::kit::describe;
use axum::Json;
use axum::response::{IntoResponse, Response};
use moorage_app::MOST_ROWS;
use moorage_domain::operation::OperationStatus;
use moorage_domain::service_state::ServiceState;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// What a route answers when it worked.
pub(crate) enum Success {
    /// A JSON document.
    Json(u16, fn() -> Value),
    /// Text of a kind.
    Text(&'static str),
    /// Nothing.
    Nothing,
}

/// A route as it is described.
pub(crate) struct Route {
    /// Its method.
    pub(crate) method: &'static str,
    /// Its path.
    pub(crate) path: &'static str,
    /// What it is for.
    pub(crate) summary: &'static str,
    /// Parameters of its query.
    query: &'static [Query],
    /// Its body.
    body: Option<Body>,
    /// What it answers.
    pub(crate) success: Success,
    /// Parts of `ETag`, `If-Match`, `If-None-Match`.
    tags: bool,
}

/// A body of a request.
struct Body {
    /// Who reads it.
    read: fn(&[u8]),
    /// It has to be there.
    required: bool,
}

/// A parameter of a query.
struct Query {
    name: &'static str,
    schema: fn() -> Value,
    description: &'static str,
}

/// The schema of a body as it is written.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

macro_rules! body {
    ($read:path) => {
        Body { read: |bytes: &[u8]| drop($read(bytes)), required: true }
    };
    ($read:path, optional) => {
        Body { read: |bytes: &[u8]| drop($read(bytes)), required: false }
    };
}

const CURSOR: Query =
    Query { name: "cursor", schema: || json!({"type": "string"}), description: "Where the page before ended: its `next`." };
const LIMIT: Query =
    Query { name: "limit", schema: || json!({"type": "integer", "minimum": 1, "maximum": MOST_ROWS}), description: "Rows at most." };
const TEXT: fn() -> Value = || json!({"type": "string"});
const NO_QUERY: &[Query] = &[];

const fn route(method: &'static str, path: &'static str, summary: &'static str, success: Success) -> Route {
    Route { method, path, summary, query: NO_QUERY, body: None, success, tags: false }
}

impl Route {
    const fn takes(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }
    const fn asks(mut self, query: &'static [Query]) -> Self {
        self.query = query;
        self
    }
    const fn tagged(mut self) -> Self {
        self.tags = true;
        self
    }
}

const PAGE: &[Query] = &[CURSOR, LIMIT];
const PARTS: &[Query] = &[
    Query { name: "cluster", schema: TEXT, description: "Only of this cluster, by name or identifier." },
    CURSOR,
    Query {
        name: "limit",
        schema: || json!({"type": "integer", "minimum": 1, "maximum": MOST_ROWS}),
        description: "Clusters at most whose parts are listed.",
    },
];
const ACCEPTED: Success = Success::Json(202, schema::<read::AcceptedBody>);
const BEGUN: Success = Success::Json(202, schema::<read::BegunBody>);
const OPERATION: Success = Success::Json(200, schema::<read::Operation>);

/// Every route of the family.
pub(crate) const ROUTES: &[Route] = &[
    route("POST", "/moorage/v1/tokens", "Make a token of your own", Success::Json(201, schema::<read::TokenBody>))
        .takes(body!(write::create_credential, optional)),
    route("GET", "/moorage/v1/projects", "List projects", Success::Json(200, schema::<read::Page<read::ProjectBody>>)),
    route("POST", "/moorage/v1/projects", "Make a project", Success::Json(201, schema::<read::ProjectBody>))
        .takes(body!(write::create_project)),
    route("GET", "/moorage/v1/projects/{project}", "Show a project", Success::Json(200, schema::<read::ProjectBody>)),
    route("DELETE", "/moorage/v1/projects/{project}", "End a project", Success::Nothing),
    route("GET", "/moorage/v1/users", "List users", Success::Json(200, schema::<read::Page<read::UserBody>>)).asks(PAGE),
    route("POST", "/moorage/v1/users", "Make a user", Success::Json(201, schema::<read::UserBody>)).takes(body!(write::create_user)),
    route("GET", "/moorage/v1/users/{user}", "Show a user; `me` is yourself", Success::Json(200, schema::<read::UserBody>)).tagged(),
    route("PATCH", "/moorage/v1/users/{user}", "Change a user's role or e-mail address", Success::Json(200, schema::<read::UserBody>))
        .takes(body!(write::change_user))
        .tagged(),
    route("DELETE", "/moorage/v1/users/{user}", "Remove a user", Success::Nothing).tagged(),
    route("PUT", "/moorage/v1/users/{user}/password", "Give a user another password; its tokens end", Success::Nothing)
        .takes(body!(write::change_password)),
    route("GET", "/moorage/v1/users/{user}/tokens", "List a user's tokens", Success::Json(200, schema::<read::Page<read::TokenBody>>)),
    route("POST", "/moorage/v1/users/{user}/tokens", "Make a token; it is shown this once", Success::Json(201, schema::<read::TokenBody>))
        .takes(body!(write::create_credential, optional)),
    route("DELETE", "/moorage/v1/users/{user}/tokens/{token}", "End a token", Success::Nothing),
    route(
        "GET",
        "/moorage/v1/users/{user}/access-keys",
        "List a user's access keys",
        Success::Json(200, schema::<read::Page<read::AccessKeyBody>>),
    ),
    route(
        "POST",
        "/moorage/v1/users/{user}/access-keys",
        "Make an access key; its secret is shown this once",
        Success::Json(201, schema::<read::AccessKeyBody>),
    )
    .takes(body!(write::create_credential, optional)),
    route("DELETE", "/moorage/v1/users/{user}/access-keys/{access_key}", "End an access key", Success::Nothing),
    route("GET", "/moorage/v1/actions", "List who asked for which change", Success::Json(200, schema::<read::Page<read::ActionBody>>))
        .asks(&[Query { name: "user", schema: TEXT, description: "Only of the user with this name." }, CURSOR, LIMIT]),
    route("GET", "/moorage/v1/clusters", "List clusters", Success::Json(200, schema::<read::Page<read::Cluster>>)).asks(&[
        Query { name: "name", schema: TEXT, description: "Only the cluster with this name." },
        Query {
            name: "engine",
            schema: || json!({"type": "string", "enum": ["mariadb", "postgresql"]}),
            description: "Only of this engine.",
        },
        Query {
            name: "state",
            schema: || json!({"type": "string", "enum": ServiceState::ALL.iter().map(|state| state.as_str()).collect::<Vec<_>>()}),
            description: "Only in this state.",
        },
        CURSOR,
        LIMIT,
    ]),
    route("POST", "/moorage/v1/clusters", "Create a cluster", ACCEPTED).takes(body!(write::create_cluster)),
    route("GET", "/moorage/v1/clusters/{cluster}", "Show a cluster, by name or identifier", Success::Json(200, schema::<read::Cluster>))
        .tagged(),
    route("PATCH", "/moorage/v1/clusters/{cluster}", "Change what a cluster is", Success::Json(200, schema::<read::Cluster>))
        .takes(body!(write::change_cluster))
        .tagged(),
    route("DELETE", "/moorage/v1/clusters/{cluster}", "End a cluster for good, its data included", ACCEPTED).tagged(),
    route("POST", "/moorage/v1/clusters/{cluster}/start", "Start a stopped cluster", ACCEPTED).tagged(),
    route("POST", "/moorage/v1/clusters/{cluster}/stop", "Stop a cluster; its data stays", ACCEPTED).tagged(),
    route("POST", "/moorage/v1/clusters/{cluster}/restart", "Restart a cluster's engine", ACCEPTED).tagged(),
    route("POST", "/moorage/v1/clusters/{cluster}/failover", "Let the standby take the primary's place at once", ACCEPTED).tagged(),
    route(
        "POST",
        "/moorage/v1/clusters/{cluster}/switchover",
        "Let primary and standby change places once transactions have ended",
        ACCEPTED,
    )
    .takes(body!(write::switch_over, optional))
    .tagged(),
    route("POST", "/moorage/v1/clusters/{cluster}/allow-list", "Change who may connect", ACCEPTED)
        .takes(body!(write::change_allow_list))
        .tagged(),
    route("PUT", "/moorage/v1/clusters/{cluster}/owner-password", "Give the database's owner another password", ACCEPTED)
        .takes(body!(write::owner_password))
        .tagged(),
    route("GET", "/moorage/v1/clusters/{cluster}/logs", "The end of the engine's log", Success::Text("text/plain; charset=utf-8")).asks(&[
        Query {
            name: "bytes",
            schema: || json!({"type": "integer", "minimum": 1, "maximum": 1 << 20}),
            description: "How much of it at most; whole lines.",
        },
    ]),
    route(
        "GET",
        "/moorage/v1/clusters/{cluster}/parameters",
        "What the engine applies",
        Success::Json(200, schema::<read::AppliedParametersBody<'_>>),
    ),
    route(
        "GET",
        "/moorage/v1/clusters/{cluster}/databases",
        "List a cluster's databases with their credentials",
        Success::Json(200, schema::<read::Page<read::DatabaseBody>>),
    )
    .asks(PAGE),
    route("POST", "/moorage/v1/clusters/{cluster}/databases", "Create a database with its owner's credential", BEGUN)
        .takes(body!(write::create_database)),
    route(
        "GET",
        "/moorage/v1/clusters/{cluster}/databases/{database}",
        "Show a database, by name or identifier",
        Success::Json(200, schema::<read::DatabaseBody>),
    ),
    route("DELETE", "/moorage/v1/clusters/{cluster}/databases/{database}", "Delete a database for good, its data included", BEGUN),
    route(
        "POST",
        "/moorage/v1/clusters/{cluster}/databases/{database}/quarantine",
        "Let nobody into a database any more; its data stays",
        BEGUN,
    ),
    route(
        "POST",
        "/moorage/v1/clusters/{cluster}/databases/{database}/restore",
        "Take a database out of quarantine",
        Success::Json(200, schema::<read::DatabaseBody>),
    ),
    route(
        "GET",
        "/moorage/v1/clusters/{cluster}/databases/{database}/credentials",
        "List a database's credentials",
        Success::Json(200, schema::<read::Page<read::CredentialBody>>),
    ),
    route("POST", "/moorage/v1/clusters/{cluster}/databases/{database}/credentials", "Create a credential", BEGUN)
        .takes(body!(write::create_database_credential)),
    route(
        "GET",
        "/moorage/v1/clusters/{cluster}/databases/{database}/credentials/{credential}",
        "Show a credential, by its user's name or identifier",
        Success::Json(200, schema::<read::CredentialBody>),
    ),
    route(
        "DELETE",
        "/moorage/v1/clusters/{cluster}/databases/{database}/credentials/{credential}",
        "Delete a credential; its sessions end, and what it made stays",
        BEGUN,
    ),
    route(
        "GET",
        "/moorage/v1/clusters/{cluster}/databases/{database}/credentials/{credential}/password",
        "The password of a credential",
        Success::Json(200, schema::<read::PasswordBody>),
    ),
    route(
        "POST",
        "/moorage/v1/clusters/{cluster}/databases/{database}/credentials/{credential}/reset-password",
        "Give a credential another password; its sessions end",
        BEGUN,
    )
    .takes(body!(write::reset_password, optional)),
    route(
        "GET",
        "/moorage/v1/parameter-groups",
        "List parameter groups",
        Success::Json(200, schema::<read::Page<read::ParameterGroupBody<'_>>>),
    ),
    route(
        "GET",
        "/moorage/v1/parameter-groups/{group}",
        "The parameters of a group, by name or identifier",
        Success::Json(200, schema::<read::ParameterGroupBody<'_>>),
    ),
    route("GET", "/moorage/v1/environments", "List environments", Success::Json(200, schema::<read::Page<read::EnvironmentBody>>)),
    route("POST", "/moorage/v1/environments", "Make an environment", Success::Json(201, schema::<read::EnvironmentBody>))
        .takes(body!(write::create_environment)),
    route("GET", "/moorage/v1/plans", "List plans", Success::Json(200, schema::<read::Page<read::PlanBody>>)),
    route("POST", "/moorage/v1/plans", "Make a plan and offer it in environments", Success::Json(201, schema::<read::PlanBody>))
        .takes(body!(write::create_plan)),
    route("GET", "/moorage/v1/teams", "List teams", Success::Json(200, schema::<read::Page<read::TeamBody>>)),
    route("POST", "/moorage/v1/teams", "Make a team", Success::Json(201, schema::<read::TeamBody>)).takes(body!(write::create_team)),
    route("PUT", "/moorage/v1/teams/{team}/members/{user}", "Put a user into a team", Success::Nothing),
    route("DELETE", "/moorage/v1/teams/{team}/members/{user}", "Take a user out of a team", Success::Nothing),
    route("POST", "/moorage/v1/sample-data", "Load what the examples of the families' documents assume", Success::Nothing),
    route("GET", "/moorage/v1/instances", "List instances", Success::Json(200, schema::<read::Page<read::InstanceBody>>)).asks(PARTS),
    route("GET", "/moorage/v1/instances/{instance}", "Show an instance", Success::Json(200, schema::<read::InstanceBody>)),
    route("GET", "/moorage/v1/volumes", "List volumes", Success::Json(200, schema::<read::Page<read::VolumeBody>>)).asks(PARTS),
    route(
        "GET",
        "/moorage/v1/endpoints",
        "List endpoints with their connections",
        Success::Json(200, schema::<read::Page<read::EndpointBody>>),
    )
    .asks(PARTS),
    route(
        "GET",
        "/moorage/v1/watchers",
        "What each watcher of this server last did",
        Success::Json(200, schema::<read::Page<read::WatcherBody>>),
    ),
    route("GET", "/moorage/v1/operations", "List operations, the newest first", Success::Json(200, schema::<read::Page<read::Operation>>))
        .asks(&[
            Query { name: "cluster", schema: TEXT, description: "Only of this cluster, by name or identifier." },
            Query {
                name: "status",
                schema: || json!({"type": "string", "enum": OperationStatus::ALL.iter().map(|status| status.as_str()).collect::<Vec<_>>()}),
                description: "Only with this status.",
            },
            CURSOR,
            LIMIT,
        ]),
    route("GET", "/moorage/v1/operations/{operation}", "Show an operation with its timeline", OPERATION),
    route("POST", "/moorage/v1/operations/{operation}/cancel", "Call an operation off", OPERATION),
    route("POST", "/moorage/v1/operations/{operation}/retry", "Decide: try the step again", OPERATION),
    route("POST", "/moorage/v1/operations/{operation}/resume", "Decide: go on after the step", OPERATION),
    route("POST", "/moorage/v1/operations/{operation}/roll-back", "Decide: undo what it did", OPERATION),
    route("POST", "/moorage/v1/operations/{operation}/abandon", "Decide: end it as it is", OPERATION),
    route("GET", "/moorage/v1/engine-versions", "List engine versions", Success::Json(200, schema::<read::Page<read::EngineVersion>>)),
    route("GET", "/moorage/v1/server-types", "List server types", Success::Json(200, schema::<read::Page<read::ServerTypeBody>>)),
    route("GET", "/moorage/v1/subnets", "List subnets", Success::Json(200, schema::<read::Page<read::SubnetBody>>)),
    route("GET", "/moorage/v1/host", "The host and what it can enforce", Success::Json(200, schema::<read::HostBody>)),
];

/// The document, made once.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// Serves the document.
pub(crate) async fn serve() -> Response {
    Json(&*DOCUMENT).into_response()
}

fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        entry[route.method.to_lowercase()] = operation(route);
    }
    paths.insert(
        "/moorage/v1/ca".into(),
        json!({"get": {
            "summary": "The certificate that signs the endpoints' certificates", "operationId": "get-ca", "security": [],
            "responses": {"200": {"description": "It.", "content": {"application/x-pem-file": {"schema": {"type": "string"}}}}},
        }}),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Moorage",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "MariaDB and PostgreSQL clusters on your own machine. Changes are operations: an accepted one answers 202 with the \
                            operation to follow. Errors are problem+json with a stable `code`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"password": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            },
            "schemas": {"Problem": schema::<problems::Body<'_>>()},
            "responses": {"Problem": {
                "description": "What went wrong, why, and what to do next.",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }},
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    for query in route.query {
        parameters.push(json!({"name": query.name, "in": "query", "description": query.description, "schema": (query.schema)()}));
    }
    let header =
        |name: &str, description: &str| json!({"name": name, "in": "header", "description": description, "schema": {"type": "string"}});
    if route.tags && route.method == "GET" {
        parameters.push(header("If-None-Match", "The `ETag` of the copy you have: 304 if it is still good."));
    } else if route.tags {
        parameters.push(header("If-Match", "The `ETag` of what you read: 412 if somebody changed it since."));
    }
    if route.method != "GET" {
        parameters.push(header("Idempotency-Key", "Your own mark of this request: repeated with it, it is carried out once."));
    }
    let mut responses = Map::new();
    match &route.success {
        Success::Json(status, schema) => {
            let mut response = json!({"description": "Done.", "content": {"application/json": {"schema": schema()}}});
            if *status == 202 {
                response["description"] = json!("Accepted: follow the operation.");
            }
            if route.tags && *status == 200 {
                response["headers"] = json!({"ETag": {"schema": {"type": "string"}}});
            }
            responses.insert(status.to_string(), response);
        }
        Success::Text(kind) => {
            responses.insert("200".into(), json!({"description": "Done.", "content": {*kind: {"schema": {"type": "string"}}}}));
        }
        Success::Nothing => {
            responses.insert("204".into(), json!({"description": "Done."}));
        }
    }
    if route.tags && route.method == "GET" {
        responses.insert("304".into(), json!({"description": "Your copy is still good."}));
    }
    responses.insert("default".into(), json!({"$ref": "#/components/responses/Problem"}));
    let id = format!(
        "{}{}",
        route.method.to_lowercase(),
        route.path.trim_start_matches("/moorage/v1").replace(['{', '}'], "").replace('/', "-")
    );
    let mut operation = json!({"summary": route.summary, "operationId": id, "parameters": parameters, "responses": responses});
    if let Some(Body { read, required }) = &route.body {
        operation["requestBody"] = json!({"required": required, "content": {"application/json": {"schema": describe::body(*read)}}});
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_described_as_the_code_that_reads_it_has_it() {
        let create = &DOCUMENT["paths"]["/moorage/v1/clusters"]["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(create["required"], json!(["database", "engine", "name"]));
        assert_eq!(create["properties"]["engine"]["enum"], json!(["mariadb", "postgresql"]));
        assert_eq!(create["properties"]["database"]["required"], json!(["name", "owner", "password"]));
        assert_eq!(create["properties"]["allow"]["items"]["type"], "string");
        assert_eq!(create["properties"]["port"], json!({"type": ["integer", "null"], "minimum": 1024, "maximum": 65535}));
        assert_eq!(create["additionalProperties"], false);
        let shown =
            &DOCUMENT["paths"]["/moorage/v1/clusters/{cluster}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(shown["properties"]["limits"]["properties"]["cpu"]["properties"]["enforced"]["type"], "boolean");
    }
}
