//! Snapshots to our own models.

mod databases;
mod parameters;
mod people;
mod plans;

pub(crate) use databases::*;
pub(crate) use parameters::*;
pub(crate) use people::*;
pub(crate) use plans::*;

use super::ids;
use moorage_app::{Abilities, Accepted, ClusterView, Enforcement, EngineVersionView, Traffic, WatcherStatus};
use moorage_domain::HostId;
use moorage_domain::cluster::VolumeSpec;
use moorage_domain::decide::protection::why_unprotected;
use moorage_domain::operation::{OperationEvent, OperationView};
use moorage_domain::problem::Problem;
use moorage_domain::server_type::ServerType;
use moorage_domain::service_state::ServiceState;
use moorage_domain::subnet::Subnet;
use schemars::JsonSchema;
use serde::Serialize;

/// A page of a list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl<T> Page<T> {
    /// A list that fits on one page.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
    /// A page whose next one begins at this row.
    pub(crate) fn until(items: Vec<T>, next: Option<u64>) -> Self {
        Self { items, next: next.map(ids::cursor) }
    }
    /// A page after `offset` rows; there is a next one if `more`.
    pub(crate) fn after(offset: u64, items: Vec<T>, more: bool) -> Self {
        let next = more.then(|| ids::cursor(offset.saturating_add(items.len() as u64)));
        Self { items, next }
    }
}

/// A cluster.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Cluster {
    id: String,
    name: String,
    engine: &'static str,
    version: String,
    state: &'static str,
    state_reason: Option<String>,
    address: Option<String>,
    port: u16,
    /// Address and port by which other machines reach it; none where its host offers none.
    public_address: Option<String>,
    database: String,
    owner: String,
    server_type: String,
    size_gb: u32,
    /// What its data takes on disk, in bytes; looked at every minute.
    used_bytes: Option<u64>,
    timezone: String,
    /// Two instances: one writes, the other takes its place.
    highly_available: bool,
    /// Commits wait as long as only one instance has them, however long that is.
    strict: bool,
    allow: Vec<String>,
    /// Said plainly until there are backups (decisions 20).
    protection: &'static str,
    /// Why it is or is not protected, in a sentence.
    protection_reason: String,
    deletion_protection: bool,
    limits: Limits,
    isolation: Isolation,
    instances: Vec<Instance>,
    operation: Option<String>,
    created_at: String,
    created_by: String,
    modified_at: String,
}

/// What is asked for, and whether it binds on this host.
#[derive(Serialize, JsonSchema)]
struct Limits {
    cpu: Limit,
    memory: Limit,
    disk: Limit,
    /// None where it is not known: the server of the cluster's machine has not said.
    connections: Option<Limit>,
}

#[derive(Serialize, JsonSchema)]
struct Limit {
    value: u32,
    unit: &'static str,
    enforced: bool,
}

#[derive(Serialize, JsonSchema)]
struct Isolation {
    tenants: bool,
    network: bool,
}

#[derive(Serialize, JsonSchema)]
struct Instance {
    id: String,
    name: String,
    role: String,
    state: &'static str,
    address: Option<String>,
    restarts: u32,
    last_restart_reason: Option<String>,
}

fn instance(row: &moorage_domain::instance::Instance, state: ServiceState, view: &ClusterView) -> Instance {
    let alone = !view.cluster.spec.is_highly_available();
    let address = view.endpoint.as_ref().and_then(|endpoint| endpoint.address_of(&row.id, alone));
    Instance {
        id: row.id.to_string(),
        name: row.name.clone(),
        role: row.role.clone(),
        state: state.as_str(),
        address: address.map(|address| address.to_string()),
        restarts: row.observed.restarts,
        last_restart_reason: row.observed.last_restart_reason.clone(),
    }
}

/// A cluster in full.
pub(crate) fn cluster(view: &ClusterView) -> Cluster {
    let Enforcement { abilities, most_connections } = &*view.enforcement;
    let row = &view.cluster;
    let spec = &row.spec;
    let size = ServerType::find(spec.server_type());
    let address = view.endpoint.as_ref().map(|endpoint| endpoint.address.to_string());
    let limit = |value: Option<u32>, unit, enforced| Limit { value: value.unwrap_or_default(), unit, enforced };
    let instances = view.instances.iter().map(|(row, state)| instance(row, *state, view));
    Cluster {
        id: row.id.to_string(),
        name: row.name.clone(),
        engine: row.engine.as_str(),
        version: row.version.to_string(),
        state: row.state.as_str(),
        state_reason: row.state_reason.clone(),
        address,
        port: spec.port,
        public_address: view.endpoint.as_ref().and_then(|endpoint| endpoint.public).map(|address| address.to_string()),
        database: spec.database.name.clone(),
        owner: spec.database.owner.clone(),
        server_type: spec.server_type().to_owned(),
        size_gb: spec.data_size_gb(),
        used_bytes: view.writes().and_then(|instance| instance.observed.volume_used_bytes),
        timezone: spec.timezone.clone(),
        highly_available: spec.is_highly_available(),
        strict: spec.strict,
        allow: spec.allow_list.clone(),
        protection: "none yet",
        protection_reason: why_unprotected(spec.backup.as_ref()),
        deletion_protection: spec.deletion_protection,
        limits: Limits {
            cpu: limit(size.as_ref().map(|size| size.cpu), "vCPU", abilities.limits_enforced),
            memory: limit(size.as_ref().map(|size| size.memory_gib), "GiB", abilities.limits_enforced),
            disk: limit(Some(spec.data_size_gb()), "GiB", abilities.volume_size_enforced),
            connections: most_connections.map(|most| limit(Some(most), "connections", true)),
        },
        isolation: Isolation { tenants: abilities.tenants_isolated, network: abilities.network_isolated },
        instances: instances.collect(),
        operation: row.operation.as_ref().map(ToString::to_string),
        created_at: row.created_at.rfc3339(),
        created_by: row.created_by.clone(),
        modified_at: row.modified_at.rfc3339(),
    }
}

/// The answer to an accepted request.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AcceptedBody {
    cluster: Cluster,
    operation: OperationRef,
}

#[derive(Serialize, JsonSchema)]
struct OperationRef {
    id: String,
}

/// The cluster as it is now, and the operation that changes it.
pub(crate) fn accepted(accepted: &Accepted, cluster: Cluster) -> AcceptedBody {
    AcceptedBody { cluster, operation: OperationRef { id: accepted.operation.to_string() } }
}

/// An operation.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Operation {
    id: String,
    kind: String,
    cluster: String,
    status: &'static str,
    step: String,
    attempt: u32,
    waiting_for: Option<String>,
    problem: Option<ProblemPart>,
    requested_by: String,
    created_at: String,
    finished_at: Option<String>,
    events: Vec<Event>,
}

#[derive(Serialize, JsonSchema)]
struct Event {
    at: String,
    step: String,
    kind: String,
    detail: String,
}

/// Why an operation failed, cleans up or waits.
#[derive(Serialize, JsonSchema)]
struct ProblemPart {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

fn problem_part(problem: &Problem) -> ProblemPart {
    let Problem { code, message, detail, hint, field } = problem.clone();
    ProblemPart { code: code.as_str(), message, detail, hint, field }
}

/// An operation with its timeline.
pub(crate) fn operation(view: &OperationView) -> Operation {
    let event = |event: &OperationEvent| Event {
        at: event.at.rfc3339_millis(),
        step: event.step.clone(),
        kind: event.kind.clone(),
        detail: event.detail.clone(),
    };
    Operation {
        id: view.id.to_string(),
        kind: view.kind.clone(),
        cluster: view.cluster.to_string(),
        status: view.status.as_str(),
        step: view.step.clone(),
        attempt: view.attempt,
        waiting_for: view.waiting_for.clone(),
        problem: view.problem.as_ref().map(problem_part),
        requested_by: view.requested_by.clone(),
        created_at: view.created_at.rfc3339(),
        finished_at: view.finished_at.map(|at| at.rfc3339()),
        events: view.events.iter().map(event).collect(),
    }
}

/// An engine version on offer.
#[derive(Serialize, JsonSchema)]
pub(crate) struct EngineVersion {
    id: String,
    engine: &'static str,
    version: String,
    major: String,
    end_of_service: bool,
    operating_system: String,
    facts: Vec<FactBody>,
}

#[derive(Serialize, JsonSchema)]
struct FactBody {
    name: &'static str,
    value: String,
}

/// An engine version on offer.
pub(crate) fn engine_version(view: &EngineVersionView) -> EngineVersion {
    EngineVersion {
        id: view.id.clone(),
        engine: view.engine.as_str(),
        version: view.version.to_string(),
        major: view.major.clone(),
        end_of_service: view.end_of_service,
        operating_system: format!("{} {}", view.operating_system.0, view.operating_system.1),
        facts: view.facts.iter().map(|fact| FactBody { name: fact.name, value: fact.value.clone() }).collect(),
    }
}

/// A server type on offer.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ServerTypeBody {
    name: String,
    cpu: u32,
    memory_gb: u32,
    enforced: bool,
}

/// A server type on offer.
pub(crate) fn server_type(server_type: &ServerType, abilities: &Abilities) -> ServerTypeBody {
    ServerTypeBody {
        name: server_type.name.clone(),
        cpu: server_type.cpu,
        memory_gb: server_type.memory_gib,
        enforced: abilities.limits_enforced,
    }
}

/// A subnet.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SubnetBody {
    id: String,
    cidr: String,
    interface: Option<String>,
}

/// A subnet.
pub(crate) fn subnet(subnet: &Subnet) -> SubnetBody {
    SubnetBody { id: subnet.id.clone(), cidr: subnet.cidr.to_string(), interface: subnet.interface.clone() }
}

/// The host and what it can enforce.
#[derive(Serialize, JsonSchema)]
pub(crate) struct HostBody {
    id: String,
    abilities: AbilitiesBody,
}

/// What a host can enforce; what it cannot is shown, never ignored.
#[derive(Serialize, JsonSchema)]
struct AbilitiesBody {
    tenants_isolated: bool,
    network_isolated: bool,
    groups_tracked: bool,
    limits_enforced: bool,
    volume_driver: String,
    volume_size_enforced: bool,
    atomic_snapshots: bool,
}

/// The host and what it can enforce.
pub(crate) fn host(id: &HostId, abilities: Abilities) -> HostBody {
    let Abilities {
        tenants_isolated,
        network_isolated,
        groups_tracked,
        limits_enforced,
        volume_driver,
        volume_size_enforced,
        atomic_snapshots,
    } = abilities;
    let abilities = AbilitiesBody {
        tenants_isolated,
        network_isolated,
        groups_tracked,
        limits_enforced,
        volume_driver,
        volume_size_enforced,
        atomic_snapshots,
    };
    HostBody { id: id.to_string(), abilities }
}

/// An instance by itself.
#[derive(Serialize, JsonSchema)]
pub(crate) struct InstanceBody {
    cluster: String,
    cluster_name: String,
    engine: &'static str,
    version: String,
    host: String,
    answering: bool,
    #[serde(flatten)]
    #[schemars(flatten)]
    instance: Instance,
}

/// The instances of a cluster.
pub(crate) fn instances(view: &ClusterView) -> Vec<InstanceBody> {
    let body = |(row, state): &(moorage_domain::instance::Instance, ServiceState)| InstanceBody {
        cluster: view.cluster.id.to_string(),
        cluster_name: view.cluster.name.clone(),
        engine: view.cluster.engine.as_str(),
        version: view.cluster.version.to_string(),
        host: row.host.to_string(),
        answering: row.observed.answering,
        instance: instance(row, *state, view),
    };
    view.instances.iter().map(body).collect()
}

/// A volume.
#[derive(Serialize, JsonSchema)]
pub(crate) struct VolumeBody {
    id: String,
    cluster: String,
    cluster_name: String,
    role: String,
    volume_type: String,
    size_gb: u32,
    /// What the data of the cluster takes on disk, in bytes, looked at every minute; none for a volume that holds no data, and before the
    /// first look.
    used_bytes: Option<u64>,
    /// Whether the size binds: a volume for the operating system is book-keeping.
    enforced: bool,
    driver: String,
}

/// The volumes of a cluster.
pub(crate) fn volumes(view: &ClusterView) -> Vec<VolumeBody> {
    let abilities = &view.enforcement.abilities;
    let used = view.writes().and_then(|instance| instance.observed.volume_used_bytes);
    let body = |volume: &VolumeSpec| VolumeBody {
        id: volume.id.to_string(),
        cluster: view.cluster.id.to_string(),
        cluster_name: view.cluster.name.clone(),
        role: volume.role.clone(),
        volume_type: volume.volume_type.clone(),
        size_gb: volume.size_gb,
        used_bytes: used.filter(|_| volume.role == "DATA"),
        enforced: abilities.volume_size_enforced && volume.role != "OS",
        driver: abilities.volume_driver.clone(),
    };
    view.cluster.spec.groups.iter().flat_map(|group| &group.volumes).map(body).collect()
}

/// An endpoint.
#[derive(Serialize, JsonSchema)]
pub(crate) struct EndpointBody {
    cluster: String,
    cluster_name: String,
    engine: &'static str,
    address: String,
    port: u16,
    /// Address and port by which other machines reach it; none where its host offers none.
    public_address: Option<String>,
    allow: Vec<String>,
    /// Open connections; none where this server's gateway does not know.
    connections: Option<u32>,
    /// Connections refused by the allow-list since the gateway was started.
    refused: Option<u64>,
}

/// The endpoint of a cluster, once it has one.
pub(crate) fn endpoints(view: &ClusterView, traffic: Option<&Traffic>) -> Vec<EndpointBody> {
    let body = |endpoint: &moorage_domain::instance::Endpoint| EndpointBody {
        cluster: view.cluster.id.to_string(),
        cluster_name: view.cluster.name.clone(),
        engine: view.cluster.engine.as_str(),
        address: endpoint.address.to_string(),
        port: endpoint.port,
        public_address: endpoint.public.map(|address| address.to_string()),
        allow: view.cluster.spec.allow_list.clone(),
        connections: traffic.map(|traffic| traffic.connections),
        refused: traffic.map(|traffic| traffic.refused),
    };
    view.endpoint.iter().map(body).collect()
}

/// A watcher.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WatcherBody {
    name: &'static str,
    period_seconds: f64,
    began_at: String,
    took_seconds: f64,
    failure: Option<String>,
    runs: u64,
    failures: u64,
}

/// What a watcher last did.
pub(crate) fn watcher(status: &WatcherStatus) -> WatcherBody {
    WatcherBody {
        name: status.name,
        period_seconds: status.period.as_secs_f64(),
        began_at: status.began_at.rfc3339(),
        took_seconds: status.took.as_secs_f64(),
        failure: status.failure.clone(),
        runs: status.runs,
        failures: status.failures,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moorage_domain::engine::EngineName;
    use moorage_domain::operation::OperationStatus;
    use moorage_domain::problem::ProblemCode;
    use moorage_domain::{ClusterId, OperationId, Timestamp};
    use serde_json::json;

    #[test]
    fn an_operation_is_shown_with_its_timeline_and_its_problem() {
        let view = OperationView {
            id: OperationId::from_bits(1),
            kind: "cluster.provision".into(),
            cluster: ClusterId::from_bits(2),
            engine: EngineName::MariaDb,
            status: OperationStatus::Failed,
            step: "start".into(),
            attempt: 3,
            waiting_for: None,
            problem: Some(Problem::new(ProblemCode::EngineStartFailed, "It did not start.").detail("Its words.")),
            requested_by: "ann".into(),
            created_at: Timestamp(0),
            finished_at: Some(Timestamp(1_000_000)),
            events: vec![OperationEvent { at: Timestamp(0), step: "start".into(), kind: "retrying".into(), detail: "x".into() }],
        };
        assert_eq!(
            serde_json::to_value(operation(&view)).expect("JSON"),
            json!({
                "id": "00000000000000000000000000000001", "kind": "cluster.provision", "cluster": "00000000000000000000000000000002",
                "status": "failed", "step": "start", "attempt": 3, "waiting_for": null,
                "problem": {"code": "engine-start-failed", "message": "It did not start.", "detail": "Its words."},
                "requested_by": "ann", "created_at": "1970-01-01T00:00:00Z", "finished_at": "1970-01-01T00:00:01Z",
                "events": [{"at": "1970-01-01T00:00:00.000Z", "step": "start", "kind": "retrying", "detail": "x"}],
            })
        );
    }

    #[test]
    fn a_page_leads_to_the_next_one_only_if_there_is_more() {
        let page = |more| serde_json::to_value(Page::after(20, vec![1, 2], more)).expect("JSON");
        assert_eq!(page(false), json!({"items": [1, 2], "next": null}));
        assert_eq!(page(true)["next"], ids::cursor(22));
    }
}
