//! Projects, accounts, access keys, tokens and hosts.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::tenant::{Actor, Role};
use moorage_domain::{HostId, ProjectId, Timestamp, UserId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

statements! {
    INSERT_PROJECT = "INSERT INTO project (id, name, created_at) VALUES ($1, $2, $3)";
    INSERT_ACCOUNT = "INSERT INTO account (id, project_id, name, email, password_hash, role, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    INSERT_ACCESS_KEY = "INSERT INTO access_key (access_key, account_id, sealed_secret, enabled, created_at) VALUES ($1, $2, $3, 1, $4)";
    INSERT_TOKEN = "INSERT INTO token (digest, account_id, created_at, expires_at) VALUES ($1, $2, $3, $4)";
    INSERT_HOST = "INSERT INTO host (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
    BY_ACCESS_KEY = "SELECT a.id, a.project_id, a.name, a.role, k.sealed_secret, k.expires_at FROM access_key k JOIN account a ON a.id = k.account_id
        WHERE k.access_key = $1 AND k.enabled = 1";
    BY_TOKEN = "SELECT a.id, a.project_id, a.name, a.role, t.expires_at FROM token t JOIN account a ON a.id = t.account_id WHERE t.digest = $1";
    BY_NAME = "SELECT id, project_id, name, role, password_hash FROM account WHERE name = $1 OR email = $1";
}

/// An account to be inserted.
#[derive(Debug)]
pub struct NewAccount<'a> {
    /// Identifier.
    pub id: &'a UserId,
    /// Its project.
    pub project: &'a ProjectId,
    /// Its name.
    pub name: &'a str,
    /// Its e-mail address.
    pub email: &'a str,
    /// argon2 hash of its password.
    pub password_hash: &'a str,
    /// Its role.
    pub role: Role,
}

/// An access key as stored.
#[derive(Debug)]
pub struct AccessKeyRow {
    /// Whose it is.
    pub actor: Actor,
    /// The sealed secret key.
    pub sealed_secret: String,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// An account as stored.
#[derive(Debug)]
pub struct AccountRow {
    /// Whose it is.
    pub actor: Actor,
    /// argon2 hash of its password.
    pub password_hash: String,
}

fn actor(row: &SqliteRow) -> StoreResult<Actor> {
    Ok(Actor {
        project: ProjectId::parse(row.get("project_id")).map_err(|e| unreadable("account", e))?,
        user: UserId::parse(row.get("id")).map_err(|e| unreadable("account", e))?,
        user_name: row.get("name"),
        role: Role::parse(row.get("role")).ok_or_else(|| unreadable("account", "unknown role"))?,
    })
}

/// Queries about who is asking.
#[allow(async_fn_in_trait)]
pub trait Tenants: Rows {
    /// The enabled access key.
    async fn access_key(&mut self, access_key: &str) -> StoreResult<Option<AccessKeyRow>> {
        let row = sqlx::query(BY_ACCESS_KEY).bind(access_key).fetch_optional(self.connection()).await.map_err(failed("reading a key"))?;
        row.map(|row| {
            let expires_at = row.get::<Option<i64>, _>("expires_at").map(Timestamp);
            Ok(AccessKeyRow { actor: actor(&row)?, sealed_secret: row.get("sealed_secret"), expires_at })
        })
        .transpose()
    }
    /// Whose token has this digest, and when it expires.
    async fn token(&mut self, digest: &str) -> StoreResult<Option<(Actor, Option<Timestamp>)>> {
        let row = sqlx::query(BY_TOKEN).bind(digest).fetch_optional(self.connection()).await.map_err(failed("reading a token"))?;
        row.map(|row| Ok((actor(&row)?, row.get::<Option<i64>, _>("expires_at").map(Timestamp)))).transpose()
    }
    /// The account with this name or e-mail address.
    async fn account_named(&mut self, name: &str) -> StoreResult<Option<AccountRow>> {
        let row = sqlx::query(BY_NAME).bind(name).fetch_optional(self.connection()).await.map_err(failed("reading an account"))?;
        row.map(|row| Ok(AccountRow { actor: actor(&row)?, password_hash: row.get("password_hash") })).transpose()
    }
}
impl<R: Rows> Tenants for R {}

impl UnitOfWork {
    /// Makes a project.
    pub async fn insert_project(&mut self, id: &ProjectId, name: &str, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(INSERT_PROJECT).bind(id.as_str()).bind(name).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("making a project"))?;
        Ok(())
    }
    /// Makes an account.
    pub async fn insert_account(&mut self, new: &NewAccount<'_>, now: Timestamp) -> StoreResult<()> {
        sqlx::query(INSERT_ACCOUNT)
            .bind(new.id.as_str())
            .bind(new.project.as_str())
            .bind(new.name)
            .bind(new.email)
            .bind(new.password_hash)
            .bind(new.role.as_str())
            .bind(now.0)
            .execute(self.connection())
            .await
            .map_err(failed("making an account"))?;
        Ok(())
    }
    /// Keeps an access key with its sealed secret.
    pub async fn insert_access_key(&mut self, account: &UserId, access_key: &str, sealed_secret: &str, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(INSERT_ACCESS_KEY).bind(access_key).bind(account.as_str()).bind(sealed_secret).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("keeping an access key"))?;
        Ok(())
    }
    /// Keeps the digest of a token.
    pub async fn insert_token(&mut self, account: &UserId, digest: &str, expires_at: Option<Timestamp>, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(INSERT_TOKEN).bind(digest).bind(account.as_str()).bind(now.0).bind(expires_at.map(|at| at.0));
        query.execute(self.connection()).await.map_err(failed("keeping a token"))?;
        Ok(())
    }
    /// Notes a host.
    pub async fn insert_host(&mut self, id: &HostId, name: &str, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(INSERT_HOST).bind(id.as_str()).bind(name).bind(now.0);
        query.execute(self.connection()).await.map_err(failed("noting a host"))?;
        Ok(())
    }
}
