//! The part of MariaDB's wire protocol that makes up the login. Pure: bytes in, facts out.

use moorage_domain::parameters::is_reserved_account;

/// The longest packet a login may contain. Connection attributes and single-sign-on tickets may take up to 64 KiB. It
/// must stay below 0x4f5250: a client that sends `PROXY ...` where a packet belongs then gets no further than here, and the
/// engine never sees an address the client made up.
pub const LONGEST_LOGIN_PACKET: usize = 128 * 1024;

const CLIENT_COMPRESS: u32 = 1 << 5;
const CLIENT_PROTOCOL_41: u32 = 1 << 9;
const CLIENT_SSL: u32 = 1 << 11;
const CLIENT_SECURE_CONNECTION: u32 = 1 << 15;
const CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA: u32 = 1 << 21;
const CLIENT_DEPRECATE_EOF: u32 = 1 << 24;
/// Length of an SSLRequest: capabilities, packet size, character set, filler.
const SSL_REQUEST_LENGTH: usize = 32;
/// The character set `filename`, the only one in which plain ASCII can spell other ASCII (`@0072oot`).
pub const CHARACTER_SET_FILENAME: u8 = 17;

/// Bytes that are not what the protocol allows at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A packet longer than any login has.
    #[error("the packet is longer than a login packet can be")]
    TooLong,
    /// The greeting of the engine cannot be read.
    #[error("the greeting of the engine cannot be read")]
    Greeting,
    /// The answer of the client cannot be read.
    #[error("the login of the client cannot be read")]
    Answer,
    /// Packet numbers are out of order.
    #[error("the packets of the login are out of order")]
    Order,
}

/// Length and number from a packet's first four bytes.
pub fn parse_header(header: [u8; 4]) -> Result<(usize, u8), Malformed> {
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
    if length > LONGEST_LOGIN_PACKET { Err(Malformed::TooLong) } else { Ok((length, header[3])) }
}

/// What an engine says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// It greets; the number of the connection in its process list.
    Hello {
        /// Connection id.
        connection: u32,
    },
    /// It refuses.
    Error,
}

/// Reads the engine's greeting and makes it offer TLS, or not, as the gateway does. Compression is never offered: commands
/// must stay readable ([`super::CommandWatch`]).
pub fn adjust_greeting(payload: &mut [u8], tls: bool) -> Result<Greeting, Malformed> {
    match payload.first() {
        Some(0xff) => return Ok(Greeting::Error),
        Some(10) => {}
        _ => return Err(Malformed::Greeting),
    }
    let version = payload[1..].iter().position(|byte| *byte == 0).ok_or(Malformed::Greeting)?;
    let at = 1 + version + 1;
    let connection = payload.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>()).ok_or(Malformed::Greeting)?;
    let connection = u32::from_le_bytes(*connection);
    // Connection id, first part of the scramble, filler; then the lower half of the capabilities, low byte first.
    let at = at + 4 + 8 + 1;
    let capabilities = payload.get_mut(at..at + 2).ok_or(Malformed::Greeting)?;
    capabilities[0] &= !(CLIENT_COMPRESS as u8);
    let bit = (CLIENT_SSL >> 8) as u8;
    if tls {
        capabilities[1] |= bit
    } else {
        capabilities[1] &= !bit
    }
    Ok(Greeting::Hello { connection })
}

/// What a client answers to the greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It would like TLS and will say the rest inside.
    Ssl,
    /// It logs in.
    Login(LoginRequest),
}

/// What the gateway needs to know of a login request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRequest {
    /// The account, as text.
    pub user: String,
    /// Whether the account is reserved.
    pub reserved: bool,
    /// Whether the client writes the length of a secret in front of it, also later.
    pub secret_has_length: bool,
    /// Whether a password (or a proof of one) came along.
    pub password: bool,
    /// Whether the client takes an OK for the end of rows.
    pub ends_with_ok: bool,
}

/// Reads a client's answer. Inside TLS an SSLRequest makes no sense any more and is malformed.
pub fn parse_answer(payload: &[u8], inside_tls: bool, administrator: Option<&str>) -> Result<Answer, Malformed> {
    let capabilities = payload.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes)).ok_or(Malformed::Answer)?;
    if capabilities & CLIENT_PROTOCOL_41 == 0 || payload.len() < SSL_REQUEST_LENGTH {
        return Err(Malformed::Answer);
    }
    if capabilities & CLIENT_SSL != 0 && !inside_tls {
        // The server would begin TLS after a longer packet with this bit, too; no client sends one.
        return if payload.len() == SSL_REQUEST_LENGTH { Ok(Answer::Ssl) } else { Err(Malformed::Answer) };
    }
    let rest = &payload[SSL_REQUEST_LENGTH..];
    let end = rest.iter().position(|byte| *byte == 0).ok_or(Malformed::Answer)?;
    let (name, rest) = (&rest[..end], &rest[end + 1..]);
    let user = String::from_utf8_lossy(name).into_owned();
    let password = if capabilities & (CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA) != 0 {
        rest.first().is_some_and(|length| *length != 0)
    } else {
        rest.first().is_some_and(|byte| *byte != 0)
    };
    let reserved = is_reserved(name, administrator) || payload[8] == CHARACTER_SET_FILENAME;
    let secret_has_length = capabilities & CLIENT_SECURE_CONNECTION != 0;
    let ends_with_ok = capabilities & CLIENT_DEPRECATE_EOF != 0;
    Ok(Answer::Login(LoginRequest { user, reserved, secret_has_length, password, ends_with_ok }))
}

/// Whether the server would take this name for a reserved account or for its administrator's: it drops one pair of single
/// quotes around a name.
pub fn is_reserved(name: &[u8], administrator: Option<&str>) -> bool {
    let name = String::from_utf8_lossy(name);
    let name = name.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(&name);
    is_reserved_account(name) || administrator.is_some_and(|administrator| administrator.eq_ignore_ascii_case(name))
}

/// Takes out of a login request what is between client and gateway only: TLS, and compression that was never offered.
pub fn without_gateway_matters(payload: &mut [u8]) {
    if let Some([low, high]) = payload.first_chunk_mut::<2>() {
        *low &= !(CLIENT_COMPRESS as u8);
        *high &= !((CLIENT_SSL >> 8) as u8);
    }
}

/// Whether a packet of the engine ends the login: OK or ERR. A plugin's own data never begins with these bytes, the
/// server escapes them.
pub fn ends_login(payload: &[u8]) -> Option<bool> {
    match payload.first() {
        Some(0x00) => Some(true),
        Some(0xff) => Some(false),
        _ => None,
    }
}

/// A refusal as clients show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Error number.
    pub number: u16,
    /// SQLSTATE.
    pub state: &'static str,
    /// One sentence.
    pub message: String,
}

impl Refusal {
    /// The refusal as an ERR packet. Before the client told its capabilities (packet number 0) it has no SQLSTATE, as
    /// from the server.
    pub fn to_bytes(&self, sequence: u8) -> Vec<u8> {
        let mut payload = vec![0xff];
        payload.extend_from_slice(&self.number.to_le_bytes());
        if sequence > 0 {
            payload.push(b'#');
            payload.extend_from_slice(self.state.as_bytes());
        }
        payload.extend(self.message.bytes().take(480));
        frame(sequence, &payload)
    }
}

/// A packet with its header; the payload is shorter than 16 MiB.
pub fn frame(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut packet = Vec::with_capacity(4 + payload.len());
    packet.extend_from_slice(&[length[0], length[1], length[2], sequence]);
    packet.extend_from_slice(payload);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn greeting(capabilities: u16) -> Vec<u8> {
        let mut payload = vec![10];
        payload.extend_from_slice(b"5.5.5-10.11.19-MariaDB\0");
        payload.extend_from_slice(&77_u32.to_le_bytes());
        payload.extend_from_slice(b"scramble\0");
        payload.extend_from_slice(&capabilities.to_le_bytes());
        payload.extend_from_slice(b"\x08\x02\0\xff\x81\x15restofscramble");
        payload
    }

    fn answer(capabilities: u32, character_set: u8, rest: &[u8]) -> Vec<u8> {
        let mut payload = capabilities.to_le_bytes().to_vec();
        payload.extend_from_slice(&(1_u32 << 24).to_le_bytes());
        payload.push(character_set);
        payload.extend_from_slice(&[0; 23]);
        payload.extend_from_slice(rest);
        payload
    }

    const LOGIN: u32 = CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION;

    fn login(user: &str, character_set: u8) -> LoginRequest {
        let rest = [user.as_bytes(), b"\0\x14aaaaaaaaaaaaaaaaaaaashop\0"].concat();
        match parse_answer(&answer(LOGIN, character_set, &rest), false, Some("keeper")) {
            Ok(Answer::Login(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_greeting_offers_tls_exactly_when_the_gateway_does() {
        for before in [0xf7de_u16, 0xffde, 0xf7fe, 0xfffe] {
            let mut with = greeting(before);
            assert_eq!(adjust_greeting(&mut with, true), Ok(Greeting::Hello { connection: 77 }));
            assert_eq!(with, greeting(0xffde));
            let mut without = greeting(before);
            assert_eq!(adjust_greeting(&mut without, false), Ok(Greeting::Hello { connection: 77 }));
            assert_eq!(without, greeting(0xf7de));
        }
        assert_eq!(adjust_greeting(&mut [0xff, 0x10, 4], true), Ok(Greeting::Error));
        assert_eq!(adjust_greeting(&mut [9, 0], true), Err(Malformed::Greeting));
        assert_eq!(adjust_greeting(&mut greeting(0)[..30], true), Err(Malformed::Greeting));
    }

    #[test]
    fn a_request_for_tls_is_told_from_a_login() {
        assert_eq!(parse_answer(&answer(LOGIN | CLIENT_SSL, 45, b""), false, None), Ok(Answer::Ssl));
        assert_eq!(parse_answer(&answer(LOGIN | CLIENT_SSL, 45, b"alice\0\0"), false, None), Err(Malformed::Answer));
        assert_eq!(parse_answer(&answer(LOGIN | CLIENT_SSL, 45, b""), true, None), Err(Malformed::Answer));
        let inside = parse_answer(&answer(LOGIN | CLIENT_SSL, 45, b"alice\0\0"), true, None);
        assert_eq!(
            inside,
            Ok(Answer::Login(LoginRequest {
                user: "alice".into(),
                reserved: false,
                secret_has_length: true,
                password: false,
                ends_with_ok: false,
            }))
        );
        assert_eq!(parse_answer(&answer(CLIENT_SECURE_CONNECTION, 45, b"alice\0\0"), false, None), Err(Malformed::Answer));
    }

    #[test]
    fn a_reserved_account_is_found_in_every_spelling_the_server_would_take_for_it() {
        for user in ["root", "'root'", "ROOT", "mysql", "mariadb.sys", "moorage_admin", "'moorage_admin'", "keeper", "'Keeper'"] {
            assert!(login(user, 45).reserved, "{user}");
        }
        for user in ["alice", "", "'", "''", "roots", "'alice'"] {
            assert!(!login(user, 45).reserved, "{user}");
        }
        assert!(login("@0072oot", CHARACTER_SET_FILENAME).reserved);
        assert!(login("alice", 45).password);
    }

    #[test]
    fn a_packet_that_pretends_to_be_a_proxy_header_is_too_long() {
        assert_eq!(parse_header(*b"PROX"), Err(Malformed::TooLong));
        assert_eq!(parse_header([0x0d, 0x0a, 0x0d, 0x0a]), Err(Malformed::TooLong));
        assert_eq!(parse_header([0, 0, 2, 1]), Ok((LONGEST_LOGIN_PACKET, 1)));
        assert_eq!(parse_header([1, 0, 2, 1]), Err(Malformed::TooLong));
    }

    #[test]
    fn a_refusal_carries_its_state_only_after_the_client_told_what_it_understands() {
        let refusal = Refusal { number: 1040, state: "08004", message: "Too many connections".into() };
        assert_eq!(refusal.to_bytes(0), b"\x17\0\0\0\xff\x10\x04Too many connections");
        assert_eq!(refusal.to_bytes(2), b"\x1d\0\0\x02\xff\x10\x04#08004Too many connections");
    }

    #[test]
    fn wishes_for_tls_and_compression_are_taken_out_and_nothing_else() {
        let mut payload = answer(LOGIN | CLIENT_SSL | CLIENT_COMPRESS, 45, b"alice\0\0");
        without_gateway_matters(&mut payload);
        assert_eq!(payload, answer(LOGIN, 45, b"alice\0\0"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), inside: bool, tls: bool) {
            let _ = parse_answer(&bytes, inside, None);
            let _ = parse_answer(&answer(LOGIN, 45, &bytes), inside, None);
            let _ = ends_login(&bytes);
            without_gateway_matters(&mut bytes);
            if let Some(first) = bytes.first_mut() {
                *first = 10;
            }
            let _ = adjust_greeting(&mut bytes, tls);
        }

        #[test]
        fn the_user_is_read_back(user in "[^\0]{0,40}") {
            prop_assert_eq!(login(&user, 45).user, user);
        }
    }
}
