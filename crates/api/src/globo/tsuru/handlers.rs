//! What each path does.

use super::problems::said;
use super::read::{self, Condition};
use super::routes::Asked;
use crate::globo::handlers::settled;
use crate::globo::write::Fields;
use crate::kit::refusal::{Answer, Refusal};
use axum::Json;
use axum::response::IntoResponse;
use http::StatusCode;
use moorage_app::{AllocatedView, AllocationFilter, AllocationSort, ChangeAllocation, NewAllocation, Removal};
use moorage_domain::database::{Privileges, Stage};
use moorage_domain::plan::{Environment, Plan, Team};
use moorage_domain::{Problem, ProblemCode};
use secrecy::ExposeSecret;
use serde_json::Value;

/// Characters of a name nobody has that are repeated.
const REPEATED: usize = 100;

fn shortened(text: &str) -> String {
    text.chars().take(REPEATED).collect()
}

fn not_found(name: &str) -> Problem {
    Problem::new(ProblemCode::DatabaseNotFound, format!("There is no database '{}'.", shortened(name)))
}

fn unknown(kind: &str, name: &str) -> Problem {
    Problem::invalid(kind.to_lowercase(), format!("{kind} <{}> was not found", shortened(name)))
}

/// The names tsuru may give a database (Globo's wire reference, section 7); `plans` is a path of its own.
fn check_name(name: &str) -> Result<(), Problem> {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|first| first.is_ascii_lowercase());
    if !begins || name.len() < 2 || !bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        return Err(Problem::invalid("name", "Your database name must match /^[a-z][a-z0-9_]+$/ ."));
    }
    if name == "plans" {
        return Err(Problem::invalid("name", format!("{name} is a reserved database name")));
    }
    Ok(())
}

impl Asked {
    async fn all_environments(&self) -> Result<Vec<Environment>, Refusal> {
        Ok(self.kit.app.environments(&self.actor).await?.into_iter().map(|(_, known)| known).collect())
    }

    /// The environments this service makes databases in: those of the stage of the one that the path names, which is the first.
    async fn environments(&self) -> Result<Vec<Environment>, Refusal> {
        let mut known = self.all_environments().await?;
        let here = known.iter().position(|environment| environment.name == self.environment);
        let here = here.ok_or_else(|| Problem::new(ProblemCode::Forbidden, "Invalid environment"))?;
        let here = known.remove(here);
        known.retain(|environment| environment.stage == here.stage);
        known.insert(0, here);
        Ok(known)
    }

    /// What can be asked for, and where.
    async fn offers(&self, environments: &[Environment]) -> Result<Vec<(Plan, Environment)>, Refusal> {
        let plans = self.kit.app.plans(&self.actor).await?;
        let mut offers = Vec::new();
        for (_, plan) in plans.iter().filter(|(_, plan)| plan.active) {
            for environment in environments.iter().filter(|environment| plan.environments.contains(&environment.id)) {
                offers.push((plan.clone(), environment.clone()));
            }
        }
        Ok(offers)
    }

    pub(super) async fn plans(&self) -> Answer {
        let environments = self.environments().await?;
        let offers = self.offers(&environments).await?;
        Ok(Json(offers.iter().map(|(plan, environment)| read::plan(plan, environment)).collect::<Vec<_>>()).into_response())
    }

    /// The database of that name, if the caller may see it and it is not in quarantine.
    async fn look_up(&self, environments: &[Environment], name: &str) -> Result<Option<AllocatedView>, Refusal> {
        let filter = AllocationFilter { name: Some(name.to_owned()), ..AllocationFilter::default() };
        let found = self.kit.app.allocations(&self.actor, &filter, (AllocationSort::Age, false), 0, 100).await?.rows;
        Ok(found.into_iter().find(|view| {
            view.allocated.database.quarantine.is_none()
                && environments.iter().any(|environment| environment.id == view.allocated.allocation.environment)
        }))
    }

    async fn find(&self) -> Result<AllocatedView, Refusal> {
        let environments = self.environments().await?;
        Ok(self.look_up(&environments, &self.name).await?.ok_or_else(|| not_found(&self.name))?)
    }

    async fn team(&self, name: &str) -> Result<Team, Refusal> {
        let teams = self.kit.app.teams(&self.actor, None).await?;
        Ok(teams.into_iter().map(|(_, team)| team).find(|team| team.name == name).ok_or_else(|| unknown("Team", name))?)
    }

    pub(super) async fn create(&self) -> Answer {
        let mut fields = Fields::of(&self.content, &self.headers)?;
        let mut given = Vec::new();
        for field in ["description", "plan", "user", "name", "team"] {
            let missing = || Problem::invalid(field, format!("Param {field} must be provided."));
            given.push(fields.text(field).ok_or_else(missing)?);
        }
        let [description, plan, user, name, team] = given.as_slice() else { return Err(Problem::internal().into()) };
        let users = self.kit.app.numbered_users(&self.actor).await?;
        let person = users.into_iter().map(|(_, known)| known).find(|known| known.email == *user || known.name == *user);
        let everywhere = self.offers(&self.all_environments().await?).await?;
        if !everywhere.iter().any(|(offered, environment)| read::plan_name(offered, environment) == *plan || offered.name == *plan) {
            return Err(unknown("Plan", plan).into());
        }
        let person = person.ok_or_else(|| unknown("User", user))?;
        let team = self.team(team).await?;
        let environments = self.environments().await.map_err(|_| Problem::invalid("environment", "Environment was not found"))?;
        let offers = self.offers(&environments).await?;
        // By the name it is offered under here, or by its own where the path's environment has it.
        let offer = offers.iter().find(|(offered, environment)| read::plan_name(offered, environment) == *plan);
        let offer =
            offer.or_else(|| offers.iter().find(|(offered, environment)| offered.name == *plan && environment.id == environments[0].id));
        check_name(name)?;
        let taken = || Problem::new(ProblemCode::NameTaken, format!("{name} already exists in env {}!", self.environment));
        if self.look_up(&environments, name).await?.is_some() {
            return Err(taken().into());
        }
        let theirs = self.kit.app.teams(&self.actor, Some(&person.name)).await?;
        if !theirs.iter().any(|(_, known)| known.id == team.id) {
            return Err(Problem::invalid("user", format!("User {} is not on {} team.", person.name, team.name)).into());
        }
        let Some((plan, environment)) = offer else {
            let words = format!("Plan \"{plan}\" is not available to \"{}\" environment", self.environment);
            return Err(Problem::invalid("plan", words).into());
        };
        let wanted = NewAllocation {
            name: name.clone(),
            plan: plan.id.clone(),
            environment: environment.id.clone(),
            team: Some(team.id),
            application: None,
            description: Some(description.clone()),
            protected: true,
        };
        let begun = self.kit.app.allocate(&self.actor, wanted).await.map_err(|problem| match problem.code {
            // One in quarantine has a code of its own: those who could look it up do not see it.
            ProblemCode::NameTaken if problem.field.as_deref() == Some("name") => taken(),
            _ => problem,
        })?;
        // What takes longer goes on by itself; tsuru asks for its status.
        settled(&self.kit, &begun).await?;
        Ok(StatusCode::CREATED.into_response())
    }

    pub(super) async fn update(&self) -> Answer {
        let view = self.find().await?;
        let mut fields = Fields::of(&self.content, &self.headers)?;
        let (team, plan) = (fields.text("team"), fields.text("plan"));
        let description = fields.has("description").then(|| fields.text("description"));
        fields.close()?;
        let allocation = &view.allocated.allocation;
        if let Some(wanted) = plan {
            let environments = self.environments().await?;
            let known = self.kit.app.plans(&self.actor).await?;
            let own = known.iter().map(|(_, known)| known).find(|known| known.id == allocation.plan);
            let place = environments.iter().find(|environment| environment.id == allocation.environment);
            let is_same = own.zip(place).is_some_and(|(own, place)| own.name == wanted || read::plan_name(own, place) == wanted);
            if !is_same {
                let words = "The plan of a database cannot be changed.";
                return Err(Problem::invalid("plan", words).hint("Make another database and copy the data.").into());
            }
        }
        let team = match team {
            Some(name) => Some(self.team(&name).await?.id),
            None => None,
        };
        let team = team.filter(|team| allocation.team.as_ref() != Some(team));
        let change = ChangeAllocation { team, description, ..ChangeAllocation::default() };
        self.kit.app.change_allocation(&self.actor, &view.allocated.database.id, change).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    pub(super) async fn remove(&self) -> Answer {
        let view = self.find().await?;
        // What tsuru makes is protected from others; tsuru asks its own users whether they mean it.
        let removal = Removal { purge: false, protected_too: true };
        let begun = self.kit.app.remove_allocated(&self.actor, &view.allocated.database.id, removal).await?;
        let ended = settled(&self.kit, &begun).await?;
        Ok(if ended { StatusCode::NO_CONTENT } else { StatusCode::ACCEPTED }.into_response())
    }

    pub(super) async fn status(&self) -> Answer {
        let view = self.find().await?;
        let state = view.allocated.cluster_state.as_str();
        Ok(match read::condition(&view.allocated) {
            Condition::Up => StatusCode::NO_CONTENT.into_response(),
            Condition::Pending => (StatusCode::ACCEPTED, Json(format!("'{}' is not ready yet ({state}).", self.name))).into_response(),
            Condition::Down => said(StatusCode::INTERNAL_SERVER_ERROR, &format!("'{}' is down ({state}).", self.name)),
        })
    }

    pub(super) async fn info(&self) -> Answer {
        let view = self.find().await?;
        let allocation = &view.allocated.allocation;
        let plans = self.kit.app.plans(&self.actor).await?;
        let plan = plans.iter().find(|(_, plan)| plan.id == allocation.plan).map_or("", |(_, plan)| &plan.name);
        let environments = self.environments().await?;
        let place = environments.iter().find(|known| known.id == allocation.environment).map_or("", |known| &known.name);
        let teams = self.kit.app.teams(&self.actor, None).await?;
        let team = teams.iter().find(|(_, team)| allocation.team.as_ref() == Some(&team.id)).map(|(_, team)| team.name.as_str());
        Ok(Json(read::lines(&view, plan, place, team)).into_response())
    }

    /// Where the database is and who may use it, as variables of an application's environment.
    pub(super) async fn bind_application(&self) -> Answer {
        let view = self.find().await?;
        let found = &view.allocated;
        // With this status tsuru asks again later.
        let not_ready = || said(StatusCode::PRECONDITION_FAILED, &format!("'{}' is not ready yet.", self.name));
        match read::condition(found) {
            Condition::Up => {}
            Condition::Pending => return Ok(not_ready()),
            Condition::Down => return Ok(said(StatusCode::INTERNAL_SERVER_ERROR, &format!("'{}' is down.", self.name))),
        }
        if found.credentials.is_empty() {
            let words = format!("'{}' has no credential.", self.name);
            return Err(Problem::new(ProblemCode::CredentialNotFound, words).hint("Make one.").into());
        }
        // While a password changes nobody can say which one holds.
        let mut at_rest: Vec<_> =
            found.credentials.iter().filter(|known| known.stage == Stage::Made && known.sealed_next.is_none()).collect();
        at_rest.sort_by_key(|credential| credential.privileges != Privileges::Owner);
        let Some(credential) = at_rest.first() else { return Ok(not_ready()) };
        let (credential, _, password) = self.kit.app.allocated_credential(&self.actor, &credential.id).await?;
        let password = password.ok_or_else(|| {
            Problem::new(ProblemCode::Forbidden, format!("The password of '{}' is not known or not for you.", credential.user))
                .hint("Reset it.")
        })?;
        match read::variables(found, (&credential.user, password.expose_secret())) {
            Some(variables) => Ok((StatusCode::CREATED, Json(variables)).into_response()),
            None => Ok(not_ready()),
        }
    }

    /// Units of an application may connect from where its environment's subnet is reached: there is nothing to be opened for one.
    pub(super) async fn bind_unit(&self) -> Answer {
        self.find().await?;
        Ok((StatusCode::CREATED, Json(Value::Null)).into_response())
    }

    /// The credential stays: other applications may be using it.
    pub(super) async fn unbind(&self) -> Answer {
        self.find().await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }
}
