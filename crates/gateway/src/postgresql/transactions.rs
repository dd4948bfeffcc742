//! Whether a PostgreSQL client is between two transactions, from the kinds of messages that pass.
//!
//! Every query, synchronisation and function call is answered by one "ready for query", which also tells whether a transaction is open.
//! In doubt a client counts as being in one.

use crate::relay::Watch;
use std::collections::VecDeque;

const HEADER: usize = 5;

/// Follows the messages of one direction without keeping them.
#[derive(Debug, Default)]
struct Messages {
    header: [u8; HEADER],
    have: usize,
    left: usize,
}

impl Messages {
    /// Takes the next bytes. Tells the kind of each message when its header is complete, and its first byte, where it has one.
    fn take(&mut self, mut bytes: &[u8], mut tell: impl FnMut(u8, Option<u8>)) {
        while !bytes.is_empty() {
            if self.have < HEADER {
                let taken = bytes.len().min(HEADER - self.have);
                self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
                self.have += taken;
                bytes = &bytes[taken..];
                if self.have < HEADER {
                    return;
                }
                let length = u32::from_be_bytes([self.header[1], self.header[2], self.header[3], self.header[4]]);
                self.left = (length as usize).saturating_sub(4);
                if self.left > 0 {
                    continue;
                }
                tell(self.header[0], None);
                self.have = 0;
                continue;
            }
            let kind = self.header[0];
            // The first byte comes together with the news of the message.
            if self.have == HEADER {
                self.have += 1;
                tell(kind, Some(bytes[0]));
            }
            let taken = bytes.len().min(self.left);
            self.left -= taken;
            bytes = &bytes[taken..];
            if self.left == 0 {
                self.have = 0;
            }
        }
    }

    fn at_boundary(&self) -> bool {
        self.have == 0
    }
}

/// What "ready for query" is owed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Query,
    Synchronisation,
}

/// Follows a session from its first "ready for query" on.
#[derive(Debug, Default)]
pub struct TransactionWatch {
    said: Messages,
    answered: Messages,
    owed: VecDeque<Owed>,
    /// Something was asked for that is answered only after a synchronisation.
    unsynchronised: bool,
    /// The engine takes the rows of a COPY.
    copies_in: bool,
    in_transaction: bool,
    /// Its first "ready for query", which nothing is owed for, is still to come.
    logs_in: bool,
}

impl TransactionWatch {
    /// From the startup message on.
    pub fn at_login() -> Self {
        Self { logs_in: true, ..Self::default() }
    }
}

impl Watch for TransactionWatch {
    fn admits(&mut self, said: &[u8]) -> bool {
        let Self { owed, unsynchronised, copies_in, .. } = self;
        self.said.take(said, |kind, _| match kind {
            b'Q' | b'F' => owed.push_back(Owed::Query),
            // The server ignores it while it takes rows; clients repeat it afterwards.
            b'S' if *copies_in => {}
            b'S' => {
                owed.push_back(Owed::Synchronisation);
                *unsynchronised = false;
            }
            b'c' | b'f' => *copies_in = false,
            b'd' | b'p' => {}
            _ => *unsynchronised = true,
        });
        true
    }

    fn heard(&mut self, answered: &[u8]) {
        let Self { owed, copies_in, in_transaction, unsynchronised, logs_in, .. } = self;
        self.answered.take(answered, |kind, first| match kind {
            b'Z' if *logs_in => *logs_in = false,
            b'Z' => {
                // One that nothing is owed for answers what was taken for a synchronisation to be ignored.
                if owed.pop_front().is_none() {
                    *unsynchronised = false;
                }
                *copies_in = false;
                *in_transaction = first != Some(b'I');
            }
            b'E' => *copies_in = false,
            b'G' => {
                *copies_in = true;
                // It was sent along with the statement and is ignored; another one follows the rows.
                if owed.front() == Some(&Owed::Synchronisation) {
                    owed.pop_front();
                    *unsynchronised |= owed.is_empty();
                }
            }
            _ => {}
        });
    }

    fn is_between_transactions(&self) -> bool {
        !self.logs_in
            && !self.in_transaction
            && self.owed.is_empty()
            && !self.unsynchronised
            && self.said.at_boundary()
            && self.answered.at_boundary()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    fn messages(kinds: &[u8]) -> Vec<u8> {
        kinds.iter().flat_map(|kind| message(*kind, if *kind == b'S' { b"" } else { b"some body" })).collect()
    }

    /// What is said (`true`) and answered, each cut into pieces; whether the session is between transactions after each.
    fn follow(talk: &[(bool, Vec<u8>)], piece: usize) -> Vec<bool> {
        let mut watch = TransactionWatch::default();
        let mut between = Vec::new();
        for (said, bytes) in talk {
            for chunk in bytes.chunks(piece) {
                if *said {
                    assert!(watch.admits(chunk));
                } else {
                    watch.heard(chunk);
                }
            }
            between.push(watch.is_between_transactions());
        }
        between
    }

    #[test]
    fn a_session_is_between_transactions_when_all_is_answered_and_none_is_open() {
        let ready = |status: &[u8]| (false, [messages(b"TDC"), message(b'Z', status)].concat());
        let talk = [
            (true, messages(b"Q")),
            ready(b"T"),
            (true, messages(b"PBDE")),
            (true, messages(b"S")),
            ready(b"E"),
            (true, messages(b"Q")),
            ready(b"I"),
            // Two at once: the first answer is not the last.
            (true, messages(b"PBESBES")),
            ready(b"I"),
            ready(b"I"),
            (false, messages(b"A")),
        ];
        for piece in [1, 2, 3, 5, 6, 7, 1000] {
            let expected = [false, false, false, false, false, false, true, false, false, true, true];
            assert_eq!(follow(&talk, piece), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn what_is_said_ahead_during_a_login_counts() {
        let mut watch = TransactionWatch::at_login();
        assert!(watch.admits(&messages(b"ppQ")));
        watch.heard(&[messages(b"RSK"), message(b'Z', b"I")].concat());
        assert!(!watch.is_between_transactions(), "the query is not answered");
        watch.heard(&[messages(b"C"), message(b'Z', b"I")].concat());
        assert!(watch.is_between_transactions());
    }

    #[test]
    fn a_copy_that_fails_is_over() {
        let ready = || (false, message(b'Z', b"I"));
        let heard_first = [
            (true, messages(b"PBDES")),
            (false, messages(b"12nG")),
            (true, messages(b"d")),
            (false, messages(b"E")),
            (true, messages(b"S")),
            ready(),
        ];
        let said_first =
            [(true, messages(b"PBDES")), (false, messages(b"12nG")), (true, messages(b"dS")), (false, messages(b"E")), ready()];
        let all_ahead = [(true, messages(b"PBDESdcS")), (false, messages(b"12nG")), (false, messages(b"C")), ready()];
        for piece in [1, 1000] {
            assert_eq!(follow(&heard_first, piece).last(), Some(&true));
            assert_eq!(follow(&said_first, piece).last(), Some(&true));
            assert_eq!(follow(&all_ahead, piece), [false, false, false, true]);
        }
    }

    #[test]
    fn rows_that_are_copied_in_are_a_transaction_however_they_were_begun() {
        let ready = || (false, [messages(b"C"), message(b'Z', b"I")].concat());
        let simple = [(true, messages(b"Q")), (false, messages(b"G")), (true, messages(b"ddc")), ready()];
        // As libpq does it: a synchronisation with the statement, which is ignored, and one after the rows.
        let extended = [(true, messages(b"PBDES")), (false, messages(b"12nG")), (true, messages(b"dd")), (true, messages(b"cS")), ready()];
        for piece in [1, 4, 1000] {
            assert_eq!(follow(&simple, piece), [false, false, false, true]);
            assert_eq!(follow(&extended, piece), [false, false, false, false, true]);
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1_usize..40) {
            let talk = [(true, bytes.clone()), (false, bytes)];
            prop_assert_eq!(follow(&talk, piece), follow(&talk, usize::MAX));
        }
    }
}
