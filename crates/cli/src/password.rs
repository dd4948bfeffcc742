//! Passwords: read from a file, asked for, or made up; never an argument.

use console::Term;
use secrecy::{ExposeSecret, SecretString};
use std::io::Read;
use std::path::Path;

use crate::failure::Failure;
use crate::talk::Talk;

/// A password and whether it has to be shown because nobody knows it yet.
#[derive(Debug)]
pub struct Chosen {
    pub password: SecretString,
    pub generated: bool,
}

/// The password of a new account: from the file, else asked for on a terminal, else made up.
pub fn choose(file: Option<&Path>, account: &str, talk: &mut Talk) -> Result<Chosen, Failure> {
    if let Some(path) = file {
        return Ok(Chosen { password: read(path)?, generated: false });
    }
    if talk.on_terminal() {
        let password = ask(&format!("Password for '{account}' (empty: make one up):"), talk)?;
        if !password.expose_secret().is_empty() {
            let again = ask("The same again:", talk)?;
            if again.expose_secret() != password.expose_secret() {
                return Err(Failure::new("The two passwords differ.").hint("Nothing was created; call again."));
            }
            return Ok(Chosen { password, generated: false });
        }
    }
    Ok(Chosen { password: generate()?, generated: true })
}

/// Asks for a password on the terminal, without showing it.
pub fn ask(question: &str, talk: &mut Talk) -> Result<SecretString, Failure> {
    talk.say(question);
    let answer = Term::stderr().read_secure_line().map_err(|error| Failure::new("The password could not be read.").why(error))?;
    Ok(SecretString::from(answer))
}

/// Reads a password from a file (`-`: standard input), without the line end.
pub fn read(path: &Path) -> Result<SecretString, Failure> {
    let failed = |error| Failure::new(format!("The password file {} cannot be read.", path.display())).why(error);
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
    } else {
        text = std::fs::read_to_string(path).map_err(failed)?;
    }
    let secret = SecretString::from(text);
    let text = secret.expose_secret();
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() || line.contains('\n') {
        return Err(Failure::new(format!("The password file {} must hold one line with the password.", path.display())));
    }
    Ok(SecretString::from(line))
}

/// A line from the terminal.
pub fn line() -> Result<String, Failure> {
    Term::stderr().read_line().map_err(|error| Failure::new("The answer could not be read.").why(error))
}

/// Twenty characters without look-alikes, with a capital, a small letter, a digit and a symbol, that no shell needs
/// quotes around.
fn generate() -> Result<SecretString, Failure> {
    // 64 characters: six bits of each byte choose evenly.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789-_.+=:@";
    loop {
        let mut bytes = [0_u8; 20];
        getrandom::fill(&mut bytes).map_err(|error| Failure::new("No password could be made up.").why(error))?;
        let text: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect();
        let has = |class: fn(&char) -> bool| text.chars().any(|c| class(&c));
        let classes = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit);
        if classes && has(char::is_ascii_punctuation) && text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Ok(SecretString::from(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_holds_one_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("password");
        for (content, password) in [("secret\n", "secret"), ("secret", "secret"), ("two words\r\n", "two words"), (" x \n", " x ")] {
            std::fs::write(&path, content).expect("written");
            assert_eq!(read(&path).expect("read").expose_secret(), password);
        }
        for content in ["", "\n", "one\ntwo\n"] {
            std::fs::write(&path, content).expect("written");
            assert!(read(&path).is_err(), "{content:?}");
        }
        assert!(read(&directory.path().join("missing")).is_err());
    }

    #[test]
    fn made_up_passwords_differ_and_carry_every_class() {
        let one = generate().expect("made up");
        let text = one.expose_secret();
        assert_eq!(text.len(), 20);
        assert_ne!(text, generate().expect("made up").expose_secret());
        assert!(text.contains(|c: char| c.is_ascii_uppercase()) && text.contains(|c: char| c.is_ascii_punctuation()));
    }
}
