//! Named leases: the right to do something until a moment that was agreed on.

use crate::statement::statements;
use crate::{Rows, StoreResult, UnitOfWork, failed};
use moorage_domain::Timestamp;
use sqlx::Row;

statements! {
    TAKE = "INSERT INTO lease (name, holder, until, epoch) VALUES ($1, $2, $3, 1) ON CONFLICT (name) DO UPDATE
        SET holder = excluded.holder, until = excluded.until, epoch = CASE WHEN lease.holder = excluded.holder THEN lease.epoch ELSE lease.epoch + 1 END
        WHERE lease.holder = excluded.holder OR lease.until <= $4 RETURNING epoch";
    DROP = "UPDATE lease SET until = 0 WHERE name = $1 AND holder = $2";
}

impl UnitOfWork {
    /// Takes or renews a named lease until `until`; its epoch, or none while somebody else holds it.
    pub async fn take_lease(&mut self, name: &str, holder: &str, until: Timestamp, now: Timestamp) -> StoreResult<Option<i64>> {
        let query = sqlx::query(TAKE).bind(name).bind(holder).bind(until.0).bind(now.0);
        let row = query.fetch_optional(self.connection()).await.map_err(failed("taking a lease"))?;
        Ok(row.map(|row| row.get("epoch")))
    }

    /// Gives a named lease back.
    pub async fn drop_lease(&mut self, name: &str, holder: &str) -> StoreResult<()> {
        let query = sqlx::query(DROP).bind(name).bind(holder);
        query.execute(self.connection()).await.map_err(failed("giving a lease back"))?;
        Ok(())
    }
}
