//! Snapshots to the family's documents: the seed's fields first and exactly, later ones beside them.

use super::hal::{Linked, Site};
use super::ids::engine_number;
use moorage_app::{AllocatedView, TaskView};
use moorage_domain::Timestamp;
use moorage_domain::allocation::FormerDatabase;
use moorage_domain::database::Credential;
use moorage_domain::engine::EngineName;
use moorage_domain::operation::OperationStatus;
use moorage_domain::plan::{Application, Environment, Plan, Stage, Team};
use moorage_domain::service_state::ServiceState;
use moorage_domain::tenant::User;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Value, json};

/// A document as it goes into a list.
pub(crate) fn value(document: &impl Serialize) -> Value {
    serde_json::to_value(document).unwrap_or_default()
}

/// The day of a moment, as the original writes it.
fn day(at: Timestamp) -> String {
    at.rfc3339().chars().take(10).collect()
}

/// Seconds of a day.
const SECONDS_OF_A_DAY: u64 = 24 * 3600;

/// How long a database stays in quarantine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention(pub(crate) std::time::Duration);

/// A database.
#[derive(Serialize)]
pub(crate) struct DatabaseDocument {
    id: u64,
    name: String,
    endpoint: Option<String>,
    plan: String,
    environment: String,
    project: Option<String>,
    quarantine_dt: Option<String>,
    total_size_in_bytes: Option<u64>,
    used_size_in_bytes: Option<u64>,
    credentials: Vec<String>,
    infra_endpoint: Option<String>,
    team: Option<String>,
    description: Option<String>,
    status: u8,
    is_protected: bool,
    is_locked: bool,
    created_at: String,
    engine: &'static str,
    quarantine_until: Option<String>,
    days_left_in_quarantine: Option<u64>,
}

fn scheme(engine: EngineName) -> &'static str {
    match engine {
        EngineName::MariaDb => "mysql",
        EngineName::PostgreSql => "postgresql",
    }
}

/// `0` dead, `1` alive, `2` being made, `3` alert.
fn status(state: ServiceState) -> u8 {
    match state {
        ServiceState::Running | ServiceState::Editing | ServiceState::Synchronizing => 1,
        ServiceState::Creating => 2,
        ServiceState::Starting | ServiceState::Restarting | ServiceState::Stopping => 3,
        _ => 0,
    }
}

/// A database.
pub(crate) fn database(site: &Site, view: &AllocatedView, retention: Retention, now: Timestamp) -> Linked<DatabaseDocument> {
    let found = &view.allocated;
    let at = found.endpoint.map(|(address, port)| format!("{address}:{port}"));
    let quarantine = found.database.quarantine.as_ref();
    let until = quarantine.map(|quarantine| quarantine.since.plus(retention.0));
    let left = until.map(|until| until.since(now).as_secs().div_ceil(SECONDS_OF_A_DAY));
    let pending = found.credentials.iter().any(|credential| credential.sealed_next.is_some());
    let document = DatabaseDocument {
        id: view.number,
        name: found.database.name.clone(),
        endpoint: at.as_ref().map(|at| format!("{}://<user>:<password>@{at}/{}", scheme(found.engine), found.database.name)),
        plan: site.item("plan", view.plan),
        environment: site.item("environment", view.environment),
        project: view.application.map(|number| site.item("project", number)),
        quarantine_dt: quarantine.map(|quarantine| day(quarantine.since)),
        total_size_in_bytes: view.total_bytes,
        used_size_in_bytes: found.database.used_bytes,
        credentials: view.credentials.iter().map(|number| site.item("credential", *number)).collect(),
        infra_endpoint: at,
        team: view.team.map(|number| site.item("team", number)),
        description: found.allocation.description.clone(),
        status: status(found.cluster_state),
        is_protected: found.allocation.protected,
        is_locked: pending,
        created_at: found.database.created_at.rfc3339(),
        engine: found.engine.as_str(),
        quarantine_until: until.map(day),
        days_left_in_quarantine: left,
    };
    Linked::at(site.item("database", view.number), document)
}

/// A credential; its password is shown with one, and never in a list.
#[derive(Serialize)]
pub(crate) struct CredentialDocument {
    id: u64,
    user: String,
    database: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

/// A credential of the database of that number.
pub(crate) fn credential(
    site: &Site,
    number: u64,
    credential: &Credential,
    database: u64,
    password: Option<&SecretString>,
) -> Linked<CredentialDocument> {
    let document = CredentialDocument {
        id: number,
        user: credential.user.clone(),
        database: site.item("database", database),
        password: password.map(|password| password.expose_secret().to_owned()),
    };
    Linked::at(site.item("credential", number), document)
}

/// What databases are for.
pub(crate) fn project(site: &Site, (number, application): &(u64, Application)) -> Linked<Value> {
    let document = json!({"id": number, "name": application.name, "description": application.description});
    Linked::at(site.item("project", *number), document)
}

/// A plan, with where it is offered as links.
#[derive(Serialize)]
pub(crate) struct PlanDocument {
    id: u64,
    name: String,
    description: String,
    is_active: bool,
    is_default: bool,
    engine_type: String,
    environments: Vec<String>,
    engine: String,
}

/// A plan.
pub(crate) fn plan(site: &Site, (number, plan): &(u64, Plan), environments: &[(u64, Environment)]) -> Linked<PlanDocument> {
    let offered = environments.iter().filter(|(_, environment)| plan.environments.contains(&environment.id));
    let document = PlanDocument {
        id: *number,
        name: plan.name.clone(),
        description: plan.description.clone(),
        is_active: plan.active,
        is_default: *number == 1,
        engine_type: site.item("engine_type", engine_number(plan.engine)),
        environments: offered.map(|(number, _)| site.item("environment", *number)).collect(),
        engine: site.item("engine", engine_number(plan.engine)),
    };
    Linked::at(site.item("plan", *number), document)
}

/// An environment.
#[derive(Serialize)]
pub(crate) struct EnvironmentDocument {
    id: u64,
    name: String,
    stage: u8,
}

/// An environment.
pub(crate) fn environment(site: &Site, (number, environment): &(u64, Environment)) -> Linked<EnvironmentDocument> {
    let stage = match environment.stage {
        Stage::Development => 1,
        Stage::Production => 2,
    };
    Linked::at(site.item("environment", *number), EnvironmentDocument { id: *number, name: environment.name.clone(), stage })
}

/// Something with a number and a name.
#[derive(Serialize)]
pub(crate) struct Named {
    id: u64,
    name: String,
}

/// An engine as a product.
pub(crate) fn engine_type(site: &Site, engine: EngineName) -> Linked<Named> {
    let number = engine_number(engine);
    Linked::at(site.item("engine_type", number), Named { id: number, name: engine.as_str().to_owned() })
}

/// The newest version of an engine.
#[derive(Serialize)]
pub(crate) struct EngineDocument {
    id: u64,
    engine_type: String,
    version: String,
}

/// The newest version of an engine.
pub(crate) fn engine(site: &Site, engine: EngineName, version: &str) -> Linked<EngineDocument> {
    let number = engine_number(engine);
    let document = EngineDocument { id: number, engine_type: site.item("engine_type", number), version: version.to_owned() };
    Linked::at(site.item("engine", number), document)
}

/// A team.
pub(crate) fn team(site: &Site, (number, team): &(u64, Team)) -> Linked<Named> {
    Linked::at(site.item("team", *number), Named { id: *number, name: team.name.clone() })
}

/// A person.
#[derive(Serialize)]
pub(crate) struct UserDocument {
    id: u64,
    username: String,
    email: String,
    is_active: bool,
}

/// A person.
pub(crate) fn user(site: &Site, (number, user): &(u64, User)) -> Linked<UserDocument> {
    let document = UserDocument { id: *number, username: user.name.clone(), email: user.email.clone(), is_active: true };
    Linked::at(site.item("user", *number), document)
}

/// An operation on a database.
#[derive(Serialize)]
pub(crate) struct TaskDocument {
    id: u64,
    task_id: String,
    task_name: String,
    task_status: &'static str,
    user: String,
    object_class: &'static str,
    object_id: Option<u64>,
    db_id: Option<u64>,
    database_name: Option<String>,
    database: Option<Value>,
    created_at: String,
    updated_at: String,
    ended_at: Option<String>,
    rollback: bool,
    relevance: &'static str,
    details: String,
}

/// What the original calls it.
pub(crate) fn task_status(status: OperationStatus) -> &'static str {
    match status {
        OperationStatus::Queued => "WAITING",
        OperationStatus::Running | OperationStatus::CleaningUp => "RUNNING",
        OperationStatus::NeedsOperator => "WARNING",
        OperationStatus::Succeeded => "SUCCESS",
        OperationStatus::Failed | OperationStatus::Cancelled => "ERROR",
    }
}

/// What of ours the original calls so.
pub(crate) fn statuses(called: &str) -> Option<[OperationStatus; 2]> {
    use OperationStatus::{Cancelled, CleaningUp, Failed, NeedsOperator, Queued, Running, Succeeded};
    let pairs = [[Queued, Queued], [Running, CleaningUp], [NeedsOperator, NeedsOperator], [Succeeded, Succeeded], [Failed, Cancelled]];
    pairs.into_iter().find(|[one, _]| task_status(*one) == called)
}

/// An operation on a database.
pub(crate) fn task(site: &Site, view: &TaskView) -> Linked<TaskDocument> {
    let operation = &view.operation;
    let failed = task_status(operation.status) == "ERROR";
    let details = operation.problem.as_ref().map(|problem| problem.message.clone()).or_else(|| operation.waiting_for.clone());
    let database = view
        .database
        .as_ref()
        .map(|(name, environment)| json!({"name": name, "environment": environment, "engine": operation.engine.as_str()}));
    let document = TaskDocument {
        id: view.number,
        task_id: operation.id.to_string(),
        task_name: operation.kind.replace(['.', '-'], "_"),
        task_status: task_status(operation.status),
        user: operation.requested_by.clone(),
        object_class: "logical_database",
        object_id: view.database_number,
        db_id: view.database_number,
        database_name: view.database.as_ref().map(|(name, _)| name.clone()),
        database,
        created_at: operation.created_at.rfc3339(),
        updated_at: operation.finished_at.unwrap_or(operation.created_at).rfc3339(),
        ended_at: operation.finished_at.map(|at| at.rfc3339()),
        rollback: operation.status == OperationStatus::CleaningUp,
        relevance: if failed { "ERROR" } else { "INFO" },
        details: details.unwrap_or_default(),
    };
    Linked::at(site.item("task", view.number), document)
}

/// A database that was removed.
#[derive(Serialize)]
pub(crate) struct HistoryDocument {
    id: u64,
    database_id: u64,
    environment: String,
    engine: &'static str,
    name: String,
    project: Option<String>,
    team: Option<String>,
    databaseinfra_name: String,
    plan: String,
    disk_size_kb: Option<u64>,
    has_persistence: bool,
    created_at: String,
    deleted_at: String,
    description: Option<String>,
}

/// A database that was removed; its number is still its own.
pub(crate) fn history(former: &FormerDatabase, number: u64) -> HistoryDocument {
    HistoryDocument {
        id: number,
        database_id: number,
        environment: former.environment.clone(),
        engine: former.engine.as_str(),
        name: former.name.clone(),
        project: former.application.clone(),
        team: former.team.clone(),
        databaseinfra_name: former.cluster_name.clone(),
        plan: former.plan.clone(),
        disk_size_kb: former.used_bytes.map(|bytes| bytes / 1024),
        has_persistence: true,
        created_at: former.created_at.rfc3339(),
        deleted_at: former.deleted_at.rfc3339(),
        description: former.description.clone(),
    }
}
