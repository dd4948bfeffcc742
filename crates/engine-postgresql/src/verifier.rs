//! What PostgreSQL keeps of a password: a SCRAM-SHA-256 verifier (RFC 5802, 7677).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use moorage_domain::secret::Verifier;
use moorage_domain::{Problem, ProblemCode};
use sha2::{Digest, Sha256};

/// What PostgreSQL itself uses; clients take the number from the verifier.
const ITERATIONS: u32 = 4096;

/// Makes the verifier. Like the server, a password that SASLprep does not allow is taken as it is.
pub fn verifier(password: &str, salt: [u8; 16]) -> Result<Verifier, Problem> {
    if password.is_empty() || password.contains('\0') {
        return Err(Problem::invalid("database.password", "A password must not be empty or contain a NUL character."));
    }
    let prepared = stringprep::saslprep(password).unwrap_or(password.into());
    let mut salted = [0_u8; 32];
    pbkdf2::pbkdf2::<Hmac<Sha256>>(prepared.as_bytes(), &salt, ITERATIONS, &mut salted).map_err(|_| impossible())?;
    let stored_key = Sha256::digest(keyed(&salted, b"Client Key")?);
    let server_key = keyed(&salted, b"Server Key")?;
    Ok(Verifier(format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key)
    )))
}

/// Whether a text has the form of a verifier, so that nothing else is ever stored as one: PostgreSQL would take any other
/// text for a password in clear.
pub fn is_verifier(text: &str) -> bool {
    let Some((parameters, keys)) = text.strip_prefix("SCRAM-SHA-256$").and_then(|rest| rest.split_once('$')) else { return false };
    let (Some((iterations, salt)), Some((stored, server))) = (parameters.split_once(':'), keys.split_once(':')) else { return false };
    let decoded = |text: &str| STANDARD.decode(text).map(|bytes| bytes.len()).unwrap_or(0);
    iterations.parse::<u32>().is_ok_and(|n| n > 0) && decoded(salt) > 0 && decoded(stored) == 32 && decoded(server) == 32
}

fn keyed(key: &[u8], text: &[u8]) -> Result<[u8; 32], Problem> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| impossible())?;
    mac.update(text);
    Ok(mac.finalize().into_bytes().into())
}

/// HMAC takes keys of any length; were it otherwise, no password would be stored.
fn impossible() -> Problem {
    Problem::new(ProblemCode::Internal, "The password could not be turned into a verifier.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_example_of_rfc_7677() {
        let salt: [u8; 16] = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64").try_into().expect("16 bytes");
        let Verifier(text) = verifier("pencil", salt).expect("a verifier");
        assert_eq!(
            text,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
        assert!(is_verifier(&text));
    }

    #[test]
    fn equal_after_saslprep_means_equal() {
        let salt = [7; 16];
        assert_eq!(verifier("I\u{ad}X", salt).expect("soft hyphen"), verifier("IX", salt).expect("plain"));
        assert!(verifier("\u{7}bell", salt).is_ok());
    }

    #[test]
    fn refuses_what_is_no_password_and_knows_what_is_no_verifier() {
        assert!(verifier("", [0; 16]).is_err());
        assert!(verifier("a\0b", [0; 16]).is_err());
        for text in ["", "secret", "SCRAM-SHA-256$4096:aa$bb", "SCRAM-SHA-256$x:AAAA$AAAA:AAAA", "md5abc"] {
            assert!(!is_verifier(text), "{text}");
        }
    }
}
