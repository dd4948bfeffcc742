//! `cluster.set-public-address`: an existing cluster's address for other machines, after the configuration of its host changed.

use crate::serving;
use crate::world::{World, insist, store_failed};
use async_trait::async_trait;
use moorage_domain::cluster::Cluster;
use moorage_domain::instance::Endpoint;
use moorage_domain::public_address::{PublicAddresses, Verdict, decide};
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_host::EndpointState;
use moorage_store::{Endpoints, Rows, Write};
use serde::{Deserialize, Serialize};
use std::net::{SocketAddr, SocketAddrV4};

/// Nothing has to be said: the configuration says it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Request {}

/// What was learnt on the way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Ports that another program has.
    #[serde(default)]
    pub unusable: Vec<u16>,
}

steps! {
    /// The steps in their order.
    pub enum Step { Choose, Endpoint }
}

/// The operation.
pub struct SetPublicAddress;

#[async_trait]
impl Operation for SetPublicAddress {
    const KIND: &'static str = "cluster.set-public-address";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Choose
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("the configuration asks for it; change the configuration instead")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }

    async fn run(&self, step: Step, _request: &Request, state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Choose => choose_or_withdraw(state, context).await,
            Step::Endpoint => serve(state, context).await.map_err(|error| insist(error, context.attempt())),
        }
    }
}

/// Chooses a port that no other cluster of the host has.
pub(crate) async fn choose<R: Rows>(
    look: &mut R,
    offered: &PublicAddresses,
    cluster: &Cluster,
    unusable: &[u16],
) -> Result<SocketAddrV4, StepError> {
    let taken = look.taken_public_addresses(&cluster.host, &cluster.id).await.map_err(store_failed)?;
    offered.choose(&taken, unusable).map_err(StepError::GiveUp)
}

/// Makes true: the cluster's row has what the host offers. Repeating keeps what was chosen. Way back: none needed.
async fn choose_or_withdraw(state: &State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let endpoint = loaded.endpoint()?;
    let offered = world.public_addresses.as_ref();
    let has = endpoint.public.filter(|address| !state.unusable.contains(&address.port()));
    let public = match (decide(offered, has), offered) {
        (Verdict::Choose, Some(offered)) => {
            let mut look = world.store.look().await.map_err(store_failed)?;
            Some(choose(&mut look, offered, &loaded.cluster, &state.unusable).await?)
        }
        (Verdict::Keep, _) => has,
        (Verdict::Choose, None) | (Verdict::Withdraw, _) => None,
    };
    let write = Write::Endpoint(loaded.cluster.host.clone(), Endpoint { public, ..endpoint.clone() });
    context.write(write);
    Ok(Next::Go(Step::Endpoint))
}

/// Makes true: the gateway listens there too, with a certificate that names the address, and nowhere else. Repeating issues
/// another certificate, which is as good. Way back: none needed.
async fn serve(state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    let endpoint = loaded.endpoint()?;
    match serving::reissue_endpoint(world, &loaded).await? {
        EndpointState::Serving => Ok(Next::Done),
        // What is wrong with it is not what this is about.
        EndpointState::ServingPartly { at: SocketAddr::V4(at), .. } if endpoint.is_of_an_instance(*at.ip()) => Ok(Next::Done),
        EndpointState::ServingPartly { in_use: true, reason, .. } => {
            state.unusable.extend(endpoint.public.map(|public| public.port()));
            context.note(format!("cannot listen at {reason}; taking the next port"));
            Ok(Next::Go(Step::Choose))
        }
        // The gateway goes on trying.
        EndpointState::ServingPartly { reason, .. } => {
            context.note(format!("other machines do not reach it yet: {reason}"));
            Ok(Next::Done)
        }
        EndpointState::AddressInUse => Err(serving::address_in_use(endpoint, "the endpoint then opens by itself")),
    }
}
