//! What a client says after its login: packets, of which only a change of user concerns the gateway.
//!
//! Engine and PROXY header are not enough here: with `skip_name_resolve` MariaDB takes a client that came through a Unix
//! socket for `localhost`, whatever address its header names. Where gateway and engine run under one account of the
//! operating system, changing the user to an administrator who logs in by that account would succeed.

use super::packets::{CHARACTER_SET_FILENAME, is_reserved};
use super::responses::Responses;
use crate::connection::LoginRules;
use crate::relay::Watch;
use std::sync::Arc;

const CHANGE_USER: u8 = 0x11;
/// A packet this long is continued by the next one.
const LONGEST_PAYLOAD: usize = 0xff_ffff;
/// More than the longest name the server knows.
const LONGEST_NAME: usize = 1024;

/// Follows the packets of a client and of its engine, without keeping them, and stops a change of user to a reserved account, or one in which the
/// name may be spelt differently, before the engine has heard it to the end.
#[derive(Debug)]
pub struct CommandWatch {
    rules: Arc<LoginRules>,
    secret_has_length: bool,
    header: [u8; 4],
    have: usize,
    left: usize,
    continued: bool,
    place: Place,
    name: Vec<u8>,
    responses: Responses,
}

/// Where in a packet we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In front of the command.
    Command,
    /// In the name of a change of user.
    Name,
    /// In front of the secret's length.
    SecretLength,
    /// In a secret of which so many bytes are left.
    Secret(u8),
    /// In a secret that ends with a zero.
    SecretText,
    /// In the name of the database.
    Database,
    /// In front of the number of the character set.
    CharacterSet,
    /// In the middle of that number.
    SecondByte(u8),
    /// In something that does not matter.
    Rest,
}

impl CommandWatch {
    /// At the first packet after the login. A client may take an OK for the end of rows.
    pub fn new(rules: Arc<LoginRules>, secret_has_length: bool, ends_with_ok: bool) -> Self {
        let (header, name, responses) = ([0; 4], Vec::new(), Responses::new(ends_with_ok));
        Self { rules, secret_has_length, header, have: 0, left: 0, continued: false, place: Place::Command, name, responses }
    }

    fn begin_packet(&mut self) {
        let length = u32::from_le_bytes([self.header[0], self.header[1], self.header[2], 0]) as usize;
        self.place = if self.continued { Place::Rest } else { Place::Command };
        self.continued = length == LONGEST_PAYLOAD;
        self.left = length;
        self.name = Vec::new();
    }

    /// Takes the next byte of a change of user; whether it may be passed on.
    fn take(&mut self, byte: u8, last: bool) -> bool {
        let zero = byte == 0;
        self.place = match self.place {
            Place::Command => Place::Name,
            Place::Name => {
                if !zero && self.name.len() < LONGEST_NAME {
                    self.name.push(byte);
                }
                if (zero || last || self.name.len() == LONGEST_NAME) && is_reserved(&self.name, self.rules.administrator.as_deref()) {
                    return false;
                }
                match (zero, self.secret_has_length) {
                    (false, _) => Place::Name,
                    (true, true) => Place::SecretLength,
                    (true, false) => Place::SecretText,
                }
            }
            Place::SecretLength if zero => Place::Database,
            Place::SecretLength => Place::Secret(byte),
            Place::Secret(1) => Place::Database,
            Place::Secret(left) => Place::Secret(left - 1),
            Place::SecretText if zero => Place::Database,
            Place::Database if zero => Place::CharacterSet,
            Place::CharacterSet => Place::SecondByte(byte),
            Place::SecondByte(first) if first == CHARACTER_SET_FILENAME && zero => return false,
            Place::SecondByte(_) => Place::Rest,
            same @ (Place::SecretText | Place::Database | Place::Rest) => same,
        };
        true
    }
}

impl Watch for CommandWatch {
    fn admits(&mut self, mut said: &[u8]) -> bool {
        while !said.is_empty() {
            if self.left == 0 {
                let taken = said.len().min(4 - self.have);
                self.header[self.have..self.have + taken].copy_from_slice(&said[..taken]);
                self.have += taken;
                said = &said[taken..];
                if self.have == 4 {
                    self.have = 0;
                    self.begin_packet();
                }
                continue;
            }
            let (now, later) = said.split_at(said.len().min(self.left));
            let end = self.left;
            self.left -= now.len();
            said = later;
            if self.place == Place::Command {
                // Later packets of an exchange are no commands.
                if self.header[3] == 0 {
                    self.responses.expect(now[0]);
                }
                if now[0] != CHANGE_USER {
                    self.place = Place::Rest;
                }
            }
            // In parts it would be read only after the last of them; no client has that much to say.
            if self.place == Place::Command && self.continued {
                return false;
            }
            for (at, byte) in now.iter().enumerate() {
                if self.place == Place::Rest {
                    break;
                }
                if !self.take(*byte, at + 1 == end) {
                    return false;
                }
            }
        }
        true
    }

    fn heard(&mut self, answered: &[u8]) {
        self.responses.hear(answered);
    }

    fn is_between_transactions(&self) -> bool {
        self.have == 0 && self.left == 0 && self.responses.is_between_transactions()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mariadb::packets::frame;
    use proptest::prelude::*;

    fn change_user(name: &[u8]) -> Vec<u8> {
        frame(0, &[&[CHANGE_USER], name, b"\0\0shop\0\x2d\0mysql_native_password\0"].concat())
    }

    fn admitted_with(secret_has_length: bool, bytes: &[u8], piece: usize) -> bool {
        let limit = std::time::Duration::from_secs(1);
        let rules = LoginRules { handshake: limit, login: limit, administrator: Some("keeper".to_owned()) };
        let mut watch = CommandWatch::new(Arc::new(rules), secret_has_length, false);
        bytes.chunks(piece).all(|chunk| watch.admits(chunk))
    }

    fn admitted(bytes: &[u8], piece: usize) -> bool {
        admitted_with(true, bytes, piece)
    }

    #[test]
    fn a_change_of_user_in_a_character_set_that_spells_names_differently_is_stopped() {
        let body = |secret: &[u8], set: [u8; 2]| frame(0, &[b"\x11alice\0", secret, b"shop\0", &set, b"mysql_native_password\0"].concat());
        for piece in [1, 2, 3, 1000] {
            for (has_length, secret) in [(true, &b"\x05\0\x11\0\x11\0"[..]), (true, b"\0"), (false, b"old one\0"), (false, b"\0")] {
                assert!(!admitted_with(has_length, &body(secret, [17, 0]), piece));
                for other in [[45, 0], [17, 1], [0, 17]] {
                    assert!(admitted_with(has_length, &body(secret, other), piece), "{other:?}");
                }
            }
        }
    }

    #[test]
    fn a_change_of_user_that_goes_on_in_another_packet_is_stopped() {
        let mut bytes = vec![0xff, 0xff, 0xff, 0, CHANGE_USER];
        bytes.resize(4 + LONGEST_PAYLOAD, b'x');
        assert!(!admitted(&bytes, 65_536));
    }

    #[test]
    fn only_a_change_of_user_to_a_reserved_account_is_stopped_however_it_is_cut_up() {
        let before = [frame(0, b"\x03select 1"), frame(0, b"\x0e"), frame(1, b""), frame(0, b"\x03\x11root\0")].concat();
        let admin: [&[u8]; 6] = [b"moorage_admin", b"root", b"'root'", b"MySQL", b"keeper", b"'KEEPER'"];
        for piece in [1, 2, 3, 4, 5, 7, 1000] {
            assert!(admitted(&[before.clone(), change_user(b"alice"), before.clone()].concat(), piece));
            for name in admin {
                assert!(!admitted(&[before.clone(), change_user(name)].concat(), piece), "{name:?} in pieces of {piece}");
                let unterminated = [&[CHANGE_USER], name].concat();
                assert!(!admitted(&frame(0, &unterminated), piece));
            }
        }
    }

    #[test]
    fn the_engine_never_hears_the_end_of_a_reserved_name() {
        let bytes = change_user(b"root");
        let name_ends = 4 + 1 + 4;
        assert!(admitted(&bytes[..name_ends], 1));
        assert!(!admitted(&bytes[..=name_ends], 1));
    }

    #[test]
    fn the_second_part_of_a_long_packet_is_no_command() {
        let mut bytes = vec![0xff, 0xff, 0xff, 0];
        bytes.push(3);
        bytes.resize(4 + LONGEST_PAYLOAD, b'x');
        bytes.extend(frame(1, b"\x11root\0"));
        assert!(admitted(&bytes, 65_536));
        bytes.extend(change_user(b"root"));
        assert!(!admitted(&bytes, 65_536));
    }

    #[test]
    fn a_name_longer_than_any_account_is_judged_by_its_beginning() {
        assert!(!admitted(&change_user(&[b"moorage_".to_vec(), vec![b'x'; 100_000]].concat()), 4096));
        assert!(admitted(&change_user(&vec![b'x'; 100_000]), 4096));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_verdict(
            packets in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
            piece in 1_usize..60,
        ) {
            let bytes: Vec<u8> = packets.iter().flat_map(|(change, body)| if *change { change_user(body) } else { frame(0, body) }).collect();
            prop_assert_eq!(admitted(&bytes, piece), admitted(&bytes, usize::MAX));
        }
    }
}
