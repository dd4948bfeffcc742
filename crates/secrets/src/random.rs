//! Random credentials, straight from the kernel.

use secrecy::SecretString;
use zeroize::Zeroizing;

/// The kernel gave no random bytes; nothing may go on without them.
#[derive(Debug, thiserror::Error)]
#[error("the kernel gave no random bytes")]
pub struct NoRandomness(#[source] getrandom::Error);

const ALPHANUMERICS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Fills an array with random bytes.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// 128 random bits, for identities such as an installation's.
pub fn random_bits() -> Result<u128, NoRandomness> {
    random_bytes().map(u128::from_le_bytes)
}

/// Letters and digits, each equally likely. (A Globo credential is ten of them.)
pub fn alphanumeric(length: usize) -> Result<SecretString, NoRandomness> {
    drawn_from(ALPHANUMERICS, length)
}

/// A bearer token: recognisable in a leak by its prefix, 256 bits strong.
pub fn random_token() -> Result<SecretString, NoRandomness> {
    Ok(SecretString::from(format!("moorage_{}", hex::encode(*Zeroizing::new(random_bytes::<32>()?)))))
}

/// The public half of an access key: 32 hexadecimal digits.
pub fn random_access_key() -> Result<String, NoRandomness> {
    random_bytes::<16>().map(hex::encode)
}

/// The private half of an access key: 64 hexadecimal digits.
pub fn random_secret_key() -> Result<SecretString, NoRandomness> {
    Ok(SecretString::from(hex::encode(*Zeroizing::new(random_bytes::<32>()?))))
}

/// A password nobody has to invent: 20 characters with at least one capital, one small letter, one digit and one of
/// `-_.`, so that every family's rules accept it and no shell needs quotes around it.
pub fn random_password() -> Result<SecretString, NoRandomness> {
    const WITH_SYMBOLS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789-_.";
    loop {
        let password = drawn_from(WITH_SYMBOLS, 20)?;
        let text = secrecy::ExposeSecret::expose_secret(&password).as_bytes();
        let has = |class: fn(&u8) -> bool| text.iter().any(class);
        let starts_well = text.first().is_some_and(u8::is_ascii_alphanumeric);
        if starts_well
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_lowercase)
            && has(u8::is_ascii_digit)
            && has(u8::is_ascii_punctuation)
        {
            return Ok(password);
        }
    }
}

/// The password of a credential as Globo's clients know it: ten letters and digits that are not taken for others (its wire reference,
/// section 3).
pub fn credential_password() -> Result<SecretString, NoRandomness> {
    drawn_from(b"abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", 10)
}

fn drawn_from(alphabet: &[u8], length: usize) -> Result<SecretString, NoRandomness> {
    // Bytes above the largest multiple of the alphabet are drawn again: a plain remainder would favour its beginning.
    let limit = 256 - 256 % alphabet.len();
    let mut text = Zeroizing::new(String::with_capacity(length));
    while text.len() < length {
        for byte in Zeroizing::new(random_bytes::<64>()?).iter().map(|byte| usize::from(*byte)) {
            if byte < limit && text.len() < length {
                text.push(char::from(alphabet[byte % alphabet.len()]));
            }
        }
    }
    Ok(SecretString::from(text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::collections::HashSet;

    #[test]
    fn every_letter_and_digit_turns_up_about_equally_often() {
        let drawn = alphanumeric(62_000).expect("random bytes");
        let mut counts = [0_u32; 256];
        for byte in drawn.expose_secret().bytes() {
            counts[usize::from(byte)] += 1;
        }
        for letter in ALPHANUMERICS {
            let count = counts[usize::from(*letter)];
            assert!((700..1300).contains(&count), "{} came {count} times", char::from(*letter));
        }
    }

    #[test]
    fn passwords_carry_every_class_of_character_and_never_repeat() {
        let mut seen = HashSet::new();
        for _ in 0..200 {
            let password = random_password().expect("random bytes");
            let text = password.expose_secret();
            assert_eq!(text.len(), 20);
            assert!(text.bytes().any(|b| b.is_ascii_uppercase()) && text.bytes().any(|b| b.is_ascii_lowercase()));
            assert!(text.bytes().any(|b| b.is_ascii_digit()) && text.contains(['-', '_', '.']));
            assert!(!text.starts_with('-'));
            assert!(seen.insert(text.to_owned()));
        }
    }

    #[test]
    fn tokens_and_keys_have_their_form() {
        let hexadecimal = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let token = random_token().expect("random bytes");
        let digits = token.expose_secret().strip_prefix("moorage_").expect("the prefix");
        assert!(digits.len() == 64 && hexadecimal(digits));
        let access_key = random_access_key().expect("random bytes");
        assert!(access_key.len() == 32 && hexadecimal(&access_key));
        let secret_key = random_secret_key().expect("random bytes");
        assert!(secret_key.expose_secret().len() == 64 && hexadecimal(secret_key.expose_secret()));
        assert_eq!(alphanumeric(10).expect("random bytes").expose_secret().len(), 10);
        assert_ne!(random_bits().expect("random bytes"), random_bits().expect("random bytes"));
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let token = random_token().expect("random bytes");
        assert!(!format!("{token:?}").contains(&token.expose_secret()[8..]));
    }
}
