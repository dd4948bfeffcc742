//! Subnets and the choice of an address in them.

use crate::{Problem, ProblemCode};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::Ipv4Addr;

/// A range of addresses that endpoints are taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The name users give (`default`).
    pub id: String,
    /// The range.
    pub cidr: Ipv4Net,
    /// The interface that carries the addresses; none for the loopback range, which needs no configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// The default subnet: a /20 in 127.64.0.0/10 chosen from the installation's identity, so that two installations on
/// one machine do not collide (decisions 17).
pub fn default_for(installation: u128) -> Subnet {
    let slot = u32::try_from(installation % 1024).unwrap_or(0);
    let base = u32::from(Ipv4Addr::new(127, 64, 0, 0)) + (slot << 12);
    Subnet { id: "default".into(), cidr: Ipv4Net::new_assert(Ipv4Addr::from(base), 20), interface: None }
}

impl Subnet {
    /// Who may connect when a cluster lists nobody: the cluster's own subnet, which for the loopback range is this
    /// machine (decisions 17).
    pub fn own_network(&self) -> ipnet::IpNet {
        let network = if self.cidr.addr().is_loopback() { Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8) } else { self.cidr };
        ipnet::IpNet::V4(network)
    }
}

/// Chooses an address: the wished one, or the first free one after the network's first ten addresses. `taken` are the
/// addresses of live endpoints; `unusable` those that could not be bound in this attempt.
pub fn choose_address(
    subnet: &Subnet,
    wished: Option<Ipv4Addr>,
    taken: &HashSet<Ipv4Addr>,
    unusable: &[Ipv4Addr],
) -> Result<Ipv4Addr, Problem> {
    if let Some(address) = wished {
        let outside = !subnet.cidr.contains(&address) || address == subnet.cidr.network() || address == subnet.cidr.broadcast();
        if outside {
            return Err(Problem::new(
                ProblemCode::AddressOutsideSubnet,
                format!("{address} is not an address of subnet '{}' ({}).", subnet.id, subnet.cidr),
            )
            .hint("Leave the address out to get a free one.")
            .field("service_ip_address"));
        }
        if taken.contains(&address) || unusable.contains(&address) {
            return Err(Problem::new(ProblemCode::AddressTaken, format!("{address} is not available")).field("service_ip_address"));
        }
        return Ok(address);
    }
    subnet.cidr.hosts().skip(9).find(|address| !taken.contains(address) && !unusable.contains(address)).ok_or_else(|| {
        Problem::new(ProblemCode::NoFreeAddress, format!("Subnet '{}' ({}) has no free address.", subnet.id, subnet.cidr))
            .hint("Terminate a cluster, or add a subnet to the configuration.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_subnets_lie_in_the_reserved_loopback_range_and_differ() {
        let all: Ipv4Net = "127.64.0.0/10".parse().expect("a network");
        let a = default_for(1);
        let b = default_for(2);
        assert!(all.contains(&a.cidr) && all.contains(&default_for(1023).cidr));
        assert_ne!(a, b);
    }

    #[test]
    fn an_address_is_given_once_and_only_inside_the_subnet() {
        let subnet = Subnet { id: "s".into(), cidr: "10.1.0.0/28".parse().expect("a network"), interface: None };
        let mut taken = HashSet::new();
        while let Ok(address) = choose_address(&subnet, None, &taken, &[]) {
            assert!(taken.insert(address));
        }
        assert_eq!(taken.len(), 5);
        assert_eq!(
            choose_address(&subnet, Some("10.2.0.1".parse().expect("ip")), &taken, &[]).expect_err("outside").code,
            ProblemCode::AddressOutsideSubnet
        );
        assert_eq!(
            choose_address(&subnet, Some("10.1.0.10".parse().expect("ip")), &taken, &[]).expect_err("taken").code,
            ProblemCode::AddressTaken
        );
    }
}
