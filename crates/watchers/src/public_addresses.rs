//! Public addresses: a cluster whose address for other machines is not what its host's configuration offers gets
//! `cluster.set-public-address`.

use crate::Watch;
use crate::certificates::with_endpoint;
use moorage_domain::public_address::{Verdict, decide};
use moorage_operations::set_public_address::{Request, SetPublicAddress};
use moorage_store::StoreError;
use std::time::Duration;

/// The configuration is read once, so after the first look there is work only for clusters that something held.
const PERIOD: Duration = Duration::from_secs(60);

pub(crate) async fn run(watch: Watch) {
    loop {
        if let Err(error) = watch.look("public-addresses", PERIOD, look(&watch)).await {
            tracing::warn!(%error, "public addresses could not be looked at");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn look(watch: &Watch) -> Result<(), StoreError> {
    let offered = watch.world.public_addresses.as_ref();
    for (cluster, endpoint) in with_endpoint(watch).await? {
        if cluster.operation.is_none() && decide(offered, endpoint.public) != Verdict::Keep {
            watch.submit::<SetPublicAddress>(&cluster, &Request {}).await?;
        }
    }
    Ok(())
}
