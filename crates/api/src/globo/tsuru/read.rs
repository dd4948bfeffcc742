//! Snapshots to what tsuru shows and puts into the environment of applications.

use moorage_app::AllocatedView;
use moorage_domain::allocation::Allocated;
use moorage_domain::database::Stage;
use moorage_domain::engine::EngineName;
use moorage_domain::plan::{Environment, Plan};
use moorage_domain::service_state::ServiceState;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value};

/// A plan in an environment.
#[derive(Serialize)]
pub(super) struct PlanDocument {
    name: String,
    description: String,
}

/// What a plan in an environment is called: words with dashes between them.
pub(super) fn plan_name(plan: &Plan, environment: &Environment) -> String {
    moorage_domain::allocation::slug(&format!("{} {}", plan.name, environment.name)).unwrap_or_default().replace('_', "-")
}

/// A plan in an environment.
pub(super) fn plan(plan: &Plan, environment: &Environment) -> PlanDocument {
    PlanDocument {
        name: plan_name(plan, environment),
        description: format!("{} - {}\n{}", plan.name, environment.name, plan.description).trim_end().to_owned(),
    }
}

/// Whether a database can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It can.
    Up,
    /// It will be.
    Pending,
    /// It cannot, and not by itself.
    Down,
}

/// Whether a database can be used.
pub(super) fn condition(found: &Allocated) -> Condition {
    match (found.database.stage, found.cluster_state) {
        (_, ServiceState::Creating | ServiceState::Starting | ServiceState::Restarting | ServiceState::Upgrading) => Condition::Pending,
        (Stage::BeingMade, ServiceState::Running | ServiceState::Editing | ServiceState::Synchronizing) => Condition::Pending,
        (Stage::Made, ServiceState::Running | ServiceState::Editing | ServiceState::Synchronizing) => Condition::Up,
        _ => Condition::Down,
    }
}

/// A line of `tsuru service instance info`.
#[derive(Serialize)]
pub(super) struct Line {
    label: &'static str,
    value: String,
}

/// What there is to say of a database.
pub(super) fn lines(view: &AllocatedView, plan: &str, environment: &str, team: Option<&str>) -> Vec<Line> {
    let found = &view.allocated;
    let endpoint = found.endpoint.map_or_else(String::new, |(address, port)| format!("{address}:{port}"));
    let bytes = |size: Option<u64>| size.map_or_else(|| "not known yet".to_owned(), |size| size.to_string());
    [
        ("Name", found.database.name.clone()),
        ("Engine", found.engine.as_str().to_owned()),
        ("Plan", plan.to_owned()),
        ("Environment", environment.to_owned()),
        ("Team", team.unwrap_or_default().to_owned()),
        ("Description", found.allocation.description.clone().unwrap_or_default()),
        ("State", found.cluster_state.as_str().to_owned()),
        ("Endpoint", endpoint),
        ("used_size_in_bytes", bytes(found.database.used_bytes)),
        ("total_size_in_bytes", bytes(view.total_bytes)),
        ("Made", found.database.created_at.rfc3339()),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(label, value)| Line { label, value })
    .collect()
}

/// How an application is told where its database is.
pub(super) fn variables(found: &Allocated, (user, password): (&str, &str)) -> Option<Map<String, Value>> {
    let (address, port) = found.endpoint?;
    let (prefix, scheme) = match found.engine {
        EngineName::MariaDb => ("DBAAS_MYSQL", "mysql"),
        EngineName::PostgreSql => ("DBAAS_POSTGRESQL", "postgresql"),
    };
    let plain = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string().replace("%5F", "_");
    let endpoint = format!("{scheme}://{}:{}@{address}:{port}/{}", plain(user), plain(password), found.database.name);
    let pairs = [
        ("USER", user.to_owned()),
        ("PASSWORD", password.to_owned()),
        ("ENDPOINT", endpoint),
        ("HOSTS", address.to_string()),
        ("PORT", port.to_string()),
    ];
    Some(pairs.into_iter().map(|(key, value)| (format!("{prefix}_{key}"), Value::String(value))).collect())
}
