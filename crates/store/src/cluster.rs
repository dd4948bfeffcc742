//! Clusters.

use crate::statement::statements;
use crate::{Rows, StoreError, StoreResult, UnitOfWork, failed};
use moorage_domain::cluster::{Cluster, ClusterSpec, Wish};
use moorage_domain::database::Stage;
use moorage_domain::decide::admission::Promise;
use moorage_domain::decide::status::{StatusInput, decide};
use moorage_domain::engine::{EngineName, Version};
use moorage_domain::instance::Instance;
use moorage_domain::service_state::ServiceState;
use moorage_domain::{ClusterId, HostId, OperationId, ProjectId, Timestamp};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

macro_rules! select_cluster {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.project_id, c.host_id, c.name, c.engine, c.version, c.wish, c.term, c.spec, c.state, c.state_reason, ",
            "c.created_at, c.created_by, c.modified_at, c.modified_by, l.operation_id ",
            "FROM cluster c LEFT JOIN cluster_lock l ON l.cluster_id = c.id ",
            $rest
        )
    };
}
/// A condition on the filter's parameters. Those a list is asked for most are compared plainly where they are given, so that an index
/// finds their rows; a text that allows for both would have every row looked at.
macro_rules! filter {
    ($engine:ident, $name:ident, $state:ident) => {
        concat!(
            "WHERE c.project_id = $1 AND c.gone_at IS NULL AND ",
            filter!(@$engine "c.engine", "$2"),
            " AND ",
            filter!(@$name "c.name", "$3"),
            " AND ",
            filter!(@$state "c.state", "$4"),
            " AND ",
            filter!(@perhaps "c.database_name", "$5"),
            " "
        )
    };
    (@given $column:literal, $parameter:literal) => {
        concat!($column, " = ", $parameter)
    };
    (@absent $column:literal, $parameter:literal) => {
        concat!("CAST(", $parameter, " AS TEXT) IS NULL")
    };
    (@perhaps $column:literal, $parameter:literal) => {
        concat!("(CAST(", $parameter, " AS TEXT) IS NULL OR ", $column, " = ", $parameter, ")")
    };
}
macro_rules! count {
    ($engine:ident, $name:ident, $state:ident) => {
        concat!("SELECT count(*) AS n FROM cluster c ", filter!($engine, $name, $state))
    };
}
macro_rules! page {
    ($engine:ident, $column:literal, $direction:literal) => {
        concat!(
            select_cluster!(""),
            filter!($engine, absent, perhaps),
            "ORDER BY ",
            $column,
            $direction,
            ", c.id",
            $direction,
            " LIMIT $6 OFFSET $7"
        )
    };
}

statements! {
    INSERT = "INSERT INTO cluster (id, project_id, host_id, name, engine, version, wish, term, spec, database_name, state, created_at, created_by, modified_at, modified_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $12, $13)";
    GET = select_cluster!("WHERE c.id = $1 AND c.gone_at IS NULL");
    GET_IN_PROJECT = select_cluster!("WHERE c.project_id = $1 AND c.id = $2 AND c.gone_at IS NULL");
    GET_BY_NAME = select_cluster!("WHERE c.project_id = $1 AND c.name = $2 AND c.gone_at IS NULL");
    ALL = select_cluster!("WHERE c.gone_at IS NULL");
    ALL_OF_HOST = select_cluster!("WHERE c.host_id = $1 AND c.gone_at IS NULL ORDER BY c.id");
    SPECS_OF_HOST = "SELECT spec FROM cluster WHERE host_id = $1 AND gone_at IS NULL";
    NAMED = concat!(select_cluster!(""), filter!(perhaps, given, perhaps), "LIMIT $6 OFFSET $7");
    COUNT_NAMED = count!(perhaps, given, perhaps);
    COUNT = count!(absent, absent, absent);
    COUNT_STATE = count!(absent, absent, given);
    COUNT_ENGINE = count!(given, absent, absent);
    COUNT_ENGINE_STATE = count!(given, absent, given);
    PAGE_NAME_ASC = page!(absent, "c.name", " ASC");
    PAGE_NAME_DESC = page!(absent, "c.name", " DESC");
    PAGE_STATE_ASC = page!(absent, "c.state", " ASC");
    PAGE_STATE_DESC = page!(absent, "c.state", " DESC");
    PAGE_CREATED_ASC = page!(absent, "c.created_at", " ASC");
    PAGE_CREATED_DESC = page!(absent, "c.created_at", " DESC");
    ENGINE_PAGE_NAME_ASC = page!(given, "c.name", " ASC");
    ENGINE_PAGE_NAME_DESC = page!(given, "c.name", " DESC");
    ENGINE_PAGE_STATE_ASC = page!(given, "c.state", " ASC");
    ENGINE_PAGE_STATE_DESC = page!(given, "c.state", " DESC");
    ENGINE_PAGE_CREATED_ASC = page!(given, "c.created_at", " ASC");
    ENGINE_PAGE_CREATED_DESC = page!(given, "c.created_at", " DESC");
    SET_WISH = "UPDATE cluster SET wish = $2, modified_at = $3 WHERE id = $1";
    SET_TERM = "UPDATE cluster SET term = $2 WHERE id = $1 AND term < $2";
    SET_VERSION = "UPDATE cluster SET version = $2, modified_at = $3 WHERE id = $1";
    SET_SPEC = "UPDATE cluster SET spec = $2, modified_at = $3 WHERE id = $1";
    SET_MODIFIED_BY = "UPDATE cluster SET modified_by = $2, modified_at = $3 WHERE id = $1";
    SET_CREATION_FAILED = "UPDATE cluster SET creation_failed = $2, modified_at = $3 WHERE id = $1";
    SET_GONE = "UPDATE cluster SET wish = 'gone', state = 'TERMINATED', gone_at = $2, modified_at = $2 WHERE id = $1 AND gone_at IS NULL";
    IS_KNOWN = "SELECT count(*) AS count FROM cluster WHERE id = $1";
    STATUS_INPUT = "SELECT wish, creation_failed, state, state_reason, spec FROM cluster WHERE id = $1 AND gone_at IS NULL";
    SET_STATE = "UPDATE cluster SET state = $2, state_reason = $3 WHERE id = $1";
}

/// A cluster to be inserted.
#[derive(Debug)]
pub struct NewCluster<'a> {
    /// The row; state, reason and operation are ignored.
    pub cluster: &'a Cluster,
}

/// Order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterSort {
    /// By name.
    Name,
    /// By state.
    State,
    /// By time of creation.
    CreatedAt,
}

/// Which clusters of a project.
#[derive(Clone, Debug, Default)]
pub struct ClusterFilter {
    /// Only this engine.
    pub engine: Option<EngineName>,
    /// Only this name.
    pub name: Option<String>,
    /// Only this state.
    pub state: Option<ServiceState>,
    /// Only this first database.
    pub database_name: Option<String>,
}

/// A page and the total.
#[derive(Clone, Debug)]
pub struct ClusterPage {
    /// Rows of the page.
    pub rows: Vec<Cluster>,
    /// Rows in all.
    pub total: u64,
}

fn is_strict(spec: &str) -> StoreResult<bool> {
    let spec: ClusterSpec = serde_json::from_str(spec).map_err(|e| unreadable("cluster specification", e))?;
    Ok(spec.strict)
}

pub(crate) fn unreadable(what: &'static str, why: impl ToString) -> StoreError {
    StoreError::Unreadable { what, why: why.to_string() }
}

fn read(row: &AnyRow) -> StoreResult<Cluster> {
    let broken = |e: sqlx::Error| unreadable("cluster", e);
    let text = |name: &str| row.try_get::<String, _>(name).map_err(broken);
    let number = |name: &str| row.try_get::<i64, _>(name).map_err(broken);
    let spec: ClusterSpec = serde_json::from_str(&text("spec")?).map_err(|e| unreadable("cluster specification", e))?;
    Ok(Cluster {
        id: ClusterId::parse(&text("id")?).map_err(|e| unreadable("cluster", e))?,
        project: ProjectId::parse(&text("project_id")?).map_err(|e| unreadable("cluster", e))?,
        host: HostId::parse(&text("host_id")?).map_err(|e| unreadable("cluster", e))?,
        name: text("name")?,
        engine: EngineName::parse(&text("engine")?).ok_or_else(|| unreadable("cluster", "unknown engine"))?,
        version: Version::parse(&text("version")?).map_err(|e| unreadable("cluster", e))?,
        wish: Wish::parse(&text("wish")?).ok_or_else(|| unreadable("cluster", "unknown wish"))?,
        term: u64::try_from(number("term")?).unwrap_or(0),
        spec,
        state: ServiceState::parse(&text("state")?).ok_or_else(|| unreadable("cluster", "unknown state"))?,
        state_reason: row.try_get("state_reason").map_err(broken)?,
        operation: row.try_get::<Option<String>, _>("operation_id").map_err(broken)?.and_then(|id| OperationId::parse(&id).ok()),
        created_at: Timestamp(number("created_at")?),
        created_by: text("created_by")?,
        modified_at: Timestamp(number("modified_at")?),
        modified_by: text("modified_by")?,
    })
}

/// Gives every live cluster the rows of the database it was made with, of which older stores know by its specification only.
pub(crate) async fn insert_first_databases(connection: &mut AnyConnection) -> StoreResult<()> {
    let rows = sqlx::query(ALL).fetch_all(&mut *connection).await.map_err(failed("listing clusters"))?;
    for row in &rows {
        let cluster = read(row)?;
        crate::database::insert(connection, &crate::database::first_of(&cluster, Stage::Made)).await?;
        crate::database::insert_credential(connection, &crate::database::owner_of(&cluster, Stage::Made)).await?;
    }
    Ok(())
}

/// The statements that count and that read a page of what a filter finds.
fn list_statements(filter: &ClusterFilter, sort: ClusterSort, descending: bool) -> (&'static str, &'static str) {
    if filter.name.is_some() {
        return (COUNT_NAMED, NAMED);
    }
    let count = match (filter.engine.is_some(), filter.state.is_some()) {
        (false, false) => COUNT,
        (false, true) => COUNT_STATE,
        (true, false) => COUNT_ENGINE,
        (true, true) => COUNT_ENGINE_STATE,
    };
    let page = match (filter.engine.is_some(), sort, descending) {
        (false, ClusterSort::Name, false) => PAGE_NAME_ASC,
        (false, ClusterSort::Name, true) => PAGE_NAME_DESC,
        (false, ClusterSort::State, false) => PAGE_STATE_ASC,
        (false, ClusterSort::State, true) => PAGE_STATE_DESC,
        (false, ClusterSort::CreatedAt, false) => PAGE_CREATED_ASC,
        (false, ClusterSort::CreatedAt, true) => PAGE_CREATED_DESC,
        (true, ClusterSort::Name, false) => ENGINE_PAGE_NAME_ASC,
        (true, ClusterSort::Name, true) => ENGINE_PAGE_NAME_DESC,
        (true, ClusterSort::State, false) => ENGINE_PAGE_STATE_ASC,
        (true, ClusterSort::State, true) => ENGINE_PAGE_STATE_DESC,
        (true, ClusterSort::CreatedAt, false) => ENGINE_PAGE_CREATED_ASC,
        (true, ClusterSort::CreatedAt, true) => ENGINE_PAGE_CREATED_DESC,
    };
    (count, page)
}

/// Queries about clusters.
#[allow(async_fn_in_trait)]
pub trait Clusters: Rows {
    /// The live cluster with this identifier, whoever's it is.
    async fn cluster(&mut self, id: &ClusterId) -> StoreResult<Option<Cluster>> {
        let row = sqlx::query(GET).bind(id.as_str()).fetch_optional(self.connection()).await.map_err(failed("reading a cluster"))?;
        row.as_ref().map(read).transpose()
    }
    /// Whether there is, or ever was, a cluster with this identifier.
    async fn is_cluster_known(&mut self, id: &ClusterId) -> StoreResult<bool> {
        let row = sqlx::query(IS_KNOWN).bind(id.as_str()).fetch_one(self.connection()).await.map_err(failed("looking for a cluster"))?;
        Ok(row.get::<i64, _>("count") > 0)
    }
    /// The project's live cluster with this identifier.
    async fn cluster_of(&mut self, project: &ProjectId, id: &str) -> StoreResult<Option<Cluster>> {
        let query = sqlx::query(GET_IN_PROJECT).bind(project.as_str()).bind(id);
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading a cluster"))?;
        row.as_ref().map(read).transpose()
    }
    /// The project's live cluster with this name.
    async fn cluster_named(&mut self, project: &ProjectId, name: &str) -> StoreResult<Option<Cluster>> {
        let query = sqlx::query(GET_BY_NAME).bind(project.as_str()).bind(name);
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading a cluster"))?;
        row.as_ref().map(read).transpose()
    }
    /// Every live cluster of a host.
    async fn clusters_of_host(&mut self, host: &HostId) -> StoreResult<Vec<Cluster>> {
        let rows = sqlx::query(ALL_OF_HOST).bind(host.as_str()).fetch_all(self.connection()).await.map_err(failed("listing clusters"))?;
        rows.iter().map(read).collect()
    }
    /// What is promised to all live clusters of a host.
    async fn promised_on(&mut self, host: &HostId) -> StoreResult<Promise> {
        let rows = sqlx::query(SPECS_OF_HOST).bind(host.as_str()).fetch_all(self.connection()).await;
        let rows = rows.map_err(failed("adding up what is promised"))?;
        let promise = |row: &AnyRow| {
            let text: String = row.try_get("spec").map_err(|e| unreadable("cluster specification", e))?;
            let spec: ClusterSpec = serde_json::from_str(&text).map_err(|e| unreadable("cluster specification", e))?;
            Ok(Promise::to(&spec))
        };
        rows.iter().map(promise).sum()
    }
    /// A page of a project's live clusters.
    async fn clusters_page(
        &mut self,
        project: &ProjectId,
        filter: &ClusterFilter,
        sort: ClusterSort,
        descending: bool,
        offset: u64,
        limit: u64,
    ) -> StoreResult<ClusterPage> {
        let (count, page) = list_statements(filter, sort, descending);
        let engine = filter.engine.map(EngineName::as_str);
        let state = filter.state.map(ServiceState::as_str);
        let total: i64 = sqlx::query(count)
            .bind(project.as_str())
            .bind(engine)
            .bind(&filter.name)
            .bind(state)
            .bind(&filter.database_name)
            .fetch_one(self.connection())
            .await
            .and_then(|row| row.try_get("n"))
            .map_err(failed("counting clusters"))?;
        let rows = sqlx::query(page)
            .bind(project.as_str())
            .bind(engine)
            .bind(&filter.name)
            .bind(state)
            .bind(&filter.database_name)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(i64::try_from(offset).unwrap_or(i64::MAX))
            .fetch_all(self.connection())
            .await
            .map_err(failed("listing clusters"))?;
        Ok(ClusterPage { rows: rows.iter().map(read).collect::<StoreResult<_>>()?, total: u64::try_from(total).unwrap_or(0) })
    }
}
impl<R: Rows> Clusters for R {}

impl UnitOfWork {
    /// Inserts a cluster with its first database and that one's owner; its state is projected when the operation that makes it is
    /// submitted.
    pub async fn insert_cluster(&mut self, new: &NewCluster<'_>) -> StoreResult<()> {
        let cluster = new.cluster;
        let spec = serde_json::to_string(&cluster.spec).map_err(|e| unreadable("cluster specification", e))?;
        sqlx::query(INSERT)
            .bind(cluster.id.as_str())
            .bind(cluster.project.as_str())
            .bind(cluster.host.as_str())
            .bind(&cluster.name)
            .bind(cluster.engine.as_str())
            .bind(cluster.version.to_string())
            .bind(cluster.wish.as_str())
            .bind(i64::try_from(cluster.term).unwrap_or(i64::MAX))
            .bind(spec)
            .bind(&cluster.spec.database.name)
            .bind(cluster.state.as_str())
            .bind(cluster.created_at.0)
            .bind(&cluster.created_by)
            .execute(self.connection())
            .await
            .map_err(failed("inserting a cluster"))?;
        self.insert_database(&crate::database::first_of(cluster, Stage::BeingMade)).await?;
        self.insert_credential(&crate::database::owner_of(cluster, Stage::BeingMade)).await
    }

    /// Remembers who asked for a change.
    pub async fn set_modified_by(&mut self, cluster: &ClusterId, by: &str, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(SET_MODIFIED_BY).bind(cluster.as_str()).bind(by).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("noting who changed a cluster"))?;
        Ok(())
    }

    /// Recomputes the projected state from its inputs, in the transaction that changed them (decisions 19).
    pub async fn project_state(&mut self, cluster: &ClusterId) -> StoreResult<()> {
        let found = sqlx::query(STATUS_INPUT).bind(cluster.as_str()).fetch_optional(self.connection()).await;
        let Some(row) = found.map_err(failed("reading a cluster"))? else { return Ok(()) };
        let wish: String = row.get("wish");
        let creation_failed: Option<String> = row.get("creation_failed");
        let before: (String, Option<String>) = (row.get("state"), row.get("state_reason"));
        let holder = crate::Operations::holder(self, cluster).await?;
        let replication = crate::Replications::replication_of(self, cluster).await?;
        let writes = |instance: &Instance| replication.as_ref().is_none_or(|replication| replication.primary == instance.id);
        let instances = crate::Instances::instances_of(self, cluster).await?;
        let observed: Vec<_> = instances.into_iter().filter(writes).map(|instance| instance.observed).collect();
        let (state, reason) = decide(&StatusInput {
            wish: Wish::parse(&wish).ok_or_else(|| unreadable("cluster", "unknown wish"))?,
            holder,
            creation_failed: creation_failed.as_deref(),
            instances: &observed,
            unprotected: replication
                .as_ref()
                .filter(|replication| replication.promotable.is_none())
                .map(|replication| &*replication.reason),
            strict: replication.is_some() && is_strict(row.get("spec"))?,
        });
        if (state.as_str(), &reason) != (before.0.as_str(), &before.1) {
            let query = sqlx::query(SET_STATE).bind(cluster.as_str()).bind(state.as_str()).bind(&reason);
            query.execute(self.connection()).await.map_err(failed("projecting a cluster's state"))?;
        }
        Ok(())
    }

    pub(crate) async fn set_wish(&mut self, cluster: &ClusterId, wish: Wish, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(SET_WISH).bind(cluster.as_str()).bind(wish.as_str()).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("changing a cluster's wish"))?;
        Ok(())
    }
    pub(crate) async fn raise_term(&mut self, cluster: &ClusterId, term: u64) -> StoreResult<()> {
        let query = sqlx::query(SET_TERM).bind(cluster.as_str()).bind(i64::try_from(term).unwrap_or(i64::MAX));
        query.execute(self.connection()).await.map_err(failed("raising a cluster's term"))?;
        Ok(())
    }
    pub(crate) async fn set_version(&mut self, cluster: &ClusterId, version: &Version, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(SET_VERSION).bind(cluster.as_str()).bind(version.to_string()).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("changing a cluster's version"))?;
        Ok(())
    }
    pub(crate) async fn set_spec(&mut self, cluster: &ClusterId, spec: &ClusterSpec, now: Timestamp) -> StoreResult<()> {
        let text = serde_json::to_string(spec).map_err(|e| unreadable("cluster specification", e))?;
        let query = sqlx::query(SET_SPEC).bind(cluster.as_str()).bind(text).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("changing a cluster's specification"))?;
        Ok(())
    }
    pub(crate) async fn set_creation_failed(&mut self, cluster: &ClusterId, why: &str, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(SET_CREATION_FAILED).bind(cluster.as_str()).bind(why).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("noting a failed creation"))?;
        Ok(())
    }
    pub(crate) async fn set_gone(&mut self, cluster: &ClusterId, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(SET_GONE).bind(cluster.as_str()).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("noting that a cluster is gone"))?;
        Ok(())
    }
}
