//! `cluster.provision`: from a row to a database that users connect to.

use crate::manifest;
use crate::owner;
use crate::replication;
use crate::serving::{self, Answer, Lead};
use crate::set_public_address;
use crate::standby::{self, Progress};
use crate::start;
use crate::world::{Loaded, World, engine_failed, host_failed, insist, store_failed};
use async_trait::async_trait;
use moorage_domain::cluster::Cluster;
use moorage_domain::database::Stage;
use moorage_domain::instance::{Endpoint, Instance, Observed};
use moorage_domain::replication::Replication;
use moorage_domain::subnet::choose_address;
use moorage_domain::{CredentialId, DatabaseId, InstanceId, Problem, ProblemCode, SecretId, Timestamp};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_host::{EndpointState, VolumeState, VolumeWish};
use moorage_store::{Allocations, CredentialChange, DatabaseChange, Endpoints, Instances, Write};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The sealed verifier of the owner's password; forgotten when the operation ends.
    pub verifier: Option<SecretId>,
}

/// What was learnt on the way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Addresses that turned out to be in use by other programs.
    #[serde(default)]
    pub unusable: Vec<Ipv4Addr>,
    /// Public ports that turned out to be in use by other programs.
    #[serde(default)]
    pub unusable_public_ports: Vec<u16>,
    /// When the volume was first asked for.
    #[serde(default)]
    pub volume_asked_at: Option<Timestamp>,
    /// When the engine was first started.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// What was learnt of the standby of a cluster of two.
    #[serde(default)]
    pub standby: standby::State,
}

steps! {
    /// The steps in their order; `Remove` is the clean-up path.
    pub enum Step { Allocate, Volume, Start, Endpoint, Database, Copy, Follow, Synchronise, Publish, Remove }
}

/// Making a template takes seconds; a busy disk may need minutes.
const VOLUME_LIMIT: Duration = Duration::from_secs(300);

/// How long the engine of a cluster that is being made may not answer.
const SLOW_LIMIT: Duration = Duration::from_secs(120);

/// Addresses that are tried before the port itself is taken to be in use.
const MOST_ADDRESSES: usize = 8;

/// The operation.
pub struct Provision;

#[async_trait]
impl Operation for Provision {
    const KIND: &'static str = "cluster.provision";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Allocate
    }
    fn on_cancel(&self, at: Step) -> OnCancel<Step> {
        match at {
            Step::Remove => OnCancel::FinishFirst("it is already being removed"),
            Step::Publish => OnCancel::FinishFirst("users may be connected already; terminate the cluster afterwards"),
            _ => OnCancel::CleanUpFrom(Step::Remove),
        }
    }
    fn on_give_up(&self, at: Step) -> Option<Step> {
        (at != Step::Remove).then_some(Step::Remove)
    }
    fn patience(&self, step: Step) -> Option<Duration> {
        matches!(step, Step::Copy | Step::Follow | Step::Synchronise).then_some(SLOW_LIMIT)
    }

    async fn run(&self, step: Step, request: &Request, state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Allocate => allocate(state, context).await,
            Step::Volume => volume(state, context).await,
            Step::Start => start(state, context).await,
            Step::Endpoint => endpoint(state, context).await,
            Step::Database => database(request, state, context).await,
            Step::Copy => copy(state, context).await,
            Step::Follow => follow(state, context).await,
            Step::Synchronise => synchronise(state, context).await,
            Step::Publish => publish(context).await,
            Step::Remove => remove(context).await.map_err(|error| insist(error, context.attempt())),
        }
    }
}

/// Makes true: instance, uid, number and address are chosen and are this cluster's alone (uniqueness rules of the store).
/// Repeating keeps what was chosen. Way back: `Remove` frees them.
async fn allocate(state: &State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let mut writes = Vec::new();
    let mut instances: Vec<_> = loaded.instances().cloned().collect();
    if instances.is_empty() {
        let mut look = world.store.look().await.map_err(store_failed)?;
        let (uids, numbers) = look.used_identities(&loaded.cluster.host).await.map_err(store_failed)?;
        let uid = match world.host.uid_range() {
            None => None,
            Some(mut range) => Some(range.find(|uid| !uids.contains(uid)).ok_or_else(|| {
                StepError::GiveUp(
                    Problem::new(ProblemCode::HostFailed, "No uid is left for another cluster on this host.")
                        .hint("Terminate a cluster, or give Moorage a wider range of uids."),
                )
            })?),
        };
        let free = (1..).filter(|number| !numbers.contains(number));
        let roles: &[&str] = if loaded.cluster.spec.is_highly_available() { &["ACTIVE", "STANDBY"] } else { &["ACTIVE"] };
        instances = roles
            .iter()
            .zip(0..)
            .zip(free)
            .map(|((role, slot), number)| Instance {
                id: InstanceId::from_bits(context.fresh_id()),
                cluster: loaded.cluster.id.clone(),
                host: loaded.cluster.host.clone(),
                name: format!("{}-{}", loaded.cluster.spec.instance_name_prefix, slot + 1),
                role: (*role).to_owned(),
                uid,
                slot,
                number,
                observed: Observed::default(),
                observed_at: None,
            })
            .collect();
        if let [primary, _] = instances.as_slice() {
            writes.push(Write::Replication(Replication {
                cluster: loaded.cluster.id.clone(),
                primary: primary.id.clone(),
                promotable: None,
                rewind: None,
                reason: "The cluster is being made.".to_owned(),
                sealed_password: replication::new_password(world, &loaded.cluster.id)?,
            }));
        }
        writes.extend(instances.iter().cloned().map(Write::Instance));
    }
    if loaded.endpoint.is_none() {
        writes.push(addresses(world, &loaded.cluster, &instances, None, state).await?);
    }
    for write in writes {
        context.write(write);
    }
    Ok(Next::Go(Step::Volume))
}

/// Chooses addresses for the endpoint and, where there are several instances, for each of them. What was chosen before is kept, unless
/// it turned out to be unusable.
async fn addresses(
    world: &World,
    cluster: &Cluster,
    instances: &[Instance],
    before: Option<&Endpoint>,
    state: &State,
) -> Result<Write, StepError> {
    let subnet = world.subnets.iter().find(|subnet| subnet.id == cluster.spec.subnet).ok_or_else(|| {
        StepError::GiveUp(Problem::new(ProblemCode::SubnetUnknown, format!("Subnet '{}' is not configured any more.", cluster.spec.subnet)))
    })?;
    let mut look = world.store.look().await.map_err(store_failed)?;
    let of_others = look.taken_addresses(&cluster.host, &cluster.id).await.map_err(store_failed)?;
    let kept: Vec<_> = before.iter().flat_map(|before| before.addresses()).filter(|address| !state.unusable.contains(address)).collect();
    let mut given: HashSet<_> = of_others.iter().copied().chain(kept.iter().copied()).chain(cluster.spec.wished_addresses()).collect();
    let mut choose = |wished: Option<Ipv4Addr>, has: Option<Ipv4Addr>| -> Result<Ipv4Addr, StepError> {
        if let Some(address) = has.filter(|address| kept.contains(address)) {
            return Ok(address);
        }
        let taken = if wished.is_some() { &of_others } else { &given };
        let address = choose_address(subnet, wished, taken, &state.unusable).map_err(StepError::GiveUp)?;
        given.insert(address);
        Ok(address)
    };
    let address = choose(cluster.spec.wished_address(), before.map(|before| before.address))?;
    let mut of_instances = BTreeMap::new();
    for instance in instances.iter().filter(|_| instances.len() > 1) {
        let slot = usize::try_from(instance.slot).unwrap_or(usize::MAX);
        let has = before.and_then(|before| before.instances.get(&instance.id).copied());
        of_instances.insert(instance.id.clone(), choose(cluster.spec.wished_address_of(slot), has)?);
    }
    let public = match &world.public_addresses {
        Some(offered) => Some(set_public_address::choose(&mut look, offered, cluster, &state.unusable_public_ports).await?),
        None => None,
    };
    let (port, instances) = (cluster.spec.port, of_instances);
    Ok(Write::Endpoint(cluster.host.clone(), Endpoint { cluster: cluster.id.clone(), address, port, public, instances }))
}

/// Makes true: each instance has a data directory of its own, on disk. Repeating finds it there. Way back: `Remove`.
async fn volume(state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let installation = world.installation(loaded.cluster.engine, &loaded.cluster.version).await?;
    let template = world.engine(loaded.cluster.engine)?.template(&installation, &world.host.administrator());
    let asked_at = *state.volume_asked_at.get_or_insert(context.now());
    let mut made = Vec::new();
    loaded.instance()?;
    for instance in loaded.instances() {
        let (template, size_gb) = (template.clone(), loaded.cluster.spec.data_size_gb());
        let wish = VolumeWish { instance: instance.id.clone(), template, uid: instance.uid, size_gb };
        match world.host.ensure_volume(&wish).await.map_err(host_failed)? {
            VolumeState::Ready { from_spare } => {
                made.push(if from_spare { "took a spare data directory" } else { "made a data directory" })
            }
            VolumeState::Preparing if context.now().since(asked_at) > VOLUME_LIMIT => {
                return Err(StepError::GiveUp(
                    Problem::new(ProblemCode::HostFailed, "Making the data directory took too long.")
                        .hint("Look at the disk's load, then try again."),
                ));
            }
            VolumeState::Preparing => {
                return Ok(Next::Wait(Step::Volume, Duration::from_millis(50), "A data directory is being made.".into()));
            }
        }
    }
    made.into_iter().for_each(|words| context.note(words));
    Ok(Next::Go(Step::Start))
}

/// Makes true: a shim keeps the engine's process. It starts up while the endpoint is made. Repeating leaves a running one
/// alone. Way back: `Remove`.
async fn start(state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    state.started_at.get_or_insert(context.now());
    serving::ensure_started(world, &loaded).await?;
    Ok(Next::Go(Step::Endpoint))
}

/// Makes true: the gateway holds the address, with a certificate for it, and tells clients to wait. An address that
/// another program has is given up for the next one, unless the user insisted. Way back: `Remove`.
async fn endpoint(state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let at = loaded.endpoint()?;
    let tls = serving::issue_certificate(world, &loaded)?;
    match serving::ensure_endpoint(world, &loaded, &loaded.cluster.spec.allow_list, Lead::Nowhere, Some(tls)).await? {
        EndpointState::Serving => Ok(Next::Go(Step::Database)),
        EndpointState::ServingPartly { at: SocketAddr::V4(of), in_use: true, .. } if at.is_of_an_instance(*of.ip()) => {
            another_address(*of.ip(), &loaded, state, context).await
        }
        EndpointState::ServingPartly { in_use: true, reason, .. } if state.unusable_public_ports.len() < MOST_ADDRESSES => {
            state.unusable_public_ports.extend(at.public.map(|public| public.port()));
            choose_again(&loaded, state, context, format!("cannot listen at {reason}; taking the next port")).await
        }
        // The gateway goes on trying; the cluster is reached at its other addresses.
        EndpointState::ServingPartly { reason, .. } => {
            context.note(format!("not reached everywhere yet: {reason}"));
            Ok(Next::Go(Step::Database))
        }
        EndpointState::AddressInUse => another_address(at.address, &loaded, state, context).await,
    }
}

/// Gives up an address that another program has for the next one.
async fn another_address(
    unusable: Ipv4Addr,
    loaded: &Loaded,
    state: &mut State,
    context: &mut Context<World>,
) -> Result<Next<Step>, StepError> {
    let port = loaded.endpoint()?.port;
    state.unusable.push(unusable);
    if state.unusable.len() >= MOST_ADDRESSES {
        return Err(StepError::GiveUp(
            Problem::new(ProblemCode::AddressTaken, format!("Port {port} is in use on {MOST_ADDRESSES} addresses in a row."))
                .detail("Another program on this machine probably listens on that port on every address.")
                .hint("End that program, or choose another port."),
        ));
    }
    choose_again(loaded, state, context, format!("another program listens on {unusable}:{port}; taking the next address")).await
}

/// Replaces what turned out to be unusable, and has the gateway try again.
async fn choose_again(loaded: &Loaded, state: &State, context: &mut Context<World>, why: String) -> Result<Next<Step>, StepError> {
    let instances: Vec<_> = loaded.instances().cloned().collect();
    let write = addresses(context.world(), &loaded.cluster, &instances, Some(loaded.endpoint()?), state).await?;
    context.write(write);
    context.note(why);
    Ok(Next::Go(Step::Endpoint))
}

/// Makes true: the engine answers and has the database and its owner. Repeating makes nothing twice. Way back: `Remove`.
async fn database(request: &Request, state: &State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let since = state.started_at.unwrap_or(loaded.cluster.created_at);
    let session = match serving::answers(world, &loaded, since, context.now().since(since)).await? {
        Answer::Yes(session) => session,
        Answer::NotYet(doing) if context.now().since(since) > serving::STARTING_LIMIT => {
            return Err(StepError::GiveUp(
                Problem::new(ProblemCode::EngineStartFailed, "The engine did not answer in time.").detail(doing),
            ));
        }
        Answer::NotYet(doing) => return Ok(Next::Wait(Step::Database, Duration::from_millis(100), doing)),
    };
    let verifier = owner::verifier(world, request.verifier.as_ref()).await?;
    let mut session = session;
    if loaded.replication.is_some() {
        // Also in a strict cluster nobody waits before there is a standby: nobody is connected yet.
        serving::ensure_started(world, &loaded).await?;
        session.promote(None).await.map_err(engine_failed)?;
    }
    replication::ensure_account(world, &loaded, session.as_mut()).await?;
    session.ensure_database_with_owner(&loaded.cluster.spec.database, &verifier).await.map_err(engine_failed)?;
    Ok(Next::Go(if loaded.standby.is_some() { Step::Copy } else { Step::Publish }))
}

/// Makes true: the standby's directory is one that can follow. Repeating asks how far that is. Way back: `Remove`.
async fn copy(state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let engine = world.load(context.cluster_id()).await?.cluster.engine;
    if !world.engine(engine)?.new_standby_is_complete() {
        state.standby.needs_copy = true;
    }
    Ok(match standby::prepare(&mut state.standby, context).await.map_err(looks_again)? {
        Progress::Waits(doing) => Next::Wait(Step::Copy, Duration::from_millis(50), doing.into()),
        _ => Next::Go(Step::Follow),
    })
}

/// Makes true: the standby's engine answers. Way back: `Remove`.
async fn follow(state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    Ok(match standby::start(&mut state.standby, context).await.map_err(looks_again)? {
        Progress::Done => Next::Go(Step::Synchronise),
        Progress::Waits(doing) => Next::Wait(Step::Follow, Duration::from_millis(100), doing.into()),
        Progress::DoesNotFit => anew(state),
    })
}

/// Makes true: the standby is in sync, and recorded as such. Way back: `Remove`.
async fn synchronise(state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    Ok(match standby::synchronise(&mut state.standby, context).await.map_err(looks_again)? {
        Progress::Done => Next::Go(Step::Publish),
        Progress::Waits(doing) => Next::Wait(Step::Synchronise, Duration::from_millis(50), doing.into()),
        Progress::DoesNotFit => anew(state),
    })
}

/// A primary that does not answer is slow: nobody uses it yet, and nobody else looks after it while it is being made.
fn looks_again(error: StepError) -> StepError {
    match error {
        StepError::GiveUp(problem) if problem.code == ProblemCode::EngineUnreachable => {
            StepError::retry(std::io::Error::from(std::io::ErrorKind::TimedOut), problem.message)
        }
        error => error,
    }
}

fn anew(state: &mut State) -> Next<Step> {
    standby::anew(&mut state.standby);
    Next::Go(Step::Copy)
}

/// Makes true: the cluster's rows are kept beside its volume, and users reach the database. Repeating keeps and publishes the same.
/// No way back: users may be connected.
async fn publish(context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    manifest::keep_in_step(context.world(), context.cluster_id()).await?;
    start::publish(context).await?;
    let cluster = context.cluster_id().clone();
    context.write(Write::Database(DatabaseId::first_of(&cluster), DatabaseChange::Stage(Stage::Made)));
    context.write(Write::Credential(CredentialId::first_of(&cluster), CredentialChange::Stage(Stage::Made)));
    Ok(Next::Done)
}

/// Makes true: nothing is left but the cluster's row, FAILED with its reason; and nothing at all where somebody asked for a database and
/// knows of no cluster. Nobody uses what is removed: the creation never ended.
async fn remove(context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    world.host.ensure_endpoint_absent(&loaded.cluster.id).await.map_err(host_failed)?;
    for instance in loaded.instances() {
        world.host.ensure_instance_absent(&instance.id).await.map_err(host_failed)?;
    }
    let first = DatabaseId::first_of(&loaded.cluster.id);
    let for_a_plan = world.store.look().await.map_err(store_failed)?.allocated(&first).await.map_err(store_failed)?;
    let why = context.problem().map_or_else(|| "Its creation was cancelled.".to_owned(), |problem| problem.message.clone());
    let cluster = loaded.cluster.id.clone();
    context.write(Write::RemoveEndpoint(cluster.clone()));
    context.write(Write::RemoveInstances(cluster.clone()));
    context.write(Write::RemoveReplication(cluster.clone()));
    context.write(if for_a_plan.is_some() { Write::Gone(cluster) } else { Write::CreationFailed(cluster, why) });
    Ok(Next::Done)
}
