//! What the examples of the families' documents assume to be there.

use crate::command::{NewEnvironment, NewPlan, NewTeam};
use crate::{App, fresh, now, problem};
use moorage_domain::engine::EngineName;
use moorage_domain::plan::Stage;
use moorage_domain::tenant::{Actor, Role};
use moorage_domain::{Problem, ProblemCode, UserId};
use moorage_secrets::{SecretString, hash_password};
use moorage_store::{Accounts, NewAccount, Plans};

/// The user of the Globo document's examples, whose password everybody knows.
const GLOBO_USER: (&str, &str, &str) = ("admin", "123456", "admin@admin.com");
/// Databases on one cluster of the plan `small`, as in the original's sample data.
const SMALL_CAPACITY: u32 = 10;

impl App {
    /// Makes sure the sample data is there: user `admin`, environment 1 `laboratory`, plan 1 `small`. It has a password that everybody
    /// knows, so nobody but this machine may reach the server. Repeating makes nothing twice.
    pub async fn load_sample_data(&self, actor: &Actor) -> Result<(), Problem> {
        if !actor.administers_installation() {
            return Err(Problem::new(ProblemCode::Forbidden, "Sample data is loaded by the administrators of the installation."));
        }
        if !self.parts.on_loopback {
            return Err(Problem::new(ProblemCode::Forbidden, "The server can be reached from other machines.")
                .detail("Sample data comes with an account whose password everybody knows.")
                .hint("Load it into a server that listens on 127.0.0.1 only."));
        }
        let user = self.sample_user(actor).await?;
        let (environments, plans, teams) = {
            let mut look = self.parts.store.look().await.map_err(problem::store)?;
            let environments = look.environments(&actor.project).await.map_err(problem::store)?;
            (
                environments,
                look.plans(&actor.project).await.map_err(problem::store)?,
                look.teams(&actor.project).await.map_err(problem::store)?,
            )
        };
        if !environments.iter().any(|environment| environment.name == "laboratory") {
            let laboratory = NewEnvironment { name: "laboratory".into(), stage: Stage::Development, subnet: None };
            self.create_environment(actor, laboratory).await?;
        }
        if !plans.iter().any(|plan| plan.name == "small") {
            let installed = self.installations().await?;
            let engine = installed.iter().map(|installation| installation.engine).min_by_key(|engine| *engine != EngineName::MariaDb);
            let small = NewPlan {
                name: "small".into(),
                description: "A small database on a shared cluster".into(),
                engine: engine.unwrap_or(EngineName::MariaDb),
                server_type: "db1v1m2".into(),
                size_gb: 16,
                capacity: SMALL_CAPACITY,
                highly_available: false,
                environments: vec!["laboratory".into()],
            };
            self.create_plan(actor, small).await?;
        }
        if !teams.iter().any(|team| team.name == "my team") {
            let team = NewTeam {
                name: "my team".into(),
                email: Some(GLOBO_USER.2.into()),
                administers: true,
                allocation_limit: 0,
                members: vec![user],
            };
            self.create_team(actor, team).await?;
        }
        Ok(())
    }

    /// The user of the examples; its password is shorter than one may be otherwise.
    async fn sample_user(&self, actor: &Actor) -> Result<String, Problem> {
        let (name, password, email) = GLOBO_USER;
        let hash = tokio::task::spawn_blocking(move || hash_password(&SecretString::from(password))).await;
        let hash = hash.map_err(|error| problem::internal(&error))?.map_err(|error| problem::internal(&error))?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        match uow.user(name).await.map_err(problem::store)? {
            Some(user) if user.project == actor.project => {}
            Some(_) => return Err(Problem::new(ProblemCode::NameTaken, format!("There is a user '{name}' in another project."))),
            None => {
                let id = UserId::from_bits(fresh());
                let role = Role::Administrator;
                let new = NewAccount { id: &id, project: &actor.project, name, email, password_hash: &hash, role };
                uow.insert_account(&new, now()).await.map_err(problem::store)?;
                uow.commit().await.map_err(problem::store)?;
            }
        }
        Ok(name.to_owned())
    }
}
