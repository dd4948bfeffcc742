//! Public addresses: one address of a host, and a port of it per cluster, by which other machines reach endpoints
//! (decisions 17).

use crate::{Problem, ProblemCode};
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;

/// What a host offers to other machines, from its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicAddresses {
    /// What clients are told.
    pub address: Ipv4Addr,
    /// The ports that may be given, one per cluster.
    pub ports: RangeInclusive<u16>,
    /// Where the gateway listens: the address itself, or another one that it is translated to on the way.
    pub listen: Ipv4Addr,
}

/// What becomes of the public address of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Keep,
    /// It has none and gets one, or has one that the host does not offer any more and gets another.
    Choose,
    /// It has one, and the host offers none any more.
    Withdraw,
}

/// Compares what a cluster has with what its host offers.
pub fn decide(offered: Option<&PublicAddresses>, has: Option<SocketAddrV4>) -> Verdict {
    match (offered, has) {
        (None, None) => Verdict::Keep,
        (None, Some(_)) => Verdict::Withdraw,
        (Some(offered), Some(has)) if offered.offers(has) => Verdict::Keep,
        (Some(_), _) => Verdict::Choose,
    }
}

impl PublicAddresses {
    fn offers(&self, address: SocketAddrV4) -> bool {
        *address.ip() == self.address && self.ports.contains(&address.port())
    }

    /// Where the gateway has to listen for a public address; none where it is not offered any more.
    pub fn listens_for(&self, address: SocketAddrV4) -> Option<SocketAddrV4> {
        self.offers(address).then(|| SocketAddrV4::new(self.listen, address.port()))
    }

    /// Chooses the first free port. `taken` are the public addresses of this host's other clusters; `unusable` the ports that
    /// could not be bound in this attempt.
    pub fn choose(&self, taken: &HashSet<SocketAddrV4>, unusable: &[u16]) -> Result<SocketAddrV4, Problem> {
        let free = |address: &SocketAddrV4| !taken.contains(address) && !unusable.contains(&address.port());
        self.ports.clone().map(|port| SocketAddrV4::new(self.address, port)).find(free).ok_or_else(|| {
            let (first, last) = (self.ports.start(), self.ports.end());
            Problem::new(ProblemCode::NoFreeAddress, format!("Of the public ports {first}-{last} none is free."))
                .hint("Terminate a cluster, or widen `ports` of `network.publish` in the configuration.")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered() -> PublicAddresses {
        let address = Ipv4Addr::new(192, 0, 2, 10);
        PublicAddresses { address, ports: 20_000..=20_001, listen: Ipv4Addr::UNSPECIFIED }
    }

    fn at(text: &str) -> SocketAddrV4 {
        text.parse().expect("an address")
    }

    #[test]
    fn a_port_is_given_once() {
        let (offered, mut taken) = (offered(), HashSet::new());
        assert_eq!(offered.choose(&taken, &[20_000]), Ok(at("192.0.2.10:20001")));
        while let Ok(address) = offered.choose(&taken, &[]) {
            assert!(taken.insert(address));
        }
        assert_eq!(taken.len(), 2);
        assert_eq!(offered.choose(&taken, &[]).expect_err("none").code, ProblemCode::NoFreeAddress);
    }

    #[test]
    fn an_address_is_kept_as_long_as_it_is_offered() {
        let offered = offered();
        assert_eq!(decide(Some(&offered), Some(at("192.0.2.10:20001"))), Verdict::Keep);
        assert_eq!(decide(Some(&offered), Some(at("192.0.2.10:20002"))), Verdict::Choose);
        assert_eq!(decide(Some(&offered), Some(at("192.0.2.11:20001"))), Verdict::Choose);
        assert_eq!(decide(Some(&offered), None), Verdict::Choose);
        assert_eq!(decide(None, Some(at("192.0.2.10:20001"))), Verdict::Withdraw);
        assert_eq!(decide(None, None), Verdict::Keep);
        assert_eq!(offered.listens_for(at("192.0.2.10:20001")), Some(at("0.0.0.0:20001")));
        assert_eq!(offered.listens_for(at("192.0.2.11:20001")), None);
    }
}
