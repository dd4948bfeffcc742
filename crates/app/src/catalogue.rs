//! What databases are asked for by: environments, plans, teams, and what they are for. Those who administer a project make them.

use crate::authentication::at_least;
use crate::command::{NewEnvironment, NewPlan, NewTeam};
use crate::{App, fresh, now, problem};
use moorage_domain::plan::{Application, Environment, Plan, Team};
use moorage_domain::server_type::ServerType;
use moorage_domain::tenant::{Actor, Role, User};
use moorage_domain::{ApplicationId, EnvironmentId, PlanId, Problem, ProblemCode, TeamId};
use moorage_store::{Accounts, Allocations, ApiIds, NUMBERING_FAMILY as FAMILY, Plans, Rows, UnitOfWork};

/// Databases at most on a shared cluster.
const LARGEST_CAPACITY: u32 = 500;
/// First parts of paths of the families: an environment of such a name would hide them (decisions 21).
const PATHS: &[&str] = &[
    "api",
    "api-auth",
    "audit",
    "commandcenter",
    "datadirector",
    "dbss",
    "docs",
    "healthz",
    "iam",
    "mariadb",
    "metrics",
    "moorage",
    "openapi.json",
    "postgresql",
    "readyz",
    "resourcemanager",
    "tsuru",
    "v1",
    "v2",
    "v3",
];
/// Characters of a name at most.
const LONGEST_NAME: usize = 100;

/// The kinds of things that a family knows by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Numbered {
    /// A database.
    Database,
    /// A credential of a database.
    Credential,
    /// What databases are for.
    Application,
    /// A plan.
    Plan,
    /// An environment.
    Environment,
    /// A team.
    Team,
    /// A user.
    User,
    /// An operation.
    Operation,
}

impl Numbered {
    fn kind(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Credential => "credential",
            Self::Application => "project",
            Self::Plan => "plan",
            Self::Environment => "environment",
            Self::Team => "team",
            Self::User => "user",
            Self::Operation => "task",
        }
    }
    /// Gives something its number, in the transaction that makes it.
    pub(crate) async fn give(self, uow: &mut UnitOfWork, id: &str) -> Result<(), Problem> {
        uow.give_number(FAMILY, self.kind(), id).await.map_err(problem::store)
    }
    /// The number of something; 0 where it has none, which no link has.
    pub(crate) async fn of(self, rows: &mut impl Rows, id: &str) -> Result<u64, Problem> {
        Ok(rows.number_of(FAMILY, self.kind(), id).await.map_err(problem::store)?.unwrap_or_default())
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    if (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Problem::invalid("name", format!("A name has 1 to {LONGEST_NAME} characters, and none that controls a terminal.")))
}

impl App {
    /// What has that number.
    pub async fn numbered(&self, kind: Numbered, number: u64) -> Result<Option<String>, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        look.numbered(FAMILY, kind.kind(), number).await.map_err(problem::store)
    }

    /// The number of something; 0 where it has none.
    pub async fn number(&self, kind: Numbered, id: &str) -> Result<u64, Problem> {
        kind.of(&mut self.parts.store.look().await.map_err(problem::store)?, id).await
    }

    /// The project's environments with their numbers, the oldest first.
    pub async fn environments(&self, actor: &Actor) -> Result<Vec<(u64, Environment)>, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let mut found = Vec::new();
        for environment in look.environments(&actor.project).await.map_err(problem::store)? {
            found.push((Numbered::Environment.of(&mut look, environment.id.as_str()).await?, environment));
        }
        Ok(found)
    }

    /// The project's plans with their numbers, the oldest first.
    pub async fn plans(&self, actor: &Actor) -> Result<Vec<(u64, Plan)>, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let mut found = Vec::new();
        for plan in look.plans(&actor.project).await.map_err(problem::store)? {
            found.push((Numbered::Plan.of(&mut look, plan.id.as_str()).await?, plan));
        }
        Ok(found)
    }

    /// The project's teams with their numbers, the oldest first; of one user only, where one is named.
    pub async fn teams(&self, actor: &Actor, of: Option<&str>) -> Result<Vec<(u64, Team)>, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let teams = match of {
            None => look.teams(&actor.project).await.map_err(problem::store)?,
            Some(name) => match look.user(name).await.map_err(problem::store)?.filter(|user| user.project == actor.project) {
                Some(user) => look.teams_of(&user.id).await.map_err(problem::store)?,
                None => Vec::new(),
            },
        };
        let mut found = Vec::new();
        for team in teams {
            found.push((Numbered::Team.of(&mut look, team.id.as_str()).await?, team));
        }
        Ok(found)
    }

    /// What the project's databases are for, with numbers, the oldest first.
    pub async fn applications(&self, actor: &Actor) -> Result<Vec<(u64, Application)>, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let mut found = Vec::new();
        for application in look.applications(&actor.project).await.map_err(problem::store)? {
            found.push((Numbered::Application.of(&mut look, application.id.as_str()).await?, application));
        }
        Ok(found)
    }

    /// The people of the caller's project with their numbers.
    pub async fn numbered_users(&self, actor: &Actor) -> Result<Vec<(u64, User)>, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let mut found = Vec::new();
        for user in look.users(Some(&actor.project), 0, u64::from(u32::MAX)).await.map_err(problem::store)? {
            found.push((Numbered::User.of(&mut look, user.id.as_str()).await?, user));
        }
        found.sort_by_key(|(number, _)| *number);
        Ok(found)
    }

    /// Makes an environment.
    pub async fn create_environment(&self, actor: &Actor, new: NewEnvironment) -> Result<Environment, Problem> {
        at_least(actor, Role::Administrator)?;
        check_name(&new.name)?;
        if PATHS.contains(&new.name.to_ascii_lowercase().as_str()) || new.name.contains(['/', '?', '#', '%']) {
            return Err(Problem::invalid(
                "name",
                format!("An environment cannot be called '{}': its name is part of addresses.", new.name),
            )
            .hint("Choose another name."));
        }
        if let Some(subnet) = &new.subnet
            && !self.parts.subnets.iter().any(|known| known.id == *subnet)
        {
            return Err(Problem::new(ProblemCode::SubnetUnknown, "There is no such subnet.").field("subnet"));
        }
        let environment = Environment {
            id: EnvironmentId::from_bits(fresh()),
            project: actor.project.clone(),
            name: new.name,
            stage: new.stage,
            subnet: new.subnet,
            created_at: now(),
        };
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        uow.insert_environment(&environment).await.map_err(problem::store)?;
        Numbered::Environment.give(&mut uow, environment.id.as_str()).await?;
        uow.commit().await.map_err(problem::store)?;
        Ok(environment)
    }

    /// Makes a plan and offers it in environments, which are named.
    pub async fn create_plan(&self, actor: &Actor, new: NewPlan) -> Result<Plan, Problem> {
        at_least(actor, Role::Administrator)?;
        check_name(&new.name)?;
        if ServerType::find(&new.server_type).is_none() {
            return Err(Problem::new(ProblemCode::ServerTypeUnknown, "There is no such server type.")
                .hint("List the server types to see which there are.")
                .field("server_type"));
        }
        if !(1..=LARGEST_CAPACITY).contains(&new.capacity) {
            return Err(Problem::invalid("capacity", format!("Between 1 and {LARGEST_CAPACITY} databases share a cluster.")));
        }
        if !(16..=5120).contains(&new.size_gb) {
            return Err(Problem::invalid("size_gb", "A volume has between 16 and 5120 GiB."));
        }
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let known = uow.environments(&actor.project).await.map_err(problem::store)?;
        let mut environments = Vec::new();
        for name in &new.environments {
            let found = known.iter().find(|environment| environment.name == *name || environment.id.as_str() == name);
            let found = found.ok_or_else(|| Problem::invalid("environments", format!("There is no environment '{name}'.")))?;
            environments.push(found.id.clone());
        }
        environments.sort();
        environments.dedup();
        let plan = Plan {
            id: PlanId::from_bits(fresh()),
            project: actor.project.clone(),
            name: new.name,
            description: new.description,
            engine: new.engine,
            server_type: new.server_type,
            size_gb: new.size_gb,
            capacity: new.capacity,
            highly_available: new.highly_available,
            active: true,
            environments,
            created_at: now(),
        };
        uow.insert_plan(&plan).await.map_err(problem::store)?;
        Numbered::Plan.give(&mut uow, plan.id.as_str()).await?;
        uow.commit().await.map_err(problem::store)?;
        Ok(plan)
    }

    /// Makes a team of people of the project, which are named.
    pub async fn create_team(&self, actor: &Actor, new: NewTeam) -> Result<Team, Problem> {
        at_least(actor, Role::Administrator)?;
        check_name(&new.name)?;
        let team = Team {
            id: TeamId::from_bits(fresh()),
            project: actor.project.clone(),
            name: new.name,
            email: new.email,
            administers: new.administers,
            allocation_limit: new.allocation_limit,
            created_at: now(),
        };
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        uow.insert_team(&team).await.map_err(problem::store)?;
        Numbered::Team.give(&mut uow, team.id.as_str()).await?;
        for name in &new.members {
            let user = uow.user(name).await.map_err(problem::store)?.filter(|user| user.project == actor.project);
            let user = user.ok_or_else(|| Problem::invalid("members", format!("There is no user '{name}'.")))?;
            uow.set_member(&team.id, &user.id, true).await.map_err(problem::store)?;
        }
        uow.commit().await.map_err(problem::store)?;
        Ok(team)
    }

    /// Puts somebody of the project into a team, or takes somebody out of it.
    pub async fn set_member(&self, actor: &Actor, team: &str, user: &str, is: bool) -> Result<(), Problem> {
        at_least(actor, Role::Administrator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let teams = uow.teams(&actor.project).await.map_err(problem::store)?;
        let team = teams.into_iter().find(|known| known.id.as_str() == team || known.name == team);
        let team = team.ok_or_else(|| {
            Problem::new(ProblemCode::TeamNotFound, "There is no such team.").hint("List the teams to see which there are.")
        })?;
        let user = crate::users::find(&mut uow, actor, user).await?;
        if user.project != actor.project {
            return Err(Problem::new(ProblemCode::UserNotFound, "There is no such user in this project."));
        }
        uow.set_member(&team.id, &user.id, is).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)
    }

    /// Makes something that databases can be for.
    pub async fn create_application(&self, actor: &Actor, name: &str, description: &str) -> Result<(u64, Application), Problem> {
        at_least(actor, Role::Operator)?;
        check_name(name)?;
        let application = Application {
            id: ApplicationId::from_bits(fresh()),
            project: actor.project.clone(),
            name: name.to_owned(),
            description: description.to_owned(),
            created_at: now(),
        };
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        uow.insert_application(&application).await.map_err(problem::store)?;
        Numbered::Application.give(&mut uow, application.id.as_str()).await?;
        let number = Numbered::Application.of(&mut uow, application.id.as_str()).await?;
        uow.commit().await.map_err(problem::store)?;
        Ok((number, application))
    }

    /// Gives it another name or description.
    pub async fn change_application(
        &self,
        actor: &Actor,
        id: &ApplicationId,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Result<(u64, Application), Problem> {
        at_least(actor, Role::Operator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let mut application = find_application(&mut uow, actor, id).await?;
        if let Some(name) = name {
            check_name(name)?;
            name.clone_into(&mut application.name);
        }
        if let Some(description) = description {
            description.clone_into(&mut application.description);
        }
        uow.set_application(id, &application.name, &application.description).await.map_err(problem::store)?;
        let number = Numbered::Application.of(&mut uow, id.as_str()).await?;
        uow.commit().await.map_err(problem::store)?;
        Ok((number, application))
    }

    /// Removes it, if no database is for it any more.
    pub async fn remove_application(&self, actor: &Actor, id: &ApplicationId) -> Result<(), Problem> {
        at_least(actor, Role::Operator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let application = find_application(&mut uow, actor, id).await?;
        let left = uow.allocated_for(id).await.map_err(problem::store)?;
        if left > 0 {
            return Err(Problem::new(ProblemCode::ProjectNotEmpty, format!("{left} databases are for '{}'.", application.name))
                .hint("Say what else they are for, or remove them first."));
        }
        uow.remove_application(id).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)
    }
}

async fn find_application(rows: &mut impl Rows, actor: &Actor, id: &ApplicationId) -> Result<Application, Problem> {
    let found = rows.applications(&actor.project).await.map_err(problem::store)?.into_iter().find(|application| application.id == *id);
    found.ok_or_else(|| Problem::new(ProblemCode::ProjectNotFound, "There is nothing of that number that databases are for."))
}
