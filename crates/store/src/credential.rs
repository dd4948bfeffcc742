//! Access keys and tokens: what accounts prove themselves by besides a password.

use crate::account::{actor, actor_columns};
use crate::cluster::unreadable;
use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::tenant::{AccessKey, Actor, Token};
use moorage_domain::{Timestamp, TokenId, UserId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// In microseconds, as time stamps are.
const A_DAY: i64 = 24 * 3600 * 1_000_000;

statements! {
    INSERT_ACCESS_KEY = "INSERT INTO access_key (access_key, account_id, sealed_secret, enabled, created_at, expires_at, name)
        VALUES ($1, $2, $3, 1, $4, $5, $6)";
    INSERT_TOKEN = "INSERT INTO token (digest, account_id, created_at, expires_at, id, name) VALUES ($1, $2, $3, $4, $5, $6)";
    BY_ACCESS_KEY = concat!("SELECT ", actor_columns!(), ", k.sealed_secret, k.expires_at FROM access_key k JOIN account a ON a.id = k.account_id
        WHERE k.access_key = $1 AND k.enabled = 1");
    BY_TOKEN = concat!("SELECT ", actor_columns!(), ", t.expires_at FROM token t JOIN account a ON a.id = t.account_id WHERE t.digest = $1");
    ACCESS_KEYS = "SELECT access_key, name, created_at, expires_at FROM access_key WHERE account_id = $1 ORDER BY created_at, access_key";
    TOKENS = "SELECT id, name, created_at, expires_at FROM token WHERE account_id = $1 ORDER BY created_at, id";
    REMOVE_ACCESS_KEY = "DELETE FROM access_key WHERE account_id = $1 AND access_key = $2";
    REMOVE_TOKEN = "DELETE FROM token WHERE account_id = $1 AND id = $2";
    REMOVE_EXPIRED = "DELETE FROM token WHERE expires_at IS NOT NULL AND expires_at < $1";
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

/// A credential to be kept.
#[derive(Debug)]
pub struct NewCredential<'a> {
    /// Whose it is.
    pub account: &'a UserId,
    /// What it is for, in its owner's words.
    pub name: Option<&'a str>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

fn expires_at(row: &AnyRow) -> Option<Timestamp> {
    row.get::<Option<i64>, _>("expires_at").map(Timestamp)
}

/// Queries about credentials.
#[allow(async_fn_in_trait)]
pub trait Credentials: Rows {
    /// The enabled access key.
    async fn access_key(&mut self, access_key: &str) -> StoreResult<Option<AccessKeyRow>> {
        let row = sqlx::query(BY_ACCESS_KEY).bind(access_key).fetch_optional(self.connection()).await.map_err(failed("reading a key"))?;
        row.map(|row| Ok(AccessKeyRow { actor: actor(&row)?, sealed_secret: row.get("sealed_secret"), expires_at: expires_at(&row) }))
            .transpose()
    }
    /// Whose token has this digest, and when it expires.
    async fn token(&mut self, digest: &str) -> StoreResult<Option<(Actor, Option<Timestamp>)>> {
        let row = sqlx::query(BY_TOKEN).bind(digest).fetch_optional(self.connection()).await.map_err(failed("reading a token"))?;
        row.map(|row| Ok((actor(&row)?, expires_at(&row)))).transpose()
    }
    /// Access keys of an account, without their secrets.
    async fn access_keys_of(&mut self, account: &UserId) -> StoreResult<Vec<AccessKey>> {
        let query = sqlx::query(ACCESS_KEYS).bind(account.as_str());
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing access keys"))?;
        let read = |row: &AnyRow| AccessKey {
            access_key: row.get("access_key"),
            name: row.get("name"),
            created_at: Timestamp(row.get("created_at")),
            expires_at: expires_at(row),
        };
        Ok(rows.iter().map(read).collect())
    }
    /// Tokens of an account: that they are there, not what they are.
    async fn tokens_of(&mut self, account: &UserId) -> StoreResult<Vec<Token>> {
        let query = sqlx::query(TOKENS).bind(account.as_str());
        let rows = query.fetch_all(self.connection()).await.map_err(failed("listing tokens"))?;
        let read = |row: &AnyRow| {
            Ok(Token {
                id: TokenId::parse(row.get("id")).map_err(|e| unreadable("token", e))?,
                name: row.get("name"),
                created_at: Timestamp(row.get("created_at")),
                expires_at: expires_at(row),
            })
        };
        rows.iter().map(read).collect()
    }
}
impl<R: Rows> Credentials for R {}

impl UnitOfWork {
    /// Keeps an access key with its sealed secret.
    pub async fn insert_access_key(
        &mut self,
        new: &NewCredential<'_>,
        access_key: &str,
        sealed_secret: &str,
        now: Timestamp,
    ) -> StoreResult<()> {
        sqlx::query(INSERT_ACCESS_KEY)
            .bind(access_key)
            .bind(new.account.as_str())
            .bind(sealed_secret)
            .bind(now.0)
            .bind(new.expires_at.map(|at| at.0))
            .bind(new.name)
            .execute(self.connection())
            .await
            .map_err(failed("keeping an access key"))?;
        Ok(())
    }
    /// Keeps the digest of a token, and forgets those that expired a day ago: a clock that is wrong by hours ends none for good.
    pub async fn insert_token(&mut self, new: &NewCredential<'_>, id: &TokenId, digest: &str, now: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(REMOVE_EXPIRED).bind(now.0.saturating_sub(A_DAY));
        query.execute(self.connection()).await.map_err(failed("forgetting expired tokens"))?;
        sqlx::query(INSERT_TOKEN)
            .bind(digest)
            .bind(new.account.as_str())
            .bind(now.0)
            .bind(new.expires_at.map(|at| at.0))
            .bind(id.as_str())
            .bind(new.name)
            .execute(self.connection())
            .await
            .map_err(failed("keeping a token"))?;
        Ok(())
    }
    /// Ends an access key of an account; whether there was one.
    pub async fn remove_access_key(&mut self, account: &UserId, access_key: &str) -> StoreResult<bool> {
        self.remove_credential(REMOVE_ACCESS_KEY, account, access_key).await
    }
    /// Ends a token of an account; whether there was one.
    pub async fn remove_token(&mut self, account: &UserId, id: &str) -> StoreResult<bool> {
        self.remove_credential(REMOVE_TOKEN, account, id).await
    }
    async fn remove_credential(&mut self, statement: &'static str, account: &UserId, which: &str) -> StoreResult<bool> {
        let query = sqlx::query(statement).bind(account.as_str()).bind(which);
        let done = query.execute(self.connection()).await.map_err(failed("ending a credential"))?;
        Ok(done.rows_affected() > 0)
    }
}
