//! Databases inside clusters, and their credentials.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::cluster::Cluster;
use moorage_domain::database::{Credential, Database, Privileges, Quarantine, Stage};
use moorage_domain::{ClusterId, CredentialId, DatabaseId, ProjectId, Timestamp};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

macro_rules! select_database {
    ($rest:literal) => {
        concat!(
            "SELECT id, project_id, cluster_id, name, character_set, locale, is_first, stage, quarantined_at, quarantined_by, used_bytes, ",
            "created_at, created_by FROM database ",
            $rest
        )
    };
}
macro_rules! select_credential {
    ($rest:literal) => {
        concat!(
            "SELECT id, database_id, cluster_id, user_name, privileges, stage, sealed_password, sealed_next, created_at FROM credential ",
            $rest
        )
    };
}

statements! {
    INSERT = "INSERT INTO database (id, project_id, cluster_id, name, character_set, locale, is_first, stage, created_at, created_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    GET = select_database!("WHERE id = $1");
    OF_CLUSTER = select_database!("WHERE cluster_id = $1 ORDER BY name, id LIMIT $2 OFFSET $3");
    NAMED = select_database!("WHERE cluster_id = $1 AND name = $2");
    SET_STAGE = "UPDATE database SET stage = $2 WHERE id = $1";
    SET_QUARANTINE = "UPDATE database SET quarantined_at = $2, quarantined_by = $3 WHERE id = $1";
    SET_USED = "UPDATE database SET used_bytes = $3 WHERE cluster_id = $1 AND name = $2";
    TOUCH_CLUSTER = "UPDATE cluster SET modified_at = $2 WHERE id = (SELECT d.cluster_id FROM database d WHERE d.id = $1)";
    TOUCH_CLUSTER_OF_CREDENTIAL = "UPDATE cluster SET modified_at = $2 WHERE id = (SELECT k.cluster_id FROM credential k WHERE k.id = $1)";
    REMOVE = "DELETE FROM database WHERE id = $1";
    REMOVE_OF_CLUSTER = "DELETE FROM database WHERE cluster_id = $1";
    INSERT_CREDENTIAL = "INSERT INTO credential (id, database_id, cluster_id, user_name, privileges, stage, sealed_password, sealed_next, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    GET_CREDENTIAL = select_credential!("WHERE id = $1");
    CREDENTIALS_OF = select_credential!("WHERE database_id = $1 ORDER BY created_at, id");
    CREDENTIAL_NAMED = select_credential!("WHERE cluster_id = $1 AND user_name = $2");
    SET_CREDENTIAL_STAGE = "UPDATE credential SET stage = $2 WHERE id = $1";
    SET_NEXT = "UPDATE credential SET sealed_next = $2 WHERE id = $1";
    TAKE_NEXT = "UPDATE credential SET sealed_password = sealed_next, sealed_next = NULL WHERE id = $1 AND sealed_next IS NOT NULL";
    FORGET_PASSWORD = "UPDATE credential SET sealed_password = NULL WHERE id = $1";
    REMOVE_CREDENTIAL = "DELETE FROM credential WHERE id = $1";
    REMOVE_CREDENTIALS_OF = "DELETE FROM credential WHERE database_id = $1";
    REMOVE_CREDENTIALS_OF_CLUSTER = "DELETE FROM credential WHERE cluster_id = $1";
}

/// What changes about a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseChange {
    /// Where it stands.
    Stage(Stage),
    /// Whether it is in quarantine.
    Quarantine(Option<Quarantine>),
    /// It is gone, with its credentials.
    Gone,
}

/// What changes about a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialChange {
    /// Where it stands.
    Stage(Stage),
    /// The engine is to get another password, sealed; none: it is not, after all.
    NextPassword(Option<String>),
    /// The engine has that password now.
    PasswordTaken,
    /// The engine has a password that only its user knows.
    PasswordUnknown,
    /// It is gone.
    Gone,
}

pub(crate) fn read_database(row: &AnyRow) -> StoreResult<Database> {
    let quarantined_at: Option<i64> = row.get("quarantined_at");
    let quarantined_by: Option<String> = row.get("quarantined_by");
    Ok(Database {
        id: DatabaseId::parse(row.get("id")).map_err(|e| unreadable("database", e))?,
        project: ProjectId::parse(row.get("project_id")).map_err(|e| unreadable("database", e))?,
        cluster: ClusterId::parse(row.get("cluster_id")).map_err(|e| unreadable("database", e))?,
        name: row.get("name"),
        character_set: row.get("character_set"),
        locale: row.get("locale"),
        first: row.get::<i64, _>("is_first") == 1,
        stage: Stage::parse(row.get("stage")).ok_or_else(|| unreadable("database", "unknown stage"))?,
        quarantine: quarantined_at.map(|at| Quarantine { since: Timestamp(at), by: quarantined_by.unwrap_or_default() }),
        used_bytes: row.get::<Option<i64>, _>("used_bytes").and_then(|bytes| u64::try_from(bytes).ok()),
        created_at: Timestamp(row.get("created_at")),
        created_by: row.get("created_by"),
    })
}

pub(crate) fn read_credential(row: &AnyRow) -> StoreResult<Credential> {
    Ok(Credential {
        id: CredentialId::parse(row.get("id")).map_err(|e| unreadable("credential", e))?,
        database: DatabaseId::parse(row.get("database_id")).map_err(|e| unreadable("credential", e))?,
        cluster: ClusterId::parse(row.get("cluster_id")).map_err(|e| unreadable("credential", e))?,
        user: row.get("user_name"),
        privileges: Privileges::parse(row.get("privileges")).ok_or_else(|| unreadable("credential", "unknown privileges"))?,
        stage: Stage::parse(row.get("stage")).ok_or_else(|| unreadable("credential", "unknown stage"))?,
        sealed_password: row.get("sealed_password"),
        sealed_next: row.get("sealed_next"),
        created_at: Timestamp(row.get("created_at")),
    })
}

/// The database that a cluster is made with.
pub(crate) fn first_of(cluster: &Cluster, stage: Stage) -> Database {
    let spec = &cluster.spec.database;
    Database {
        id: DatabaseId::first_of(&cluster.id),
        project: cluster.project.clone(),
        cluster: cluster.id.clone(),
        name: spec.name.clone(),
        character_set: spec.character_set.clone(),
        locale: spec.locale.clone(),
        first: true,
        stage,
        quarantine: None,
        used_bytes: None,
        created_at: cluster.created_at,
        created_by: cluster.created_by.clone(),
    }
}

/// The credential of its owner.
pub(crate) fn owner_of(cluster: &Cluster, stage: Stage) -> Credential {
    Credential {
        id: CredentialId::first_of(&cluster.id),
        database: DatabaseId::first_of(&cluster.id),
        cluster: cluster.id.clone(),
        user: cluster.spec.database.owner.clone(),
        privileges: Privileges::Owner,
        stage,
        sealed_password: None,
        sealed_next: None,
        created_at: cluster.created_at,
    }
}

pub(crate) async fn insert(connection: &mut AnyConnection, database: &Database) -> StoreResult<()> {
    let query = sqlx::query(INSERT)
        .bind(database.id.as_str())
        .bind(database.project.as_str())
        .bind(database.cluster.as_str())
        .bind(&database.name)
        .bind(&database.character_set)
        .bind(&database.locale)
        .bind(i64::from(database.first))
        .bind(database.stage.as_str())
        .bind(database.created_at.0)
        .bind(&database.created_by);
    query.execute(connection).await.map_err(failed("inserting a database"))?;
    Ok(())
}

pub(crate) async fn insert_credential(connection: &mut AnyConnection, credential: &Credential) -> StoreResult<()> {
    let query = sqlx::query(INSERT_CREDENTIAL)
        .bind(credential.id.as_str())
        .bind(credential.database.as_str())
        .bind(credential.cluster.as_str())
        .bind(&credential.user)
        .bind(credential.privileges.as_str())
        .bind(credential.stage.as_str())
        .bind(&credential.sealed_password)
        .bind(&credential.sealed_next)
        .bind(credential.created_at.0);
    query.execute(connection).await.map_err(failed("inserting a credential"))?;
    Ok(())
}

/// Queries about databases and credentials.
#[allow(async_fn_in_trait)]
pub trait Databases: Rows {
    /// The database with this identifier, whoever's it is.
    async fn database(&mut self, id: &DatabaseId) -> StoreResult<Option<Database>> {
        let row = sqlx::query(GET).bind(id.as_str()).fetch_optional(self.connection()).await.map_err(failed("reading a database"))?;
        row.as_ref().map(read_database).transpose()
    }
    /// A cluster's database with this name.
    async fn database_named(&mut self, cluster: &ClusterId, name: &str) -> StoreResult<Option<Database>> {
        let query = sqlx::query(NAMED).bind(cluster.as_str()).bind(name);
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading a database"))?;
        row.as_ref().map(read_database).transpose()
    }
    /// A cluster's databases by name.
    async fn databases_of(&mut self, cluster: &ClusterId, offset: u64, limit: u64) -> StoreResult<Vec<Database>> {
        let query = sqlx::query(OF_CLUSTER).bind(cluster.as_str()).bind(limit.cast_signed()).bind(offset.cast_signed());
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing databases"))?;
        rows.iter().map(read_database).collect()
    }
    /// The credential with this identifier, whoever's it is.
    async fn credential(&mut self, id: &CredentialId) -> StoreResult<Option<Credential>> {
        let query = sqlx::query(GET_CREDENTIAL).bind(id.as_str());
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading a credential"))?;
        row.as_ref().map(read_credential).transpose()
    }
    /// The credential of a cluster's account with this name.
    async fn credential_named(&mut self, cluster: &ClusterId, user: &str) -> StoreResult<Option<Credential>> {
        let query = sqlx::query(CREDENTIAL_NAMED).bind(cluster.as_str()).bind(user);
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading a credential"))?;
        row.as_ref().map(read_credential).transpose()
    }
    /// A database's credentials, the oldest first.
    async fn credentials_of(&mut self, database: &DatabaseId) -> StoreResult<Vec<Credential>> {
        let query = sqlx::query(CREDENTIALS_OF).bind(database.as_str());
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing credentials"))?;
        rows.iter().map(read_credential).collect()
    }
}
impl<R: Rows> Databases for R {}

impl UnitOfWork {
    /// Inserts a database; its name is taken from then on.
    pub async fn insert_database(&mut self, database: &Database) -> StoreResult<()> {
        insert(self.connection(), database).await
    }
    /// Inserts a credential; its account's name is taken from then on.
    pub async fn insert_credential(&mut self, credential: &Credential) -> StoreResult<()> {
        insert_credential(self.connection(), credential).await
    }
    pub(crate) async fn change_database(&mut self, id: &DatabaseId, change: &DatabaseChange, now: Timestamp) -> StoreResult<()> {
        let doing = "changing a database";
        // Its manifest is kept anew when a cluster has changed.
        let touch = sqlx::query(TOUCH_CLUSTER).bind(id.as_str()).bind(now.0);
        touch.execute(self.connection()).await.map_err(failed(doing))?;
        let query = match change {
            DatabaseChange::Stage(stage) => sqlx::query(SET_STAGE).bind(id.as_str()).bind(stage.as_str()),
            DatabaseChange::Quarantine(quarantine) => {
                let (at, by) = (quarantine.as_ref().map(|q| q.since.0), quarantine.as_ref().map(|q| q.by.as_str()));
                sqlx::query(SET_QUARANTINE).bind(id.as_str()).bind(at).bind(by)
            }
            DatabaseChange::Gone => {
                self.end_allocation(id, now).await?;
                let credentials = sqlx::query(REMOVE_CREDENTIALS_OF).bind(id.as_str());
                credentials.execute(self.connection()).await.map_err(failed(doing))?;
                sqlx::query(REMOVE).bind(id.as_str())
            }
        };
        query.execute(self.connection()).await.map_err(failed(doing))?;
        Ok(())
    }
    pub(crate) async fn change_credential(&mut self, id: &CredentialId, change: &CredentialChange, now: Timestamp) -> StoreResult<()> {
        let touch = sqlx::query(TOUCH_CLUSTER_OF_CREDENTIAL).bind(id.as_str()).bind(now.0);
        touch.execute(self.connection()).await.map_err(failed("changing a credential"))?;
        let query = match change {
            CredentialChange::Stage(stage) => sqlx::query(SET_CREDENTIAL_STAGE).bind(id.as_str()).bind(stage.as_str()),
            CredentialChange::NextPassword(sealed) => sqlx::query(SET_NEXT).bind(id.as_str()).bind(sealed.as_deref()),
            CredentialChange::PasswordTaken => sqlx::query(TAKE_NEXT).bind(id.as_str()),
            CredentialChange::PasswordUnknown => sqlx::query(FORGET_PASSWORD).bind(id.as_str()),
            CredentialChange::Gone => sqlx::query(REMOVE_CREDENTIAL).bind(id.as_str()),
        };
        query.execute(self.connection()).await.map_err(failed("changing a credential"))?;
        Ok(())
    }
    /// Notes what a cluster's databases take on disk, in bytes by name.
    pub async fn set_database_sizes(&mut self, cluster: &ClusterId, sizes: &[(String, u64)]) -> StoreResult<()> {
        for (name, bytes) in sizes {
            let query = sqlx::query(SET_USED).bind(cluster.as_str()).bind(name).bind(i64::try_from(*bytes).unwrap_or(i64::MAX));
            query.execute(self.connection()).await.map_err(failed("noting what databases take"))?;
        }
        Ok(())
    }
    pub(crate) async fn remove_databases(&mut self, cluster: &ClusterId, now: Timestamp) -> StoreResult<()> {
        for database in self.databases_of(cluster, 0, i64::MAX as u64).await? {
            self.end_allocation(&database.id, now).await?;
        }
        self.end_sharing(cluster).await?;
        for statement in [REMOVE_CREDENTIALS_OF_CLUSTER, REMOVE_OF_CLUSTER] {
            let query = sqlx::query(statement).bind(cluster.as_str());
            query.execute(self.connection()).await.map_err(failed("removing databases"))?;
        }
        Ok(())
    }
}
