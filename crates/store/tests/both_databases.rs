//! Every statement has one text for both databases: it prepares on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use moorage_domain::DatabaseId;
use moorage_store::{
    Databases, Endpoints, NOT_COPIED, Store, StoreAddress, StoreError, StoredRow, StoredValue, TABLES, Transfer, all_statements,
};
use moorage_testkit::{TestPostgreSql, TestStore, a_cluster};

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
    let server = TestPostgreSql::start();
    Store::connect(&StoreAddress::PostgreSql(server.url())).await.expect("a store");
    let pool = sqlx::PgPool::connect(&server.url()).await.expect("PostgreSQL");
    for (name, text) in all_statements() {
        use sqlx::Executor;
        let prepared = pool.prepare(sqlx::SqlStr::from_static(text)).await;
        assert!(prepared.is_ok(), "{name}: {:?}\n{text}", prepared.err());
    }
}

#[tokio::test]
async fn a_copy_carries_every_table_or_says_why_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.db");
    Store::open(&path).await.expect("a store").close().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.expect("SQLite");
    let tables = sqlx::query_scalar::<_, String>("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name");
    let mut known: Vec<&str> = TABLES.iter().chain(NOT_COPIED).copied().collect();
    known.sort_unstable();
    assert_eq!(tables.fetch_all(&pool).await.expect("tables"), known);
}

#[tokio::test]
async fn rows_go_from_one_database_to_the_other_and_back_unchanged() {
    let from = TestStore::open().await;
    for number in 1..=3 {
        from.insert(&a_cluster(number)).await;
    }
    let there = TestStore::open_on_postgresql().await;
    let back = TestStore::open().await;
    assert!(there.store().look().await.expect("a look").is_empty().await.expect("counted"));
    let rows = rows_of(from.store()).await;
    assert!(rows.len() > 4);
    for (source, target) in [(from.store(), there.store()), (there.store(), back.store())] {
        let mut uow = target.begin().await.expect("begun");
        for row in rows_of(source).await {
            uow.insert_row(&row).await.expect("inserted");
        }
        uow.commit().await.expect("committed");
        assert_eq!(rows_of(target).await, rows);
    }
    let mut uow = back.store().begin().await.expect("begun");
    let foreign = StoredRow { table: "account; DROP TABLE account".into(), columns: rows[0].columns.clone() };
    assert!(uow.insert_row(&foreign).await.is_err(), "a file names no table that is not ours");
    let mut foreign = rows[0].clone();
    foreign.set("name) VALUES ('x'); --", StoredValue::Null(()));
    assert!(uow.insert_row(&foreign).await.is_err(), "nor a column");
}

#[tokio::test]
async fn endpoints_of_an_older_program_are_still_there_and_leave_room_for_those_of_instances() {
    let from = TestStore::open().await;
    from.insert(&a_cluster(1)).await;
    let directory = tempfile::tempdir().expect("a directory");
    let address = StoreAddress::File(directory.path().join("store.db"));
    let older = Store::make_at_version(&address, 8).await.expect("an older store");
    let mut uow = older.begin().await.expect("begun");
    for mut row in rows_of(from.store()).await.into_iter().filter(|row| !["database", "credential"].contains(&row.table.as_str())) {
        row.columns.remove("enforcement");
        uow.insert_row(&row).await.expect("inserted");
    }
    let (cluster, place) = (a_cluster(1), "127.64.0.10".parse().expect("an address"));
    let text = |text: &str| StoredValue::Text(text.to_owned());
    let columns = [
        ("cluster_id", text(cluster.id.as_str())),
        ("host_id", text(cluster.host.as_str())),
        ("address", text("127.64.0.10")),
        ("port", StoredValue::Number(5432)),
        ("public_address", text("192.0.2.1:20000")),
    ];
    let columns = columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    uow.insert_row(&StoredRow { table: "endpoint".into(), columns }).await.expect("inserted");
    uow.commit().await.expect("committed");
    older.close().await;
    let store = Store::connect(&address).await.expect("brought up to date");
    let found = store.look().await.expect("a look").endpoint_of(&cluster.id).await.expect("read").expect("there");
    assert_eq!((found.address, found.port, found.instances.len()), (place, 5432, 0));
    assert_eq!(found.public, "192.0.2.1:20000".parse().ok());
    // What it was made with has rows of its own by now.
    let mut look = store.look().await.expect("a look");
    let database = look.database(&DatabaseId::first_of(&cluster.id)).await.expect("read").expect("there");
    let credentials = look.credentials_of(&database.id).await.expect("read");
    assert_eq!((database.name.as_str(), database.first, database.locale.as_deref()), ("orders", true, Some("C")));
    assert_eq!(credentials.iter().map(|credential| credential.user.as_str()).collect::<Vec<_>>(), ["clerk"]);
    assert_eq!(credentials[0].sealed_password, None);
    drop(look);
    store.close().await;
}

async fn rows_of(store: &Store) -> Vec<StoredRow> {
    let mut rows = Vec::new();
    let mut look = store.look().await.expect("a look");
    for table in TABLES {
        look.each_row(table, |row| {
            rows.push(row);
            Ok(())
        })
        .await
        .expect("read");
    }
    rows.sort_by_key(|row| format!("{row:?}"));
    let place = |row: &StoredRow| TABLES.iter().position(|table| *table == row.table);
    rows.sort_by_key(place);
    rows
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
