//! Making a cluster: everything that can be known to be wrong is said here, before anything is done.

use crate::authentication::at_least;
use crate::catalogue::Numbered;
use crate::command::{Accepted, CreateCluster, CreateDatabase, CreateGroup, CreateInstance, VersionChoice};
use crate::engine_versions::{engine_version_id, unknown_version};
use crate::{App, fresh, now, problem};
use moorage_domain::cluster::{ACTIVE_STANDBY, Cluster, ClusterSpec, DatabaseSpec, InstanceGroup, InstanceWish, VolumeSpec, Wish};
use moorage_domain::decide::admission::{self, Promise};
use moorage_domain::engine::Installation;
use moorage_domain::parameters::{is_reserved_account, is_reserved_database, is_time_zone};
use moorage_domain::secret::Verifier;
use moorage_domain::server_type::ServerType;
use moorage_domain::service_state::ServiceState;
use moorage_domain::subnet::{Subnet, choose_address};
use moorage_domain::tenant::{Actor, Role};
use moorage_domain::{ClusterId, DatabaseId, GroupId, OperationId, Problem, ProblemCode, SecretId, VolumeId, allow_list};
use moorage_durable::Operation;
use moorage_engine::Engine;
use moorage_operations::{owner, provision};
use moorage_store::{Clusters, Endpoints, NewCluster, NewOperation, UnitOfWork};
use secrecy::{ExposeSecret, SecretString};
use std::net::Ipv4Addr;
use std::sync::Arc;

impl App {
    /// Accepts a new cluster and the operation that makes it, or says what is wrong with it.
    pub async fn create_cluster(&self, actor: &Actor, command: CreateCluster) -> Result<Accepted, Problem> {
        at_least(actor, Role::Operator)?;
        let installation = self.choose_version(&command.version).await?;
        let engine = self.engine(installation.engine)?;
        let database = check_database(engine.as_ref(), &command.database, &self.parts.host.administrator())?;
        let groups = check_groups(&command.groups, command.highly_available)?;
        if command.strict && !command.highly_available {
            return Err(only_of_two());
        }
        if command.virtual_address.is_some() && !command.highly_available {
            return Err(Problem::invalid("virtual_ip_address", "Only a highly available cluster has a virtual address.")
                .hint("Give the address as that of its instance."));
        }
        let port = command.port.unwrap_or_else(|| engine.default_port());
        if port < 1024 {
            return Err(Problem::invalid("database_port", "A port is a number from 1024 to 65535."));
        }
        if !is_time_zone(&command.timezone) {
            return Err(
                Problem::invalid("timezone", "There is no such time zone.").hint("Use a name from the tz database, such as Asia/Seoul.")
            );
        }
        allow_list::parse(&command.allow_list)?;
        let subnet = self.choose_subnet(command.subnet.as_deref())?;
        let capacity = self.parts.host.capacity().await.map_err(problem::host)?;
        let verifier = verifier(engine.clone(), command.database.password.clone()).await?;

        let at = now();
        let cluster = Cluster {
            id: ClusterId::from_bits(fresh()),
            project: actor.project.clone(),
            engine: installation.engine,
            version: installation.version,
            wish: Wish::Run,
            term: 1,
            spec: ClusterSpec {
                instance_name_prefix: command.instance_name_prefix.unwrap_or_else(|| command.name.clone()),
                subnet: subnet.id.clone(),
                timezone: command.timezone,
                allow_list: command.allow_list,
                database,
                port,
                groups,
                maintenance: command.maintenance,
                backup: command.backup,
                tags: command.tags,
                service_watch_log_collection: command.service_watch_log_collection,
                deletion_protection: command.deletion_protection,
                virtual_address: command.virtual_address,
                strict: command.strict,
            },
            host: self.host_id(),
            state: ServiceState::Creating,
            state_reason: None,
            operation: None,
            created_at: at,
            created_by: actor.user.to_string(),
            modified_at: at,
            modified_by: actor.user.to_string(),
            name: command.name,
        };
        let secret = SecretId::from_bits(fresh());
        let sealed =
            self.parts.master_key.seal(verifier.0.as_bytes(), &owner::secret_context(&secret)).map_err(|e| problem::internal(&e))?;
        let operation = OperationId::from_bits(fresh());
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        // It may have ended while the password was hashed.
        crate::projects::find(&mut uow, actor, actor.project.as_str()).await?;
        self.check_addresses(&mut uow, subnet, &cluster).await?;
        // Within the transaction that promises it: two newcomers are not both let in for the last room.
        let promised = uow.promised_on(&cluster.host).await.map_err(problem::store)?;
        admission::decide(&capacity, &promised, &Promise::to(&cluster.spec), &self.parts.overcommit)?;
        uow.insert_cluster(&NewCluster { cluster: &cluster }).await.map_err(problem::store)?;
        uow.insert_secret(&secret, &sealed, at).await.map_err(problem::store)?;
        let database = DatabaseId::first_of(&cluster.id);
        if let Some(wish) = &command.allocation {
            self.allocate_first(&mut uow, actor, &cluster, wish).await?;
            Numbered::Operation.give(&mut uow, operation.as_str()).await?;
        }
        let request = provision::Request { verifier: Some(secret.clone()) };
        let secrets = [secret];
        let new = NewOperation::new(&operation, provision::Provision::KIND, &cluster, &request, &actor.user_name, now());
        let new = new.with_secrets(&secrets).about(&database);
        self.submit_new(&mut uow, &cluster, &new, actor).await?;
        uow.commit().await.map_err(problem::store)?;
        (self.parts.wake)();
        Ok(Accepted { cluster: cluster.id, operation })
    }

    async fn choose_version(&self, choice: &VersionChoice) -> Result<Installation, Problem> {
        let mut installed = self.installations().await?.into_iter();
        match choice {
            VersionChoice::Id { id, within } => {
                installed.find(|i| i.engine == *within && engine_version_id(i.engine, &i.version) == *id).ok_or_else(|| {
                    let mut problem = unknown_version();
                    problem.code = ProblemCode::EngineVersionNotInstalled;
                    problem.field("dbaas_engine_version_id")
                })
            }
            VersionChoice::Exact(engine, version) => installed.find(|i| i.engine == *engine && i.version == *version).ok_or_else(|| {
                Problem::new(ProblemCode::EngineVersionNotInstalled, format!("{} {version} is not installed here.", engine.display()))
                    .hint(format!("Install it with `moorage engine install {engine}@{version}`, or choose one of `moorage engine list`."))
                    .field("version")
            }),
            VersionChoice::Newest(engine) => installed.find(|i| i.engine == *engine).ok_or_else(|| {
                Problem::new(ProblemCode::EngineVersionNotInstalled, format!("No version of {} is installed here.", engine.display()))
                    .hint("See what can be installed with `moorage engine list --available`, then `moorage engine install NAME@VERSION`.")
            }),
        }
    }

    fn choose_subnet(&self, id: Option<&str>) -> Result<&Subnet, Problem> {
        let Some(id) = id else {
            return self.parts.subnets.first().ok_or_else(|| Problem::new(ProblemCode::SubnetUnknown, "No subnet is configured."));
        };
        self.parts.subnets.iter().find(|subnet| subnet.id == id).ok_or_else(|| {
            let known = self.parts.subnets.iter().map(|s| s.id.as_str()).collect::<Vec<_>>().join(", ");
            Problem::new(ProblemCode::SubnetUnknown, format!("There is no subnet '{}'.", id.chars().take(60).collect::<String>()))
                .hint(format!("Subnets here: {known}."))
                .field("subnet_id")
        })
    }

    /// Within the transaction that promises the addresses, so that each is promised once.
    async fn check_addresses(&self, uow: &mut UnitOfWork, subnet: &Subnet, cluster: &Cluster) -> Result<(), Problem> {
        let spec = &cluster.spec;
        if spec.wished_addresses().next().is_none() {
            return Ok(());
        }
        let mut taken = uow.taken_addresses(&cluster.host, &cluster.id).await.map_err(problem::store)?;
        let mut check = |address: Option<Ipv4Addr>, field: String| {
            let Some(address) = address else { return Ok(()) };
            choose_address(subnet, Some(address), &taken, &[]).map_err(|problem| problem.field(field))?;
            // Nor twice within the cluster.
            taken.insert(address);
            Ok(())
        };
        if !spec.is_highly_available() {
            return check(spec.wished_address(), "service_ip_address".to_owned());
        }
        check(spec.virtual_address, "virtual_ip_address".to_owned())?;
        let mut slots = 0..spec.groups.iter().map(|group| group.instances.len()).sum();
        slots.try_for_each(|slot| check(spec.wished_address_of(slot), format!("instance_groups.0.instances.{slot}.service_ip_address")))
    }
}

/// A single instance has nobody to wait for.
pub(crate) fn only_of_two() -> Problem {
    Problem::invalid("strict", "Only a highly available cluster can be strict.").hint("Create it with `--highly-available`.")
}

/// `administrator` is the account of the operating system that administers engines: MariaDB knows it by that name.
fn check_database(engine: &dyn Engine, wanted: &CreateDatabase, administrator: &str) -> Result<DatabaseSpec, Problem> {
    let locale = wanted.locale.clone().or_else(|| engine.default_locale().map(str::to_owned));
    let database = DatabaseSpec {
        name: wanted.name.clone(),
        owner: wanted.owner.clone(),
        character_set: wanted.character_set.clone().unwrap_or_else(|| engine.default_character_set().to_owned()),
        locale,
    };
    check_spec(engine, &database, administrator)?;
    Ok(database)
}

/// Whether names are free to be given and the engine can make such a database.
pub(crate) fn check_spec(engine: &dyn Engine, wanted: &DatabaseSpec, administrator: &str) -> Result<(), Problem> {
    if is_reserved_account(&wanted.owner) || wanted.owner.eq_ignore_ascii_case(administrator) {
        return Err(Problem::invalid("database_user_name", format!("The account name '{}' is reserved.", wanted.owner))
            .hint("Choose another name."));
    }
    if is_reserved_database(&wanted.name) {
        return Err(
            Problem::invalid("database_name", format!("The database name '{}' is reserved.", wanted.name)).hint("Choose another name.")
        );
    }
    engine.check_database(wanted)
}

/// What the group of a cluster is called, and which instances it has: one, or two that take each other's place.
struct Shape {
    described: &'static str,
    role: &'static str,
    instances: &'static [&'static str],
}

impl Shape {
    fn of(highly_available: bool) -> Self {
        match highly_available {
            true => Self { described: "A highly available cluster", role: ACTIVE_STANDBY, instances: &["ACTIVE", "STANDBY"] },
            false => Self { described: "A cluster without high availability", role: "ACTIVE", instances: &["ACTIVE"] },
        }
    }
    /// Whether these are its instances, in any order; none named stands for all of them.
    fn fits(&self, wanted: &[CreateInstance]) -> bool {
        let mut roles: Vec<&str> = wanted.iter().map(|instance| instance.role.as_str()).collect();
        roles.sort_unstable();
        roles.is_empty() || roles == self.instances
    }
}

/// Exactly one group with the instances that such a cluster has.
fn check_groups(wanted: &[CreateGroup], highly_available: bool) -> Result<Vec<InstanceGroup>, Problem> {
    let shape = Shape::of(highly_available);
    let [group] = wanted else {
        return Err(Problem::invalid("instance_groups", format!("{} has exactly one instance group.", shape.described)));
    };
    if group.role != shape.role {
        return Err(Problem::invalid(
            "instance_groups.0.role_type",
            format!("{} has one group with the role {}.", shape.described, shape.role),
        ));
    }
    if ServerType::find(&group.server_type).is_none() {
        return Err(Problem::new(
            ProblemCode::ServerTypeUnknown,
            format!("There is no server type '{}'.", group.server_type.chars().take(40).collect::<String>()),
        )
        .hint("List the server types to see which there are.")
        .field("instance_groups.0.server_type_name"));
    }
    if !shape.fits(&group.instances) {
        let message = format!("{} has one instance with the role {}.", shape.described, shape.instances.join(" and one with the role "));
        return Err(Problem::invalid("instance_groups.0.instances", message));
    }
    if group.volumes.len() > 9 {
        return Err(Problem::invalid("instance_groups.0.block_storage_groups", "At most 9 volumes are allowed."));
    }
    let volumes = group.volumes.iter().map(|volume| VolumeSpec {
        id: VolumeId::from_bits(fresh()),
        role: volume.role.clone(),
        size_gb: volume.size_gb,
        volume_type: volume.volume_type.clone(),
    });
    let address_of = |role: &str| group.instances.iter().find(|instance| instance.role == role).and_then(|wish| wish.service_address);
    let instances = shape.instances.iter().map(|role| InstanceWish { role: (*role).into(), service_address: address_of(role) });
    Ok(vec![InstanceGroup {
        id: GroupId::from_bits(fresh()),
        role: group.role.clone(),
        server_type: group.server_type.clone(),
        volumes: volumes.collect(),
        instances: instances.collect(),
    }])
}

/// Hashing a password takes milliseconds of a processor, so it happens away from the threads that serve requests.
pub(crate) async fn verifier(engine: Arc<dyn Engine>, password: SecretString) -> Result<Verifier, Problem> {
    let length = password.expose_secret().chars().count();
    if !(8..=128).contains(&length) || password.expose_secret().chars().any(char::is_control) {
        return Err(Problem::invalid("database_user_password", "A password has 8 to 128 printable characters."));
    }
    let salt = moorage_secrets::random_bytes::<16>().map_err(|e| problem::internal(&e))?;
    let hashed = tokio::task::spawn_blocking(move || engine.verifier(password.expose_secret(), salt));
    hashed.await.map_err(|e| problem::internal(&e))?
}
