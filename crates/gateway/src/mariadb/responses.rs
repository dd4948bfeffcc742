//! Whether a MariaDB client is between two transactions: which of its commands are answered in full, and what the last answer said of
//! the transaction. In doubt a client counts as being in one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const COMMAND_QUIT: u8 = 0x01;
const COMMAND_QUERY: u8 = 0x03;
const COMMAND_FIELD_LIST: u8 = 0x04;
const COMMAND_PROCESS_INFO: u8 = 0x0a;
const COMMAND_CHANGE_USER: u8 = 0x11;
const COMMAND_BINLOG_DUMP: u8 = 0x12;
const COMMAND_PREPARE: u8 = 0x16;
const COMMAND_EXECUTE: u8 = 0x17;
const COMMAND_LONG_DATA: u8 = 0x18;
const COMMAND_CLOSE_STATEMENT: u8 = 0x19;
const COMMAND_FETCH: u8 = 0x1c;
const COMMAND_BULK_EXECUTE: u8 = 0xfa;

const OK: u8 = 0x00;
const END: u8 = 0xfe;
const ERROR: u8 = 0xff;
const LOCAL_FILE: u8 = 0xfb;
/// An error of this number is news of progress, and no end.
const PROGRESS: [u8; 2] = [0xff, 0xff];
/// A deadlock: the transaction was rolled back.
const DEADLOCK: [u8; 2] = 1213_u16.to_le_bytes();
/// An error says nothing of the transaction, and a procedure may have begun one before it failed. A client that says nothing for so long
/// afterwards counts as being in none again.
const DOUBT: Duration = Duration::from_secs(1);

const IN_TRANSACTION: u16 = 0x0001;
const MORE_RESULTS: u16 = 0x0008;
const CURSOR_EXISTS: u16 = 0x0040;
const IN_READ_ONLY_TRANSACTION: u16 = 0x2000;

const LONGEST_PAYLOAD: usize = 0xff_ffff;
/// An end of rows in its old form is shorter; a row that begins with the same byte is longer.
const LONGEST_END: usize = 8;
/// As much of a packet as is ever looked at: two numbers of nine bytes behind the first one, and a status.
const LOOKED_AT: usize = 1 + 9 + 9 + 2;

/// How a command is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Not at all.
    Nothing,
    /// With one packet.
    One,
    /// With results, each of rows or of a word.
    Results,
    /// With a statement and the definitions of its parts.
    Statement,
    /// With packets up to an end.
    List,
    /// With as many packets as a login takes.
    Login,
    /// With packets without an end.
    Stream,
}

fn shape(command: u8) -> Shape {
    match command {
        COMMAND_QUIT | COMMAND_LONG_DATA | COMMAND_CLOSE_STATEMENT => Shape::Nothing,
        COMMAND_QUERY | COMMAND_EXECUTE | COMMAND_BULK_EXECUTE | COMMAND_PROCESS_INFO => Shape::Results,
        COMMAND_PREPARE => Shape::Statement,
        COMMAND_FIELD_LIST | COMMAND_FETCH => Shape::List,
        COMMAND_CHANGE_USER => Shape::Login,
        COMMAND_BINLOG_DUMP => Shape::Stream,
        _ => Shape::One,
    }
}

/// Where in the answer to the first unanswered command we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In front of it, or of its next result.
    First,
    /// In the definitions of a result's columns.
    Columns,
    /// In a result's rows, or in a list.
    Rows,
    /// In the definitions of a statement's parts, of which so many packets (or ends) are left.
    Definitions(u32),
}

/// Follows what the engine answers.
#[derive(Debug)]
pub(crate) struct Responses {
    /// The client takes an OK for the end of rows.
    ends_with_ok: bool,
    unanswered: VecDeque<Shape>,
    place: Place,
    status: u16,
    doubtful_since: Option<Instant>,
    header: [u8; 4],
    have: usize,
    left: usize,
    length: usize,
    continued: bool,
    seen: [u8; LOOKED_AT],
    seen_length: usize,
}

impl Responses {
    /// From the end of the login on.
    pub(crate) fn new(ends_with_ok: bool) -> Self {
        Self {
            ends_with_ok,
            unanswered: VecDeque::new(),
            place: Place::First,
            status: 0,
            doubtful_since: None,
            header: [0; 4],
            have: 0,
            left: 0,
            length: 0,
            continued: false,
            seen: [0; LOOKED_AT],
            seen_length: 0,
        }
    }

    /// The client gave a command.
    pub(crate) fn expect(&mut self, command: u8) {
        let shape = shape(command);
        if shape != Shape::Nothing {
            self.unanswered.push_back(shape);
        }
    }

    /// Whether every command is answered, and no transaction open.
    pub(crate) fn is_between_transactions(&self) -> bool {
        self.unanswered.is_empty()
            && self.have == 0
            && self.status & (IN_TRANSACTION | IN_READ_ONLY_TRANSACTION) == 0
            && self.doubtful_since.is_none_or(|since| since.elapsed() >= DOUBT)
    }

    /// The engine said this.
    pub(crate) fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.have < 4 {
                let taken = bytes.len().min(4 - self.have);
                self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
                self.have += taken;
                bytes = &bytes[taken..];
                if self.have < 4 {
                    return;
                }
                self.length = u32::from_le_bytes([self.header[0], self.header[1], self.header[2], 0]) as usize;
                self.left = self.length;
                self.seen_length = 0;
            }
            let taken = bytes.len().min(self.left);
            let looked_at = taken.min(LOOKED_AT - self.seen_length);
            self.seen[self.seen_length..self.seen_length + looked_at].copy_from_slice(&bytes[..looked_at]);
            self.seen_length += looked_at;
            self.left -= taken;
            bytes = &bytes[taken..];
            if self.left == 0 {
                self.have = 0;
                let begins = !self.continued;
                self.continued = self.length == LONGEST_PAYLOAD;
                if begins {
                    self.packet();
                }
            }
        }
    }

    /// Looks at a whole packet, or at the first part of a long one.
    fn packet(&mut self) {
        let Some(shape) = self.unanswered.front().copied() else { return };
        let first = if self.seen_length == 0 { None } else { Some(self.seen[0]) };
        if first == Some(ERROR) {
            match [self.seen[1], self.seen[2]] {
                PROGRESS => {}
                DEADLOCK => {
                    self.status &= !(IN_TRANSACTION | IN_READ_ONLY_TRANSACTION);
                    self.answered();
                }
                _ => {
                    self.doubtful_since = (shape == Shape::Results).then(Instant::now);
                    self.answered();
                }
            }
            return;
        }
        match (shape, self.place) {
            (Shape::Stream | Shape::Nothing, _) => {}
            (Shape::One, _) => {
                match first {
                    Some(OK) => self.note(self.status_of_ok()),
                    Some(END) if self.length <= LONGEST_END => self.note(self.status_of_end()),
                    _ => {}
                }
                self.answered();
            }
            (Shape::Login, _) if first == Some(OK) => {
                self.note(self.status_of_ok());
                self.answered();
            }
            (Shape::Login, _) => {}
            (Shape::Results, Place::First) => match first {
                Some(OK) => {
                    let status = self.status_of_ok();
                    self.result_ended(status);
                }
                Some(LOCAL_FILE) => {}
                _ => self.place = if self.ends_with_ok { Place::Rows } else { Place::Columns },
            },
            (Shape::Results, Place::Columns) if self.is_end() => {
                let status = self.status_of_end();
                if status & CURSOR_EXISTS == 0 { self.place = Place::Rows } else { self.result_ended(status) }
            }
            (Shape::Results | Shape::List, Place::Rows) | (Shape::List, Place::First) if self.is_end() => {
                let status = if self.ends_with_ok { self.status_of_ok() } else { self.status_of_end() };
                self.result_ended(status);
            }
            (Shape::Results | Shape::List, _) => {}
            (Shape::Statement, Place::First) => {
                let number = |at: usize| u32::from(u16::from_le_bytes([self.seen[at], self.seen[at + 1]]));
                let (columns, parameters) = (number(5), number(7));
                let packets = if self.ends_with_ok { columns + parameters } else { u32::from(columns > 0) + u32::from(parameters > 0) };
                self.definitions(packets);
            }
            (Shape::Statement, Place::Definitions(left)) if self.ends_with_ok || self.is_end() => self.definitions(left - 1),
            (Shape::Statement, _) => {}
        }
    }

    fn definitions(&mut self, left: u32) {
        if left == 0 { self.answered() } else { self.place = Place::Definitions(left) }
    }

    fn result_ended(&mut self, status: u16) {
        self.note(status);
        self.place = Place::First;
        if status & MORE_RESULTS == 0 {
            self.answered();
        }
    }

    /// The status of an answer, which says whether a transaction is open.
    fn note(&mut self, status: u16) {
        self.status = status;
        self.doubtful_since = None;
    }

    fn answered(&mut self) {
        self.unanswered.pop_front();
        self.place = Place::First;
    }

    fn is_end(&self) -> bool {
        let longest = if self.ends_with_ok { LONGEST_PAYLOAD - 1 } else { LONGEST_END };
        self.seen_length > 0 && self.seen[0] == END && self.length <= longest
    }

    /// Behind the number of warnings.
    fn status_of_end(&self) -> u16 {
        u16::from_le_bytes([self.seen[3], self.seen[4]])
    }

    /// Behind two numbers of one to nine bytes.
    fn status_of_ok(&self) -> u16 {
        let width = |at: usize| match self.seen[at] {
            0xfc => 3,
            0xfd => 4,
            0xfe => 9,
            _ => 1,
        };
        let second = 1 + width(1);
        let at = second + width(second);
        u16::from_le_bytes([self.seen[at], self.seen[at + 1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mariadb::packets::frame;
    use proptest::prelude::*;

    const COMMAND_STATISTICS: u8 = 0x09;
    const AUTOCOMMIT: u16 = 2;

    fn ok(first: u8, status: u16) -> Vec<u8> {
        let [low, high] = status.to_le_bytes();
        // More rows affected, and a later number, than fit into one byte.
        frame(1, &[first, 0xfc, 0x10, 0x27, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8, low, high, 0, 0])
    }
    fn end(status: u16) -> Vec<u8> {
        let [low, high] = status.to_le_bytes();
        frame(5, &[END, 0, 0, low, high])
    }
    fn rows(ends_with_ok: bool, status: u16) -> Vec<u8> {
        let (column, row) = (frame(2, b"\x03def\0\0\0\x011"), frame(4, b"\x011"));
        let middle = if ends_with_ok { Vec::new() } else { end(AUTOCOMMIT) };
        let last = if ends_with_ok { ok(END, status) } else { end(status) };
        [frame(1, &[1]), column, middle, row.clone(), frame(4, &[0xfb]), row, last].concat()
    }

    /// Whether the session is between transactions after each answer to the commands before it.
    fn follow(ends_with_ok: bool, talk: &[(&[u8], Vec<u8>)], piece: usize) -> Vec<bool> {
        let mut responses = Responses::new(ends_with_ok);
        let mut between = Vec::new();
        for (commands, answer) in talk {
            commands.iter().for_each(|command| responses.expect(*command));
            for chunk in answer.chunks(piece) {
                responses.hear(chunk);
            }
            between.push(responses.is_between_transactions());
        }
        between
    }

    #[test]
    fn a_session_is_between_transactions_when_all_is_answered_and_none_is_open() {
        for ends_with_ok in [false, true] {
            let in_transaction = IN_TRANSACTION | AUTOCOMMIT;
            let talk: [(&[u8], Vec<u8>); 12] = [
                (&[COMMAND_QUERY], ok(OK, AUTOCOMMIT)),
                (&[COMMAND_QUERY], ok(OK, in_transaction)),
                (&[COMMAND_QUERY], rows(ends_with_ok, in_transaction)),
                (&[COMMAND_QUERY], frame(1, b"\xff\x28\x04#42000no")),
                (&[COMMAND_QUERY], ok(OK, AUTOCOMMIT)),
                (&[COMMAND_QUERY], rows(ends_with_ok, AUTOCOMMIT | MORE_RESULTS)),
                (&[], rows(ends_with_ok, AUTOCOMMIT)),
                // Two at once: the first answer is not the last.
                (&[COMMAND_QUERY, COMMAND_EXECUTE], rows(ends_with_ok, AUTOCOMMIT)),
                (&[], rows(ends_with_ok, AUTOCOMMIT)),
                (&[COMMAND_CLOSE_STATEMENT, COMMAND_STATISTICS], frame(1, b"Uptime: 1")),
                (&[COMMAND_QUERY], frame(1, b"\xff\xff\xff\x01\x01")),
                (&[], ok(OK, AUTOCOMMIT)),
            ];
            for piece in [1, 2, 3, 5, 1000] {
                let expected = [true, false, false, false, true, false, true, false, true, true, false, true];
                assert_eq!(follow(ends_with_ok, &talk, piece), expected, "{ends_with_ok}, pieces of {piece}");
            }
        }
    }

    #[test]
    fn an_error_leaves_a_doubt_and_a_deadlock_does_not() {
        let error = |number: u16| frame(1, &[&[ERROR][..], &number.to_le_bytes(), b"#40001no"].concat());
        let open = (&[COMMAND_QUERY][..], ok(OK, IN_TRANSACTION | AUTOCOMMIT));
        let talk = [
            (&[COMMAND_QUERY][..], error(1064)),
            (&[COMMAND_QUERY][..], ok(OK, AUTOCOMMIT)),
            open.clone(),
            (&[COMMAND_QUERY][..], error(1213)),
            open,
            (&[COMMAND_QUERY][..], error(1064)),
        ];
        assert_eq!(follow(false, &talk, 3), [false, true, false, true, false, false]);
    }

    #[test]
    fn a_statement_is_prepared_once_all_its_parts_are_defined() {
        let prepared = |columns: u8, parameters: u8| frame(1, &[0, 1, 0, 0, 0, columns, 0, parameters, 0, 0, 0, 0]);
        let definition = || frame(2, b"\x03def");
        let old = [prepared(1, 2), definition(), definition(), end(2), definition(), end(2)];
        let new = [prepared(1, 2), definition(), definition(), definition()];
        for (ends_with_ok, parts) in [(false, &old[..]), (true, &new[..])] {
            for count in 0..=parts.len() {
                let talk = [(&[COMMAND_PREPARE][..], parts[..count].concat())];
                assert_eq!(follow(ends_with_ok, &talk, 3), [count == parts.len()], "{ends_with_ok} {count}");
            }
            assert_eq!(follow(ends_with_ok, &[(&[COMMAND_PREPARE], prepared(0, 0))], 3), [true]);
        }
    }

    #[test]
    fn a_cursor_has_no_rows_until_they_are_fetched() {
        let opened = [frame(1, &[1]), frame(2, b"\x03def"), end(AUTOCOMMIT | CURSOR_EXISTS)].concat();
        let fetched = [frame(1, b"\0\0a"), end(AUTOCOMMIT | CURSOR_EXISTS)].concat();
        assert_eq!(follow(false, &[(&[COMMAND_EXECUTE], opened), (&[COMMAND_FETCH], fetched)], 2), [true, true]);
    }

    #[test]
    fn a_row_of_sixteen_mebibytes_is_not_an_end() {
        let mut long = vec![0xff, 0xff, 0xff, 4, END];
        long.resize(4 + LONGEST_PAYLOAD, b'x');
        long.extend(frame(5, b"\xfe the rest"));
        for ends_with_ok in [false, true] {
            let whole = rows(ends_with_ok, AUTOCOMMIT);
            let last = if ends_with_ok { ok(END, AUTOCOMMIT) } else { end(AUTOCOMMIT) };
            let before = [&whole[..whole.len() - last.len()], &long].concat();
            assert_eq!(follow(ends_with_ok, &[(&[COMMAND_QUERY], before), (&[], last)], 65_536), [false, true]);
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_answer(
            ends_with_ok: bool,
            talk in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..30)), 0..6),
            piece in 1_usize..40,
        ) {
            let commands: Vec<[u8; 1]> = talk.iter().map(|(command, _)| [*command]).collect();
            let talk: Vec<(&[u8], Vec<u8>)> =
                talk.iter().zip(&commands).map(|((_, answer), command)| (&command[..], frame(1, answer))).collect();
            prop_assert_eq!(follow(ends_with_ok, &talk, piece), follow(ends_with_ok, &talk, usize::MAX));
        }
    }
}
