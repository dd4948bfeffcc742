//! Promotion, following, and whose acknowledgement commits wait for.
//!
//! A server has one standby at most, so what it says of "the semi-synchronous slaves" is said of that one. A standby speaks the
//! semi-synchronous protocol only if its primary required that when it connected; one that connected before connects again.

use crate::quote::literal;
use crate::session::Session;
use crate::settings::{REPLICATION, REPLICATION_PORT};
use moorage_domain::layout::{Place, ReplicationPassword};
use moorage_domain::secret::Verifier;
use moorage_domain::{Problem, ProblemCode};
use moorage_engine::{Acknowledgement, EngineError, Position};
use mysql_async::prelude::FromValue;
use std::time::Duration;

/// How long one call waits for what was received to be applied.
const APPLY_LIMIT: Duration = Duration::from_secs(20);

fn not_yet(words: impl Into<String>) -> EngineError {
    EngineError { problem: Problem::new(ProblemCode::EngineUnreachable, words), passing: true, cause: None }
}

/// A column by its name, where the server has it and it is not null.
fn column<T: FromValue>(row: &mysql_async::Row, name: &str) -> Option<T> {
    row.get_opt::<Option<T>, _>(name)?.ok().flatten()
}

/// The account by which a peer copies and follows.
pub async fn ensure_account(session: &mut Session, verifier: &Verifier) -> Result<(), EngineError> {
    let account = format!("{}@'%'", literal(REPLICATION));
    let password = literal(&verifier.0);
    session
        .run(format!(
            "CREATE USER IF NOT EXISTS {account} IDENTIFIED BY PASSWORD {password};\
             ALTER USER {account} IDENTIFIED BY PASSWORD {password} REQUIRE NONE ACCOUNT UNLOCK;\
             GRANT REPLICATION SLAVE, RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR ON *.* TO {account}"
        ))
        .await
}

async fn is_writable(session: &mut Session) -> Result<bool, EngineError> {
    let row = session.first("SELECT @@GLOBAL.read_only AS read_only").await?;
    Ok(row.and_then(|row| column::<bool>(&row, "read_only")) == Some(false))
}

/// What it has applied as a standby.
async fn applied(session: &mut Session) -> Result<String, EngineError> {
    let row = session.first("SELECT @@GLOBAL.gtid_slave_pos AS position").await?;
    Ok(row.and_then(|row| column(&row, "position")).unwrap_or_default())
}

/// Ends the sessions of everybody but us: a lock that one of them has would keep it from applying.
async fn cut_off_users(session: &mut Session) -> Result<(), EngineError> {
    let others = format!(
        "SELECT id FROM information_schema.PROCESSLIST \
         WHERE BINARY user NOT IN ('system user', 'event_scheduler', 'unauthenticated user', {}, {})",
        literal(session.administrator()),
        literal(REPLICATION)
    );
    for id in session.all::<u64>(&others).await? {
        // It may have ended by itself.
        let _ = session.run(format!("KILL CONNECTION {id}")).await;
    }
    Ok(())
}

/// Makes it writable. What it has received is applied first: it was acknowledged. Its commits wait for a standby from the first one on,
/// or for nobody.
pub async fn promote(session: &mut Session, waits: bool) -> Result<(), EngineError> {
    if is_writable(session).await? {
        return Ok(());
    }
    if let Some(row) = session.first("SHOW SLAVE STATUS").await? {
        session.run("STOP SLAVE IO_THREAD").await?;
        cut_off_users(session).await?;
        let received: String = column(&row, "Gtid_IO_Pos").unwrap_or_default();
        let received = match session.first("SHOW SLAVE STATUS").await? {
            Some(row) => column(&row, "Gtid_IO_Pos").unwrap_or(received),
            None => received,
        };
        if column::<String>(&row, "Slave_SQL_Running").as_deref() == Some("Yes") {
            if !wait_until_applied(session, &received, APPLY_LIMIT).await? {
                return Err(not_yet("The standby still applies what it has received."));
            }
        } else if sequence(&received) > sequence(&applied(session).await?) {
            let why: String = column(&row, "Last_SQL_Error").unwrap_or_default();
            return Err(EngineError::refused(format!("The standby does not apply what it has received. {why}"), "the applier has stopped"));
        }
        session.run("STOP SLAVE").await?;
        session.run("RESET SLAVE ALL").await?;
    }
    if waits {
        require_acknowledgement(session).await?;
    } else {
        release_commits(session).await?;
    }
    session.run("SET GLOBAL read_only = OFF").await
}

/// Has commits wait until a standby has them. One whose event is in the binary log by now may have been written before.
pub async fn require_acknowledgement(session: &mut Session) -> Result<(), EngineError> {
    session.run("SET GLOBAL rpl_semi_sync_master_enabled = ON").await
}

/// Has commits wait for nobody.
pub async fn release_commits(session: &mut Session) -> Result<(), EngineError> {
    session.run("SET GLOBAL rpl_semi_sync_master_enabled = OFF").await
}

async fn status(session: &mut Session, name: &str) -> Result<Option<String>, EngineError> {
    let row = session.first(&format!("SHOW GLOBAL STATUS LIKE {}", literal(name))).await?;
    Ok(row.and_then(|row| column(&row, "Value")))
}

/// What the primary says of its standby.
pub async fn acknowledgement(session: &mut Session) -> Result<Acknowledgement, EngineError> {
    let row = session.first("SELECT @@GLOBAL.rpl_semi_sync_master_enabled AS enabled").await?;
    let required = row.and_then(|row| column::<bool>(&row, "enabled")) == Some(true);
    let says = session.all::<(String, String)>("SHOW GLOBAL STATUS LIKE 'Rpl\\_semi\\_sync\\_master\\_%'").await?;
    let said = |name: &str| says.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let some = |name: &str| said(name).and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count > 0);
    let given = required && said("Rpl_semi_sync_master_status") == Some("ON") && some("Rpl_semi_sync_master_clients");
    Ok(Acknowledgement { required, given, awaited: some("Rpl_semi_sync_master_wait_sessions") })
}

/// Ends the wait of commits whose acknowledgement was lost: a standby that connects again behind them never acknowledges them, and what
/// is in the log already keeps others from being written, which it would acknowledge. Its client is told that it was committed. Who waits
/// is asked before what is written: nobody who is ended waits for more than the standby has.
pub async fn end_lost_waits(session: &mut Session, has: &Position) -> Result<usize, EngineError> {
    let waiting = "SELECT query_id FROM information_schema.PROCESSLIST WHERE state = 'Waiting for semi-sync ACK from slave'";
    let waiting = session.all::<u64>(waiting).await?;
    if position(session).await? != *has {
        return Ok(0);
    }
    for query in &waiting {
        // This statement and no later one of its connection; it may have ended by itself. Looked at and ended in one go, for a statement
        // that commits twice (a change of a table within a transaction) waits twice.
        let and_go_on =
            format!("BEGIN NOT ATOMIC IF @@GLOBAL.gtid_binlog_pos = {} THEN KILL QUERY ID {query}; END IF; END", literal(&has.0));
        let _ = session.run(and_go_on).await;
    }
    Ok(waiting.len())
}

/// For how long what was applied has been behind what was received, in whole seconds.
pub async fn lag(session: &mut Session) -> Result<Option<Duration>, EngineError> {
    let row = session.first("SHOW SLAVE STATUS").await?;
    Ok(row.and_then(|row| column::<u64>(&row, "Seconds_Behind_Master")).map(Duration::from_secs))
}

/// What may be there besides of a large transaction that is still being received.
const FEW_BYTES: u64 = 64 << 10;

/// Whether it applies within that time what it has received by now.
pub async fn applies_within(session: &mut Session, limit: Duration) -> Result<bool, EngineError> {
    let Some(row) = session.first("SHOW SLAVE STATUS").await? else { return Ok(true) };
    let text = |name: &str| column::<String>(&row, name).unwrap_or_default();
    let number = |name: &str| column::<u64>(&row, name).unwrap_or_default();
    let few_bytes = text("Master_Log_File") == text("Relay_Master_Log_File")
        && number("Read_Master_Log_Pos").saturating_sub(number("Exec_Master_Log_Pos")) <= FEW_BYTES;
    if !few_bytes {
        tokio::time::sleep(limit).await;
        return Ok(false);
    }
    wait_until_applied(session, &text("Gtid_IO_Pos"), limit).await
}

async fn wait_until_applied(session: &mut Session, received: &str, limit: Duration) -> Result<bool, EngineError> {
    if received.is_empty() {
        return Ok(true);
    }
    let wait = format!("SELECT MASTER_GTID_WAIT({}, {:.3}) AS waited", literal(received), limit.as_secs_f64());
    Ok(session.first(&wait).await?.and_then(|row| column::<i64>(&row, "waited")) == Some(0))
}

/// What is in the binary log by now.
pub async fn position(session: &mut Session) -> Result<Position, EngineError> {
    let row = session.first("SELECT @@GLOBAL.gtid_binlog_pos AS position").await?;
    Ok(Position(row.and_then(|row| column(&row, "position")).unwrap_or_default()))
}

/// The number of the last event of our one domain in a position.
fn sequence(position: &str) -> u64 {
    let numbers = position.split(',').filter_map(|gtid| gtid.trim().strip_prefix("0-")?.split_once('-')?.1.parse().ok());
    numbers.max().unwrap_or(0)
}

/// Has it go on behind the last event in its own binary log. A server killed within a statement that is no transaction has logged it and
/// does not know that it was applied: followed from there, it would apply it twice (MariaDB refuses: "out-of-order sequence number").
/// Every event that is in the log after a recovery has been applied.
async fn take_over_what_is_logged(session: &mut Session) -> Result<(), EngineError> {
    let logged = position(session).await?.0;
    if sequence(&logged) > sequence(&applied(session).await?) {
        session.run(format!("SET GLOBAL gtid_slave_pos = {}", literal(&logged))).await?;
    }
    Ok(())
}

/// Makes sure it follows this primary, and acknowledges where that is required.
pub async fn follow(session: &mut Session, primary: &Place, password: &ReplicationPassword) -> Result<(), EngineError> {
    if is_writable(session).await? {
        return Err(EngineError::refused("It is writable: it has to be started again to follow.", "it is not read-only"));
    }
    let host = primary.replication.to_string();
    let now = session.first("SHOW SLAVE STATUS").await?;
    let text = |name: &str| now.as_ref().and_then(|row| column::<String>(row, name)).unwrap_or_default();
    if text("Master_Host") != host {
        session
            .run(format!(
                "CHANGE MASTER TO MASTER_HOST = {}, MASTER_PORT = {REPLICATION_PORT}, MASTER_USER = {}, MASTER_PASSWORD = {}, \
                 MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1, MASTER_USE_GTID = slave_pos, MASTER_DEMOTE_TO_SLAVE = 1",
                literal(&host),
                literal(REPLICATION),
                literal(&password.0),
            ))
            .await?;
        return session.run("START SLAVE").await;
    }
    let (receiver, applier) = (text("Slave_IO_Running"), text("Slave_SQL_Running"));
    if applier == "No" {
        let (number, why) = (now.as_ref().and_then(|row| column::<u32>(row, "Last_SQL_Errno")).unwrap_or(0), text("Last_SQL_Error"));
        if number != 0 {
            return Err(EngineError::refused(
                format!("The standby cannot apply what its primary has done. {why}"),
                "the applier has stopped",
            ));
        }
        if receiver == "No" {
            take_over_what_is_logged(session).await?;
        }
        return session.run("START SLAVE").await;
    }
    if receiver == "No" {
        // Its history differs, or what it lacks is not kept any more: that does not pass.
        let (number, why) = (now.as_ref().and_then(|row| column::<u32>(row, "Last_IO_Errno")).unwrap_or(0), text("Last_IO_Error"));
        if number == 1236 {
            return Err(EngineError::refused(format!("The standby cannot follow its primary. {why}"), "the receiver has stopped"));
        }
        return session.run("START SLAVE IO_THREAD").await;
    }
    if receiver == "Yes" && status(session, "Rpl_semi_sync_slave_status").await?.as_deref() != Some("ON") {
        // The relay log stays, for the applier goes on.
        session.run("STOP SLAVE IO_THREAD").await?;
        return session.run("START SLAVE IO_THREAD").await;
    }
    Ok(())
}

/// Whether it has received, into its relay log, what was in the binary log of its primary at that position.
pub async fn has(session: &mut Session, position: &Position) -> Result<bool, EngineError> {
    let Some(row) = session.first("SHOW SLAVE STATUS").await? else { return Ok(false) };
    let text = |name: &str| column::<String>(&row, name).unwrap_or_default();
    let follows = text("Slave_IO_Running") == "Yes" && text("Slave_SQL_Running") == "Yes";
    Ok(follows && sequence(&text("Gtid_IO_Pos")) >= sequence(&position.0))
}

/// How far it is with getting and applying. Within a large transaction only the place in the log grows.
pub async fn progress(session: &mut Session) -> Result<String, EngineError> {
    let Some(row) = session.first("SHOW SLAVE STATUS").await? else { return Ok(String::new()) };
    let text = |name: &str| column::<String>(&row, name).unwrap_or_default();
    let place = column::<u64>(&row, "Read_Master_Log_Pos").unwrap_or_default();
    let (received, applied) = (text("Gtid_IO_Pos"), applied(session).await?);
    Ok(format!("{received} {place} {applied}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_compared_by_the_one_domain_there_is() {
        assert_eq!((sequence(""), sequence("0-1-42"), sequence("0-7-9,1-1-100")), (0, 42, 9));
    }
}
