//! Which databases and owners MariaDB can have.

use crate::character_set;
use moorage_domain::Problem;
use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::parameters::{is_reserved_account, is_reserved_database};

const LONGEST_DATABASE: usize = 64;
const LONGEST_ACCOUNT: usize = 80;

/// A database as the server is told.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its owner.
    pub owner: &'a str,
    /// Character set (`utf8mb4`).
    pub character_set: &'static str,
}

/// Checks a database; the problem names the field.
pub fn check(database: &DatabaseSpec) -> Result<Wanted<'_>, Problem> {
    check_name("database.name", "database", &database.name, LONGEST_DATABASE, is_reserved_database)?;
    check_name("database.owner", "owner", &database.owner, LONGEST_ACCOUNT, is_reserved_account)?;
    let given = &database.character_set;
    let character_set = character_set::known(given).ok_or_else(|| {
        Problem::invalid("database.character_set", format!("MariaDB has no character set {given:?}."))
            .hint(format!("Choose one of {}.", character_set::all()))
    })?;
    if database.locale.is_some() {
        return Err(Problem::invalid("database.locale", "MariaDB databases have no locale.").hint("Leave it out."));
    }
    Ok(Wanted { name: &database.name, owner: &database.owner, character_set })
}

fn check_name(field: &str, what: &str, name: &str, longest: usize, reserved: fn(&str) -> bool) -> Result<(), Problem> {
    if name.is_empty() || name.chars().count() > longest {
        return Err(Problem::invalid(field, format!("The name of the {what} must have 1 to {longest} characters.")));
    }
    if name.chars().any(|c| c.is_control() || u32::from(c) > 0xFFFF) || name.ends_with(' ') || name.starts_with("#mysql50#") {
        return Err(Problem::invalid(
            field,
            format!("The name of the {what} must not contain control characters or characters beyond U+FFFF, nor end with a space."),
        ));
    }
    if reserved(name) {
        return Err(Problem::invalid(field, format!("The name {name:?} is reserved.")).hint("Choose another name."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_name_their_field() {
        let field = |name: &str, owner: &str, character_set: &str, locale: Option<&str>| {
            let spec = DatabaseSpec {
                name: String::from(name),
                owner: String::from(owner),
                character_set: String::from(character_set),
                locale: locale.map(String::from),
            };
            check(&spec).err().and_then(|problem| problem.field).unwrap_or_default()
        };
        assert_eq!(field("MySQL", "o", "utf8", None), "database.name");
        assert_eq!(field("d ", "o", "utf8", None), "database.name");
        assert_eq!(field("😀", "o", "utf8", None), "database.name");
        assert_eq!(field("moorage_tmp", "o", "utf8", None), "database.name");
        assert_eq!(field("d", "mariadb.sys", "utf8", None), "database.owner");
        assert_eq!(field("d", "", "utf8", None), "database.owner");
        assert_eq!(field("d", "o", "UTF-8", None), "database.character_set");
        assert_eq!(field("d", "o", "utf8", Some("C")), "database.locale");
        assert_eq!(field("d", "o", "EUCKR", None), "");
    }
}
