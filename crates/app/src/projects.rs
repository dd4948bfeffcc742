//! Projects: the tenants of an installation.

use crate::{App, fresh, now, problem};
use moorage_domain::tenant::{Actor, Project};
use moorage_domain::{Problem, ProblemCode, ProjectId};
use moorage_store::{Accounts, Projects, Rows};

fn not_found() -> Problem {
    Problem::new(ProblemCode::ProjectNotFound, "There is no such project.").hint("List the projects to see which there are.")
}

/// A project the actor may see: its own, and every one for those who administer the installation.
pub(crate) async fn find(rows: &mut impl Rows, actor: &Actor, id_or_name: &str) -> Result<Project, Problem> {
    let found = rows.project(id_or_name).await.map_err(problem::store)?;
    found.filter(|project| project.id == actor.project || actor.administers_installation()).ok_or_else(not_found)
}

fn for_the_installation(actor: &Actor) -> Result<(), Problem> {
    if actor.administers_installation() {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::Forbidden, "Projects are managed by the administrators of the installation.")
        .hint("Ask an administrator of the installation's own project."))
}

impl App {
    /// The projects the caller may see, the oldest first.
    pub async fn projects(&self, actor: &Actor) -> Result<Vec<Project>, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let all = look.projects().await.map_err(problem::store)?;
        Ok(all.into_iter().filter(|project| project.id == actor.project || actor.administers_installation()).collect())
    }

    /// One project.
    pub async fn project(&self, actor: &Actor, id_or_name: &str) -> Result<Project, Problem> {
        find(&mut self.parts.store.look().await.map_err(problem::store)?, actor, id_or_name).await
    }

    /// Makes a project.
    pub async fn create_project(&self, actor: &Actor, name: &str) -> Result<Project, Problem> {
        for_the_installation(actor)?;
        crate::users::check_name(name)?;
        let project = Project { id: ProjectId::from_bits(fresh()), name: name.to_owned(), created_at: now() };
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        uow.insert_project(&project.id, name, project.created_at).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)?;
        Ok(project)
    }

    /// Ends a project without clusters; its users and their credentials go with it.
    pub async fn remove_project(&self, actor: &Actor, id_or_name: &str) -> Result<(), Problem> {
        for_the_installation(actor)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let project = find(&mut uow, actor, id_or_name).await?;
        if uow.project_of_installation().await.map_err(problem::store)?.is_some_and(|first| first.id == project.id) {
            return Err(Problem::new(ProblemCode::Forbidden, "The installation's own project cannot be removed."));
        }
        let clusters = uow.live_clusters(&project.id).await.map_err(problem::store)?;
        if clusters > 0 {
            return Err(Problem::new(ProblemCode::ProjectNotEmpty, format!("The project still has {clusters} clusters."))
                .hint("Terminate them first."));
        }
        for user in uow.users(Some(&project.id), 0, u64::from(u32::MAX)).await.map_err(problem::store)? {
            uow.remove_account(&user.id).await.map_err(problem::store)?;
        }
        uow.end_project(&project.id, now()).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)
    }
}
