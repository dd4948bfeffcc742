//! `cluster.renew-certificate`: an endpoint's certificate, before the former one ends.

use crate::serving;
use crate::world::World;
use async_trait::async_trait;
use moorage_durable::{Context, Next, OnCancel, Operation, StepError, steps};
use moorage_host::EndpointState;
use serde::{Deserialize, Serialize};

/// Nothing has to be said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Request {}

/// Nothing has to be remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {}

steps! {
    /// The steps in their order.
    pub enum Step { Issue }
}

/// The operation.
pub struct RenewCertificate;

#[async_trait]
impl Operation for RenewCertificate {
    const KIND: &'static str = "cluster.renew-certificate";
    type World = World;
    type Request = Request;
    type State = State;
    type Step = Step;

    fn first(&self) -> Step {
        Step::Issue
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("the gateway may already show the new certificate")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }

    async fn run(&self, step: Step, _request: &Request, _state: &mut State, context: &mut Context<World>) -> Result<Next<Step>, StepError> {
        match step {
            Step::Issue => issue(context).await,
        }
    }
}

/// Makes true: new connections are shown a certificate that lasts; connections that are open go on. Repeating issues another
/// one, which is as good. Way back: none needed.
async fn issue(context: &mut Context<World>) -> Result<Next<Step>, StepError> {
    let world = context.world();
    let loaded = world.load(context.cluster_id()).await?;
    match serving::reissue_endpoint(world, &loaded).await? {
        EndpointState::Serving | EndpointState::ServingPartly { .. } => Ok(Next::Done),
        EndpointState::AddressInUse => Err(serving::address_in_use(loaded.endpoint()?, "the certificate is then renewed by itself")),
    }
}
