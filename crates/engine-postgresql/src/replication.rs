//! Promotion, and whose acknowledgement commits wait for.
//!
//! Backends look at one flag in shared memory when they commit, which the checkpointer sets some time after the settings were read
//! again: what a session sees of the settings proves nothing. So acknowledgement by somebody who does not exist is required first
//! besides, until a commit of ours is seen to wait; the flag is set then, and stays while any name is required.

use crate::quote::{identifier, literal};
use crate::session::Session;
use crate::settings::{ADMINISTRATOR, REPLICATION};
use moorage_domain::secret::Verifier;
use moorage_domain::{InstanceId, Problem, ProblemCode};
use moorage_engine::{Acknowledgement, EngineError, Position};
use std::time::{Duration, Instant};

/// Nobody's name.
const NOBODY: &str = "moorage_nobody";
/// The checkpointer looks at its settings between writes; synchronising many files may take it long.
const PROOF_LIMIT: Duration = Duration::from_secs(30);
const PROMOTION_LIMIT: Duration = Duration::from_secs(10);
/// A commit that changes nothing.
const COMMIT: &str = "SELECT pg_logical_emit_message(true, 'moorage', '')";

fn not_yet(words: impl Into<String>) -> EngineError {
    EngineError { problem: Problem::new(ProblemCode::EngineUnreachable, words), passing: true, cause: None }
}

/// Only whom: all of them have to.
fn names(standbys: &[&str]) -> String {
    let quoted: Vec<_> = standbys.iter().map(|name| identifier(name)).collect();
    if quoted.is_empty() { String::new() } else { format!("FIRST {} ({})", quoted.len(), quoted.join(", ")) }
}

/// Functions `pg_rewind` reads the other side with.
const REWIND_FUNCTIONS: [&str; 4] = [
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
];

/// The account by which a peer copies and follows.
pub async fn ensure_account(session: &Session, verifier: &Verifier) -> Result<(), EngineError> {
    let known = !session.rows(&format!("SELECT 1 FROM pg_roles WHERE rolname = {}", literal(REPLICATION))).await?.is_empty();
    let verb = if known { "ALTER" } else { "CREATE" };
    let mut statements = format!(
        "{verb} ROLE {REPLICATION} LOGIN REPLICATION NOSUPERUSER NOCREATEROLE NOCREATEDB NOBYPASSRLS PASSWORD {};\
         GRANT CONNECT ON DATABASE postgres TO {REPLICATION}; GRANT pg_checkpoint TO {REPLICATION};",
        literal(&verifier.0)
    );
    for function in REWIND_FUNCTIONS {
        statements.push_str(&format!("GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {REPLICATION};"));
    }
    session.rows(&statements).await.map(drop)
}

/// Makes it writable. Where its commits are to wait for a standby, it is proven that they do when this returns.
pub async fn promote(session: &Session, waits_for: Option<&InstanceId>) -> Result<(), EngineError> {
    if session.one("SELECT pg_is_in_recovery()").await?.as_deref() == Some("f") {
        return Ok(());
    }
    match waits_for {
        Some(standby) => require(session, &names(&[standby.as_str(), NOBODY])).await?,
        None => require(session, "").await?,
    }
    // A query that still runs would keep it from applying for as long as `max_standby_streaming_delay`.
    session
        .rows(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename <> {}",
            literal(ADMINISTRATOR)
        ))
        .await?;
    // Waiting for it there means looking ten times a second.
    let asked = session.rows("SELECT pg_promote(false)").await;
    let until = Instant::now() + PROMOTION_LIMIT;
    while session.one("SELECT pg_is_in_recovery()").await?.as_deref() != Some("f") {
        // It refuses when somebody else's wish was carried out meanwhile.
        asked.as_ref().map_err(|error| not_yet(error.problem.message.clone()))?;
        if Instant::now() >= until {
            return Err(not_yet("The engine is being promoted."));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    match waits_for {
        Some(standby) => require_acknowledgement(session, standby).await,
        None => Ok(()),
    }
}

/// Writes whose acknowledgement is required, and waits until this session has read it. Where it is so already nothing is written: that
/// takes several flushes, and a promotion waits for them.
async fn require(session: &Session, names: &str) -> Result<(), EngineError> {
    let written = "SELECT setting FROM pg_file_settings WHERE name = 'synchronous_standby_names' ORDER BY seqno DESC LIMIT 1";
    if required(session).await? == names && session.one(written).await?.unwrap_or_default() == names {
        return Ok(());
    }
    session.rows(&format!("ALTER SYSTEM SET synchronous_standby_names = {}", literal(names))).await?;
    session.rows("SELECT pg_reload_conf()").await?;
    let until = Instant::now() + PROOF_LIMIT;
    while required(session).await? != names {
        if Instant::now() >= until {
            return Err(not_yet("The engine has not read its changed settings yet."));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

async fn required(session: &Session) -> Result<String, EngineError> {
    Ok(session.one("SELECT current_setting('synchronous_standby_names')").await?.unwrap_or_default())
}

/// Has commits wait for this standby; proven when it returns.
pub async fn require_acknowledgement(session: &Session, standby: &InstanceId) -> Result<(), EngineError> {
    let alone = names(&[standby.as_str()]);
    let before = required(session).await?;
    if before == alone {
        return Ok(());
    }
    require(session, &names(&[standby.as_str(), NOBODY])).await?;
    if let Err(error) = prove_that_commits_wait(session).await {
        // Nobody is to wait for somebody who does not exist; but who waited before is not let go on without whom they waited for.
        if before.is_empty() {
            require(session, "").await?;
        }
        return Err(error);
    }
    require(session, &alone).await?;
    // What is written now makes the standby speak, and what it says releases those who waited for nobody.
    session.rows(&format!("BEGIN; SET LOCAL synchronous_commit = local; {COMMIT}; COMMIT")).await.map(drop)
}

async fn prove_that_commits_wait(session: &Session) -> Result<(), EngineError> {
    let until = Instant::now() + PROOF_LIMIT;
    while Instant::now() < until {
        let witness = session.another().await?;
        let Some(pid) = witness.one("SELECT pg_backend_pid()").await? else { continue };
        let waits = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'SyncRep'");
        let commit = witness.rows(COMMIT);
        tokio::pin!(commit);
        loop {
            tokio::select! {
                // It did not wait: the flag is not set yet.
                ended = &mut commit => { ended?; break }
                () = tokio::time::sleep(Duration::from_millis(3)) => {}
            }
            if !session.rows(&waits).await?.is_empty() {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(not_yet("The engine does not yet let commits wait for its standby."))
}

/// Has commits wait for nobody.
pub async fn release_commits(session: &Session) -> Result<(), EngineError> {
    require(session, "").await
}

/// For how long what was applied has been behind what was received.
pub async fn lag(session: &Session) -> Result<Option<Duration>, EngineError> {
    let asked = "SELECT CASE WHEN pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() THEN 0 \
                 ELSE greatest(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0) END";
    let said = session.one(asked).await?.and_then(|seconds| seconds.parse::<f64>().ok());
    Ok(said.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

/// Whether it applies within that time what it has received by now.
pub async fn applies_within(session: &Session, limit: Duration) -> Result<bool, EngineError> {
    let until = Instant::now() + limit;
    let Some(received) = session.one("SELECT pg_last_wal_receive_lsn()").await? else { return Ok(true) };
    let applied = format!("SELECT pg_last_wal_replay_lsn() >= {}::pg_lsn", literal(&received));
    while session.one(&applied).await?.as_deref() != Some("t") {
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(true)
}

/// A commit of ours takes everything with it that was written before.
pub async fn ship(session: &Session) -> Result<(), EngineError> {
    session.rows(COMMIT).await.map(|_| ())
}

/// Writes everything that was changed to disk, and with it which history it belongs to.
pub async fn checkpoint(session: &Session) -> Result<(), EngineError> {
    session.rows("CHECKPOINT").await.map(|_| ())
}

/// What the primary says of this standby.
pub async fn acknowledgement(session: &Session, standby: &InstanceId) -> Result<Acknowledgement, EngineError> {
    let given = format!(
        "SELECT 1 FROM pg_stat_replication WHERE application_name = {} AND usename = {} AND state = 'streaming' AND sync_state = 'sync'",
        literal(standby.as_str()),
        literal(REPLICATION)
    );
    let required = required(session).await?;
    let alone = required == names(&[standby.as_str()]);
    Ok(Acknowledgement { required: !required.is_empty(), given: alone && !session.rows(&given).await?.is_empty(), awaited: false })
}

/// What is on the primary's disk by now; a commit is acknowledged only after its place in it. (Where it would write next is no such
/// position: at the beginning of a segment it lies behind a header that nobody sends, and a standby did not get there for 15 s.)
pub async fn position(session: &Session) -> Result<Position, EngineError> {
    let written = "SELECT pg_current_wal_flush_lsn()";
    session.one(written).await?.map(Position).ok_or_else(|| not_yet("The engine does not say what it has written."))
}

/// Whether this standby has, on disk, what was written up to there. One whose history differs from its primary's does not stream.
pub async fn has(session: &Session, position: &Position) -> Result<bool, EngineError> {
    let received =
        format!("SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming' AND flushed_lsn >= {}::pg_lsn", literal(&position.0));
    Ok(!session.rows(&received).await?.is_empty())
}

/// How far it is with getting and applying.
pub async fn progress(session: &Session) -> Result<String, EngineError> {
    let far = "SELECT concat(pg_last_wal_receive_lsn(), ' ', pg_last_wal_replay_lsn())";
    Ok(session.one(far).await?.unwrap_or_default())
}

/// A standby follows by its settings alone; this one is no primary. Whom it waited for when it was one is forgotten, so that promoting
/// it need not do that.
pub async fn follow(session: &Session) -> Result<(), EngineError> {
    if session.one("SELECT pg_is_in_recovery()").await?.as_deref() == Some("t") {
        return require(session, "").await;
    }
    Err(EngineError::refused("It is writable: it has to be started again to follow.", "it is not in recovery"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_is_named_has_to_acknowledge() {
        assert_eq!(names(&[]), "");
        assert_eq!(names(&["a"]), "FIRST 1 (\"a\")");
        assert_eq!(names(&["a\"b", NOBODY]), "FIRST 2 (\"a\"\"b\", \"moorage_nobody\")");
    }
}
