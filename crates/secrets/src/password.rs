//! Login passwords: argon2id hashes in the PHC text form.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};

use crate::random::{NoRandomness, random_bytes};

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// No salt.
    #[error("no salt for a password hash")]
    Salt(#[from] NoRandomness),
    /// The hash function refused (a password longer than 4 GiB).
    #[error("a password could not be hashed")]
    Hash(#[source] argon2::password_hash::Error),
}

/// 19 MiB, two passes, one lane: what OWASP recommends as the least for argon2id.
fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

/// Compared with when there is no such user, so that an unknown name takes as long as a wrong password. It is the hash
/// of random bytes that were thrown away.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$IT2Nv/OsrtJtLecF/b4AhQ$c21ek9wo3wDUBBtGfjglBhSdpgM6kkze05r+1zvosy8";

/// Hashes a login password. Takes tens of milliseconds.
pub fn hash_password(password: &SecretString) -> Result<String, HashError> {
    let salt = SaltString::encode_b64(&random_bytes::<16>()?).map_err(HashError::Hash)?;
    let hash = argon2id().hash_password(password.expose_secret().as_bytes(), &salt).map_err(HashError::Hash)?;
    Ok(hash.to_string())
}

/// Whether the password belongs to the stored hash. Without a hash (no such user) or with an unreadable one it does the
/// same work and says no.
pub fn verify_password(password: &SecretString, stored: Option<&str>) -> bool {
    let readable = stored.and_then(|text| PasswordHash::new(text).ok());
    let known = readable.is_some();
    let Some(hash) = readable.or_else(|| PasswordHash::new(NOBODY).ok()) else { return false };
    let right = argon2id().verify_password(password.expose_secret().as_bytes(), &hash).is_ok();
    known && right
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[test]
    fn only_the_right_password_is_accepted() {
        let hash = hash_password(&secret("correct horse")).expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify_password(&secret("correct horse"), Some(&hash)));
        assert!(!verify_password(&secret("correct horsf"), Some(&hash)));
        assert!(!verify_password(&secret(""), Some(&hash)));
    }

    #[test]
    fn the_same_password_hashes_differently_every_time() {
        assert_ne!(hash_password(&secret("x")).expect("hashed"), hash_password(&secret("x")).expect("hashed"));
    }

    #[test]
    fn unknown_users_and_broken_hashes_are_refused_with_the_same_work() {
        PasswordHash::new(NOBODY).expect("the stand-in hash is well-formed");
        // Parsing takes microseconds; no machine computes the hash in less than two milliseconds.
        for stored in [None, Some(""), Some("plain text"), Some("$argon2id$v=19$m=19456,t=2,p=1$")] {
            let begun = Instant::now();
            assert!(!verify_password(&secret("y"), stored));
            assert!(begun.elapsed() > Duration::from_millis(2), "{stored:?} was refused without the work");
        }
    }
}
