//! What makes a cluster serve, shared by every operation that starts, stops or moves one.

use crate::replication;
use crate::world::{Chain, Loaded, World, engine_failed, host_failed};
use moorage_domain::cluster::{Cluster, Wish};
use moorage_domain::instance::{Endpoint, Instance, Observed, ProcessExit, ProcessState};
use moorage_domain::layout::{InstanceSpec, ProcessLayout, ReplicationSpec};
use moorage_domain::parameter::Parameter;
use moorage_domain::server_type::ServerType;
use moorage_domain::{Problem, ProblemCode, Timestamp, allow_list};
use moorage_durable::{StepError, wall_now};
use moorage_engine::EngineSession;
use moorage_host::{EndpointState, EndpointWish, InstanceEndpointWish, ProcessWish, StopState, TlsPem};
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

/// How long a step itself watches a starting engine before it gives its place back.
const WATCH: Duration = Duration::from_secs(2);
/// How long an engine may take until it answers: crash recovery of a large database is long, and visible.
pub const STARTING_LIMIT: Duration = Duration::from_secs(600);

/// The process of a cluster's instance, as its engine describes it.
pub async fn describe(world: &World, cluster: &Cluster, instance: &Instance) -> Result<(ProcessLayout, ServerType), StepError> {
    describe_part(world, cluster, instance, None).await
}

/// The socket of an instance, over which it is administered.
pub async fn socket(world: &World, cluster: &Cluster, instance: &Instance) -> Result<PathBuf, StepError> {
    Ok(describe(world, cluster, instance).await?.0.socket)
}

/// The process of an instance with its part in a cluster of two.
async fn describe_part(
    world: &World,
    cluster: &Cluster,
    instance: &Instance,
    replication: Option<ReplicationSpec>,
) -> Result<(ProcessLayout, ServerType), StepError> {
    let (spec, server_type) = specify(world, cluster, instance, replication).await?;
    Ok((world.engine(cluster.engine)?.layout(&spec, &world.host.place(&instance.id)), server_type))
}

/// What an engine needs to know of an instance.
pub(crate) async fn specify(
    world: &World,
    cluster: &Cluster,
    instance: &Instance,
    replication: Option<ReplicationSpec>,
) -> Result<(InstanceSpec, ServerType), StepError> {
    let installation = world.installation(cluster.engine, &cluster.version).await?;
    let server_type = ServerType::find(cluster.spec.server_type()).ok_or_else(|| {
        StepError::GiveUp(Problem::new(
            ProblemCode::ServerTypeUnknown,
            format!("There is no server type '{}'.", cluster.spec.server_type()),
        ))
    })?;
    let spec = InstanceSpec {
        cluster: cluster.id.clone(),
        instance: instance.id.clone(),
        installation,
        number: instance.number,
        memory_bytes: server_type.memory_bytes(),
        cpu: server_type.cpu,
        timezone: cluster.spec.timezone.clone(),
        character_set: cluster.spec.database.character_set.clone(),
        locale: cluster.spec.database.locale.clone(),
        administrator: world.host.administrator(),
        most_connections: world.most_connections,
        replication,
    };
    Ok((spec, server_type))
}

/// Makes sure the process of the instance that writes runs under its shim.
pub async fn ensure_started(world: &World, loaded: &Loaded) -> Result<ProcessState, StepError> {
    ensure_instance_started(world, loaded, loaded.instance()?).await
}

/// Makes sure an instance's process runs under its shim. In a cluster of two it comes up read-only.
pub(crate) async fn ensure_instance_started(world: &World, loaded: &Loaded, instance: &Instance) -> Result<ProcessState, StepError> {
    let part = replication::part(world, loaded, instance)?;
    let (layout, server_type) = describe_part(world, &loaded.cluster, instance, part).await?;
    let wish = ProcessWish {
        instance: instance.id.clone(),
        cluster: loaded.cluster.id.clone(),
        layout,
        uid: instance.uid,
        memory_bytes: server_type.memory_bytes(),
        cpu: server_type.cpu,
        // Who died may not be the one who writes any more (decisions 6).
        restart: loaded.replication.is_none(),
        term: loaded.cluster.term,
    };
    world.host.ensure_process(&wish).await.map_err(host_failed)
}

/// Starts an instance of several again that has ended: nobody but its operation does.
pub(crate) async fn ensure_instance_revived(world: &World, loaded: &Loaded, instance: &Instance) -> Result<ProcessState, StepError> {
    if loaded.replication.is_some() && matches!(world.host.process(&instance.id).await.map_err(host_failed)?, ProcessState::GaveUp { .. }) {
        world.host.fence(&instance.id, &loaded.cluster.id, loaded.cluster.term).await.map_err(host_failed)?;
    }
    ensure_instance_started(world, loaded, instance).await
}

/// Whether the engine answers by now.
pub enum Answer {
    /// It does, to this administrator.
    Yes(Box<dyn EngineSession>),
    /// Not yet; in words what it is doing.
    NotYet(String),
}

/// Watches a starting engine for a short while. An engine that ended by itself since `since` will not do better the next
/// time: that is a failure with the engine's own words. `waited` is how long it has been waited for already.
pub async fn answers(world: &World, loaded: &Loaded, since: Timestamp, waited: Duration) -> Result<Answer, StepError> {
    instance_answers(world, loaded, loaded.instance()?, since, waited).await
}

/// The same of one of several instances.
pub(crate) async fn instance_answers(
    world: &World,
    loaded: &Loaded,
    instance: &Instance,
    since: Timestamp,
    waited: Duration,
) -> Result<Answer, StepError> {
    let engine = world.engine(loaded.cluster.engine)?;
    let (layout, _) = describe(world, &loaded.cluster, instance).await?;
    let administrator = world.host.administrator();
    let begun = tokio::time::Instant::now();
    loop {
        let refused = match engine.connect(&layout.socket, &administrator).await {
            Ok(session) => return Ok(Answer::Yes(session)),
            Err(error) if error.passing => error,
            Err(error) => return Err(engine_failed(error)),
        };
        let process = world.host.process(&instance.id).await.map_err(host_failed)?;
        if matches!(process, ProcessState::Absent | ProcessState::Stopped) {
            // A reboot or `stop --all` came in between: the step that started it is behind us.
            ensure_instance_started(world, loaded, instance).await?;
        }
        // The end of its last life may become known only after this one was asked for.
        if loaded.replication.is_some() && matches!(&process, ProcessState::GaveUp { last } if last.at < since) {
            ensure_instance_revived(world, loaded, instance).await?;
        } else if let Some(exit) = hopeless(&process, since) {
            let words = match engine.last_words(&exit.last_words) {
                words if words.is_empty() => exit.last_words.clone(),
                words => words,
            };
            return Err(StepError::GiveUp(start_failed(loaded, &exit, words)));
        }
        if begun.elapsed() >= WATCH {
            return Ok(Answer::NotYet(refused.problem.message));
        }
        tokio::time::sleep(pause_after(waited + begun.elapsed())).await;
    }
}

/// What the engine of a running instance applies.
pub async fn parameters(world: &World, loaded: &Loaded) -> Result<Vec<Parameter>, StepError> {
    let (layout, _) = describe(world, &loaded.cluster, loaded.instance()?).await?;
    let engine = world.engine(loaded.cluster.engine)?;
    let mut session = engine.connect(&layout.socket, &world.host.administrator()).await.map_err(engine_failed)?;
    session.parameters().await.map_err(engine_failed)
}

/// How long an engine is left alone before it is asked again. A small one starts within a tenth of a second, and every wait is
/// added to that; a large one that recovers is not hurried, and some log every time they are asked.
fn pause_after(waited: Duration) -> Duration {
    (waited / 100).clamp(Duration::from_millis(4), Duration::from_secs(1))
}

/// The exit that says a start will not succeed: the shim gave up, or the engine ended by itself after `since`. A signal from
/// outside is no such exit, the shim starts the engine again.
fn hopeless(process: &ProcessState, since: Timestamp) -> Option<ProcessExit> {
    match process {
        ProcessState::GaveUp { last } => Some(last.clone()),
        ProcessState::BackingOff { last, .. } | ProcessState::Running { last_exit: Some(last), .. } => {
            let by_itself = last.code.is_some() && last.at >= since;
            by_itself.then(|| last.clone())
        }
        _ => None,
    }
}

fn start_failed(loaded: &Loaded, exit: &ProcessExit, words: String) -> Problem {
    let engine = loaded.cluster.engine.display();
    let problem = Problem::new(ProblemCode::EngineStartFailed, format!("{engine} could not be started: it {}.", was(exit))).detail(words);
    if exit.volume_full {
        return problem.hint("Its volume is full. Free space on the host's storage, then try again.");
    }
    problem.hint("The engine's own words say what it needs; its log has the rest: `moorage cluster logs`.")
}

fn was(exit: &ProcessExit) -> String {
    let words = exit.describe();
    if words.starts_with("killed") { format!("was {words}") } else { words }
}

/// Asks the instances to stop cleanly, the one that writes first, so that the other gets its last words; true once their groups are
/// empty.
pub async fn ensure_stopped(world: &World, loaded: &Loaded) -> Result<bool, StepError> {
    for instance in loaded.instances() {
        let state = world.host.ensure_stopped(&instance.id, &loaded.cluster.id, loaded.cluster.term).await.map_err(host_failed)?;
        if state != StopState::Stopped {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Who the endpoint leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// The cluster's instance.
    ToInstance,
    /// The cluster's instance, for transactions that have begun; whoever comes new waits for its successor.
    ToInstanceAsLongAsItMust,
    /// Nobody, and soon another instance: whoever comes waits for it.
    NowhereYet,
    /// Nobody: the address is kept, connections are told that the database is not available.
    Nowhere,
}

/// Makes sure the gateway serves the endpoint's address to these clients with this lead; the certificate stays as it is when
/// none is given.
pub async fn ensure_endpoint(
    world: &World,
    loaded: &Loaded,
    allowed: &[String],
    lead: Lead,
    tls: Option<TlsPem>,
) -> Result<EndpointState, StepError> {
    let endpoint = loaded.endpoint()?;
    let cluster = &loaded.cluster;
    let subnet = world.subnets.iter().find(|subnet| subnet.id == cluster.spec.subnet);
    let own = subnet.map(|subnet| subnet.own_network());
    let allow = allow_list::effective(&allow_list::parse(allowed).map_err(StepError::GiveUp)?, own.as_slice());
    let offered = world.public_addresses.as_ref();
    // Nobody is to be reached until there is certainty who writes: what is written to a promotion that is taken back is lost.
    let leads = matches!(lead, Lead::ToInstance | Lead::ToInstanceAsLongAsItMust);
    let instances = loaded.instances().filter_map(|instance| {
        let address = *endpoint.instances.get(&instance.id)?;
        Some(InstanceEndpointWish { listen: SocketAddrV4::new(address, endpoint.port), instance: leads.then(|| instance.id.clone()) })
    });
    let wish = EndpointWish {
        cluster: cluster.id.clone(),
        engine: cluster.engine,
        listen: SocketAddrV4::new(endpoint.address, endpoint.port),
        interface: subnet.and_then(|subnet| subnet.interface.clone()),
        public: endpoint.public.and_then(|address| offered.and_then(|offered| offered.listens_for(address))),
        allow,
        tls,
        most_connections: world.most_connections,
        term: cluster.term,
        primary: if leads { Some(loaded.instance()?.id.clone()) } else { None },
        hold: matches!(lead, Lead::ToInstanceAsLongAsItMust | Lead::NowhereYet),
        instances: instances.collect(),
    };
    world.host.ensure_endpoint(&wish).await.map_err(host_failed)
}

/// The endpoint of a cluster that users know already: they keep their address, so somebody else on it is waited for.
/// A certificate that was lost is issued again.
pub async fn keep_endpoint(world: &World, loaded: &Loaded, allowed: &[String], lead: Lead) -> Result<(), StepError> {
    let lost = world.host.endpoint_certificate(&loaded.cluster.id).await.map_err(host_failed)?.is_none();
    let tls = if lost { Some(issue_certificate(world, loaded)?) } else { None };
    match ensure_endpoint(world, loaded, allowed, lead, tls).await? {
        EndpointState::Serving => Ok(()),
        EndpointState::ServingPartly { reason, .. } => {
            tracing::warn!(cluster = %loaded.cluster.id, reason, "an endpoint is served, but not at every address");
            Ok(())
        }
        EndpointState::AddressInUse => Err(address_in_use(loaded.endpoint()?, "the endpoint then opens by itself")),
    }
}

/// The endpoint as the rows say, with a new certificate; it leads where the cluster's wish says.
pub async fn reissue_endpoint(world: &World, loaded: &Loaded) -> Result<EndpointState, StepError> {
    let tls = issue_certificate(world, loaded)?;
    let lead = if loaded.cluster.wish == Wish::Run { Lead::ToInstance } else { Lead::Nowhere };
    ensure_endpoint(world, loaded, &loaded.cluster.spec.allow_list, lead, Some(tls)).await
}

/// An address that users know is waited for; `then` says what happens once it is free.
pub fn address_in_use(endpoint: &Endpoint, then: &str) -> StepError {
    let at = SocketAddrV4::new(endpoint.address, endpoint.port);
    StepError::retry(
        std::io::Error::from(std::io::ErrorKind::AddrInUse),
        format!("Another program on this machine listens on {at}. End it; {then}."),
    )
}

/// What a step knows of an instance that just answered and that its endpoint leads to.
pub async fn observed_running(world: &World, instance: &Instance) -> Observed {
    let process = world.host.process(&instance.id).await.unwrap_or_else(|error| {
        tracing::warn!(cause = %Chain(&error), "the state of a process could not be read");
        ProcessState::Absent
    });
    let answered = match &process {
        ProcessState::Running { incarnation, .. } => Some(*incarnation),
        _ => instance.observed.answered,
    };
    Observed { process, answering: true, silent_since: None, answered, published: true, ..instance.observed.clone() }
}

/// What a step knows of an instance that was stopped on purpose.
pub fn observed_stopped(instance: &Instance) -> Observed {
    Observed { process: ProcessState::Stopped, answering: false, silent_since: None, published: false, ..instance.observed.clone() }
}

/// A new certificate, which is good by the machine's clock as its clients are, with a new key, for the addresses of the cluster's endpoint.
pub fn issue_certificate(world: &World, loaded: &Loaded) -> Result<TlsPem, StepError> {
    let endpoint = loaded.endpoint()?;
    let addresses = endpoint.addresses().chain(endpoint.public.map(|address| *address.ip()));
    let names: Vec<_> = addresses.map(|address| moorage_secrets::ServerName::Address(address.into())).collect();
    let issued =
        world.authority.issue(&names, wall_now()).map_err(|error| StepError::retry(error, "The certificate could not be issued."))?;
    let key = secrecy::ExposeSecret::expose_secret(&issued.key).to_owned();
    Ok(TlsPem { certificate: issued.certificate, key })
}
