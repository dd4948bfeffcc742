//! Accounts: the people and programs that sign in.

use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::tenant::{Actor, Role, User};
use moorage_domain::{ProjectId, Timestamp, UserId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// The columns of an actor, of an account called `a`. The installation's own project is the fact of that name.
macro_rules! actor_columns {
    () => {
        "a.id, a.project_id, a.name, a.role,
         CAST(CASE WHEN a.project_id = (SELECT i.value FROM installation i WHERE i.name = 'project') THEN 1 ELSE 0 END AS BIGINT) AS of_installation"
    };
}
pub(crate) use actor_columns;

statements! {
    INSERT = "INSERT INTO account (id, project_id, name, email, password_hash, role, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    SIGNING_IN = concat!("SELECT ", actor_columns!(), ", a.password_hash FROM account a WHERE a.name = $1 OR a.email = $1");
    OF_PROJECT = "SELECT id, project_id, name, email, role, created_at FROM account WHERE CAST($1 AS TEXT) IS NULL OR project_id = $1
        ORDER BY name LIMIT $2 OFFSET $3";
    BY_ID_OR_NAME = "SELECT id, project_id, name, email, role, created_at FROM account WHERE id = $1 OR name = $1";
    ADMINISTRATORS = "SELECT count(*) AS count FROM account WHERE project_id = $1 AND role = 'administrator'";
    SET_ROLE = "UPDATE account SET role = $2 WHERE id = $1";
    SET_EMAIL = "UPDATE account SET email = $2 WHERE id = $1";
    SET_PASSWORD = "UPDATE account SET password_hash = $2 WHERE id = $1";
    REMOVE_TOKENS = "DELETE FROM token WHERE account_id = $1";
    REMOVE_ACCESS_KEYS = "DELETE FROM access_key WHERE account_id = $1";
    REMOVE = "DELETE FROM account WHERE id = $1";
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

/// An account that wants to sign in.
#[derive(Debug)]
pub struct SigningIn {
    /// Whose it is.
    pub actor: Actor,
    /// argon2 hash of its password.
    pub password_hash: String,
}

fn role(row: &AnyRow) -> StoreResult<Role> {
    Role::parse(row.get("role")).ok_or_else(|| unreadable("account", "unknown role"))
}

/// An actor of a row with [`actor_columns`].
pub(crate) fn actor(row: &AnyRow) -> StoreResult<Actor> {
    Ok(Actor {
        project: ProjectId::parse(row.get("project_id")).map_err(|e| unreadable("account", e))?,
        user: UserId::parse(row.get("id")).map_err(|e| unreadable("account", e))?,
        user_name: row.get("name"),
        role: role(row)?,
        of_installation: row.get::<i64, _>("of_installation") == 1,
    })
}

fn user(row: &AnyRow) -> StoreResult<User> {
    Ok(User {
        id: UserId::parse(row.get("id")).map_err(|e| unreadable("account", e))?,
        project: ProjectId::parse(row.get("project_id")).map_err(|e| unreadable("account", e))?,
        name: row.get("name"),
        email: row.get("email"),
        role: role(row)?,
        created_at: Timestamp(row.get("created_at")),
    })
}

/// Queries about accounts.
#[allow(async_fn_in_trait)]
pub trait Accounts: Rows {
    /// The account with this name or e-mail address, with what proves it.
    async fn signing_in(&mut self, name: &str) -> StoreResult<Option<SigningIn>> {
        let row = sqlx::query(SIGNING_IN).bind(name).fetch_optional(self.connection()).await.map_err(failed("reading an account"))?;
        row.map(|row| Ok(SigningIn { actor: actor(&row)?, password_hash: row.get("password_hash") })).transpose()
    }
    /// Accounts of a project, or of all, by name.
    async fn users(&mut self, project: Option<&ProjectId>, offset: u64, limit: u64) -> StoreResult<Vec<User>> {
        let query = sqlx::query(OF_PROJECT).bind(project.map(ProjectId::as_str)).bind(limit.cast_signed()).bind(offset.cast_signed());
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing accounts"))?;
        rows.iter().map(user).collect()
    }
    /// The account with this identifier or name.
    async fn user(&mut self, id_or_name: &str) -> StoreResult<Option<User>> {
        let query = sqlx::query(BY_ID_OR_NAME).bind(id_or_name);
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading an account"))?;
        row.as_ref().map(user).transpose()
    }
    /// How many administrators a project has.
    async fn administrators(&mut self, project: &ProjectId) -> StoreResult<u64> {
        let query = sqlx::query(ADMINISTRATORS).bind(project.as_str());
        let row = query.fetch_one(self.connection()).await.map_err(failed("counting administrators"))?;
        Ok(u64::try_from(row.get::<i64, _>("count")).unwrap_or(0))
    }
}
impl<R: Rows> Accounts for R {}

impl UnitOfWork {
    /// Makes an account.
    pub async fn insert_account(&mut self, new: &NewAccount<'_>, now: Timestamp) -> StoreResult<()> {
        sqlx::query(INSERT)
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
        self.give_number(crate::NUMBERING_FAMILY, "user", new.id.as_str()).await
    }
    /// Gives an account another role.
    pub async fn set_role(&mut self, account: &UserId, role: Role) -> StoreResult<()> {
        self.change_account(SET_ROLE, account, role.as_str()).await
    }
    /// Gives an account another e-mail address.
    pub async fn set_email(&mut self, account: &UserId, email: &str) -> StoreResult<()> {
        self.change_account(SET_EMAIL, account, email).await
    }
    /// Gives an account another password, and ends its tokens: whoever knew the old password may hold one. Access keys stay, for
    /// programs sign with them that know nothing of the password.
    pub async fn set_password(&mut self, account: &UserId, password_hash: &str) -> StoreResult<()> {
        self.change_account(SET_PASSWORD, account, password_hash).await?;
        self.remove_all(REMOVE_TOKENS, account).await
    }
    /// Removes an account with its credentials.
    pub async fn remove_account(&mut self, account: &UserId) -> StoreResult<()> {
        self.leave_teams(account).await?;
        for statement in [REMOVE_TOKENS, REMOVE_ACCESS_KEYS, REMOVE] {
            self.remove_all(statement, account).await?;
        }
        Ok(())
    }
    async fn change_account(&mut self, statement: &'static str, account: &UserId, value: &str) -> StoreResult<()> {
        let query = sqlx::query(statement).bind(account.as_str()).bind(value);
        query.execute(self.connection()).await.map_err(failed("changing an account"))?;
        Ok(())
    }
    async fn remove_all(&mut self, statement: &'static str, account: &UserId) -> StoreResult<()> {
        let query = sqlx::query(statement).bind(account.as_str());
        query.execute(self.connection()).await.map_err(failed("removing an account"))?;
        Ok(())
    }
}
