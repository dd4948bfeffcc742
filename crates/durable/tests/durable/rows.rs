//! The rows of operations: locks, claims, epochs, queues, nudges, secrets, named leases.

use moorage_domain::operation::OperationStatus;
use moorage_domain::service_state::ServiceState;
use moorage_domain::{OperationId, SecretId, Timestamp};
use moorage_store::{
    Clusters, Committed, NewOperation, OperationRow, Operations, Secrets, StepCommit, StoreError, StoreResult, Submitted, UnitOfWork,
};
use moorage_testkit::{TestStore, a_cluster};
use std::time::Duration;

const NOW: Timestamp = Timestamp(2_000_000_000_000_000);

async fn with_clusters(store: TestStore) -> TestStore {
    for number in 1..=3 {
        store.insert(&a_cluster(number)).await;
    }
    store
}

macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $name() { super::$name(super::with_clusters(super::TestStore::open().await).await).await; })*
        }
        mod on_postgresql {
            $(#[tokio::test] async fn $name() { super::$name(super::with_clusters(super::TestStore::open_on_postgresql().await).await).await; })*
        }
    };
}
on_both_databases! {
    a_cluster_has_one_holder_and_the_refused_learn_which,
    the_end_erases_secrets_and_starts_the_next_in_the_queue,
    what_changes_inside_a_cluster_goes_on_beside_what_is_done_with_it,
    racing_workers_claim_each_operation_once_and_an_old_epoch_commits_nothing,
    a_nudge_during_a_step_is_not_lost,
    only_an_operation_that_waits_for_an_operator_can_be_decided_about,
    what_waits_for_an_operator_inside_a_cluster_goes_on_when_the_cluster_is_gone,
    a_project_sees_its_own_operations_newest_first,
    a_named_lease_has_one_holder_and_its_epoch_grows_with_each_new_one,
}

async fn submit(uow: &mut UnitOfWork, cluster: u32, id: u128, secrets: &[SecretId]) -> Submitted {
    let (id, cluster) = (OperationId::from_bits(id), a_cluster(cluster));
    let new = NewOperation::new(&id, "cluster.provision", &cluster, &serde_json::Value::Null, "somebody", NOW).with_secrets(secrets);
    uow.submit(&new).await.expect("a submission")
}

async fn commit(uow: &mut UnitOfWork, row: &OperationRow, status: OperationStatus, run_at: Timestamp) -> StoreResult<Committed> {
    let commit = StepCommit {
        row,
        step: "next",
        state: "{}",
        status,
        outcome: None,
        attempt: 1,
        failing_since: None,
        waiting_for: None,
        run_at,
        deadline_at: None,
        lease: None,
        answered_cancel: None,
        problem: None,
        events: &[("first", "step-done", String::new())],
        writes: &[],
    };
    uow.commit_step(&commit, NOW).await
}

async fn a_cluster_has_one_holder_and_the_refused_learn_which(store: TestStore) {
    let mut uow = store.store().begin().await.expect("begun");
    assert_eq!(submit(&mut uow, 1, 1, &[]).await, Submitted::Started);
    let refused = submit(&mut uow, 1, 2, &[]).await;
    assert!(
        matches!(&refused, Submitted::Busy { holder } if holder.kind == "cluster.provision" && holder.requested_by == "somebody"),
        "{refused:?}"
    );
    assert_eq!(submit(&mut uow, 2, 3, &[]).await, Submitted::Started);
    let cluster = uow.cluster(&a_cluster(1).id).await.expect("read").expect("there");
    assert_eq!((cluster.state, cluster.operation), (ServiceState::Creating, Some(OperationId::from_bits(1))));
}

async fn the_end_erases_secrets_and_starts_the_next_in_the_queue(store: TestStore) {
    let mut uow = store.store().begin().await.expect("begun");
    let secret = SecretId::from_bits(5);
    uow.insert_secret(&secret, "sealed", NOW).await.expect("kept");
    let (cluster, secrets) = (a_cluster(1), [secret.clone()]);
    for id in [1_u128, 2, 3] {
        let id = OperationId::from_bits(id);
        let new = NewOperation::new(&id, "database.create", &cluster, &serde_json::Value::Null, "somebody", NOW);
        uow.submit_inside(&if id == OperationId::from_bits(1) { new.with_secrets(&secrets) } else { new }).await.expect("submitted");
    }
    assert!(uow.request_cancel(&OperationId::from_bits(2), "A test asked.", NOW).await.expect("called off"));
    let row = uow.operation_row(&OperationId::from_bits(1)).await.expect("read").expect("there");
    commit(&mut uow, &row, OperationStatus::Succeeded, NOW).await.expect("committed");
    assert_eq!(uow.secret(&secret).await.expect("read"), None);
    let row = uow.operation_row(&OperationId::from_bits(2)).await.expect("read").expect("there");
    assert_eq!(row.status, OperationStatus::Running);
    assert!(row.cancel_requested_at.is_some(), "what it is about may be a row already: it cleans up when it is its turn");
    let last = uow.operation_row(&OperationId::from_bits(3)).await.expect("read").expect("there");
    assert_eq!(last.status, OperationStatus::Queued);
}

async fn what_changes_inside_a_cluster_goes_on_beside_what_is_done_with_it(store: TestStore) {
    let mut uow = store.store().begin().await.expect("begun");
    submit(&mut uow, 1, 1, &[]).await;
    let cluster = a_cluster(1);
    let (first, second) = (OperationId::from_bits(2), OperationId::from_bits(3));
    for (id, begins) in [(&first, true), (&second, false)] {
        let new = NewOperation::new(id, "database.create", &cluster, &serde_json::Value::Null, "somebody", NOW);
        assert_eq!(uow.submit_inside(&new).await.expect("submitted"), begins);
    }
    let row = uow.operation_row(&OperationId::from_bits(1)).await.expect("read").expect("there");
    commit(&mut uow, &row, OperationStatus::Succeeded, NOW).await.expect("committed");
    let waiting = uow.operation_row(&second).await.expect("read").expect("there");
    assert_eq!(waiting.status, OperationStatus::Queued, "it waits for its own kind, and not for the cluster");
    assert_eq!(submit(&mut uow, 1, 4, &[]).await, Submitted::Started, "nor does the cluster wait for it");
    let row = uow.operation_row(&first).await.expect("read").expect("there");
    commit(&mut uow, &row, OperationStatus::Succeeded, NOW).await.expect("committed");
    let begun = uow.operation_row(&second).await.expect("read").expect("there");
    assert_eq!(begun.status, OperationStatus::Running);
    let cluster = uow.cluster(&cluster.id).await.expect("read").expect("there");
    assert_eq!((cluster.state, cluster.operation), (ServiceState::Creating, Some(OperationId::from_bits(4))));
}

async fn racing_workers_claim_each_operation_once_and_an_old_epoch_commits_nothing(store: TestStore) {
    for number in 10..30 {
        store.insert(&a_cluster(number)).await;
        let mut uow = store.store().begin().await.expect("begun");
        submit(&mut uow, number, u128::from(number), &[]).await;
        uow.commit().await.expect("committed");
    }
    let host = a_cluster(1).host;
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let (store, host) = (store.store().clone(), host.clone());
        workers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let mut uow = store.begin().await.expect("begun");
                let row = uow.claim(&host, &format!("worker {worker}"), NOW.plus(Duration::from_secs(9)), NOW).await.expect("claimed");
                uow.commit().await.expect("committed");
                match row {
                    Some(row) => mine.push(row),
                    None => return mine,
                }
            }
        });
    }
    let rows: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    assert_eq!(rows.len(), 20);
    let later = NOW.plus(Duration::from_secs(10));
    let mut uow = store.store().begin().await.expect("begun");
    let again = uow.claim(&host, "somebody else", later.plus(Duration::from_secs(9)), later).await.expect("claimed").expect("run out");
    let before = rows.iter().find(|row| row.id == again.id).expect("claimed before");
    assert!(matches!(commit(&mut uow, before, OperationStatus::Running, NOW).await, Err(StoreError::LeaseLost)));
    assert!(matches!(uow.renew(before, later).await, Err(StoreError::LeaseLost)));
    let committed = commit(&mut uow, &again, OperationStatus::Running, NOW).await.expect("committed");
    assert_eq!(committed.epoch, again.epoch + 1);
    assert!(uow.free_leases(&host).await.expect("freed") > 0);
}

async fn a_nudge_during_a_step_is_not_lost(store: TestStore) {
    let mut uow = store.store().begin().await.expect("begun");
    submit(&mut uow, 1, 1, &[]).await;
    let read = uow.operation_row(&OperationId::from_bits(1)).await.expect("read").expect("there");
    let far = NOW.plus(Duration::from_secs(3600));
    // In the very same microsecond.
    uow.nudge(&a_cluster(1).id, NOW).await.expect("nudged");
    let committed = commit(&mut uow, &read, OperationStatus::Running, far).await.expect("committed");
    assert!(committed.run_at <= NOW, "it is due at once");
    let read = uow.operation_row(&OperationId::from_bits(1)).await.expect("read").expect("there");
    let committed = commit(&mut uow, &read, OperationStatus::Running, far).await.expect("committed");
    assert_eq!(committed.run_at, far);
    assert!(uow.due_operations(&a_cluster(1).host, 9, NOW).await.expect("read").is_empty());
    assert_eq!(uow.next_due(&a_cluster(1).host, NOW).await.expect("read"), Some(far));
}

async fn only_an_operation_that_waits_for_an_operator_can_be_decided_about(store: TestStore) {
    let mut uow = store.store().begin().await.expect("begun");
    submit(&mut uow, 1, 1, &[]).await;
    let id = OperationId::from_bits(1);
    assert!(!uow.retry_step(&id, NOW).await.expect("asked"));
    assert!(!uow.abandon(&id, NOW).await.expect("asked"));
    let row = uow.operation_row(&id).await.expect("read").expect("there");
    commit(&mut uow, &row, OperationStatus::NeedsOperator, NOW).await.expect("committed");
    assert_eq!(uow.cluster(&a_cluster(1).id).await.expect("read").expect("there").state, ServiceState::Error);
    assert!(uow.due_operations(&row_host(), 9, NOW).await.expect("read").is_empty());
    assert!(uow.abandon(&id, NOW).await.expect("asked"));
    assert!(uow.holder(&a_cluster(1).id).await.expect("read").is_none());
    assert!(!uow.request_cancel(&id, "A test asked.", NOW).await.expect("asked"), "it has ended");
    assert_eq!(submit(&mut uow, 1, 2, &[]).await, Submitted::Started);
}

async fn what_waits_for_an_operator_inside_a_cluster_goes_on_when_the_cluster_is_gone(store: TestStore) {
    let mut uow = store.store().begin().await.expect("begun");
    let (cluster, database) = (a_cluster(1), moorage_domain::DatabaseId::from_bits(9));
    let (inside, own) = (OperationId::from_bits(1), OperationId::from_bits(2));
    let new = NewOperation::new(&inside, "database.create", &cluster, &serde_json::Value::Null, "somebody", NOW).about(&database);
    assert!(uow.submit_inside(&new).await.expect("submitted"));
    assert_eq!(submit(&mut uow, 1, 2, &[]).await, Submitted::Started);
    for id in [&inside, &own] {
        let row = uow.operation_row(id).await.expect("read").expect("there");
        commit(&mut uow, &row, OperationStatus::NeedsOperator, NOW).await.expect("committed");
    }
    uow.apply(&moorage_store::Write::Gone(cluster.id.clone()), NOW).await.expect("gone");
    let status = |row: Option<moorage_store::OperationRow>| row.map(|row| row.status);
    assert_eq!(status(uow.operation_row(&inside).await.expect("read")), Some(OperationStatus::Running));
    assert_eq!(
        status(uow.operation_row(&own).await.expect("read")),
        Some(OperationStatus::NeedsOperator),
        "what removes the cluster is not"
    );
    let events = uow.operation_events(&inside).await.expect("read");
    assert!(events.iter().any(|event| event.detail.contains("Its cluster is gone")), "{events:?}");
}

fn row_host() -> moorage_domain::HostId {
    a_cluster(1).host
}

async fn a_project_sees_its_own_operations_newest_first(store: TestStore) {
    let mut uow = store.store().begin().await.expect("begun");
    submit(&mut uow, 1, 1, &[]).await;
    submit(&mut uow, 2, 2, &[]).await;
    let own = a_cluster(1).project;
    let foreign = moorage_domain::ProjectId::from_bits(0xdead);
    let ids = |views: Vec<moorage_domain::operation::OperationView>| views.into_iter().map(|view| view.id).collect::<Vec<_>>();
    let all = ids(uow.operation_views(&own, None, None, 0, 10).await.expect("read"));
    assert_eq!(all, [OperationId::from_bits(2), OperationId::from_bits(1)]);
    assert_eq!(ids(uow.operation_views(&own, None, None, 1, 10).await.expect("read")), [OperationId::from_bits(1)]);
    assert_eq!(ids(uow.operation_views(&own, Some(&a_cluster(2).id), None, 0, 10).await.expect("read")), [OperationId::from_bits(2)]);
    assert!(uow.operation_views(&own, None, Some(OperationStatus::Failed), 0, 10).await.expect("read").is_empty());
    assert!(uow.operation_views(&foreign, None, None, 0, 10).await.expect("read").is_empty());
    assert!(uow.operation_view(&foreign, &OperationId::from_bits(1)).await.expect("read").is_none());
    assert_eq!(uow.operation_view(&own, &OperationId::from_bits(1)).await.expect("read").expect("there").events.len(), 1);
}

async fn a_named_lease_has_one_holder_and_its_epoch_grows_with_each_new_one(store: TestStore) {
    let mut uow = store.store().begin().await.expect("begun");
    let later = |seconds| NOW.plus(Duration::from_secs(seconds));
    assert_eq!(uow.take_lease("watchers", "a", later(10), NOW).await.expect("taken"), Some(1));
    assert_eq!(uow.take_lease("watchers", "b", later(12), later(2)).await.expect("asked"), None);
    assert_eq!(uow.take_lease("watchers", "a", later(15), later(5)).await.expect("renewed"), Some(1));
    assert_eq!(uow.take_lease("watchers", "b", later(30), later(16)).await.expect("taken"), Some(2));
    uow.drop_lease("watchers", "b").await.expect("dropped");
    assert_eq!(uow.take_lease("watchers", "a", later(40), later(17)).await.expect("taken"), Some(3));
}
