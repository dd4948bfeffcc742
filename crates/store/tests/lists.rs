//! Lists of clusters: whatever is asked for is found on both databases, and on SQLite by an index.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use moorage_domain::Timestamp;
use moorage_domain::cluster::Cluster;
use moorage_domain::engine::EngineName;
use moorage_domain::service_state::ServiceState;
use moorage_store::{ClusterFilter, ClusterSort, Clusters, NewCluster, all_statements};
use moorage_testkit::{TestStore, a_cluster};

/// Clusters that differ in everything a list filters and sorts by, with times and states that several share.
fn clusters() -> Vec<Cluster> {
    let states = [ServiceState::Running, ServiceState::Stopped, ServiceState::Failed];
    (1..=24)
        .map(|number| {
            let mut cluster = a_cluster(number);
            cluster.name = format!("n{:02}", number * 7 % 25);
            cluster.engine = if number % 2 == 0 { EngineName::MariaDb } else { EngineName::PostgreSql };
            cluster.state = states[number as usize % states.len()];
            cluster.created_at = Timestamp(i64::from(number * 5 % 11));
            cluster.spec.database.name = if number % 5 == 0 { "third".into() } else { "orders".into() };
            cluster
        })
        .collect()
}

async fn filled(store: &TestStore) -> Vec<Cluster> {
    let clusters = clusters();
    store.insert(&clusters[0]).await;
    let mut uow = store.store().begin().await.expect("begun");
    for cluster in &clusters[1..] {
        uow.insert_cluster(&NewCluster { cluster }).await.expect("inserted");
    }
    uow.commit().await.expect("committed");
    clusters
}

fn filters() -> Vec<ClusterFilter> {
    let mut filters = Vec::new();
    for engine in [None, Some(EngineName::MariaDb)] {
        for name in [None, Some("n07".to_owned()), Some("nobody".to_owned())] {
            for state in [None, Some(ServiceState::Running), Some(ServiceState::Creating)] {
                for database_name in [None, Some("third".to_owned())] {
                    filters.push(ClusterFilter { engine, name: name.clone(), state, database_name });
                }
            }
        }
    }
    filters
}

/// What the filter and the order mean, written down once more.
fn expected(clusters: &[Cluster], filter: &ClusterFilter, sort: ClusterSort, descending: bool) -> Vec<String> {
    let fits = |cluster: &&Cluster| {
        filter.engine.is_none_or(|engine| engine == cluster.engine)
            && filter.name.as_ref().is_none_or(|name| *name == cluster.name)
            && filter.state.is_none_or(|state| state == cluster.state)
            && filter.database_name.as_ref().is_none_or(|name| *name == cluster.spec.database.name)
    };
    let key = |cluster: &Cluster| match sort {
        ClusterSort::Name => cluster.name.clone(),
        ClusterSort::State => cluster.state.as_str().to_owned(),
        ClusterSort::CreatedAt => format!("{:020}", cluster.created_at.0),
    };
    let mut found: Vec<_> = clusters.iter().filter(fits).map(|cluster| (key(cluster), cluster.id.as_str().to_owned())).collect();
    found.sort();
    if descending {
        found.reverse();
    }
    found.into_iter().map(|(_, id)| id).collect()
}

async fn lists_are_right(store: TestStore) {
    let clusters = filled(&store).await;
    let mut look = store.store().look().await.expect("a look");
    for filter in filters() {
        for sort in [ClusterSort::Name, ClusterSort::State, ClusterSort::CreatedAt] {
            for descending in [false, true] {
                let wanted = expected(&clusters, &filter, sort, descending);
                for (offset, limit) in [(0, 100), (3, 4)] {
                    let page = look.clusters_page(&clusters[0].project, &filter, sort, descending, offset, limit).await.expect("a page");
                    let found: Vec<_> = page.rows.iter().map(|cluster| cluster.id.as_str()).collect();
                    let part: Vec<_> = wanted.iter().skip(offset as usize).take(limit as usize).map(String::as_str).collect();
                    assert_eq!(found, part, "{filter:?} {sort:?} {descending} {offset} {limit}");
                    assert_eq!(page.total, wanted.len() as u64, "{filter:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_filter_and_order_finds_what_it_should_on_sqlite() {
    lists_are_right(TestStore::open().await).await;
}

#[tokio::test]
async fn every_filter_and_order_finds_what_it_should_on_postgresql() {
    lists_are_right(TestStore::open_on_postgresql().await).await;
}

#[tokio::test]
async fn no_list_sorts_what_it_found_and_no_count_reads_a_row() {
    let store = TestStore::open().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", store.path().display())).await.expect("SQLite");
    let lists: Vec<_> =
        all_statements().into_iter().filter(|(name, text)| name.contains("PAGE_") && text.contains("FROM cluster c")).collect();
    assert_eq!(lists.len(), 12);
    let counts = all_statements().into_iter().filter(|(_, text)| text.starts_with("SELECT count(*) AS n FROM cluster c"));
    for (name, text) in lists.into_iter().chain(counts) {
        let explained = format!("EXPLAIN QUERY PLAN {text}");
        let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(explained)).fetch_all(&pool).await.expect("a plan");
        let plan: Vec<_> = rows.into_iter().map(|(.., step)| step).collect();
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE") || step.starts_with("SCAN")), "{name}: {plan:?}");
        if text.starts_with("SELECT count") && !name.contains("NAMED") {
            assert!(plan.iter().all(|step| step.contains("COVERING INDEX")), "{name}: {plan:?}");
        }
    }
}
