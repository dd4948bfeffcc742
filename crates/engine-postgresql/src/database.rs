//! Which databases and owners PostgreSQL can have.

use crate::encoding::{self, BadEncoding};
use moorage_domain::Problem;
use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::parameters::{is_reserved_account, is_reserved_database};

/// Longer names are cut off by the server (NAMEDATALEN - 1).
const LONGEST_NAME: usize = 63;

/// A database as the server is told: names checked, encoding and locale by the server's own names.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its owner.
    pub owner: &'a str,
    /// Encoding (`UTF8`).
    pub encoding: &'static str,
    /// Locale (`C`).
    pub locale: &'static str,
}

/// Checks a database; the problem names the field.
pub fn check(database: &DatabaseSpec) -> Result<Wanted<'_>, Problem> {
    check_name("database.name", "database", &database.name, is_reserved_database)?;
    check_name("database.owner", "owner", &database.owner, is_reserved_account)?;
    let given = &database.character_set;
    let encoding = encoding::encoding(given).map_err(|bad| {
        let field = "database.character_set";
        match bad {
            BadEncoding::Unknown => Problem::invalid(field, format!("PostgreSQL has no encoding {given:?}.")),
            BadEncoding::ClientOnly => {
                Problem::invalid(field, format!("A database cannot be stored in {given:?}: only clients may use that encoding."))
            }
        }
        .hint(format!("Choose one of {}.", encoding::encodings()))
    })?;
    let given = database.locale.as_deref().unwrap_or(encoding::DEFAULT_LOCALE);
    let field = "database.locale";
    let locale = encoding::locale(given).ok_or_else(|| {
        Problem::invalid(field, format!("The locale {given:?} is not available.")).hint(format!("Choose one of {}.", encoding::locales()))
    })?;
    if !encoding::fits(locale, encoding) {
        return Err(Problem::invalid(field, format!("The locale {locale} cannot carry the encoding {encoding}."))
            .hint("Use the encoding UTF8 with it, or the locale C."));
    }
    Ok(Wanted { name: &database.name, owner: &database.owner, encoding, locale })
}

fn check_name(field: &str, what: &str, name: &str, reserved: fn(&str) -> bool) -> Result<(), Problem> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(Problem::invalid(field, format!("The name of the {what} must have 1 to {LONGEST_NAME} bytes.")));
    }
    if name.chars().any(char::is_control) {
        return Err(Problem::invalid(field, format!("The name of the {what} must not contain control characters.")));
    }
    if reserved(name) {
        return Err(Problem::invalid(field, format!("The name {name:?} is reserved.")).hint("Choose another name."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, owner: &str, character_set: &str, locale: Option<&str>) -> DatabaseSpec {
        DatabaseSpec {
            name: String::from(name),
            owner: String::from(owner),
            character_set: String::from(character_set),
            locale: locale.map(String::from),
        }
    }

    #[test]
    fn problems_name_their_field() {
        let field = |spec: DatabaseSpec| check(&spec).err().and_then(|problem| problem.field).unwrap_or_default();
        assert_eq!(field(spec("postgres", "o", "UTF8", None)), "database.name");
        assert_eq!(field(spec("Template1", "o", "UTF8", None)), "database.name");
        assert_eq!(field(spec(&"x".repeat(64), "o", "UTF8", None)), "database.name");
        assert_eq!(field(spec("d", "Moorage_Admin", "UTF8", None)), "database.owner");
        assert_eq!(field(spec("d", "pg_monitor", "UTF8", None)), "database.owner");
        assert_eq!(field(spec("d", "a\0b", "UTF8", None)), "database.owner");
        assert_eq!(field(spec("d", "o", "SJIS", None)), "database.character_set");
        assert_eq!(field(spec("d", "o", "utf8mb4", None)), "database.character_set");
        assert_eq!(field(spec("d", "o", "UTF8", Some("ko_KR"))), "database.locale");
        assert_eq!(field(spec("d", "o", "EUC_KR", Some("C.UTF-8"))), "database.locale");
        assert_eq!(field(spec("d", "o", "UTF-8", None)), "");
    }
}
