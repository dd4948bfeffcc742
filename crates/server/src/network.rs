//! Whether addresses can be given out as the configuration says, on this machine and to the clusters there are.

use crate::config::Config;
use anyhow::Result;
use moorage_domain::cluster::Wish;
use moorage_domain::subnet::Subnet;
use moorage_domain::{HostId, Problem, ProblemCode};
use moorage_store::{Clusters, Store};

/// Refuses a configuration that would take addresses away from this machine, or from clusters that have them.
pub async fn check(config: &Config, subnets: &[Subnet], store: &Store, host: &HostId, api_port: u16) -> Result<()> {
    for subnet in subnets.iter().filter(|subnet| subnet.interface.is_some()) {
        if let Some(why) = moorage_host_local::addresses::objection(subnet.cidr).await.map_err(anyhow::Error::new)? {
            return Err(Problem::new(ProblemCode::ConfigInvalid, format!("Subnet '{}' cannot be given out.", subnet.id))
                .detail(why)
                .hint("Name a range that nothing else on that network uses; it may be a part of the network's own.")
                .into());
        }
    }
    for cluster in store.look().await?.clusters_of_host(host).await? {
        let name = &cluster.spec.subnet;
        if cluster.wish != Wish::Gone && !subnets.iter().any(|subnet| subnet.id == *name) {
            return Err(Problem::new(ProblemCode::ConfigInvalid, format!("Subnet '{name}' is not configured any more."))
                .detail(format!("The cluster '{}' has its address in it.", cluster.name))
                .hint("Add the subnet to the configuration again; terminate its clusters before you take it out.")
                .into());
        }
    }
    let offered = config.public_addresses();
    if offered.as_ref().is_some_and(|offered| offered.ports.contains(&api_port)) {
        // While no server runs, the gateway could take it.
        return Err(Problem::new(ProblemCode::ConfigInvalid, "The API's own port is among the public ports.")
            .detail(format!("`network.publish` offers port {api_port}, at which the API listens."))
            .hint("Choose other `ports`, or let the API listen elsewhere.")
            .into());
    }
    if let Some(offered) = offered
        && let Err(error) = std::net::UdpSocket::bind((offered.listen, 0))
    {
        tracing::warn!(address = %offered.listen, %error, "the public address cannot be listened at on this machine at present");
    }
    Ok(())
}
