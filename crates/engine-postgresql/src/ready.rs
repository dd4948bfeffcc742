//! Databases that wait, empty and with their groups, to become tenants': renaming one takes a millisecond, making one copies three hundred
//! files and fills the log with them (45 to 200 ms, measured). The template has one for the first database of a cluster; where databases are
//! made again and again, more are kept.

use crate::accounts::{ensure_groups, find, missing};
use crate::database::Wanted;
use crate::quote::identifier;
use crate::session::Session;
use crate::template::READY_DATABASE;
use moorage_engine::EngineError;
use std::time::Duration;

/// How many wait: as many as may be asked for within the second that it takes to make others. Each takes eight MiB.
const KEPT: usize = 8;
/// The one that is just being made; nobody may connect to it until it is closed to all.
const BEING_MADE: &str = "moorage_making";
/// One maker at a time: the number of the lock that says so.
const MAKERS_LOCK: i64 = 0x6d6f_6f72;
/// A session within it has ended, and its process may not have yet.
const RENAMES: u32 = 50;
const BETWEEN_RENAMES: Duration = Duration::from_millis(10);
/// How long making all of them may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Gives one that waits the wanted name; false where none does, or not one like that.
pub(crate) async fn take(session: &Session, wanted: &Wanted<'_>) -> Result<bool, EngineError> {
    if wanted.encoding != "UTF8" || wanted.locale != "C" {
        return Ok(false);
    }
    let question = format!("SELECT datname FROM pg_database WHERE datname ~ '^{READY_DATABASE}' ORDER BY datname DESC LIMIT 1");
    let Some(waiting) = session.one(&question).await? else { return Ok(false) };
    session.rows(&format!("ALTER DATABASE {} RENAME TO {}", identifier(&waiting), identifier(wanted.name))).await?;
    if waiting != READY_DATABASE {
        // Where some are kept, the next one is made at once. Whoever looks after them does so again if this is lost.
        if let Ok(another) = session.another().await {
            tokio::spawn(async move {
                if let Ok(Err(error)) = tokio::time::timeout(LIMIT, prepare(&another)).await {
                    tracing::debug!(%error, "no database could be made ready");
                }
            });
        }
    }
    Ok(true)
}

/// Makes sure that as many wait as are kept.
pub(crate) async fn prepare(session: &Session) -> Result<(), EngineError> {
    if session.one(&format!("SELECT pg_try_advisory_lock({MAKERS_LOCK})")).await?.as_deref() != Some("t") {
        return Ok(());
    }
    let made = make_missing(session).await;
    session.rows(&format!("SELECT pg_advisory_unlock({MAKERS_LOCK})")).await?;
    made
}

async fn make_missing(session: &Session) -> Result<(), EngineError> {
    for number in 1..=KEPT {
        let name = format!("{READY_DATABASE}_{number}");
        if find(session, &name).await?.is_none() {
            make(session, &name).await?;
        }
    }
    Ok(())
}

/// Repeating goes on where it was interrupted.
async fn make(session: &Session, name: &str) -> Result<(), EngineError> {
    if find(session, BEING_MADE).await?.is_none() {
        let statement = format!("CREATE DATABASE {BEING_MADE} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' ALLOW_CONNECTIONS false");
        session.rows(&statement).await?;
    }
    session.rows(&format!("REVOKE ALL ON DATABASE {BEING_MADE} FROM PUBLIC")).await?;
    session.rows(&format!("ALTER DATABASE {BEING_MADE} ALLOW_CONNECTIONS true")).await?;
    let found = find(session, BEING_MADE).await?.ok_or_else(|| missing(BEING_MADE))?;
    ensure_groups(session, BEING_MADE, &found).await?;
    let rename = format!("ALTER DATABASE {BEING_MADE} RENAME TO {}", identifier(name));
    for _ in 1..RENAMES {
        match session.rows(&rename).await {
            Err(error) if error.passing => tokio::time::sleep(BETWEEN_RENAMES).await,
            renamed => return renamed.map(drop),
        }
    }
    session.rows(&rename).await.map(drop)
}
