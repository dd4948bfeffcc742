//! Environments, plans, teams, and what databases are for.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::engine::EngineName;
use moorage_domain::plan::{Application, Environment, Plan, Stage, Team};
use moorage_domain::{ApplicationId, EnvironmentId, PlanId, ProjectId, TeamId, Timestamp, UserId};
use sqlx::Row;
use sqlx::any::AnyRow;

macro_rules! environments {
    ($rest:literal) => {
        concat!("SELECT id, project_id, name, stage, subnet, created_at FROM environment ", $rest)
    };
}
macro_rules! plans {
    ($rest:literal) => {
        concat!(
            "SELECT id, project_id, name, description, engine, server_type, size_gb, capacity, highly_available, active, created_at FROM plan ",
            $rest
        )
    };
}
macro_rules! teams {
    ($rest:literal) => {
        concat!("SELECT id, project_id, name, email, administers, allocation_limit, created_at FROM team ", $rest)
    };
}
macro_rules! applications {
    ($rest:literal) => {
        concat!("SELECT id, project_id, name, description, created_at FROM application ", $rest)
    };
}

statements! {
    INSERT_ENVIRONMENT = "INSERT INTO environment (id, project_id, name, stage, subnet, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    ENVIRONMENTS = environments!("WHERE project_id = $1 ORDER BY created_at, id");
    INSERT_PLAN = "INSERT INTO plan (id, project_id, name, description, engine, server_type, size_gb, capacity, highly_available, active, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    OFFER_PLAN = "INSERT INTO plan_environment (plan_id, environment_id) VALUES ($1, $2) ON CONFLICT (plan_id, environment_id) DO NOTHING";
    SET_PLAN_ACTIVE = "UPDATE plan SET active = $2 WHERE id = $1";
    PLANS = plans!("WHERE project_id = $1 ORDER BY created_at, id");
    OFFERS = "SELECT e.plan_id, e.environment_id FROM plan_environment e JOIN plan p ON p.id = e.plan_id WHERE p.project_id = $1";
    INSERT_TEAM = "INSERT INTO team (id, project_id, name, email, administers, allocation_limit, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    TEAMS = teams!("WHERE project_id = $1 ORDER BY created_at, id");
    TEAMS_OF = teams!("WHERE id IN (SELECT team_id FROM team_member WHERE account_id = $1) ORDER BY created_at, id");
    ADD_MEMBER = "INSERT INTO team_member (team_id, account_id) VALUES ($1, $2) ON CONFLICT (team_id, account_id) DO NOTHING";
    REMOVE_MEMBER = "DELETE FROM team_member WHERE team_id = $1 AND account_id = $2";
    LEAVE_TEAMS = "DELETE FROM team_member WHERE account_id = $1";
    INSERT_APPLICATION = "INSERT INTO application (id, project_id, name, description, created_at) VALUES ($1, $2, $3, $4, $5)";
    SET_APPLICATION = "UPDATE application SET name = $2, description = $3 WHERE id = $1";
    REMOVE_APPLICATION = "DELETE FROM application WHERE id = $1";
    APPLICATIONS = applications!("WHERE project_id = $1 ORDER BY created_at, id");
}

fn environment(row: &AnyRow) -> StoreResult<Environment> {
    Ok(Environment {
        id: EnvironmentId::parse(row.get("id")).map_err(|e| unreadable("environment", e))?,
        project: ProjectId::parse(row.get("project_id")).map_err(|e| unreadable("environment", e))?,
        name: row.get("name"),
        stage: Stage::parse(row.get("stage")).ok_or_else(|| unreadable("environment", "unknown stage"))?,
        subnet: row.get("subnet"),
        created_at: Timestamp(row.get("created_at")),
    })
}

fn small(row: &AnyRow, column: &str) -> u32 {
    u32::try_from(row.get::<i64, _>(column)).unwrap_or_default()
}

fn plan(row: &AnyRow) -> StoreResult<Plan> {
    Ok(Plan {
        id: PlanId::parse(row.get("id")).map_err(|e| unreadable("plan", e))?,
        project: ProjectId::parse(row.get("project_id")).map_err(|e| unreadable("plan", e))?,
        name: row.get("name"),
        description: row.get("description"),
        engine: EngineName::parse(row.get("engine")).ok_or_else(|| unreadable("plan", "unknown engine"))?,
        server_type: row.get("server_type"),
        size_gb: small(row, "size_gb"),
        capacity: small(row, "capacity"),
        highly_available: small(row, "highly_available") == 1,
        active: small(row, "active") == 1,
        environments: Vec::new(),
        created_at: Timestamp(row.get("created_at")),
    })
}

fn team(row: &AnyRow) -> StoreResult<Team> {
    Ok(Team {
        id: TeamId::parse(row.get("id")).map_err(|e| unreadable("team", e))?,
        project: ProjectId::parse(row.get("project_id")).map_err(|e| unreadable("team", e))?,
        name: row.get("name"),
        email: row.get("email"),
        administers: small(row, "administers") == 1,
        allocation_limit: small(row, "allocation_limit"),
        created_at: Timestamp(row.get("created_at")),
    })
}

fn application(row: &AnyRow) -> StoreResult<Application> {
    Ok(Application {
        id: ApplicationId::parse(row.get("id")).map_err(|e| unreadable("application", e))?,
        project: ProjectId::parse(row.get("project_id")).map_err(|e| unreadable("application", e))?,
        name: row.get("name"),
        description: row.get("description"),
        created_at: Timestamp(row.get("created_at")),
    })
}

/// Queries about environments, plans, teams and applications. There are few of each: they are read as a whole, the oldest first.
#[allow(async_fn_in_trait)]
pub trait Plans: Rows {
    /// A project's environments.
    async fn environments(&mut self, project: &ProjectId) -> StoreResult<Vec<Environment>> {
        let rows = sqlx::query(ENVIRONMENTS).bind(project.as_str()).fetch_all(self.connection()).await;
        rows.map_err(failed("listing environments"))?.iter().map(environment).collect()
    }
    /// A project's plans, with where they are offered.
    async fn plans(&mut self, project: &ProjectId) -> StoreResult<Vec<Plan>> {
        let rows = sqlx::query(PLANS).bind(project.as_str()).fetch_all(self.connection()).await.map_err(failed("listing plans"))?;
        let mut plans = rows.iter().map(plan).collect::<StoreResult<Vec<_>>>()?;
        let offers = sqlx::query(OFFERS).bind(project.as_str()).fetch_all(self.connection()).await.map_err(failed("listing plans"))?;
        for offer in &offers {
            let (of, environment): (String, String) = (offer.get("plan_id"), offer.get("environment_id"));
            let environment = EnvironmentId::parse(&environment).map_err(|e| unreadable("plan", e))?;
            if let Some(plan) = plans.iter_mut().find(|plan| plan.id.as_str() == of) {
                plan.environments.push(environment);
            }
        }
        for plan in &mut plans {
            plan.environments.sort();
        }
        Ok(plans)
    }
    /// A project's teams.
    async fn teams(&mut self, project: &ProjectId) -> StoreResult<Vec<Team>> {
        let rows = sqlx::query(TEAMS).bind(project.as_str()).fetch_all(self.connection()).await.map_err(failed("listing teams"))?;
        rows.iter().map(team).collect()
    }
    /// The teams somebody is in.
    async fn teams_of(&mut self, user: &UserId) -> StoreResult<Vec<Team>> {
        let rows = sqlx::query(TEAMS_OF).bind(user.as_str()).fetch_all(self.connection()).await.map_err(failed("listing teams"))?;
        rows.iter().map(team).collect()
    }
    /// What a project's databases are for.
    async fn applications(&mut self, project: &ProjectId) -> StoreResult<Vec<Application>> {
        let rows = sqlx::query(APPLICATIONS).bind(project.as_str()).fetch_all(self.connection()).await;
        rows.map_err(failed("listing applications"))?.iter().map(application).collect()
    }
}
impl<R: Rows> Plans for R {}

impl UnitOfWork {
    /// Makes an environment.
    pub async fn insert_environment(&mut self, new: &Environment) -> StoreResult<()> {
        let query = sqlx::query(INSERT_ENVIRONMENT)
            .bind(new.id.as_str())
            .bind(new.project.as_str())
            .bind(&new.name)
            .bind(new.stage.as_str())
            .bind(&new.subnet)
            .bind(new.created_at.0);
        query.execute(self.connection()).await.map_err(failed("making an environment"))?;
        Ok(())
    }
    /// Makes a plan and offers it in its environments.
    pub async fn insert_plan(&mut self, new: &Plan) -> StoreResult<()> {
        let query = sqlx::query(INSERT_PLAN)
            .bind(new.id.as_str())
            .bind(new.project.as_str())
            .bind(&new.name)
            .bind(&new.description)
            .bind(new.engine.as_str())
            .bind(&new.server_type)
            .bind(i64::from(new.size_gb))
            .bind(i64::from(new.capacity))
            .bind(i64::from(new.highly_available))
            .bind(i64::from(new.active))
            .bind(new.created_at.0);
        query.execute(self.connection()).await.map_err(failed("making a plan"))?;
        for environment in &new.environments {
            let query = sqlx::query(OFFER_PLAN).bind(new.id.as_str()).bind(environment.as_str());
            query.execute(self.connection()).await.map_err(failed("offering a plan"))?;
        }
        Ok(())
    }
    /// Whether new databases can be asked for by a plan.
    pub async fn set_plan_active(&mut self, plan: &PlanId, active: bool) -> StoreResult<()> {
        let query = sqlx::query(SET_PLAN_ACTIVE).bind(plan.as_str()).bind(i64::from(active));
        query.execute(self.connection()).await.map_err(failed("changing a plan"))?;
        Ok(())
    }
    /// Makes a team.
    pub async fn insert_team(&mut self, new: &Team) -> StoreResult<()> {
        let query = sqlx::query(INSERT_TEAM)
            .bind(new.id.as_str())
            .bind(new.project.as_str())
            .bind(&new.name)
            .bind(&new.email)
            .bind(i64::from(new.administers))
            .bind(i64::from(new.allocation_limit))
            .bind(new.created_at.0);
        query.execute(self.connection()).await.map_err(failed("making a team"))?;
        Ok(())
    }
    /// Puts somebody into a team, or takes somebody out of it.
    pub async fn set_member(&mut self, team: &TeamId, user: &UserId, is: bool) -> StoreResult<()> {
        let query = sqlx::query(if is { ADD_MEMBER } else { REMOVE_MEMBER }).bind(team.as_str()).bind(user.as_str());
        query.execute(self.connection()).await.map_err(failed("changing a team"))?;
        Ok(())
    }
    pub(crate) async fn leave_teams(&mut self, user: &UserId) -> StoreResult<()> {
        sqlx::query(LEAVE_TEAMS).bind(user.as_str()).execute(self.connection()).await.map_err(failed("changing teams"))?;
        Ok(())
    }
    /// Makes an application.
    pub async fn insert_application(&mut self, new: &Application) -> StoreResult<()> {
        let query = sqlx::query(INSERT_APPLICATION)
            .bind(new.id.as_str())
            .bind(new.project.as_str())
            .bind(&new.name)
            .bind(&new.description)
            .bind(new.created_at.0);
        query.execute(self.connection()).await.map_err(failed("making an application"))?;
        Ok(())
    }
    /// Changes an application's name and description.
    pub async fn set_application(&mut self, id: &ApplicationId, name: &str, description: &str) -> StoreResult<()> {
        let query = sqlx::query(SET_APPLICATION).bind(id.as_str()).bind(name).bind(description);
        query.execute(self.connection()).await.map_err(failed("changing an application"))?;
        Ok(())
    }
    /// Removes an application, which no database is for.
    pub async fn remove_application(&mut self, id: &ApplicationId) -> StoreResult<()> {
        sqlx::query(REMOVE_APPLICATION).bind(id.as_str()).execute(self.connection()).await.map_err(failed("removing an application"))?;
        Ok(())
    }
}
