//! Databases that were asked for by a plan, as the people who may see them see them.

use crate::cluster::unreadable;
use crate::database::{read_credential, read_database};
use crate::statement::statements;
use crate::{Rows, StoreError, StoreResult, UnitOfWork, failed};
use moorage_domain::allocation::{Allocated, Allocation, FormerDatabase, Sight};
use moorage_domain::database::Credential;
use moorage_domain::engine::EngineName;
use moorage_domain::service_state::ServiceState;
use moorage_domain::{ApplicationId, ClusterId, DatabaseId, EnvironmentId, HostId, PlanId, ProjectId, TeamId, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::net::Ipv4Addr;

/// Who may see a database: its team, unless it is in quarantine; some see all of the project.
macro_rules! visible {
    () => {
        "a.project_id = $1 AND (CAST($2 AS TEXT) IS NULL OR (d.quarantined_at IS NULL
         AND a.team_id IN (SELECT m.team_id FROM team_member m WHERE m.account_id = $2))) "
    };
}
macro_rules! filtered {
    () => {
        concat!(
            visible!(),
            "AND (CAST($3 AS TEXT) IS NULL OR a.name = $3) AND (CAST($4 AS TEXT) IS NULL OR a.environment_id = $4)
             AND (CAST($5 AS TEXT) IS NULL OR a.plan_id = $5) AND (CAST($6 AS TEXT) IS NULL OR a.team_id = $6)
             AND (CAST($7 AS TEXT) IS NULL OR a.application_id = $7) AND (CAST($8 AS TEXT) IS NULL OR c.engine = $8) "
        )
    };
}
macro_rules! select_allocated {
    ($($rest:expr),*) => {
        concat!(
            "SELECT d.id, d.project_id, d.cluster_id, d.name, d.character_set, d.locale, d.is_first, d.stage, d.quarantined_at, d.quarantined_by,
             d.used_bytes, d.created_at, d.created_by, a.plan_id, a.environment_id, a.team_id, a.application_id, a.description, a.protected,
             c.engine, c.state, e.address, e.port
             FROM allocation a JOIN database d ON d.id = a.database_id JOIN cluster c ON c.id = d.cluster_id
             LEFT JOIN endpoint e ON e.cluster_id = d.cluster_id AND e.instance_id IS NULL WHERE ",
            $($rest),*
        )
    };
}
macro_rules! page {
    ($order:literal) => {
        select_allocated!(filtered!(), "ORDER BY ", $order, " LIMIT $9 OFFSET $10")
    };
}
macro_rules! of_visible_credentials {
    () => {
        concat!(
            "FROM credential k JOIN allocation a ON a.database_id = k.database_id JOIN database d ON d.id = a.database_id WHERE ",
            visible!()
        )
    };
}

statements! {
    INSERT = "INSERT INTO allocation (database_id, project_id, name, plan_id, environment_id, team_id, application_id, description, protected)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    CHANGE = "UPDATE allocation SET team_id = $2, application_id = $3, description = $4, protected = $5 WHERE database_id = $1";
    GET = select_allocated!("a.database_id = $1");
    COUNT = concat!("SELECT count(*) AS n FROM allocation a JOIN database d ON d.id = a.database_id JOIN cluster c ON c.id = d.cluster_id WHERE ", filtered!());
    BY_AGE = page!("d.created_at, d.id");
    BY_AGE_DESC = page!("d.created_at DESC, d.id DESC");
    BY_NAME = page!("a.name, d.id");
    BY_NAME_DESC = page!("a.name DESC, d.id DESC");
    SAME_NAME = select_allocated!("a.project_id = $1 AND a.name = $2 ORDER BY d.created_at");
    DUE = select_allocated!("d.quarantined_at <= $1 AND d.stage = 'made' AND a.protected = 0 AND c.host_id = $2 ORDER BY d.quarantined_at LIMIT 100");
    OF_TEAM = "SELECT count(*) AS n FROM allocation WHERE team_id = $1 AND environment_id = $2";
    FOR_APPLICATION = "SELECT count(*) AS n FROM allocation WHERE application_id = $1";
    COUNT_CREDENTIALS = concat!("SELECT count(*) AS n ", of_visible_credentials!());
    CREDENTIALS = concat!("SELECT k.id, k.database_id, k.cluster_id, k.user_name, k.privileges, k.stage, k.sealed_password, k.sealed_next, k.created_at ",
        of_visible_credentials!(), "ORDER BY k.created_at, k.id LIMIT $3 OFFSET $4");
    SHARE = "INSERT INTO plan_cluster (cluster_id, plan_id, environment_id) VALUES ($1, $2, $3)";
    SHARED_HERE = "SELECT c.id FROM plan_cluster p JOIN plan l ON l.id = p.plan_id JOIN cluster c ON c.id = p.cluster_id
        WHERE c.host_id = $1 AND c.state = 'RUNNING' AND l.active = 1
        AND l.capacity > (SELECT count(*) FROM database d WHERE d.cluster_id = c.id)";
    IS_SHARED = "SELECT count(*) AS n FROM plan_cluster WHERE cluster_id = $1";
    SHARED = "SELECT p.cluster_id, (SELECT count(*) FROM database d WHERE d.cluster_id = p.cluster_id) AS used
        FROM plan_cluster p JOIN cluster c ON c.id = p.cluster_id
        WHERE p.plan_id = $1 AND p.environment_id = $2 AND c.gone_at IS NULL AND c.state NOT IN ('FAILED', 'TERMINATING') ORDER BY used, p.cluster_id";
    HISTORY = "SELECT id, project_id, database_id, name, engine, cluster_name, plan, environment, team, application, description, used_bytes,
        created_at, deleted_at FROM database_history WHERE project_id = $1 ORDER BY deleted_at DESC, id DESC LIMIT $2 OFFSET $3";
    COUNT_HISTORY = "SELECT count(*) AS n FROM database_history WHERE project_id = $1";
    GET_HISTORY = "SELECT id, project_id, database_id, name, engine, cluster_name, plan, environment, team, application, description, used_bytes,
        created_at, deleted_at FROM database_history WHERE id = $1";
    REMEMBER = "INSERT INTO database_history (id, project_id, database_id, name, engine, cluster_name, plan, environment, team, application, description,
        used_bytes, created_at, deleted_at)
        SELECT d.id, a.project_id, d.id, a.name, c.engine, c.name, p.name, v.name, t.name, x.name, a.description, d.used_bytes, d.created_at, CAST($2 AS BIGINT)
        FROM allocation a JOIN database d ON d.id = a.database_id JOIN cluster c ON c.id = d.cluster_id JOIN plan p ON p.id = a.plan_id
        JOIN environment v ON v.id = a.environment_id LEFT JOIN team t ON t.id = a.team_id LEFT JOIN application x ON x.id = a.application_id
        WHERE a.database_id = $1 AND d.stage <> 'being-made'";
    REMOVE = "DELETE FROM allocation WHERE database_id = $1";
    REMOVE_SHARE = "DELETE FROM plan_cluster WHERE cluster_id = $1";
}

/// The order of a list of databases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AllocationSort {
    /// The oldest first.
    #[default]
    Age,
    /// By name.
    Name,
}

/// Which databases of those that somebody may see.
#[derive(Clone, Debug, Default)]
pub struct AllocationFilter {
    /// Only this name.
    pub name: Option<String>,
    /// Only in this environment.
    pub environment: Option<EnvironmentId>,
    /// Only of this plan.
    pub plan: Option<PlanId>,
    /// Only of this team.
    pub team: Option<TeamId>,
    /// Only for this application.
    pub application: Option<ApplicationId>,
    /// Only of this engine.
    pub engine: Option<EngineName>,
}

fn optional<T, E: ToString>(row: &AnyRow, column: &str, parse: impl Fn(&str) -> Result<T, E>) -> StoreResult<Option<T>> {
    let text: Option<String> = row.get(column);
    text.map(|text| parse(&text).map_err(|e| unreadable("allocation", e))).transpose()
}

fn read(row: &AnyRow) -> StoreResult<Allocated> {
    let broken = |e: &dyn ToString| -> StoreError { unreadable("allocation", e.to_string()) };
    let database = read_database(row)?;
    let address: Option<Ipv4Addr> = optional(row, "address", str::parse)?;
    let port: Option<i64> = row.get("port");
    Ok(Allocated {
        allocation: Allocation {
            database: database.id.clone(),
            project: database.project.clone(),
            plan: PlanId::parse(row.get("plan_id")).map_err(|e| broken(&e))?,
            environment: EnvironmentId::parse(row.get("environment_id")).map_err(|e| broken(&e))?,
            team: optional(row, "team_id", TeamId::parse)?,
            application: optional(row, "application_id", ApplicationId::parse)?,
            description: row.get("description"),
            protected: row.get::<i64, _>("protected") == 1,
        },
        database,
        credentials: Vec::new(),
        engine: EngineName::parse(row.get("engine")).ok_or_else(|| broken(&"unknown engine"))?,
        cluster_state: ServiceState::parse(row.get("state")).ok_or_else(|| broken(&"unknown state"))?,
        endpoint: address.zip(port.and_then(|port| u16::try_from(port).ok())),
    })
}

fn read_history(row: &AnyRow) -> StoreResult<FormerDatabase> {
    Ok(FormerDatabase {
        id: DatabaseId::parse(row.get("id")).map_err(|e| unreadable("history", e))?,
        project: ProjectId::parse(row.get("project_id")).map_err(|e| unreadable("history", e))?,
        name: row.get("name"),
        engine: EngineName::parse(row.get("engine")).ok_or_else(|| unreadable("history", "unknown engine"))?,
        cluster_name: row.get("cluster_name"),
        plan: row.get("plan"),
        environment: row.get("environment"),
        team: row.get("team"),
        application: row.get("application"),
        description: row.get("description"),
        used_bytes: row.get::<Option<i64>, _>("used_bytes").and_then(|bytes| u64::try_from(bytes).ok()),
        created_at: Timestamp(row.get("created_at")),
        deleted_at: Timestamp(row.get("deleted_at")),
    })
}

fn count(row: &AnyRow) -> u64 {
    u64::try_from(row.get::<i64, _>("n")).unwrap_or_default()
}

/// Queries about allocations.
#[allow(async_fn_in_trait)]
pub trait Allocations: Rows + Sized {
    /// One database, whoever may see it.
    async fn allocated(&mut self, database: &DatabaseId) -> StoreResult<Option<Allocated>> {
        let query = sqlx::query(GET).bind(database.as_str());
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading an allocation"))?;
        let Some(row) = row else { return Ok(None) };
        self.with_credentials(vec![read(&row)?]).await.map(|mut found| found.pop())
    }
    /// A page of the databases that somebody may see, and how many there are.
    async fn allocations(
        &mut self,
        sight: &Sight,
        filter: &AllocationFilter,
        sort: AllocationSort,
        descending: bool,
        offset: u64,
        limit: u64,
    ) -> StoreResult<(Vec<Allocated>, u64)> {
        let page = match (sort, descending) {
            (AllocationSort::Age, false) => BY_AGE,
            (AllocationSort::Age, true) => BY_AGE_DESC,
            (AllocationSort::Name, false) => BY_NAME,
            (AllocationSort::Name, true) => BY_NAME_DESC,
        };
        let bound = |text: &'static str| {
            sqlx::query(text)
                .bind(sight.project.as_str())
                .bind(sight.member.as_ref().map(|user| user.as_str()))
                .bind(&filter.name)
                .bind(filter.environment.as_ref().map(EnvironmentId::as_str))
                .bind(filter.plan.as_ref().map(PlanId::as_str))
                .bind(filter.team.as_ref().map(TeamId::as_str))
                .bind(filter.application.as_ref().map(ApplicationId::as_str))
                .bind(filter.engine.map(EngineName::as_str))
        };
        let total = bound(COUNT).fetch_one(self.connection()).await.map_err(failed("counting allocations"))?;
        let query = bound(page).bind(limit.cast_signed()).bind(offset.cast_signed());
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing allocations"))?;
        let found = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
        Ok((self.with_credentials(found).await?, count(&total)))
    }
    #[doc(hidden)]
    async fn with_credentials(&mut self, mut found: Vec<Allocated>) -> StoreResult<Vec<Allocated>> {
        for allocated in &mut found {
            allocated.credentials = crate::Databases::credentials_of(self, &allocated.database.id).await?;
        }
        Ok(found)
    }
    /// A project's databases of that name in all environments, those in quarantine included.
    async fn allocations_named(&mut self, project: &ProjectId, name: &str) -> StoreResult<Vec<Allocated>> {
        let rows = sqlx::query(SAME_NAME).bind(project.as_str()).bind(name).fetch_all(self.connection()).await;
        rows.map_err(failed("looking for a name"))?.iter().map(read).collect()
    }
    /// Databases on a host that have been in quarantine since before then.
    async fn quarantined_before(&mut self, host: &moorage_domain::HostId, then: Timestamp) -> StoreResult<Vec<Allocated>> {
        let rows = sqlx::query(DUE).bind(then.0).bind(host.as_str()).fetch_all(self.connection()).await;
        rows.map_err(failed("looking for what is to be removed"))?.iter().map(read).collect()
    }
    /// How many databases a team has in an environment.
    async fn allocated_to(&mut self, team: &TeamId, environment: &EnvironmentId) -> StoreResult<u64> {
        let query = sqlx::query(OF_TEAM).bind(team.as_str()).bind(environment.as_str());
        Ok(count(&query.fetch_one(self.connection()).await.map_err(failed("counting allocations"))?))
    }
    /// How many databases are for an application.
    async fn allocated_for(&mut self, application: &ApplicationId) -> StoreResult<u64> {
        let query = sqlx::query(FOR_APPLICATION).bind(application.as_str());
        Ok(count(&query.fetch_one(self.connection()).await.map_err(failed("counting allocations"))?))
    }
    /// A page of the credentials of databases that somebody may see, and how many there are.
    async fn visible_credentials(&mut self, sight: &Sight, offset: u64, limit: u64) -> StoreResult<(Vec<Credential>, u64)> {
        let bound =
            |text: &'static str| sqlx::query(text).bind(sight.project.as_str()).bind(sight.member.as_ref().map(|user| user.as_str()));
        let total = bound(COUNT_CREDENTIALS).fetch_one(self.connection()).await.map_err(failed("counting credentials"))?;
        let query = bound(CREDENTIALS).bind(limit.cast_signed()).bind(offset.cast_signed());
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing credentials"))?;
        Ok((rows.iter().map(read_credential).collect::<StoreResult<_>>()?, count(&total)))
    }
    /// The clusters that a plan's databases in an environment share, with how many are in each; the emptiest first.
    async fn shared_clusters(&mut self, plan: &PlanId, environment: &EnvironmentId) -> StoreResult<Vec<(ClusterId, u64)>> {
        let query = sqlx::query(SHARED).bind(plan.as_str()).bind(environment.as_str());
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing shared clusters"))?;
        let pair = |row: &AnyRow| {
            let cluster = ClusterId::parse(row.get("cluster_id")).map_err(|e| unreadable("shared cluster", e))?;
            Ok((cluster, u64::try_from(row.get::<i64, _>("used")).unwrap_or_default()))
        };
        rows.iter().map(pair).collect()
    }
    /// The running clusters of a host that have room for one more database of an active plan.
    async fn clusters_with_room(&mut self, host: &HostId) -> StoreResult<Vec<ClusterId>> {
        let rows = sqlx::query(SHARED_HERE).bind(host.as_str()).fetch_all(self.connection()).await;
        let rows = rows.map_err(failed("listing shared clusters"))?;
        rows.iter().map(|row| ClusterId::parse(row.get("id")).map_err(|e| unreadable("shared cluster", e))).collect()
    }
    /// Whether a cluster is shared by the databases of a plan.
    async fn is_shared(&mut self, cluster: &ClusterId) -> StoreResult<bool> {
        let query = sqlx::query(IS_SHARED).bind(cluster.as_str());
        Ok(count(&query.fetch_one(self.connection()).await.map_err(failed("reading a shared cluster"))?) > 0)
    }
    /// A page of a project's former databases, the last removed first, and how many there are.
    async fn former_databases(&mut self, project: &ProjectId, offset: u64, limit: u64) -> StoreResult<(Vec<FormerDatabase>, u64)> {
        let total = sqlx::query(COUNT_HISTORY).bind(project.as_str()).fetch_one(self.connection()).await;
        let total = count(&total.map_err(failed("counting former databases"))?);
        let query = sqlx::query(HISTORY).bind(project.as_str()).bind(limit.cast_signed()).bind(offset.cast_signed());
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing former databases"))?;
        Ok((rows.iter().map(read_history).collect::<StoreResult<_>>()?, total))
    }
    /// One of them.
    async fn former_database(&mut self, id: &str) -> StoreResult<Option<FormerDatabase>> {
        let row = sqlx::query(GET_HISTORY).bind(id).fetch_optional(self.connection()).await.map_err(failed("reading a former database"))?;
        row.as_ref().map(read_history).transpose()
    }
}
impl<R: Rows> Allocations for R {}

impl UnitOfWork {
    /// Notes that a database, whose row is there, was asked for by a plan; its name is taken in its environment.
    pub async fn insert_allocation(&mut self, new: &Allocation, name: &str) -> StoreResult<()> {
        let query = sqlx::query(INSERT)
            .bind(new.database.as_str())
            .bind(new.project.as_str())
            .bind(name)
            .bind(new.plan.as_str())
            .bind(new.environment.as_str())
            .bind(new.team.as_ref().map(TeamId::as_str))
            .bind(new.application.as_ref().map(ApplicationId::as_str))
            .bind(&new.description)
            .bind(i64::from(new.protected));
        query.execute(self.connection()).await.map_err(failed("making an allocation"))?;
        Ok(())
    }
    /// Changes whose a database is, what it is for, and whether it is protected.
    pub async fn change_allocation(&mut self, changed: &Allocation) -> StoreResult<()> {
        let query = sqlx::query(CHANGE)
            .bind(changed.database.as_str())
            .bind(changed.team.as_ref().map(TeamId::as_str))
            .bind(changed.application.as_ref().map(ApplicationId::as_str))
            .bind(&changed.description)
            .bind(i64::from(changed.protected));
        query.execute(self.connection()).await.map_err(failed("changing an allocation"))?;
        Ok(())
    }
    /// Lets the databases of a plan in an environment share a cluster.
    pub async fn share_cluster(&mut self, cluster: &ClusterId, plan: &PlanId, environment: &EnvironmentId) -> StoreResult<()> {
        let query = sqlx::query(SHARE).bind(cluster.as_str()).bind(plan.as_str()).bind(environment.as_str());
        query.execute(self.connection()).await.map_err(failed("sharing a cluster"))?;
        Ok(())
    }
    /// Forgets the allocation of a database that goes, and remembers that there was one.
    pub(crate) async fn end_allocation(&mut self, database: &DatabaseId, now: Timestamp) -> StoreResult<()> {
        for query in [sqlx::query(REMEMBER).bind(database.as_str()).bind(now.0), sqlx::query(REMOVE).bind(database.as_str())] {
            query.execute(self.connection()).await.map_err(failed("ending an allocation"))?;
        }
        Ok(())
    }
    pub(crate) async fn end_sharing(&mut self, cluster: &ClusterId) -> StoreResult<()> {
        sqlx::query(REMOVE_SHARE).bind(cluster.as_str()).execute(self.connection()).await.map_err(failed("ending a shared cluster"))?;
        Ok(())
    }
}
