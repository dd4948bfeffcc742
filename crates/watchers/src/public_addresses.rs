//! Public addresses: a cluster whose address for other machines is not what its host's configuration offers gets
//! `cluster.set-public-address`.

use crate::Watch;
use crate::certificates::with_endpoint;
use moorage_domain::ClusterId;
use moorage_domain::public_address::{Verdict, decide};
use moorage_operations::set_public_address::{Request, SetPublicAddress};
use moorage_store::StoreError;
use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// The configuration is read once, so after the first look there is work only for clusters that something held.
const PERIOD: Duration = Duration::from_secs(60);

/// How long a cluster is left alone after an attempt: there may be no port free, and an operation holds its cluster.
const PAUSE: Duration = Duration::from_secs(600);

pub(crate) async fn run(watch: Watch) {
    let mut tried = HashMap::new();
    loop {
        if let Err(error) = watch.look("public-addresses", PERIOD, look(&watch, &mut tried)).await {
            tracing::warn!(%error, "public addresses could not be looked at");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn look(watch: &Watch, tried: &mut HashMap<ClusterId, Instant>) -> Result<(), StoreError> {
    tried.retain(|_, at| at.elapsed() < PAUSE);
    for (cluster, endpoint) in with_endpoint(watch).await? {
        if cluster.operation.is_none()
            && !tried.contains_key(&cluster.id)
            && is_amiss(watch, &cluster.id, endpoint.public).await
            && watch.submit::<SetPublicAddress>(&cluster, &Request {}).await?.is_some()
        {
            tried.insert(cluster.id, Instant::now());
        }
    }
    Ok(())
}

/// Whether the row is not as the host offers, or the endpoint not as the row says.
async fn is_amiss(watch: &Watch, cluster: &ClusterId, has: Option<SocketAddrV4>) -> bool {
    let offered = watch.world.public_addresses.as_ref();
    if decide(offered, has) != Verdict::Keep {
        return true;
    }
    let wanted = has.and_then(|has| offered?.listens_for(has));
    match watch.world.host.endpoint_public(cluster).await {
        Ok(listens) => listens != wanted,
        Err(error) => {
            tracing::warn!(%cluster, %error, "the public address of an endpoint could not be read");
            false
        }
    }
}
