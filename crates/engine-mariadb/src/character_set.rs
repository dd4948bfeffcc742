//! Character sets a database can have, as MariaDB names them.

/// The default of the families.
pub const DEFAULT: &str = "utf8";

/// Those of MariaDB 10.11 (`SHOW CHARACTER SET`), and `utf8`, which it reads as `utf8mb3`.
const KNOWN: &[&str] = &[
    "utf8", "utf8mb3", "utf8mb4", "ascii", "armscii8", "big5", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866",
    "cp932", "dec8", "eucjpms", "euckr", "gb2312", "gbk", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1",
    "latin2", "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620", "ucs2", "ujis", "utf16", "utf16le", "utf32",
];

/// The server's name of a character set; names are compared without case.
pub fn known(given: &str) -> Option<&'static str> {
    KNOWN.iter().find(|name| name.eq_ignore_ascii_case(given)).copied()
}

/// What the server calls it in its own lists.
pub fn stored(name: &str) -> &str {
    if name == "utf8" { "utf8mb3" } else { name }
}

/// All by name, for people.
pub fn all() -> String {
    KNOWN.join(", ")
}
