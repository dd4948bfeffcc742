//! What is remembered of passwords in memory: wrong ones, so that guessing gets slower and slower, and right ones, so that a
//! caller who sends a password with every request pays for its slow check once in a while only.

use moorage_domain::UserId;
use moorage_secrets as secrets;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wrong passwords in a row that cost nothing.
const FREE: u32 = 5;
/// The first wait after them; it doubles with every further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait: somebody who guesses at a name must not keep its owner out for long.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How long wrong ones are remembered.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// How long a right one is taken without checking it again.
const PROVEN_FOR: Duration = Duration::from_secs(300);
/// Names and accounts remembered at most; beyond that the oldest go.
const MOST: usize = 10_000;

struct Wrong {
    in_a_row: u32,
    last: Instant,
}

struct Proven {
    /// A keyed hash of the password: of no use to anybody who does not have this process's memory.
    mark: String,
    /// The stored hash it was checked against: another password, another hash.
    hash: String,
    since: Instant,
}

/// Remembers passwords; one per process.
pub(crate) struct Logins {
    key: [u8; 32],
    wrong: Mutex<HashMap<String, Wrong>>,
    proven: Mutex<HashMap<UserId, Proven>>,
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes room for one more.
fn bound<K: Clone + Eq + Hash, V>(map: &mut HashMap<K, V>, at: impl Fn(&V) -> Instant) {
    if map.len() >= MOST
        && let Some(oldest) = map.iter().min_by_key(|(_, value)| at(value)).map(|(key, _)| key.clone())
    {
        map.remove(&oldest);
    }
}

/// How long a name has to wait after so many wrong passwords in a row.
fn wait_after(in_a_row: u32) -> Duration {
    match in_a_row.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(beyond) => FIRST_WAIT.saturating_mul(2_u32.saturating_pow(beyond)).min(LONGEST_WAIT),
    }
}

impl Logins {
    /// Remembers nothing yet.
    pub(crate) fn new() -> Self {
        // Without randomness no mark could be trusted; an all-zero key only makes marks guessable to whoever reads this memory.
        let key = secrets::random_bytes().unwrap_or_default();
        Self { key, wrong: Mutex::default(), proven: Mutex::default() }
    }

    fn mark(&self, password: &str) -> String {
        secrets::hmac_sha256_base64(&self.key, password.as_bytes())
    }

    /// How much longer a name has to wait; none if it need not. Names that do not exist wait alike.
    pub(crate) fn locked_for(&self, name: &str, now: Instant) -> Option<Duration> {
        let mut wrong = open(&self.wrong);
        let found = wrong.get(name)?;
        let past = now.saturating_duration_since(found.last);
        if past >= FORGOTTEN_AFTER {
            wrong.remove(name);
            return None;
        }
        wait_after(found.in_a_row).checked_sub(past).filter(|left| !left.is_zero())
    }

    /// Notes a wrong password.
    pub(crate) fn was_wrong(&self, name: &str, now: Instant) {
        let mut wrong = open(&self.wrong);
        bound(&mut wrong, |entry| entry.last);
        let entry = wrong.entry(name.to_owned()).or_insert(Wrong { in_a_row: 0, last: now });
        entry.in_a_row = entry.in_a_row.saturating_add(1);
        entry.last = now;
    }

    /// Notes a right password.
    pub(crate) fn was_right(&self, name: &str, user: &UserId, password: &str, hash: &str, now: Instant) {
        open(&self.wrong).remove(name);
        let mut proven = open(&self.proven);
        bound(&mut proven, |entry| entry.since);
        proven.insert(user.clone(), Proven { mark: self.mark(password), hash: hash.to_owned(), since: now });
    }

    /// Whether this password was found right a short while ago, against this very hash.
    pub(crate) fn is_proven(&self, user: &UserId, password: &str, hash: &str, now: Instant) -> bool {
        let mark = self.mark(password);
        let proven = open(&self.proven);
        proven.get(user).is_some_and(|entry| {
            entry.hash == hash && now.saturating_duration_since(entry.since) < PROVEN_FOR && secrets::same(&entry.mark, &mark)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_gets_slower_and_a_right_password_forgives() {
        let logins = Logins::new();
        let start = Instant::now();
        let user = UserId::from_bits(1);
        for _ in 0..FREE - 1 {
            logins.was_wrong("ann", start);
            assert_eq!(logins.locked_for("ann", start), None);
        }
        let mut waits = Vec::new();
        for _ in 0..12 {
            logins.was_wrong("ann", start);
            waits.push(logins.locked_for("ann", start).expect("locked"));
        }
        assert_eq!(waits[..3], [1, 2, 4].map(Duration::from_secs));
        assert_eq!(waits[11], LONGEST_WAIT);
        assert_eq!(logins.locked_for("ann", start + LONGEST_WAIT), None);
        assert_eq!(logins.locked_for("bob", start), None);
        logins.was_right("ann", &user, "right", "hash", start);
        assert_eq!(logins.locked_for("ann", start), None);
    }

    #[test]
    fn a_proven_password_is_taken_for_a_while_and_only_as_long_as_it_is_the_password() {
        let logins = Logins::new();
        let (start, user) = (Instant::now(), UserId::from_bits(1));
        assert!(!logins.is_proven(&user, "right", "hash", start));
        logins.was_right("ann", &user, "right", "hash", start);
        assert!(logins.is_proven(&user, "right", "hash", start));
        assert!(!logins.is_proven(&user, "wrong", "hash", start));
        assert!(!logins.is_proven(&user, "right", "another hash", start));
        assert!(!logins.is_proven(&UserId::from_bits(2), "right", "hash", start));
        assert!(!logins.is_proven(&user, "right", "hash", start + PROVEN_FOR));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let logins = Logins::new();
        let start = Instant::now();
        for number in 0..MOST + 5 {
            logins.was_wrong(&format!("name{number}"), start + Duration::from_millis(number as u64));
        }
        assert_eq!(open(&logins.wrong).len(), MOST);
    }
}
