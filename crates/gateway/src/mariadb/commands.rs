//! What a client says after its login: packets, of which only a change of user concerns the gateway.
//!
//! Engine and PROXY header are not enough here: with `skip_name_resolve` MariaDB takes a client that came through a Unix
//! socket for `localhost`, whatever address its header names. Where gateway and engine run under one account of the
//! operating system, changing the user to an administrator who logs in by that account would succeed.

use super::packets::is_reserved;
use crate::relay::Watch;

const CHANGE_USER: u8 = 0x11;
/// A packet this long is continued by the next one.
const LONGEST_PAYLOAD: usize = 0xff_ffff;
/// More than the longest name the server knows.
const LONGEST_NAME: usize = 1024;

/// Follows the packets of a client, without keeping them, and stops a change of user to a reserved account before the engine
/// has heard the whole name.
#[derive(Debug, Default)]
pub struct CommandWatch {
    header: [u8; 4],
    have: usize,
    left: usize,
    continued: bool,
    place: Place,
    name: Vec<u8>,
}

/// Where in a packet we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// In front of the command.
    #[default]
    Command,
    /// In the name of a change of user.
    Name,
    /// In something that does not matter.
    Rest,
}

impl CommandWatch {
    /// At the first packet after the login.
    pub fn new() -> Self {
        Self::default()
    }

    fn begin_packet(&mut self) {
        let length = u32::from_le_bytes([self.header[0], self.header[1], self.header[2], 0]) as usize;
        self.place = if self.continued { Place::Rest } else { Place::Command };
        self.continued = length == LONGEST_PAYLOAD;
        self.left = length;
        self.name.clear();
    }

    /// Takes bytes of the name; whether the account it names may be changed to, as far as it can be told.
    fn take_name(&mut self, bytes: &[u8]) -> bool {
        let end = bytes.iter().position(|byte| *byte == 0);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        self.name.extend_from_slice(&part[..part.len().min(LONGEST_NAME - self.name.len())]);
        let whole = end.is_some() || self.left == 0 || self.name.len() == LONGEST_NAME;
        if !whole {
            return true;
        }
        self.place = Place::Rest;
        !is_reserved(&std::mem::take(&mut self.name))
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
            let (mut now, later) = said.split_at(said.len().min(self.left));
            self.left -= now.len();
            said = later;
            if self.place == Place::Command {
                self.place = if now[0] == CHANGE_USER { Place::Name } else { Place::Rest };
                now = &now[1..];
            }
            if self.place == Place::Name && !self.take_name(now) {
                return false;
            }
        }
        true
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

    fn admitted(bytes: &[u8], piece: usize) -> bool {
        let mut watch = CommandWatch::new();
        bytes.chunks(piece).all(|chunk| watch.admits(chunk))
    }

    #[test]
    fn only_a_change_of_user_to_a_reserved_account_is_stopped_however_it_is_cut_up() {
        let before = [frame(0, b"\x03select 1"), frame(0, b"\x0e"), frame(1, b""), frame(0, b"\x03\x11root\0")].concat();
        let admin: [&[u8]; 4] = [b"moorage_admin", b"root", b"'root'", b"MySQL"];
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
