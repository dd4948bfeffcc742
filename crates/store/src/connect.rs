//! Ways to a store: a SQLite file, or a PostgreSQL database that several servers share.
//!
//! Both give the same promises: units of work run one after another, a look sees one moment, a commit is durable.

use crate::{StoreResult, failed};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection, Executor};
use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Where a store is. `Debug` does not show the password of a URL.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// A SQLite file of one server's own.
    File(PathBuf),
    /// A PostgreSQL database, as `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    PostgreSql(String),
}

impl std::fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreAddress::File(path) => f.debug_tuple("File").field(path).finish(),
            StoreAddress::PostgreSql(_) => f.write_str("PostgreSql(hidden)"),
        }
    }
}

/// How one kind of database is spoken to.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Begins a unit of work and waits until nobody else is in one.
    pub begin: &'static str,
    /// Begins a look.
    pub look: &'static str,
    /// Tells other servers that operations were changed, where there can be others.
    pub notify: Option<&'static str>,
}

const SQLITE: Dialect = Dialect { begin: "BEGIN IMMEDIATE", look: "BEGIN", notify: None };
/// Where servers on one PostgreSQL database tell each other that operations were changed.
pub(crate) const CHANNEL: &str = "moorage";
// Units of work read before they write (a free address, who holds a cluster): one after another they cannot miss each other,
// on several servers as on one. The number only has to be the same everywhere.
const POSTGRESQL: Dialect = Dialect {
    begin: "BEGIN; SELECT pg_advisory_xact_lock(7302614558921)",
    look: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    notify: Some("SELECT CAST(pg_notify('moorage', '') AS TEXT)"),
};

/// What every connection is set to. A process that stops in the middle of a unit of work must not hold up the others for long, and
/// a commit that was acknowledged must be durable whatever the database's default is.
const SQLITE_SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 10000; \
                               PRAGMA temp_store = memory";
const SQLITE_READER_SETTINGS: &str = "PRAGMA busy_timeout = 10000; PRAGMA temp_store = memory";
const POSTGRESQL_SETTINGS: &str = "SET application_name = 'moorage'; SET synchronous_commit = on; SET statement_timeout = '20s'; \
                                   SET idle_in_transaction_session_timeout = '20s'; SET timezone = 'UTC'";

/// How long a request waits for a connection to a database that is not there.
const POSTGRESQL_PATIENCE: Duration = Duration::from_secs(5);
const SQLITE_PATIENCE: Duration = Duration::from_secs(30);

/// Connections for units of work, and for looks.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    pub address: StoreAddress,
    pub writer: AnyPool,
    pub readers: AnyPool,
    pub dialect: &'static Dialect,
}

fn pool(most: u32, patience: Duration, settings: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(most)
        .acquire_timeout(patience)
        .after_connect(move |connection, _| Box::pin(async move { set(connection, settings).await }))
}

async fn set(connection: &mut AnyConnection, settings: &'static str) -> Result<(), sqlx::Error> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await.map(drop)
}

impl Pools {
    /// Opens a SQLite file, made where it is missing; `migrate` runs between the writer and the readers.
    pub(crate) async fn file<F: Future<Output = StoreResult<()>>>(
        path: &Path,
        migrate: impl FnOnce(AnyPool, &'static Dialect) -> F,
    ) -> StoreResult<Self> {
        sqlx::any::install_default_drivers();
        // SQLite gives its log and shared memory the permissions of the file: nobody else on the machine reads any of them.
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        made.map_err(sqlx::Error::Io).map_err(failed("making the store's file"))?;
        // A pool tries again until its time is over, whatever is wrong with the file.
        let once = AnyConnection::connect_with(&file_options(path, "rwc")?).await.map_err(failed("opening the store"))?;
        looked_at(once).await.map_err(failed("opening the store"))?;
        let opened = failed("opening the store");
        // After a commit that failed on a full disk SQLite has rolled back by itself and the connection takes that for a
        // transaction that never ends: it would refuse every other one.
        let writer = pool(1, SQLITE_PATIENCE, SQLITE_SETTINGS).test_before_acquire(false).after_release(|connection, _| {
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        });
        let writer = writer.connect_with(file_options(path, "rwc")?).await.map_err(opened)?;
        migrate(writer.clone(), &SQLITE).await?;
        let readers = pool(8, SQLITE_PATIENCE, SQLITE_READER_SETTINGS).test_before_acquire(false);
        let readers = readers.connect_with(file_options(path, "ro")?).await.map_err(failed("opening the store"))?;
        Ok(Self { address: StoreAddress::File(path.to_owned()), writer, readers, dialect: &SQLITE })
    }

    /// Connects to a PostgreSQL database.
    pub(crate) async fn postgresql<F: Future<Output = StoreResult<()>>>(
        url: &str,
        migrate: impl FnOnce(AnyPool, &'static Dialect) -> F,
    ) -> StoreResult<Self> {
        sqlx::any::install_default_drivers();
        let options = AnyConnectOptions::from_str(url).map_err(failed("reading the store's URL"))?.disable_statement_logging();
        let writer = pool(1, POSTGRESQL_PATIENCE, POSTGRESQL_SETTINGS).connect_with(options.clone());
        let writer = writer.await.map_err(failed("connecting to the store"))?;
        migrate(writer.clone(), &POSTGRESQL).await?;
        let readers = pool(8, POSTGRESQL_PATIENCE, POSTGRESQL_SETTINGS).connect_with(options).await;
        let readers = readers.map_err(failed("connecting to the store"))?;
        Ok(Self { address: StoreAddress::PostgreSql(url.to_owned()), writer, readers, dialect: &POSTGRESQL })
    }
}

async fn looked_at(mut connection: AnyConnection) -> Result<(), sqlx::Error> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("{SQLITE_READER_SETTINGS}; SELECT count(*) FROM sqlite_schema")))).await?;
    connection.close().await
}

const IN_A_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

fn file_options(path: &Path, mode: &str) -> StoreResult<AnyConnectOptions> {
    let path = percent_encode(path.as_os_str().as_bytes(), IN_A_PATH);
    let options = AnyConnectOptions::from_str(&format!("sqlite://{path}?mode={mode}")).map_err(failed("opening the store"))?;
    Ok(options.disable_statement_logging())
}
