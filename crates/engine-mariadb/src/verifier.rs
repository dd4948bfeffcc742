//! What MariaDB keeps of a password (`mysql_native_password`).

use moorage_domain::Problem;
use moorage_domain::secret::Verifier;
use sha1::{Digest, Sha1};

/// `*` and the SHA-1 of the SHA-1. The plugin knows no salt.
pub fn verifier(password: &str) -> Result<Verifier, Problem> {
    if password.is_empty() || password.contains('\0') {
        return Err(Problem::invalid("database.password", "A password must not be empty or contain a NUL character."));
    }
    let digest = Sha1::digest(Sha1::digest(password.as_bytes()));
    Ok(Verifier(format!("*{}", hex::encode_upper(digest))))
}

/// Whether a text has the form of a verifier.
pub fn is_verifier(text: &str) -> bool {
    text.len() == 41 && text.starts_with('*') && text[1..].chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_servers_own_function() {
        let Verifier(text) = verifier("password").expect("a verifier");
        assert_eq!(text, "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
        assert!(is_verifier(&text));
    }

    #[test]
    fn refuses_what_is_no_password_and_knows_what_is_no_verifier() {
        assert!(verifier("").is_err() && verifier("a\0b").is_err());
        for text in ["", "secret", "*2470", "2470C0C06DEE42FD1618BB99005ADCA2EC9D1E190"] {
            assert!(!is_verifier(text), "{text}");
        }
    }
}
