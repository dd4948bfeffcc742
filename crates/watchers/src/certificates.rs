//! Certificates of endpoints: one that ends soon, or was lost, gets `cluster.renew-certificate`.

use crate::Watch;
use moorage_domain::Timestamp;
use moorage_domain::cluster::{Cluster, Wish};
use moorage_domain::instance::Endpoint;
use moorage_domain::service_state::ServiceState;
use moorage_durable::wall_now;
use moorage_operations::renew_certificate::{RenewCertificate, Request};
use moorage_store::{Clusters, Endpoints, StoreError};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(60 * 60);
/// When to look again where something was in the way: an operation that held the cluster, a file that could not be read.
const SOON: Duration = Duration::from_secs(60);
/// How long before its end a certificate is renewed: long enough for a person to help where renewing keeps failing.
const AHEAD: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub(crate) async fn run(watch: Watch) {
    loop {
        let well = watch.look("certificates", PERIOD, look(&watch)).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "certificates of endpoints could not be looked at");
            false
        });
        tokio::time::sleep(if well { PERIOD } else { SOON }).await;
    }
}

/// Looks at every certificate of this host. False when one could not be looked at or has to wait for its renewal.
async fn look(watch: &Watch) -> Result<bool, StoreError> {
    let mut well = true;
    for (cluster, _) in with_endpoint(watch).await? {
        let certificate = match watch.world.host.endpoint_certificate(&cluster.id).await {
            Ok(certificate) => certificate,
            Err(error) => {
                tracing::warn!(cluster = %cluster.id, %error, "the certificate of an endpoint could not be read");
                well = false;
                continue;
            }
        };
        let expiry = certificate.and_then(|pem| {
            moorage_secrets::expiry(&pem)
                .inspect_err(|error| tracing::warn!(cluster = %cluster.id, %error, "the certificate of an endpoint is damaged"))
                .ok()
        });
        if renew(expiry, wall_now()) {
            well &= submit(watch, &cluster, expiry).await?;
        }
    }
    Ok(well)
}

/// Whether a certificate is replaced now; one that was lost has no end.
fn renew(expiry: Option<Timestamp>, now: Timestamp) -> bool {
    expiry.is_none_or(|expiry| expiry < now.plus(AHEAD))
}

/// Clusters of this host that have an endpoint, unless they are being made or ended.
pub(crate) async fn with_endpoint(watch: &Watch) -> Result<Vec<(Cluster, Endpoint)>, StoreError> {
    let mut look = watch.world.store.look().await?;
    let mut found = Vec::new();
    for cluster in look.clusters_of_host(watch.world.host.id()).await? {
        let lasting = cluster.wish != Wish::Gone && cluster.state != ServiceState::Creating;
        if lasting && let Some(endpoint) = look.endpoint_of(&cluster.id).await? {
            found.push((cluster, endpoint));
        }
    }
    Ok(found)
}

/// Asks for a new certificate. False while another operation holds the cluster.
async fn submit(watch: &Watch, cluster: &Cluster, expiry: Option<Timestamp>) -> Result<bool, StoreError> {
    if cluster.operation.is_some() {
        return Ok(false);
    }
    let Some(id) = watch.submit::<RenewCertificate>(cluster, &Request {}).await? else { return Ok(false) };
    match expiry.map(Timestamp::rfc3339) {
        Some(ends) => {
            tracing::info!(cluster = %cluster.id, operation = %id, ends, "the certificate of an endpoint ends soon and is renewed");
        }
        None => tracing::warn!(cluster = %cluster.id, operation = %id, "the certificate of an endpoint was lost and is issued anew"),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

    #[test]
    fn a_certificate_is_renewed_in_its_last_thirty_days_and_when_it_was_lost() {
        let day = Duration::from_secs(24 * 60 * 60);
        assert!(!renew(Some(NOW.plus(day * 396)), NOW));
        assert!(!renew(Some(NOW.plus(day * 30)), NOW));
        assert!(renew(Some(NOW.plus(day * 30 - Duration::from_secs(1))), NOW));
        assert!(renew(Some(Timestamp(NOW.0 - 1)), NOW), "one that has ended already");
        assert!(renew(None, NOW), "one that is lost");
    }
}
