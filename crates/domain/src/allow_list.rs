//! Who may connect to an endpoint: addresses and networks.

use crate::Problem;
use ipnet::IpNet;
use std::net::IpAddr;

/// At most this many entries per cluster.
pub const MOST_ENTRIES: usize = 200;

/// Reads one entry: an address or a network in CIDR form. Host bits must be zero, so that what is shown is what is
/// enforced.
pub fn parse_entry(text: &str) -> Result<IpNet, Problem> {
    let wrong = |why: &str| {
        Problem::invalid("allowable_ip_addresses", format!("'{}' is not an address or network.", text.chars().take(60).collect::<String>()))
            .detail(why.to_owned())
            .hint("Give an address such as 192.0.2.7 or a network such as 192.0.2.0/24.")
    };
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let network: IpNet = text.parse().map_err(|_| wrong("It cannot be read as CIDR."))?;
    if network.trunc() != network {
        return Err(wrong("The address has bits set outside the prefix length."));
    }
    Ok(network)
}

/// Reads a whole list; duplicates and more than [`MOST_ENTRIES`] entries are refused.
pub fn parse(entries: &[String]) -> Result<Vec<IpNet>, Problem> {
    if entries.len() > MOST_ENTRIES {
        return Err(Problem::invalid("allowable_ip_addresses", format!("At most {MOST_ENTRIES} entries are allowed.")));
    }
    let mut networks = Vec::with_capacity(entries.len());
    for entry in entries {
        let network = parse_entry(entry)?;
        if networks.contains(&network) {
            return Err(Problem::invalid("allowable_ip_addresses", format!("'{entry}' is listed twice.")));
        }
        networks.push(network);
    }
    Ok(networks)
}

/// What is enforced: the list, or where it is empty the cluster's own subnet and nothing else.
pub fn effective(entries: &[IpNet], subnet_default: &[IpNet]) -> Vec<IpNet> {
    if entries.is_empty() { subnet_default.to_vec() } else { entries.to_vec() }
}

/// Applies a change of rules, keeping order: removals first, then additions that are not there yet. Removing what is
/// not listed is refused.
pub fn change(current: &[String], add: &[String], remove: &[String]) -> Result<Vec<String>, Problem> {
    parse(add)?;
    parse(remove)?;
    let wanted_gone: Vec<IpNet> = parse(remove)?;
    let mut kept = Vec::new();
    let mut found = 0;
    for entry in current {
        if wanted_gone.contains(&parse_entry(entry)?) {
            found += 1;
        } else {
            kept.push(entry.clone());
        }
    }
    if found != wanted_gone.len() {
        return Err(Problem::invalid("del_ip_addresses", "An address to remove is not in the list."));
    }
    for entry in add {
        let network = parse_entry(entry)?;
        if !kept.iter().any(|k| parse_entry(k).is_ok_and(|k| k == network)) {
            kept.push(entry.clone());
        }
    }
    parse(&kept)?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_and_networks_are_read_and_nonsense_is_refused() {
        assert!(parse(&list(&["192.0.2.7", "10.0.0.0/8", "2001:db8::/32"])).is_ok());
        for bad in ["", "10.0.0.1/8", "10.0.0.0/33", "300.1.1.1", "example.com", "10.0.0.0/8; drop"] {
            assert!(parse(&list(&[bad])).is_err(), "{bad}");
        }
        assert!(parse(&list(&["10.0.0.1", "10.0.0.1/32"])).is_err());
    }

    #[test]
    fn a_change_removes_then_adds_and_keeps_order() {
        let now = list(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        assert_eq!(
            change(&now, &list(&["10.0.0.9", "10.0.0.3/32"]), &list(&["10.0.0.2"])).expect("valid"),
            list(&["10.0.0.1", "10.0.0.3", "10.0.0.9"])
        );
        assert!(change(&now, &[], &list(&["10.9.9.9"])).is_err());
    }
}
