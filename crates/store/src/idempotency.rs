//! Idempotency keys: requests that were made with one, and the answers they got.

use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::{Timestamp, UserId};
use sqlx::Row;

statements! {
    INSERT = "INSERT INTO idempotency_key (account_id, idempotency_key, request, started_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (account_id, idempotency_key) DO NOTHING";
    GET = "SELECT request, started_at, status, answer FROM idempotency_key WHERE account_id = $1 AND idempotency_key = $2";
    DATE_BACK = "UPDATE idempotency_key SET started_at = $3 WHERE account_id = $1 AND idempotency_key = $2 AND status IS NULL";
    ANSWER = "UPDATE idempotency_key SET status = $3, answer = $4 WHERE account_id = $1 AND idempotency_key = $2";
    FORGET = "DELETE FROM idempotency_key WHERE account_id = $1 AND idempotency_key = $2";
    FORGET_OLD = "DELETE FROM idempotency_key WHERE started_at < $1";
}

/// A request that was made with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedRequest {
    /// Digest of the request.
    pub request: String,
    /// When it was begun.
    pub started_at: Timestamp,
    /// Its answer, sealed, with its status; none while there is none.
    pub answer: Option<(u16, String)>,
}

/// Queries about idempotency keys.
#[allow(async_fn_in_trait)]
pub trait IdempotencyKeys: Rows {
    /// The request that an account made with a key.
    async fn keyed_request(&mut self, account: &UserId, key: &str) -> StoreResult<Option<KeyedRequest>> {
        let query = sqlx::query(GET).bind(account.as_str()).bind(key);
        let row = query.fetch_optional(self.connection()).await.map_err(failed("reading an idempotency key"))?;
        Ok(row.map(|row| {
            let status: Option<i64> = row.get("status");
            let answer: Option<String> = row.get("answer");
            KeyedRequest {
                request: row.get("request"),
                started_at: Timestamp(row.get("started_at")),
                answer: status.and_then(|status| u16::try_from(status).ok()).zip(answer),
            }
        }))
    }
}
impl<R: Rows> IdempotencyKeys for R {}

impl UnitOfWork {
    /// Notes that a request was begun with a key; false when there is one already. Those begun before `forget` are forgotten.
    pub async fn begin_keyed(
        &mut self,
        account: &UserId,
        key: &str,
        request: &str,
        forget: Timestamp,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let forgotten = sqlx::query(FORGET_OLD).bind(forget.0).execute(self.connection()).await;
        forgotten.map_err(failed("forgetting idempotency keys"))?;
        let query = sqlx::query(INSERT).bind(account.as_str()).bind(key).bind(request).bind(now.0);
        let done = query.execute(self.connection()).await.map_err(failed("noting an idempotency key"))?;
        Ok(done.rows_affected() > 0)
    }
    /// Notes that a request without an answer was begun at another time.
    pub async fn date_keyed_back(&mut self, account: &UserId, key: &str, at: Timestamp) -> StoreResult<()> {
        let query = sqlx::query(DATE_BACK).bind(account.as_str()).bind(key).bind(at.0);
        query.execute(self.connection()).await.map_err(failed("noting that a request broke off"))?;
        Ok(())
    }
    /// Keeps the answer of a request, sealed.
    pub async fn answer_keyed(&mut self, account: &UserId, key: &str, status: u16, sealed: &str) -> StoreResult<()> {
        let query = sqlx::query(ANSWER).bind(account.as_str()).bind(key).bind(i64::from(status)).bind(sealed);
        query.execute(self.connection()).await.map_err(failed("keeping an answer"))?;
        Ok(())
    }
    /// Forgets a request: it may be made again.
    pub async fn forget_keyed(&mut self, account: &UserId, key: &str) -> StoreResult<()> {
        let query = sqlx::query(FORGET).bind(account.as_str()).bind(key);
        query.execute(self.connection()).await.map_err(failed("forgetting an idempotency key"))?;
        Ok(())
    }
}
