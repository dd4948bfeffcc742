//! Encodings and locales a database can have, as PostgreSQL names them.

/// What the server calls its own default here.
pub const DEFAULT_ENCODING: &str = "UTF-8";
/// Byte order: fast, and the same everywhere.
pub const DEFAULT_LOCALE: &str = "C";

/// Encodings a database can be stored in, by the server's name for them and the other names it understands (compared
/// without case and punctuation).
const ENCODINGS: &[(&str, &[&str])] = &[
    ("UTF8", &["unicode"]),
    ("SQL_ASCII", &[]),
    ("EUC_CN", &[]),
    ("EUC_JP", &[]),
    ("EUC_JIS_2004", &[]),
    ("EUC_KR", &[]),
    ("EUC_TW", &[]),
    ("ISO_8859_5", &[]),
    ("ISO_8859_6", &[]),
    ("ISO_8859_7", &[]),
    ("ISO_8859_8", &[]),
    ("KOI8R", &["koi8"]),
    ("KOI8U", &[]),
    ("LATIN1", &["iso88591"]),
    ("LATIN2", &["iso88592"]),
    ("LATIN3", &["iso88593"]),
    ("LATIN4", &["iso88594"]),
    ("LATIN5", &["iso88599"]),
    ("LATIN6", &["iso885910"]),
    ("LATIN7", &["iso885913"]),
    ("LATIN8", &["iso885914"]),
    ("LATIN9", &["iso885915"]),
    ("LATIN10", &["iso885916"]),
    ("MULE_INTERNAL", &[]),
    ("WIN866", &["alt"]),
    ("WIN874", &[]),
    ("WIN1250", &["windows1250"]),
    ("WIN1251", &["windows1251", "win"]),
    ("WIN1252", &["windows1252"]),
    ("WIN1253", &["windows1253"]),
    ("WIN1254", &["windows1254"]),
    ("WIN1255", &["windows1255"]),
    ("WIN1256", &["windows1256"]),
    ("WIN1257", &["windows1257"]),
    ("WIN1258", &["abc", "tcvn", "tcvn5712", "vscii", "windows1258"]),
];

/// Encodings that only clients may use.
const CLIENT_ONLY: &[&str] =
    &["big5", "gb18030", "gbk", "johab", "sjis", "shiftjis", "shiftjis2004", "uhc", "mskanji", "win932", "win936", "win949", "win950"];

/// Locales every installation has, as users write them and as the server keeps them.
const LOCALES: &[(&str, &str)] = &[("c", "C"), ("posix", "C"), ("cutf8", "C.UTF-8")];

/// What is wrong with an encoding.
#[derive(Debug, PartialEq, Eq)]
pub enum BadEncoding {
    /// The server does not know it.
    Unknown,
    /// Clients may speak it, a database cannot be stored in it.
    ClientOnly,
}

/// The server's name of an encoding.
pub fn encoding(given: &str) -> Result<&'static str, BadEncoding> {
    let wanted = plain(given);
    if wanted.is_empty() {
        return Err(BadEncoding::Unknown);
    }
    if CLIENT_ONLY.contains(&wanted.as_str()) {
        return Err(BadEncoding::ClientOnly);
    }
    let known = ENCODINGS.iter().find(|(name, others)| plain(name) == wanted || others.contains(&wanted.as_str()));
    known.map(|(name, _)| *name).ok_or(BadEncoding::Unknown)
}

/// The locale as the server is told.
pub fn locale(given: &str) -> Option<&'static str> {
    let wanted = plain(given);
    LOCALES.iter().find(|(name, _)| *name == wanted).map(|(_, told)| *told)
}

/// Whether a database in this locale can be stored in this encoding: plain C carries all, a locale with a code set its own.
pub fn fits(locale: &str, encoding: &str) -> bool {
    locale != "C.UTF-8" || encoding == "UTF8"
}

/// The encodings by name, for people.
pub fn encodings() -> String {
    ENCODINGS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The locales by name, for people.
pub fn locales() -> String {
    String::from("C, POSIX, C.UTF-8")
}

/// Names are compared without case and punctuation, as the server does; what cannot be part of a name makes it another one.
fn plain(text: &str) -> String {
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || "-_. ".contains(c)) {
        return String::new();
    }
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_known_by_all_their_names() {
        for (given, name) in [("UTF-8", "UTF8"), ("utf8", "UTF8"), ("Unicode", "UTF8"), ("euc-kr", "EUC_KR"), ("ISO 8859-1", "LATIN1")] {
            assert_eq!(encoding(given), Ok(name), "{given}");
        }
        assert_eq!(encoding("UHC"), Err(BadEncoding::ClientOnly));
        assert_eq!(encoding("Shift_JIS_2004"), Err(BadEncoding::ClientOnly));
        for bad in ["", "utf9", "UTF8'; DROP", "--"] {
            assert_eq!(encoding(bad), Err(BadEncoding::Unknown), "{bad}");
        }
    }

    #[test]
    fn a_locale_with_a_code_set_carries_only_that() {
        assert_eq!(locale("C.utf8"), Some("C.UTF-8"));
        assert_eq!(locale("xx_XX"), None);
        assert!(fits("C", "EUC_KR") && fits("C.UTF-8", "UTF8") && !fits("C.UTF-8", "LATIN1"));
    }
}
