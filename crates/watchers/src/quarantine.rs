//! Databases of plans that have been in quarantine for as long as they stay there are removed, one operation for each.

use crate::{Watch, now};
use moorage_domain::allocation::Allocated;
use moorage_domain::cluster::Wish;
use moorage_domain::database::Stage;
use moorage_domain::operation::ITSELF;
use moorage_domain::{OperationId, Timestamp};
use moorage_durable::Operation;
use moorage_operations::{database_delete, terminate};
use moorage_store::{
    Allocations, Clusters, DatabaseChange, Databases, NUMBERING_FAMILY, NewOperation, Operations, StoreError, Submitted, Write,
};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(60);

pub(crate) async fn run(watch: Watch) {
    loop {
        if let Err(error) = watch.look("quarantine", PERIOD, look(&watch)).await {
            tracing::warn!(%error, "what has been in quarantine for long enough could not be removed");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn look(watch: &Watch) -> Result<(), StoreError> {
    let long_ago = Timestamp(now().0.saturating_sub(i64::try_from(watch.quarantine.as_micros()).unwrap_or(i64::MAX)));
    let due = watch.world.store.look().await?.quarantined_before(watch.world.host.id(), long_ago).await?;
    for found in due {
        remove(watch, &found).await?;
    }
    Ok(())
}

/// Removes a database, with its cluster where it has one of its own. Whoever is just changing something goes first.
async fn remove(watch: &Watch, found: &Allocated) -> Result<(), StoreError> {
    let id = OperationId::from_bits(uuid::Uuid::now_v7().as_u128());
    let database = &found.database;
    let mut uow = watch.world.store.begin().await?;
    let Some(cluster) = uow.cluster(&database.cluster).await? else { return Ok(()) };
    let shared = uow.is_shared(&cluster.id).await?;
    let others_are_in_its_way = !shared && uow.databases_of(&cluster.id, 0, 2).await?.len() > 1;
    if others_are_in_its_way || cluster.spec.deletion_protection || uow.holder_of_databases(&cluster.id).await?.is_some() {
        return Ok(());
    }
    if shared {
        uow.apply(&Write::Database(database.id.clone(), DatabaseChange::Stage(Stage::BeingRemoved)), now()).await?;
        let request = database_delete::Request { database: database.id.clone() };
        let new = NewOperation::new(&id, database_delete::DeleteDatabase::KIND, &cluster, &request, ITSELF, now());
        uow.submit_inside(&new.about(&database.id)).await?;
    } else {
        let new = NewOperation::new(&id, terminate::Terminate::KIND, &cluster, &terminate::Request {}, ITSELF, now());
        uow.apply(&Write::Wish(cluster.id.clone(), Wish::Gone), now()).await?;
        uow.apply(&Write::Term(cluster.id.clone(), cluster.term + 1), now()).await?;
        let Submitted::Started = uow.submit(&new.about(&database.id)).await? else { return Ok(()) };
    }
    uow.give_number(NUMBERING_FAMILY, "task", id.as_str()).await?;
    uow.commit().await?;
    (watch.wake)();
    tracing::info!(database = database.name, operation = %id, "a database has been in quarantine for long enough and is removed");
    Ok(())
}
