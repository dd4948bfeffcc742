//! The record of changes that were asked for.

use crate::authentication::at_least;
use crate::command::MOST_ROWS;
use crate::{App, fresh, now, problem};
use moorage_domain::tenant::{Action, Actor, Role};
use moorage_domain::{ActionId, Problem};
use moorage_store::Actions;

/// A change that was asked for and answered.
#[derive(Clone, Debug)]
pub struct NewAction {
    /// Who asked.
    pub actor: Actor,
    /// From which address.
    pub source: Option<String>,
    /// The id of the exchange.
    pub request_id: String,
    /// Which family was spoken.
    pub family: &'static str,
    /// The method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The status it was answered with.
    pub status: u16,
    /// The problem's code, where it was refused.
    pub problem: Option<&'static str>,
}

impl App {
    /// Writes down that a change was asked for. What cannot be written down is in the log at least.
    pub async fn record(&self, new: NewAction) {
        let action = Action {
            id: ActionId::from_bits(fresh()),
            at: now(),
            project: new.actor.project,
            user: new.actor.user,
            user_name: new.actor.user_name,
            source: new.source,
            request_id: new.request_id,
            family: new.family.to_owned(),
            method: new.method,
            path: new.path,
            status: new.status,
            problem: new.problem.map(str::to_owned),
        };
        let written = async {
            let mut uow = self.parts.store.begin().await?;
            uow.insert_action(&action).await?;
            uow.commit().await
        };
        if let Err(error) = written.await {
            tracing::error!(%error, ?action, "a change could not be written into the record of actions");
        }
    }

    /// Changes that were asked for, the newest first: of the caller's project, and of all for those who administer the
    /// installation.
    pub async fn actions(&self, actor: &Actor, user_name: Option<&str>, offset: u64, limit: u64) -> Result<Vec<Action>, Problem> {
        at_least(actor, Role::Administrator)?;
        let project = (!actor.administers_installation()).then_some(&actor.project);
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        look.actions(project, user_name, offset, limit.min(MOST_ROWS)).await.map_err(problem::store)
    }
}
