//! Names and texts inside statements. Whatever they contain, they stay names and texts. Statements are sent under an SQL mode
//! in which a backslash escapes.

/// The SQL mode the quoting is right for.
pub const SQL_MODE: &str = "SET SESSION sql_mode = 'STRICT_TRANS_TABLES'";

/// An identifier in backticks.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A database's name where a pattern is expected (`GRANT ... ON`): wildcards stand for themselves.
pub fn pattern(name: &str) -> String {
    identifier(&name.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%"))
}

/// A string literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_break_out() {
        assert_eq!(identifier("a`; DROP"), "`a``; DROP`");
        assert_eq!(pattern("a_b%\\"), "`a\\_b\\%\\\\`");
        assert_eq!(literal("it's \\' x"), "'it''s \\\\'' x'");
    }
}
