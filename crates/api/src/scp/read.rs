//! Snapshots to the vendor's models. Clients refuse a key too many as well as one too few, so every model is spelled out,
//! with what only some versions or services have at its end.

use super::dialect::{ApiVersion, Dialect};
use super::ids;
use super::write::{GroupFilter, Listing, ParameterListing, VersionFilter};
use moorage_app::{Abilities, Accepted, ClusterView, Clusters, EngineVersionView, ParameterGroup, parameter_id};
use moorage_domain::cluster::{Cluster, ClusterSpec};
use moorage_domain::engine::EngineName;
use moorage_domain::operation::{OperationStatus, OperationView};
use moorage_domain::parameter::{AppliedParameters, Parameter};
use moorage_domain::server_type::ServerType;
use serde::Serialize;
use std::net::Ipv4Addr;

/// `AsyncResponse`.
#[derive(Serialize)]
pub(crate) struct AsyncResponse {
    request_id: String,
    resource: Resource,
}

#[derive(Serialize)]
struct Resource {
    id: String,
}

/// The answer to an accepted request.
pub(crate) fn accepted(accepted: &Accepted) -> AsyncResponse {
    AsyncResponse { request_id: ids::request_id(&accepted.operation), resource: Resource { id: accepted.cluster.to_string() } }
}

/// `RequestStateResponse`.
#[derive(Serialize)]
pub(crate) struct RequestState {
    request_id: String,
    state: &'static str,
}

/// An operation as the request it is. One that waits for an operator has ended as far as its caller is concerned
/// (decisions 20): the cluster shows ERROR and can be deleted.
pub(crate) fn request(operation: &OperationView) -> RequestState {
    let state = match operation.status {
        OperationStatus::Queued | OperationStatus::Running | OperationStatus::CleaningUp => "PROCESSING",
        OperationStatus::Succeeded => "SUCCESS",
        OperationStatus::NeedsOperator | OperationStatus::Failed | OperationStatus::Cancelled => "FAIL",
    };
    RequestState { request_id: ids::request_id(&operation.id), state }
}

/// `MariadbClusterDetailResponse` and its siblings.
#[derive(Serialize)]
pub(crate) struct ClusterDetail<'a> {
    account_id: &'a str,
    allowable_ip_addresses: &'a [String],
    created_at: String,
    created_by: &'a str,
    dbaas_engine: &'static str,
    dbaas_engine_version_name: String,
    ha_enabled: bool,
    id: &'a str,
    init_config_option: InitConfig<'a>,
    instance_count: usize,
    instance_groups: Vec<Group<'a>>,
    maintenance_option: Maintenance<'a>,
    modified_at: String,
    modified_by: &'a str,
    name: &'a str,
    nat_enabled: bool,
    origin_cluster_id: Option<()>,
    product_image_type: &'static str,
    product_type: &'static str,
    replicas: [&'a str; 0],
    role_type: &'static str,
    service_state: &'static str,
    software_version: String,
    subnet_id: &'a str,
    timezone: &'a str,
    vip_public_ip_address: Option<()>,
    vip_public_ip_id: Option<()>,
    virtual_ip_address: Option<String>,
    /// Since 1.1: whether a newer operating system kernel could be had. There is none of our own to patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_kernel_patchable: Option<bool>,
    /// Since 1.1, MariaDB only.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_watch_log_collection: Option<bool>,
}

#[derive(Serialize)]
struct InitConfig<'a> {
    audit_enabled: bool,
    backup_option: Option<Backup<'a>>,
    #[serde(flatten)]
    text: DatabaseText<'a>,
    database_name: &'a str,
    database_port: u16,
    database_user_name: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum DatabaseText<'a> {
    MariaDb { database_character_set: &'a str },
    PostgreSql { database_encoding: &'a str, database_locale: Option<&'a str> },
}

#[derive(Serialize)]
struct Backup<'a> {
    archive_frequency_minute: Option<&'a str>,
    retention_period_day: Option<&'a str>,
    starting_time_hour: Option<&'a str>,
}

#[derive(Serialize)]
struct Maintenance<'a> {
    period_hour: Option<&'a str>,
    starting_day_of_week: Option<&'a str>,
    starting_time: Option<&'a str>,
    use_maintenance_option: bool,
}

#[derive(Serialize)]
struct Group<'a> {
    block_storage_groups: Vec<Volume<'a>>,
    id: &'a str,
    instances: Vec<Instance>,
    role_type: &'a str,
    server_type_name: &'a str,
}

#[derive(Serialize)]
struct Volume<'a> {
    id: &'a str,
    name: String,
    role_type: &'a str,
    size_gb: u32,
    volume_type: &'a str,
}

#[derive(Serialize)]
struct Instance {
    name: String,
    public_ip_address: Option<()>,
    public_ip_id: Option<()>,
    role_type: String,
    service_ip_address: Option<String>,
    service_state: &'static str,
}

/// A cluster in full.
pub(crate) fn cluster(view: &ClusterView, dialect: Dialect) -> ClusterDetail<'_> {
    let cluster = &view.cluster;
    let spec = &cluster.spec;
    ClusterDetail {
        account_id: cluster.project.as_str(),
        allowable_ip_addresses: &spec.allow_list,
        created_at: cluster.created_at.rfc3339(),
        created_by: &cluster.created_by,
        dbaas_engine: dialect.engine_label(),
        dbaas_engine_version_name: version_name(dialect, &cluster.version.to_string()),
        ha_enabled: spec.is_highly_available(),
        id: cluster.id.as_str(),
        init_config_option: init_config(spec, dialect),
        instance_count: instance_count(spec),
        instance_groups: groups(view),
        maintenance_option: maintenance(spec),
        modified_at: cluster.modified_at.rfc3339(),
        modified_by: &cluster.modified_by,
        name: &cluster.name,
        nat_enabled: false,
        origin_cluster_id: None,
        product_image_type: dialect.image_type(),
        product_type: dialect.product_type(),
        replicas: [],
        role_type: "ORIGIN",
        service_state: cluster.state.as_str(),
        software_version: cluster.version.to_string(),
        subnet_id: &spec.subnet,
        timezone: &spec.timezone,
        vip_public_ip_address: None,
        vip_public_ip_id: None,
        virtual_ip_address: virtual_address(view).map(|address| address.to_string()),
        is_kernel_patchable: (dialect.version >= ApiVersion::V1_1).then_some(false),
        service_watch_log_collection: dialect.has_watch_log_collection().then_some(spec.service_watch_log_collection),
    }
}

fn version_name(dialect: Dialect, version: &str) -> String {
    format!("{} {version}", dialect.image_type())
}

fn instance_count(spec: &ClusterSpec) -> usize {
    spec.groups.iter().map(|group| group.instances.len()).sum()
}

fn init_config(spec: &ClusterSpec, dialect: Dialect) -> InitConfig<'_> {
    let database = &spec.database;
    InitConfig {
        audit_enabled: false,
        backup_option: spec.backup.as_ref().map(|wish| Backup {
            archive_frequency_minute: wish.archive_frequency_minute.as_deref(),
            retention_period_day: wish.retention_period_day.as_deref(),
            starting_time_hour: wish.starting_time_hour.as_deref(),
        }),
        text: match dialect.engine {
            EngineName::MariaDb => DatabaseText::MariaDb { database_character_set: &database.character_set },
            EngineName::PostgreSql => {
                DatabaseText::PostgreSql { database_encoding: &database.character_set, database_locale: database.locale.as_deref() }
            }
        },
        database_name: &database.name,
        database_port: spec.port,
        database_user_name: &database.owner,
    }
}

/// Where a highly available cluster is reached, whoever writes; a single instance has its service address only.
fn virtual_address(view: &ClusterView) -> Option<Ipv4Addr> {
    let spec = &view.cluster.spec;
    let address = view.endpoint.as_ref().map(|endpoint| endpoint.address).or(spec.virtual_address);
    address.filter(|_| spec.is_highly_available())
}

/// Always an object: some clients break on `null`.
fn maintenance(spec: &ClusterSpec) -> Maintenance<'_> {
    let window = spec.maintenance.as_ref();
    Maintenance {
        period_hour: window.and_then(|window| window.period_hour.as_deref()),
        starting_day_of_week: window.and_then(|window| window.starting_day_of_week.as_deref()),
        starting_time: window.and_then(|window| window.starting_time.as_deref()),
        use_maintenance_option: window.is_some(),
    }
}

/// Groups, volumes and instances in the order they were asked for. Instances that are not made yet, or not any more, are
/// shown as they will be called.
fn groups(view: &ClusterView) -> Vec<Group<'_>> {
    let spec = &view.cluster.spec;
    let prefix = &spec.instance_name_prefix;
    let mut ordinal = 0;
    let mut groups = Vec::with_capacity(spec.groups.len());
    for group in &spec.groups {
        let instances = group.instances.iter().map(|wish| {
            let made = view.instances.get(ordinal);
            ordinal += 1;
            let alone = !spec.is_highly_available();
            let address = view.endpoint.as_ref().zip(made).and_then(|(endpoint, (instance, _))| endpoint.address_of(&instance.id, alone));
            let address = address.or(wish.service_address);
            Instance {
                name: made.map_or_else(|| format!("{prefix}-{ordinal}"), |(instance, _)| instance.name.clone()),
                public_ip_address: None,
                public_ip_id: None,
                role_type: made.map_or_else(|| wish.role.clone(), |(instance, _)| instance.role.clone()),
                service_ip_address: address.map(|address| address.to_string()),
                service_state: made.map_or(view.cluster.state, |(_, state)| *state).as_str(),
            }
        });
        let instances = instances.collect();
        groups.push(Group {
            block_storage_groups: volumes(prefix, group),
            id: group.id.as_str(),
            instances,
            role_type: &group.role,
            server_type_name: &group.server_type,
        });
    }
    groups
}

fn volumes<'a>(prefix: &str, group: &'a moorage_domain::cluster::InstanceGroup) -> Vec<Volume<'a>> {
    let volume = |(index, volume): (usize, &'a moorage_domain::cluster::VolumeSpec)| Volume {
        id: volume.id.as_str(),
        name: format!("{prefix}-{}-{}", volume.role.to_ascii_lowercase(), index + 1),
        role_type: &volume.role,
        size_gb: volume.size_gb,
        volume_type: &volume.volume_type,
    };
    group.volumes.iter().enumerate().map(volume).collect()
}

/// `RdbClusterPageResponse`.
#[derive(Serialize)]
pub(crate) struct ClusterPage<'a> {
    contents: Vec<ClusterRow<'a>>,
    count: u64,
    page: u64,
    size: u64,
    sort: [&'a str; 1],
}

#[derive(Serialize)]
struct ClusterRow<'a> {
    account_id: &'a str,
    created_at: String,
    created_by: &'a str,
    database_name: &'a str,
    ha_enabled: bool,
    id: &'a str,
    instance_count: usize,
    modified_at: String,
    modified_by: &'a str,
    name: &'a str,
    role_type: &'static str,
    service_state: &'static str,
}

/// A page of clusters; `count` is that of all pages.
pub(crate) fn clusters<'a>(clusters: &'a Clusters, listing: &'a Listing) -> ClusterPage<'a> {
    let row = |cluster: &'a Cluster| ClusterRow {
        account_id: cluster.project.as_str(),
        created_at: cluster.created_at.rfc3339(),
        created_by: &cluster.created_by,
        database_name: &cluster.spec.database.name,
        ha_enabled: cluster.spec.is_highly_available(),
        id: cluster.id.as_str(),
        instance_count: instance_count(&cluster.spec),
        modified_at: cluster.modified_at.rfc3339(),
        modified_by: &cluster.modified_by,
        name: &cluster.name,
        role_type: "ORIGIN",
        service_state: cluster.state.as_str(),
    };
    ClusterPage {
        contents: clusters.rows.iter().map(row).collect(),
        count: clusters.total,
        page: listing.page,
        size: listing.size,
        sort: [&listing.sort],
    }
}

/// `{"contents": [...]}`.
#[derive(Serialize)]
pub(crate) struct Contents<T> {
    contents: Vec<T>,
}

/// A row of `EngineListResponse`.
#[derive(Serialize)]
pub(crate) struct EngineVersionRow<'a> {
    end_of_service: bool,
    id: &'a str,
    major_version: &'a str,
    name: String,
    os_type: &'a str,
    os_version: &'a str,
    product_image_type: &'static str,
    software_version: String,
}

/// The engine versions a filter leaves.
pub(crate) fn engine_versions<'a>(
    versions: &'a [EngineVersionView],
    filter: &VersionFilter,
    dialect: Dialect,
) -> Contents<EngineVersionRow<'a>> {
    let wanted = |version: &&EngineVersionView| {
        filter.id.as_ref().is_none_or(|id| *id == version.id)
            && filter.image_type.as_deref().is_none_or(|image_type| image_type == dialect.image_type())
            && (filter.ended_too || !version.end_of_service)
    };
    let row = |version: &'a EngineVersionView| EngineVersionRow {
        end_of_service: version.end_of_service,
        id: &version.id,
        major_version: &version.major,
        name: version_name(dialect, &version.version.to_string()),
        os_type: &version.operating_system.0,
        os_version: &version.operating_system.1,
        product_image_type: dialect.image_type(),
        software_version: version.version.to_string(),
    };
    Contents { contents: versions.iter().filter(wanted).map(row).collect() }
}

/// A row of `EnginePropertyListResponse`.
#[derive(Serialize)]
pub(crate) struct Property<'a> {
    name: &'a str,
    value: &'a str,
}

/// What is to be known of an engine version.
pub(crate) fn properties(version: &EngineVersionView) -> Contents<Property<'_>> {
    Contents { contents: version.facts.iter().map(|fact| Property { name: fact.name, value: &fact.value }).collect() }
}

/// `ParameterGroupListResponse`.
#[derive(Serialize)]
pub(crate) struct ParameterGroups<'a> {
    contents: Vec<ParameterGroupRow<'a>>,
    sort: [&'a str; 1],
}

#[derive(Serialize)]
struct ParameterGroupRow<'a> {
    id: &'a str,
    major_version: &'a str,
    name: &'a str,
    product_image_type: &'static str,
    product_type: &'static str,
}

/// The parameter groups a filter leaves.
pub(crate) fn parameter_groups<'a>(groups: &'a [ParameterGroup], filter: &'a GroupFilter, dialect: Dialect) -> ParameterGroups<'a> {
    let wanted = |group: &&ParameterGroup| {
        filter.major_version.as_ref().is_none_or(|major| *major == group.major)
            && filter.image_type.as_deref().is_none_or(|image_type| image_type == dialect.image_type())
    };
    let row = |group: &'a ParameterGroup| ParameterGroupRow {
        id: &group.id,
        major_version: &group.major,
        name: &group.name,
        product_image_type: dialect.image_type(),
        product_type: dialect.product_type(),
    };
    let mut contents: Vec<_> = groups.iter().filter(wanted).map(row).collect();
    if filter.descending {
        contents.reverse();
    }
    ParameterGroups { contents, sort: [&filter.sort] }
}

/// `ParameterPageResponse`.
#[derive(Serialize)]
pub(crate) struct ParameterPage<'a> {
    contents: Vec<ParameterRow<'a>>,
    count: usize,
    page: u64,
    size: u64,
    sort: [&'a str; 1],
}

#[derive(Serialize)]
struct ParameterRow<'a> {
    dbaas_parameter_group_id: &'a str,
    default_value: &'a str,
    description: &'a str,
    id: String,
    name: &'a str,
    software_type: &'static str,
}

/// A page of a group's parameters, which come by name.
pub(crate) fn parameters<'a>(
    group: &'a ParameterGroup,
    parameters: &'a [Parameter],
    listing: &'a ParameterListing,
    dialect: Dialect,
) -> ParameterPage<'a> {
    let row = |parameter: &'a Parameter| ParameterRow {
        dbaas_parameter_group_id: &group.id,
        default_value: parameter.default_value.as_deref().unwrap_or_default(),
        description: parameter.description.as_deref().unwrap_or_default(),
        id: parameter_id(group.engine, &parameter.name),
        name: &parameter.name,
        software_type: dialect.engine_label(),
    };
    let mut all: Vec<&Parameter> = parameters.iter().collect();
    if listing.descending {
        all.reverse();
    }
    let amount = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let rows = all.into_iter().skip(amount(listing.page.saturating_mul(listing.size))).take(amount(listing.size));
    ParameterPage {
        contents: rows.map(row).collect(),
        count: parameters.len(),
        page: listing.page,
        size: listing.size,
        sort: [&listing.sort],
    }
}

/// `ParametersResponse`.
#[derive(Serialize)]
pub(crate) struct ParameterValues<'a> {
    contents: Vec<ParameterValueRow<'a>>,
    count: usize,
    modified_at: String,
}

#[derive(Serialize)]
struct ParameterValueRow<'a> {
    allows_value: String,
    applied_value: &'a str,
    /// `dynamic`, or `static` where a change takes a restart; the vendor's documents name no words.
    apply_type: &'static str,
    data_type: &'static str,
    default_value: &'a str,
    description: Option<&'a str>,
    id: String,
    is_modifiable: bool,
    name: &'a str,
    software_type: &'static str,
}

/// What a cluster's engine applies.
pub(crate) fn parameter_values(applied: &AppliedParameters, dialect: Dialect) -> ParameterValues<'_> {
    let contents: Vec<_> = applied.parameters.iter().map(|parameter| parameter_value(parameter, dialect)).collect();
    ParameterValues { count: contents.len(), contents, modified_at: applied.read_at.rfc3339() }
}

fn parameter_value(parameter: &Parameter, dialect: Dialect) -> ParameterValueRow<'_> {
    let allowed = parameter.allowed_values.as_deref().unwrap_or_default();
    ParameterValueRow {
        allows_value: parameter.unit.as_ref().map_or_else(|| allowed.to_owned(), |unit| format!("{allowed} ({unit})")),
        applied_value: parameter.applied_value.as_deref().unwrap_or_default(),
        apply_type: if parameter.needs_restart { "static" } else { "dynamic" },
        data_type: parameter.data_type.as_str(),
        default_value: parameter.default_value.as_deref().unwrap_or_default(),
        description: parameter.description.as_deref(),
        id: parameter_id(dialect.engine, &parameter.name),
        is_modifiable: parameter.modifiable,
        name: &parameter.name,
        software_type: dialect.engine_label(),
    }
}

/// A row of `ServerTypeListResponse`.
#[derive(Serialize)]
pub(crate) struct ServerTypeRow<'a> {
    cpu_core: u32,
    description: String,
    memory_gb: u32,
    name: &'a str,
    product_image_type: &'static str,
    product_type: &'static str,
    purpose: &'static str,
    r#type: &'static str,
}

/// The server types a filter leaves; the description says which sizes are enforced here.
pub(crate) fn server_types<'a>(
    types: &'a [ServerType],
    name: Option<&str>,
    image_type: Option<&str>,
    abilities: &Abilities,
    dialect: Dialect,
) -> Contents<ServerTypeRow<'a>> {
    let enforced = if abilities.limits_enforced {
        "processor and memory limits are enforced"
    } else {
        "sizes the engine's settings; processor and memory limits are not enforced on this host"
    };
    let volumes = if abilities.volume_size_enforced { "are" } else { "are not" };
    let wanted = |server_type: &&ServerType| {
        name.is_none_or(|name| name == server_type.name) && image_type.is_none_or(|image_type| image_type == dialect.image_type())
    };
    let row = |server_type: &'a ServerType| ServerTypeRow {
        cpu_core: server_type.cpu,
        description: format!(
            "{} vCPU, {} GiB memory; {enforced}; sizes of block storage {volumes} enforced",
            server_type.cpu, server_type.memory_gib
        ),
        memory_gb: server_type.memory_gib,
        name: &server_type.name,
        product_image_type: dialect.image_type(),
        product_type: dialect.product_type(),
        purpose: "DATABASE",
        r#type: "STANDARD",
    };
    Contents { contents: types.iter().filter(wanted).map(row).collect() }
}

/// The version document.
#[derive(Serialize)]
pub(crate) struct VersionDocument {
    versions: Vec<VersionEntry>,
}

#[derive(Serialize)]
struct VersionEntry {
    id: &'static str,
    links: [Link; 1],
    not_before: &'static str,
    status: &'static str,
}

#[derive(Serialize)]
struct Link {
    href: String,
    rel: &'static str,
}

/// The versions at a base. Clients look for the version of their own service, and may use any base for all services.
pub(crate) fn versions(base: &str) -> VersionDocument {
    let entry = |id: &'static str| VersionEntry {
        id,
        links: [Link { href: format!("{base}/v1"), rel: "self" }],
        not_before: "",
        status: if id == "v1.1" { "CURRENT" } else { "SUPPORTED" },
    };
    VersionDocument { versions: ["v1.4", "v1.3", "v1.2", "v1.1", "v1.0"].map(entry).into() }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
