//! The part of PostgreSQL's wire protocol that comes before and during the login. Pure: bytes in, facts out.

use moorage_domain::parameters::is_reserved_account;

/// The longest opening message the server itself accepts.
pub const LONGEST_OPENING: usize = 10_000;
/// The longest cancel request: protocol 3.2 allows keys of up to 256 bytes.
const LONGEST_CANCEL: usize = 4 + 4 + 4 + 256;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_ENCRYPTION_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// Bytes that are not what the protocol allows at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The length cannot be that of an opening message.
    #[error("the length of the opening message is impossible")]
    Length,
    /// The parameters of the startup message do not end where they should.
    #[error("the parameters of the startup message are broken")]
    Parameters,
}

/// What a client may say first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It would like TLS.
    Ssl,
    /// It would like GSSAPI encryption.
    GssEncryption,
    /// It wants a running statement cancelled.
    Cancel,
    /// It wants to log in.
    Startup(Startup),
    /// It speaks a protocol that is not version 3.
    OtherProtocol {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
}

/// What the gateway needs to know of a startup message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// The account, as text.
    pub user: String,
    /// Whether an account it names is reserved.
    pub reserved: bool,
    /// Whether it asks for a replication connection.
    pub replication: bool,
}

/// The length of an opening message, itself included, from its first four bytes.
pub fn opening_length(prefix: [u8; 4]) -> Result<usize, Malformed> {
    let length = u32::from_be_bytes(prefix) as usize;
    if (8..=LONGEST_OPENING).contains(&length) { Ok(length) } else { Err(Malformed::Length) }
}

/// Reads a whole opening message, its length included.
pub fn parse_opening(message: &[u8]) -> Result<Opening, Malformed> {
    let Some((prefix, rest)) = message.split_first_chunk::<4>() else { return Err(Malformed::Length) };
    let Some((code, body)) = rest.split_first_chunk::<4>() else { return Err(Malformed::Length) };
    if opening_length(*prefix)? != message.len() {
        return Err(Malformed::Length);
    }
    match u32::from_be_bytes(*code) {
        SSL_REQUEST if body.is_empty() => Ok(Opening::Ssl),
        GSS_ENCRYPTION_REQUEST if body.is_empty() => Ok(Opening::GssEncryption),
        CANCEL_REQUEST if body.len() >= 8 && message.len() <= LONGEST_CANCEL => Ok(Opening::Cancel),
        SSL_REQUEST | GSS_ENCRYPTION_REQUEST | CANCEL_REQUEST => Err(Malformed::Length),
        version if version >> 16 == 3 => parse_parameters(body).map(Opening::Startup),
        version => Ok(Opening::OtherProtocol { major: (version >> 16) as u16, minor: version as u16 }),
    }
}

fn parse_parameters(mut body: &[u8]) -> Result<Startup, Malformed> {
    let mut startup = Startup { user: String::new(), reserved: false, replication: false };
    loop {
        let name = take_text(&mut body)?;
        if name.is_empty() {
            return if body.is_empty() { Ok(startup) } else { Err(Malformed::Parameters) };
        }
        let value = take_text(&mut body)?;
        match name {
            // The server takes the last one of several, so each must be admissible.
            b"user" => {
                startup.user = String::from_utf8_lossy(value).into_owned();
                startup.reserved |= is_reserved_account(&startup.user);
            }
            b"replication" => startup.replication = true,
            _ => {}
        }
    }
}

fn take_text<'a>(body: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let end = body.iter().position(|byte| *byte == 0).ok_or(Malformed::Parameters)?;
    let text = &body[..end];
    *body = &body[end + 1..];
    Ok(text)
}

/// A refusal as clients show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// SQLSTATE.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// What to do next.
    pub hint: Option<&'static str>,
}

impl Refusal {
    /// The refusal as an ErrorResponse of severity FATAL.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(64 + self.message.len());
        let mut field = |kind: u8, text: &str| {
            body.push(kind);
            body.extend(text.bytes().filter(|byte| *byte != 0));
            body.push(0);
        };
        field(b'S', "FATAL");
        field(b'V', "FATAL");
        field(b'C', self.code);
        field(b'M', &self.message);
        if let Some(hint) = self.hint {
            field(b'H', hint);
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        let mut message = Vec::with_capacity(body.len() + 5);
        message.push(b'E');
        message.extend_from_slice(&length.to_be_bytes());
        message.append(&mut body);
        message
    }
}

/// How a login stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// Still talking.
    Going,
    /// The server is ready for queries.
    Done,
    /// The server refused (or says what no server says): it will close the connection.
    Refused,
}

/// Follows what the server says during a login, in pieces of any size, without keeping it.
#[derive(Debug)]
pub struct LoginWatch {
    head: [u8; 5],
    have: usize,
    left: usize,
    key: Vec<u8>,
    login: Login,
}

impl LoginWatch {
    /// At the beginning.
    pub fn new() -> Self {
        Self { head: [0; 5], have: 0, left: 0, key: Vec::new(), login: Login::Going }
    }

    /// The process id of the server's backend, once it told.
    pub fn backend(&self) -> Option<i32> {
        self.key.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes))
    }

    /// Takes the next bytes from the server.
    pub fn saw(&mut self, mut bytes: &[u8]) -> Login {
        while self.login == Login::Going && !bytes.is_empty() {
            if self.have < 5 {
                self.head[self.have] = bytes[0];
                self.have += 1;
                bytes = &bytes[1..];
                // Before anything else is known of it: a server that cannot fork sends an error without a length.
                if self.head[0] == b'E' {
                    self.login = Login::Refused;
                } else if self.have == 5 {
                    let length = u32::from_be_bytes([self.head[1], self.head[2], self.head[3], self.head[4]]) as usize;
                    match length.checked_sub(4) {
                        Some(left) => self.left = left,
                        None => self.login = Login::Refused,
                    }
                    self.end_of_message();
                }
                continue;
            }
            let taken = self.left.min(bytes.len());
            if self.head[0] == b'K' && self.key.len() < 4 {
                let wanted = (4 - self.key.len()).min(taken);
                self.key.extend_from_slice(&bytes[..wanted]);
            }
            self.left -= taken;
            bytes = &bytes[taken..];
            self.end_of_message();
        }
        self.login
    }

    fn end_of_message(&mut self) {
        if self.left == 0 && self.login == Login::Going {
            self.have = 0;
            if self.head[0] == b'Z' {
                self.login = Login::Done;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opening(code: u32, body: &[u8]) -> Vec<u8> {
        let mut message = u32::try_from(body.len() + 8).expect("short").to_be_bytes().to_vec();
        message.extend_from_slice(&code.to_be_bytes());
        message.extend_from_slice(body);
        message
    }

    fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in parameters {
            for text in [name, value] {
                body.extend_from_slice(text.as_bytes());
                body.push(0);
            }
        }
        body.push(0);
        opening(3 << 16, &body)
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&u32::try_from(body.len() + 4).expect("short").to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn read(parameters: &[(&str, &str)]) -> Startup {
        match parse_opening(&startup(parameters)) {
            Ok(Opening::Startup(startup)) => startup,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_opening_message_is_recognised() {
        assert_eq!(parse_opening(&opening(SSL_REQUEST, &[])), Ok(Opening::Ssl));
        assert_eq!(parse_opening(&opening(GSS_ENCRYPTION_REQUEST, &[])), Ok(Opening::GssEncryption));
        assert_eq!(parse_opening(&opening(CANCEL_REQUEST, &[0; 8])), Ok(Opening::Cancel));
        assert_eq!(parse_opening(&opening(CANCEL_REQUEST, &[0; 260])), Ok(Opening::Cancel));
        assert_eq!(parse_opening(&opening(2 << 16, &[0; 296])), Ok(Opening::OtherProtocol { major: 2, minor: 0 }));
        let found = read(&[("user", "alice"), ("database", "shop")]);
        assert_eq!((found.user.as_str(), found.reserved, found.replication), ("alice", false, false));
    }

    #[test]
    fn impossible_lengths_and_broken_parameters_are_refused() {
        for length in [0_u32, 7, 10_001, u32::MAX] {
            assert_eq!(opening_length(length.to_be_bytes()), Err(Malformed::Length), "{length}");
        }
        assert_eq!(parse_opening(&opening(SSL_REQUEST, &[0])), Err(Malformed::Length));
        assert_eq!(parse_opening(&opening(CANCEL_REQUEST, &[0; 7])), Err(Malformed::Length));
        assert_eq!(parse_opening(&opening(CANCEL_REQUEST, &[0; 261])), Err(Malformed::Length));
        for body in [&b""[..], b"user", b"user\0alice", b"user\0alice\0", b"user\0alice\0\0rest", b"user\0\0"] {
            assert_eq!(parse_opening(&opening(3 << 16, body)), Err(Malformed::Parameters), "{body:?}");
        }
    }

    #[test]
    fn a_reserved_account_is_found_wherever_it_hides() {
        for user in ["postgres", "root", "Moorage_Admin", "pg_monitor"] {
            assert!(read(&[("database", "x"), ("user", user)]).reserved, "{user}");
        }
        assert!(read(&[("user", "postgres"), ("user", "alice")]).reserved);
        assert!(read(&[("user", "alice"), ("user", "postgres")]).reserved);
        assert!(!read(&[("user", "alice"), ("database", "postgres")]).reserved);
        assert!(read(&[("user", "alice"), ("replication", "database")]).replication);
    }

    #[test]
    fn a_login_is_followed_to_its_end_and_gives_the_backend() {
        let mut bytes = message(b'R', &[0, 0, 0, 0]);
        bytes.extend(message(b'S', b"server_version\x0015.20\0"));
        bytes.extend(message(b'K', &[0, 0, 0x12, 0x34, 1, 2, 3, 4]));
        bytes.extend(message(b'Z', b"I"));
        bytes.extend(message(b'E', b"of the first query"));
        for piece in [1, 2, 3, 5, 7, bytes.len()] {
            let mut watch = LoginWatch::new();
            let mut login = Login::Going;
            for chunk in bytes.chunks(piece) {
                login = watch.saw(chunk);
            }
            assert_eq!((login, watch.backend()), (Login::Done, Some(0x1234)), "pieces of {piece}");
        }
    }

    #[test]
    fn an_error_ends_a_login_whatever_its_form() {
        assert_eq!(LoginWatch::new().saw(&message(b'E', b"SFATAL\0\0")), Login::Refused);
        assert_eq!(LoginWatch::new().saw(b"Ecould not fork\n\0"), Login::Refused);
        assert_eq!(LoginWatch::new().saw(&[b'R', 0, 0, 0, 3]), Login::Refused);
    }

    #[test]
    fn a_refusal_is_a_well_formed_error_response() {
        let bytes = Refusal { code: "28000", message: "no\0 entry".into(), hint: Some("Add it.") }.to_bytes();
        assert_eq!(bytes, message(b'E', b"SFATAL\0VFATAL\0C28000\0Mno entry\0HAdd it.\0\0"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1_usize..50) {
            let _ = parse_opening(&bytes);
            let _ = parse_opening(&opening(3 << 16, &bytes));
            let mut watch = LoginWatch::new();
            for chunk in bytes.chunks(cut) {
                watch.saw(chunk);
            }
        }

        #[test]
        fn the_user_is_read_back_whatever_surrounds_it(user in "[a-z][a-z0-9_]{0,62}", other in "[a-zA-Z_.]{1,20}", value in "[^\0]{0,40}") {
            prop_assume!(other != "user" && other != "replication");
            let found = read(&[(&other, &value), ("user", &user), (&other, &value)]);
            prop_assert_eq!(&found.user, &user);
            prop_assert_eq!(found.reserved, is_reserved_account(&user));
        }
    }
}
