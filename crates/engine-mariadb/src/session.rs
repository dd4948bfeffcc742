//! Administrative conversations with a running instance over its Unix socket.

use crate::accounts;
use crate::character_set;
use crate::database::{self, Wanted};
use crate::parameters;
use crate::quote::{SQL_MODE, identifier, literal, pattern};
use crate::replication;
use crate::verifier::is_verifier;
use async_trait::async_trait;
use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::database::{AccountName, AccountSpec};
use moorage_domain::decide::health::Probe;
use moorage_domain::layout::{Place, ReplicationPassword};
use moorage_domain::parameter::Parameter;
use moorage_domain::secret::Verifier;
use moorage_domain::{InstanceId, Problem, ProblemCode};
use moorage_engine::{Acknowledgement, EngineError, EngineFacts, EngineSession, Position};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Error, OptsBuilder};
use std::future::Future;
use std::path::Path;
use std::time::Duration;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);

/// Errors of the server that pass: too many connections, shutting down, lock waits, deadlocks, interrupted, killed.
const PASSING: &[u16] = &[1040, 1053, 1203, 1205, 1213, 1317, 1927];

/// A connection as the administrator.
pub struct Session {
    connection: Conn,
    administrator: String,
}

/// Opens a session.
pub async fn connect(socket: &Path, administrator: &str) -> Result<Session, EngineError> {
    within(CONNECT_LIMIT, open(socket, administrator)).await
}

/// Asks whether the server answers. Any answer of the server, be it a refusal, shows that it lives.
pub async fn probe(socket: &Path, administrator: &str, limit: Duration) -> Probe {
    let asked = tokio::time::timeout(limit, async {
        let mut session = open(socket, administrator).await?;
        session.connection.query_drop("DO 1").await?;
        // Said goodbye properly, or the server's log fills with aborted connections.
        session.connection.disconnect().await
    });
    match asked.await {
        Ok(Ok(())) => Probe::Answered,
        Ok(Err(Error::Server(_))) => Probe::Busy,
        Ok(Err(_)) | Err(_) => Probe::Silent,
    }
}

async fn open(socket: &Path, administrator: &str) -> Result<Session, Error> {
    let options = OptsBuilder::default()
        .socket(Some(socket.to_string_lossy()))
        .user(Some(administrator))
        // Known, so that the driver does not ask for them after each connect.
        .max_allowed_packet(Some(1 << 24))
        .wait_timeout(Some(28_800))
        .stmt_cache_size(0);
    Ok(Session { connection: Conn::new(options).await?, administrator: String::from(administrator) })
}

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, EngineError> {
    match tokio::time::timeout(limit, call).await {
        Ok(done) => done.map_err(failed),
        Err(late) => Err(EngineError::unreachable(late)),
    }
}

/// Sorts an error into passing and lasting, in the server's own words.
fn failed(error: Error) -> EngineError {
    match error {
        Error::Server(ref answer) if !PASSING.contains(&answer.code) => {
            EngineError::refused(format!("ERROR {} ({}): {}", answer.code, answer.state, answer.message), error)
        }
        Error::Io(mysql_async::IoError::Io(ref io)) if io.kind() == std::io::ErrorKind::PermissionDenied => {
            EngineError::refused("The socket of the engine may not be opened by this account.", error)
        }
        error => EngineError::unreachable(error),
    }
}

impl Session {
    /// Runs one statement.
    pub(crate) async fn run(&mut self, statement: impl AsRef<str>) -> Result<(), EngineError> {
        within(STATEMENT_LIMIT, self.connection.query_drop(statement.as_ref())).await
    }
    /// Whose connection it is.
    pub(crate) fn administrator(&self) -> &str {
        &self.administrator
    }

    /// All rows of an answer.
    pub(crate) async fn all<T: FromRow + Send + 'static>(&mut self, question: &str) -> Result<Vec<T>, EngineError> {
        within(STATEMENT_LIMIT, self.connection.query(question)).await
    }

    /// The first row of what the second of two statements answers.
    pub(crate) async fn last_row(&mut self, questions: &str) -> Result<Option<mysql_async::Row>, EngineError> {
        within(STATEMENT_LIMIT, async {
            let mut answers = self.connection.query_iter(questions).await?;
            answers.collect::<mysql_async::Row>().await?;
            Ok(answers.collect_and_drop().await?.into_iter().next())
        })
        .await
    }

    /// The first row of an answer.
    pub(crate) async fn first(&mut self, question: &str) -> Result<Option<mysql_async::Row>, EngineError> {
        within(STATEMENT_LIMIT, self.connection.query_first(question)).await
    }
}

pub(crate) fn refuse(problem: Problem) -> EngineError {
    EngineError { problem, passing: false, cause: None }
}

/// One message with everything that makes a database and its owner, each part repeatable. `ambitious` says that the account
/// has privileges beyond databases of its own: they are taken away.
fn statements(wanted: &Wanted<'_>, verifier: &Verifier, ambitious: bool) -> String {
    let account = format!("{}@'%'", literal(wanted.owner));
    let password = literal(&verifier.0);
    let database = identifier(wanted.name);
    let revoke = if ambitious {
        format!("REVOKE ALL PRIVILEGES ON *.* FROM {account};REVOKE GRANT OPTION ON *.* FROM {account};")
    } else {
        String::new()
    };
    format!(
        "CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET {};\
         CREATE USER IF NOT EXISTS {account} IDENTIFIED BY PASSWORD {password};\
         ALTER USER {account} IDENTIFIED BY PASSWORD {password} REQUIRE NONE ACCOUNT UNLOCK;\
         {revoke}GRANT ALL PRIVILEGES ON {}.* TO {account}",
        wanted.character_set,
        pattern(wanted.name)
    )
}

#[async_trait]
impl EngineSession for Session {
    async fn ensure_database_with_owner(&mut self, database: &DatabaseSpec, verifier: &Verifier) -> Result<(), EngineError> {
        let wanted = database::check(database).map_err(refuse)?;
        if !is_verifier(&verifier.0) {
            return Err(refuse(Problem::new(ProblemCode::Internal, "The password of the owner was not turned into a verifier.")));
        }
        if wanted.owner.eq_ignore_ascii_case(&self.administrator) {
            let message = format!("The name {:?} is reserved: it is the administrator's.", wanted.owner);
            return Err(refuse(Problem::invalid("database.owner", message).hint("Choose another name.")));
        }
        let (name, owner) = (literal(wanted.name), literal(wanted.owner));
        let question = format!(
            "{SQL_MODE};SELECT \
             (SELECT DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {name}), \
             (SELECT MAX(JSON_VALUE(Priv, '$.access')) FROM mysql.global_priv WHERE User = {owner})"
        );
        let found: Option<(Option<String>, Option<String>)> = self.last_row(&question).await?.map(mysql_async::from_row);
        let (existing, access) = found.unwrap_or_default();
        if let Some(existing) = existing.filter(|existing| existing != character_set::stored(wanted.character_set)) {
            return Err(refuse(Problem::new(
                ProblemCode::EngineRefused,
                format!("A database of that name exists already, in the character set {existing}."),
            )));
        }
        let ambitious = access.is_some_and(|access| access != "0");
        within(STATEMENT_LIMIT, self.connection.query_drop(statements(&wanted, verifier, ambitious))).await
    }

    async fn ensure_password(&mut self, account: &str, verifier: &Verifier) -> Result<(), EngineError> {
        accounts::ensure_password(self, account, verifier).await
    }
    async fn ensure_database(&mut self, database: &DatabaseSpec) -> Result<(), EngineError> {
        accounts::ensure_database(self, database).await
    }
    async fn ensure_account(&mut self, account: &AccountSpec, verifier: &Verifier) -> Result<(), EngineError> {
        accounts::ensure_account(self, account, verifier).await
    }
    async fn prepare_databases(&mut self) -> Result<(), EngineError> {
        // Making one takes a millisecond.
        Ok(())
    }
    async fn replace_password(&mut self, account: &str, verifier: &Verifier) -> Result<(), EngineError> {
        accounts::replace_password(self, account, verifier).await
    }
    async fn shut_out_others(&mut self, _database: &str, _accounts: &[String]) -> Result<(), EngineError> {
        // No account may pass on what it was given.
        Ok(())
    }
    async fn account_name(&mut self, name: &str) -> Result<AccountName, EngineError> {
        accounts::account_name(self, name).await
    }
    async fn end_sessions(&mut self, account: &str) -> Result<(), EngineError> {
        accounts::end_sessions(self, account).await
    }
    async fn ensure_account_absent(&mut self, account: &AccountSpec) -> Result<(), EngineError> {
        accounts::ensure_account_absent(self, account).await
    }
    async fn ensure_database_absent(&mut self, name: &str) -> Result<(), EngineError> {
        accounts::ensure_database_absent(self, name).await
    }
    async fn database_sizes(&mut self) -> Result<Vec<(String, u64)>, EngineError> {
        accounts::database_sizes(self).await
    }

    async fn parameters(&mut self) -> Result<Vec<Parameter>, EngineError> {
        let rows: Vec<parameters::AppliedRow> = within(STATEMENT_LIMIT, self.connection.query(parameters::APPLIED)).await?;
        let mut parameters: Vec<_> = rows.into_iter().filter_map(parameters::applied).collect();
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(parameters)
    }

    async fn observe(&mut self) -> Result<EngineFacts, EngineError> {
        let question = "SELECT VERSION(), @@GLOBAL.read_only, SCHEMA_NAME FROM information_schema.SCHEMATA";
        let rows: Vec<(String, bool, String)> = within(STATEMENT_LIMIT, self.connection.query(question)).await?;
        let mut facts = EngineFacts { version: String::new(), writable: false, databases: Vec::new() };
        for (version, read_only, database) in rows {
            facts.version = String::from(version.split('-').next().unwrap_or(&version));
            facts.writable = !read_only;
            if !["mysql", "sys", "information_schema", "performance_schema"].contains(&database.as_str()) {
                facts.databases.push(database);
            }
        }
        facts.databases.sort();
        Ok(facts)
    }

    async fn ensure_replication_account(&mut self, verifier: &Verifier) -> Result<(), EngineError> {
        if !is_verifier(&verifier.0) {
            return Err(refuse(Problem::internal()));
        }
        replication::ensure_account(self, verifier).await
    }
    async fn promote(&mut self, waits_for: Option<&InstanceId>) -> Result<(), EngineError> {
        replication::promote(self, waits_for.is_some()).await
    }
    async fn require_acknowledgement(&mut self, _standby: &InstanceId) -> Result<(), EngineError> {
        replication::require_acknowledgement(self).await
    }
    async fn release_commits(&mut self) -> Result<(), EngineError> {
        replication::release_commits(self).await
    }
    async fn acknowledgement(&mut self, _standby: &InstanceId) -> Result<Acknowledgement, EngineError> {
        replication::acknowledgement(self).await
    }
    async fn end_lost_waits(&mut self, position: &Position) -> Result<usize, EngineError> {
        replication::end_lost_waits(self, position).await
    }
    async fn lag(&mut self) -> Result<Option<Duration>, EngineError> {
        replication::lag(self).await
    }
    async fn applies_within(&mut self, limit: Duration) -> Result<bool, EngineError> {
        replication::applies_within(self, limit).await
    }
    async fn position(&mut self) -> Result<Position, EngineError> {
        replication::position(self).await
    }
    async fn follow(&mut self, primary: &Place, password: &ReplicationPassword) -> Result<(), EngineError> {
        replication::follow(self, primary, password).await
    }
    async fn has(&mut self, position: &Position) -> Result<bool, EngineError> {
        replication::has(self, position).await
    }
    async fn progress(&mut self) -> Result<String, EngineError> {
        replication::progress(self).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_quote_whatever_they_are_given() {
        let wanted = Wanted { name: "d`_a", owner: "o'w\\", character_set: "utf8mb4" };
        let statements = statements(&wanted, &Verifier(String::from("*00")), true);
        assert!(statements.starts_with("CREATE DATABASE IF NOT EXISTS `d``_a` CHARACTER SET utf8mb4;"), "{statements}");
        assert!(statements.contains("CREATE USER IF NOT EXISTS 'o''w\\\\'@'%' IDENTIFIED BY PASSWORD '*00';"), "{statements}");
        assert!(statements.contains("REVOKE ALL PRIVILEGES ON *.* FROM 'o''w\\\\'@'%';"), "{statements}");
        assert!(statements.ends_with("GRANT ALL PRIVILEGES ON `d``\\_a`.* TO 'o''w\\\\'@'%'"), "{statements}");
    }
}
