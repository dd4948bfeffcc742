//! Hearing of operations that other servers on the same store have changed. Only a nudge: rows are read again, and a server that
//! hears nothing looks by itself, later.

use crate::connect::CHANNEL;
use crate::{StoreAddress, failed};
use sqlx::postgres::PgListener;
use std::time::Duration;

/// How long until a lost connection is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What another server has changed, as a series of nudges.
#[derive(Debug)]
pub struct Wakes {
    url: String,
    listener: Option<PgListener>,
}

impl Wakes {
    pub(crate) fn of(address: &StoreAddress) -> Option<Self> {
        match address {
            StoreAddress::File(_) => None,
            StoreAddress::PostgreSql(url) => Some(Self { url: url.clone(), listener: None }),
        }
    }

    /// Waits for the next nudge; a connection that was lost and is there again is one, for others may have passed unheard.
    pub async fn next(&mut self) {
        loop {
            match &mut self.listener {
                Some(listener) => match listener.try_recv().await {
                    Ok(Some(_)) => return,
                    Ok(None) => self.listener = None,
                    Err(error) => {
                        tracing::debug!(%error, "the connection that other servers are heard on was lost");
                        self.listener = None;
                    }
                },
                None => match self.listen().await {
                    Ok(listener) => {
                        self.listener = Some(listener);
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "other servers on the store cannot be heard; it is tried again");
                        tokio::time::sleep(AFTER_FAILURE).await;
                    }
                },
            }
        }
    }

    async fn listen(&self) -> crate::StoreResult<PgListener> {
        let mut listener = PgListener::connect(&self.url).await.map_err(failed("listening to other servers"))?;
        listener.listen(CHANNEL).await.map_err(failed("listening to other servers"))?;
        Ok(listener)
    }
}
