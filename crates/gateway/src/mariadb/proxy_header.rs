//! The PROXY header, version 2, by which the engine learns the client's address.

use std::net::SocketAddr;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2_PROXY: u8 = 0x21;

/// The header for a connection from `client` to `endpoint`. Addresses of different families are both written as IPv6.
pub fn proxy_header(client: SocketAddr, endpoint: SocketAddr) -> Vec<u8> {
    let mut header = Vec::with_capacity(52);
    header.extend_from_slice(SIGNATURE);
    header.push(VERSION_2_PROXY);
    match (client, endpoint) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            header.push(0x11);
            header.extend_from_slice(&12_u16.to_be_bytes());
            header.extend_from_slice(&from.ip().octets());
            header.extend_from_slice(&to.ip().octets());
        }
        (from, to) => {
            header.push(0x21);
            header.extend_from_slice(&36_u16.to_be_bytes());
            for address in [from, to] {
                let address = match address {
                    SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
                    SocketAddr::V6(v6) => *v6.ip(),
                };
                header.extend_from_slice(&address.octets());
            }
        }
    }
    header.extend_from_slice(&client.port().to_be_bytes());
    header.extend_from_slice(&endpoint.port().to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_header_has_the_length_it_says_and_both_addresses() {
        let four = proxy_header(address("192.0.2.7:51000"), address("127.64.0.2:3306"));
        assert_eq!(&four[..12], SIGNATURE);
        assert_eq!(&four[12..], &[0x21, 0x11, 0, 12, 192, 0, 2, 7, 127, 64, 0, 2, 0xc7, 0x38, 0x0c, 0xea]);
        let six = proxy_header(address("[2001:db8::7]:51000"), address("127.64.0.2:3306"));
        assert_eq!(six.len(), 16 + 36);
        assert_eq!(&six[12..16], &[0x21, 0x21, 0, 36]);
        assert_eq!(&six[42..48], &[0xff, 0xff, 127, 64, 0, 2]);
    }
}
