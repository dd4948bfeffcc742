//! Administrative conversations with a running instance over its Unix socket.

use crate::accounts;
use crate::database::{self, Wanted};
use crate::parameters;
use crate::quote::{identifier, literal};
use crate::ready;
use crate::replication;
use crate::settings::ADMINISTRATOR;
use crate::template::{OF_OUR_OWN, READY_DATABASE};
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
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, SimpleQueryRow};

const ADMINISTRATORS_DATABASE: &str = "postgres";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Creating a database in another encoding copies files; everything else takes milliseconds.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);

/// A statement that fails may carry a verifier, which has no place in a log that a tenant reads. The rest takes precedence over what the
/// owner of a database has set for whoever connects to it.
const OPTIONS: &str = "-c log_min_error_statement=panic -c search_path=pg_catalog -c role=none -c default_transaction_read_only=off \
    -c statement_timeout=0 -c lock_timeout=0 -c idle_session_timeout=0";

/// A connection as the administrator.
pub struct Session {
    socket: PathBuf,
    client: Client,
    connection: tokio::task::JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What the server knows of a database and its owner before anything is done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    role: bool,
    memberships: Vec<String>,
    /// Encoding, collation and character type of the database, when it exists.
    database: Option<(String, String, String)>,
    ready: bool,
}

/// Opens a session.
pub async fn connect(socket: &Path) -> Result<Session, EngineError> {
    match tokio::time::timeout(CONNECT_LIMIT, open(socket, ADMINISTRATORS_DATABASE)).await {
        Ok(opened) => opened.map_err(explain),
        Err(late) => Err(EngineError::unreachable(late)),
    }
}

/// Asks whether the server answers. Any answer of the server, be it a refusal, shows that it lives.
pub async fn probe(socket: &Path, limit: Duration) -> Probe {
    let asked = tokio::time::timeout(limit, async {
        let session = open(socket, ADMINISTRATORS_DATABASE).await?;
        session.client.simple_query("SELECT 1").await.map_err(OpenError::Sql)
    });
    match asked.await {
        Ok(Ok(_)) => Probe::Answered,
        Ok(Err(OpenError::Sql(error))) if error.as_db_error().is_some() => Probe::Busy,
        Ok(Err(_)) | Err(_) => Probe::Silent,
    }
}

enum OpenError {
    Socket(std::io::Error),
    Sql(tokio_postgres::Error),
}

async fn open(socket: &Path, database: &str) -> Result<Session, OpenError> {
    let stream = UnixStream::connect(socket).await.map_err(OpenError::Socket)?;
    let mut config = tokio_postgres::Config::new();
    config.user(ADMINISTRATOR).dbname(database).application_name("moorage");
    config.options(OPTIONS);
    let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(OpenError::Sql)?;
    let connection = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an administrative connection ended");
        }
    });
    Ok(Session { socket: socket.to_owned(), client, connection })
}

fn explain(error: OpenError) -> EngineError {
    match error {
        OpenError::Socket(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            EngineError::refused("The socket of the engine may not be opened by this account.", error)
        }
        OpenError::Socket(error) => EngineError::unreachable(error),
        OpenError::Sql(error) => failed(error),
    }
}

/// Sorts an error into passing and lasting, in the server's own words.
fn failed(error: tokio_postgres::Error) -> EngineError {
    let Some(answer) = error.as_db_error() else { return EngineError::unreachable(error) };
    let passing = [
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::OBJECT_IN_USE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::QUERY_CANCELED,
        // A late twin of this call was faster; the next try finds its work.
        SqlState::DUPLICATE_OBJECT,
        SqlState::DUPLICATE_DATABASE,
        SqlState::UNIQUE_VIOLATION,
        SqlState::UNDEFINED_DATABASE,
    ];
    if passing.contains(answer.code()) || answer.message().contains("tuple concurrently updated") {
        return EngineError::unreachable(error);
    }
    let mut words = format!("{}: {}", answer.severity(), answer.message());
    for more in [answer.detail(), answer.hint()].into_iter().flatten() {
        words.push('\n');
        words.push_str(more);
    }
    EngineError::refused(words, error)
}

impl Session {
    /// Another conversation with the same server.
    pub(crate) async fn another(&self) -> Result<Session, EngineError> {
        connect(&self.socket).await
    }

    /// A conversation with the same server about one of its databases.
    pub(crate) async fn within(&self, database: &str) -> Result<Session, EngineError> {
        match tokio::time::timeout(CONNECT_LIMIT, open(&self.socket, database)).await {
            Ok(opened) => opened.map_err(explain),
            Err(late) => Err(EngineError::unreachable(late)),
        }
    }

    /// The first column of the first row.
    pub(crate) async fn one(&self, statement: &str) -> Result<Option<String>, EngineError> {
        Ok(self.rows(statement).await?.first().and_then(|row| row.get(0)).map(String::from))
    }

    pub(crate) async fn rows(&self, statements: &str) -> Result<Vec<SimpleQueryRow>, EngineError> {
        let messages = match tokio::time::timeout(STATEMENT_LIMIT, self.client.simple_query(statements)).await {
            Ok(messages) => messages.map_err(failed)?,
            Err(late) => return Err(EngineError::unreachable(late)),
        };
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    async fn find(&self, wanted: &Wanted<'_>) -> Result<Found, EngineError> {
        let (database, owner) = (literal(wanted.name), literal(wanted.owner));
        let rows = self
            .rows(&format!(
                "SELECT 'role', NULL, NULL, NULL FROM pg_roles WHERE rolname = {owner} \
                 UNION ALL SELECT 'member', r.rolname, NULL, NULL FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid \
                 JOIN pg_roles o ON o.oid = m.member WHERE o.rolname = {owner} \
                 UNION ALL SELECT CASE datname WHEN {database} THEN 'database' ELSE 'ready' END, pg_encoding_to_char(encoding), \
                 datcollate, datctype FROM pg_database WHERE datname IN ({database}, '{READY_DATABASE}')"
            ))
            .await?;
        let mut found = Found::default();
        for row in rows {
            let text = |column: usize| String::from(row.get(column).unwrap_or_default());
            match row.get(0) {
                Some("role") => found.role = true,
                Some("member") => found.memberships.push(text(1)),
                Some("database") => found.database = Some((text(1), text(2), text(3))),
                _ => found.ready = true,
            }
        }
        Ok(found)
    }
}

pub(crate) fn refuse(problem: Problem) -> EngineError {
    EngineError { problem, passing: false, cause: None }
}

/// Statements that make the owner account: able to log in and nothing else.
fn owner_statements(wanted: &Wanted<'_>, verifier: &Verifier, found: &Found) -> String {
    let owner = identifier(wanted.owner);
    let verb = if found.role { "ALTER" } else { "CREATE" };
    let mut statements = format!(
        "{verb} ROLE {owner} LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS CONNECTION LIMIT -1 PASSWORD {};",
        literal(&verifier.0)
    );
    for membership in &found.memberships {
        statements.push_str(&format!("REVOKE {} FROM {owner};", identifier(membership)));
    }
    statements
}

/// Statements that give the database to its owner alone. Schema `public` belongs to the owner of the database by itself
/// (`pg_database_owner`).
fn ownership_statements(wanted: &Wanted<'_>) -> String {
    let (database, owner) = (identifier(wanted.name), identifier(wanted.owner));
    format!("ALTER DATABASE {database} OWNER TO {owner};REVOKE ALL ON DATABASE {database} FROM PUBLIC;")
}

pub(crate) fn creation_statement(wanted: &Wanted<'_>) -> String {
    format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE {}",
        identifier(wanted.name),
        literal(wanted.encoding),
        literal(wanted.locale)
    )
}

#[async_trait]
impl EngineSession for Session {
    async fn ensure_database_with_owner(&mut self, database: &DatabaseSpec, verifier: &Verifier) -> Result<(), EngineError> {
        let wanted = database::check(database).map_err(refuse)?;
        if !is_verifier(&verifier.0) {
            return Err(refuse(Problem::new(ProblemCode::Internal, "The password of the owner was not turned into a verifier.")));
        }
        let found = self.find(&wanted).await?;
        let mut statements = owner_statements(&wanted, verifier, &found);
        match &found.database {
            Some((encoding, collate, ctype)) => {
                let is = |locale: &str| locale == wanted.locale || crate::encoding::locale(locale) == Some(wanted.locale);
                if encoding != wanted.encoding || !is(collate) || !is(ctype) {
                    return Err(refuse(Problem::new(
                        ProblemCode::EngineRefused,
                        format!("A database of that name exists already, in the encoding {encoding} and the locale {collate}."),
                    )));
                }
            }
            None if found.ready && wanted.encoding == "UTF8" && wanted.locale == "C" => {
                statements.push_str(&format!("ALTER DATABASE {READY_DATABASE} RENAME TO {};", identifier(wanted.name)));
            }
            None => {
                // Cannot be part of a transaction, as several statements in one message are.
                self.rows(&creation_statement(&wanted)).await?;
            }
        }
        statements.push_str(&ownership_statements(&wanted));
        self.rows(&statements).await?;
        // The first connection to a database writes down what the catalogue says of itself for those that follow (about 10 ms,
        // measured); the owner need not be that first one.
        let (socket, name) = (self.socket.clone(), wanted.name.to_owned());
        tokio::spawn(async move { tokio::time::timeout(CONNECT_LIMIT, open(&socket, &name)).await.map(drop) });
        Ok(())
    }

    async fn ensure_password(&mut self, account: &str, verifier: &Verifier) -> Result<(), EngineError> {
        accounts::ensure_password(self, account, verifier).await
    }
    async fn ensure_database(&mut self, database: &DatabaseSpec) -> Result<(), EngineError> {
        accounts::ensure_database(self, database).await
    }
    async fn prepare_databases(&mut self) -> Result<(), EngineError> {
        ready::prepare(self).await
    }
    async fn ensure_account(&mut self, account: &AccountSpec, verifier: &Verifier) -> Result<(), EngineError> {
        accounts::ensure_account(self, account, verifier).await
    }
    async fn replace_password(&mut self, account: &str, verifier: &Verifier) -> Result<(), EngineError> {
        accounts::replace_password(self, account, verifier).await
    }
    async fn shut_out_others(&mut self, database: &str, accounts: &[String]) -> Result<(), EngineError> {
        accounts::shut_out_others(self, database, accounts).await
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
        let mut parameters: Vec<_> = self.rows(parameters::APPLIED).await?.iter().filter_map(parameters::applied).collect();
        parameters.sort_by(parameters::by_name);
        Ok(parameters)
    }

    async fn observe(&mut self) -> Result<EngineFacts, EngineError> {
        let rows = self
            .rows(&format!(
                "SELECT current_setting('server_version'), \
                 NOT pg_is_in_recovery() AND NOT current_setting('default_transaction_read_only')::bool, NULL \
                 UNION ALL SELECT NULL, NULL, datname FROM pg_database \
                 WHERE NOT datistemplate AND NOT {OF_OUR_OWN}"
            ))
            .await?;
        let mut facts = EngineFacts { version: String::new(), writable: false, databases: Vec::new() };
        for row in rows {
            match (row.get(0), row.get(1), row.get(2)) {
                (Some(version), writable, _) => {
                    facts.version = String::from(version.split_whitespace().next().unwrap_or(version));
                    facts.writable = writable == Some("t");
                }
                (_, _, Some(database)) => facts.databases.push(String::from(database)),
                _ => {}
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
        replication::promote(self, waits_for).await
    }
    async fn lag(&mut self) -> Result<Option<Duration>, EngineError> {
        replication::lag(self).await
    }
    async fn ship(&mut self) -> Result<(), EngineError> {
        replication::ship(self).await
    }
    async fn checkpoint(&mut self) -> Result<(), EngineError> {
        replication::checkpoint(self).await
    }
    async fn require_acknowledgement(&mut self, standby: &InstanceId) -> Result<(), EngineError> {
        replication::require_acknowledgement(self, standby).await
    }
    async fn release_commits(&mut self) -> Result<(), EngineError> {
        replication::release_commits(self).await
    }
    async fn acknowledgement(&mut self, standby: &InstanceId) -> Result<Acknowledgement, EngineError> {
        replication::acknowledgement(self, standby).await
    }
    async fn applies_within(&mut self, limit: Duration) -> Result<bool, EngineError> {
        replication::applies_within(self, limit).await
    }
    async fn position(&mut self) -> Result<Position, EngineError> {
        replication::position(self).await
    }
    async fn follow(&mut self, _primary: &Place, _password: &ReplicationPassword) -> Result<(), EngineError> {
        replication::follow(self).await
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

    const WANTED: Wanted<'static> = Wanted { name: "da\"ta", owner: "o'w\"ner", encoding: "UTF8", locale: "C" };

    #[test]
    fn statements_quote_whatever_they_are_given() {
        let found = Found { role: true, memberships: vec![String::from("pg_monitor")], ..Found::default() };
        let statements = owner_statements(&WANTED, &Verifier(String::from("SCRAM")), &found);
        assert!(statements.starts_with("ALTER ROLE \"o'w\"\"ner\" LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB"), "{statements}");
        assert!(statements.ends_with("REVOKE \"pg_monitor\" FROM \"o'w\"\"ner\";"), "{statements}");
        assert_eq!(creation_statement(&WANTED), "CREATE DATABASE \"da\"\"ta\" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'");
    }
}
