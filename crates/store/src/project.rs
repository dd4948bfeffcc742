//! Projects and hosts.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::tenant::Project;
use moorage_domain::{HostId, ProjectId, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;

statements! {
    INSERT = "INSERT INTO project (id, name, created_at) VALUES ($1, $2, $3)";
    ALL = "SELECT id, name, created_at FROM project WHERE gone_at IS NULL ORDER BY created_at, id";
    BY_ID_OR_NAME = "SELECT id, name, created_at FROM project WHERE (id = $1 OR name = $1) AND gone_at IS NULL";
    OF_INSTALLATION = "SELECT p.id, p.name, p.created_at FROM project p JOIN installation i ON i.value = p.id WHERE i.name = 'project'";
    LIVE_CLUSTERS = "SELECT count(*) AS count FROM cluster WHERE project_id = $1 AND gone_at IS NULL";
    END = "UPDATE project SET gone_at = $2, name = name || ' ' || id WHERE id = $1 AND gone_at IS NULL";
    INSERT_HOST = "INSERT INTO host (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
    SET_ENFORCEMENT = "UPDATE host SET enforcement = $2 WHERE id = $1";
    ENFORCEMENT = "SELECT enforcement FROM host WHERE id = $1";
}

fn read(row: &AnyRow) -> StoreResult<Project> {
    Ok(Project {
        id: ProjectId::parse(row.get("id")).map_err(|e| unreadable("project", e))?,
        name: row.get("name"),
        created_at: Timestamp(row.get("created_at")),
    })
}

/// Queries about projects.
#[allow(async_fn_in_trait)]
pub trait Projects: Rows {
    /// Every project, the oldest first.
    async fn projects(&mut self) -> StoreResult<Vec<Project>> {
        let rows = sqlx::query(ALL).fetch_all(self.connection()).await.map_err(failed("listing projects"))?;
        rows.iter().map(read).collect()
    }
    /// The project with this identifier or name.
    async fn project(&mut self, id_or_name: &str) -> StoreResult<Option<Project>> {
        let query = sqlx::query(BY_ID_OR_NAME).bind(id_or_name);
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading a project"))?;
        row.as_ref().map(read).transpose()
    }
    /// The project that the first start made: the installation's own.
    async fn project_of_installation(&mut self) -> StoreResult<Option<Project>> {
        let row = sqlx::query(OF_INSTALLATION).fetch_optional(self.connection()).await.map_err(failed("reading a project"))?;
        row.as_ref().map(read).transpose()
    }
    /// How many clusters a project has.
    async fn live_clusters(&mut self, project: &ProjectId) -> StoreResult<u64> {
        let query = sqlx::query(LIVE_CLUSTERS).bind(project.as_str());
        let row = query.fetch_one(self.connection()).await.map_err(failed("counting clusters"))?;
        Ok(u64::try_from(row.get::<i64, _>("count")).unwrap_or(0))
    }
    /// What binds on a host, as its server has noted it; none before its server has.
    async fn enforcement_on(&mut self, host: &HostId) -> StoreResult<Option<String>> {
        let query = sqlx::query(ENFORCEMENT).bind(host.as_str());
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading what binds on a host"))?;
        Ok(row.and_then(|row| row.get("enforcement")))
    }
}
impl<R: Rows> Projects for R {}

impl UnitOfWork {
    /// Makes a project.
    pub async fn insert_project(&mut self, id: &ProjectId, name: &str, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(INSERT).bind(id.as_str()).bind(name).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("making a project"))?;
        Ok(())
    }
    /// Ends a project: its row stays for what happened in it, its name is free again.
    pub async fn end_project(&mut self, id: &ProjectId, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(END).bind(id.as_str()).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("ending a project"))?;
        Ok(())
    }
    /// Notes a host.
    pub async fn insert_host(&mut self, id: &HostId, name: &str, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(INSERT_HOST).bind(id.as_str()).bind(name).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("noting a host"))?;
        Ok(())
    }
    /// Notes what binds on a host.
    pub async fn set_enforcement(&mut self, host: &HostId, enforcement: &str) -> StoreResult<()> {
        let query = sqlx::query(SET_ENFORCEMENT).bind(host.as_str()).bind(enforcement);
        query.execute(self.connection()).await.map_err(failed("noting what binds on a host"))?;
        Ok(())
    }
}
