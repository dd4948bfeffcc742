//! Every statement has one text for both databases: it prepares on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use moorage_store::{Store, StoreError, all_statements, schema};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

#[tokio::test]
async fn every_statement_prepares_on_sqlite() {
    let directory = tempfile::tempdir().expect("a directory");
    Store::open(&directory.path().join("store.db")).await.expect("a store");
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", directory.path().join("store.db").display())).await.expect("SQLite");
    for (name, text) in all_statements() {
        use sqlx::Executor;
        let prepared = pool.prepare(sqlx::SqlStr::from_static(text)).await;
        assert!(prepared.is_ok(), "{name}: {:?}\n{text}", prepared.err());
    }
}

#[tokio::test]
async fn every_statement_prepares_on_postgresql() {
    let server = PostgreSql::start();
    let pool = sqlx::PgPool::connect(&format!("postgres://nobody@localhost/postgres?host={}", server.directory.path().display()))
        .await
        .expect("PostgreSQL");
    for text in schema() {
        sqlx::raw_sql(sqlx::SqlStr::from_static(text)).execute(&pool).await.expect("the schema");
    }
    for (name, text) in all_statements() {
        use sqlx::Executor;
        let prepared = pool.prepare(sqlx::SqlStr::from_static(text)).await;
        assert!(prepared.is_ok(), "{name}: {:?}\n{text}", prepared.err());
    }
}

#[tokio::test]
async fn a_store_of_a_newer_program_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.db");
    Store::open(&path).await.expect("a store").close().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.expect("SQLite");
    sqlx::query("INSERT INTO schema_version (version) VALUES (999)").execute(&pool).await.expect("a newer version");
    pool.close().await;
    assert!(matches!(Store::open(&path).await, Err(StoreError::TooNew { found: 999, .. })));
}

/// A PostgreSQL of this test's own, without a network.
struct PostgreSql {
    directory: tempfile::TempDir,
    server: Child,
}

impl PostgreSql {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        std::os::unix::fs::chown(directory.path(), Some(65534), Some(65534)).expect("root");
        let program = |name: &str| {
            let bin = PathBuf::from("/usr/lib/postgresql/15/bin").join(name);
            let mut command = Command::new(bin);
            command.current_dir(directory.path()).uid(65534).gid(65534);
            command
        };
        let made = program("initdb").args(["-N", "-A", "trust", "-U", "nobody", "-D"]).arg(&data).output().expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut start = program("postgres");
        start.args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"]).arg(directory.path()).arg("-D").arg(&data);
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let server = start.stderr(log).spawn().expect("postgres runs");
        let socket = directory.path().join(".s.PGSQL.5432");
        wait_for(&socket);
        Self { directory, server }
    }
}

fn wait_for(socket: &Path) {
    for _ in 0..1000 {
        if std::os::unix::net::UnixStream::connect(socket).is_ok() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("PostgreSQL did not listen on {}", socket.display());
}

impl Drop for PostgreSql {
    fn drop(&mut self) {
        drop(Command::new("kill").args(["-3", &self.server.id().to_string()]).status());
        drop(self.server.wait());
    }
}
