//! Identifiers on the wire are our own; a cursor is opaque to callers and holds how many rows were seen.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moorage_domain::Problem;

/// A cursor after so many rows.
pub(crate) fn cursor(offset: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("after:{offset}"))
}

/// How many rows a cursor has behind it.
pub(crate) fn offset(cursor: &str) -> Result<u64, Problem> {
    let wrong = || Problem::invalid("cursor", "The cursor is not one of ours.").hint("Take it from `next` of the page before.");
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong())?;
    let number = text.strip_prefix("after:").and_then(|number| number.parse::<u32>().ok());
    number.map(u64::from).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_our_cursors_are_read() {
        assert_eq!(offset(&cursor(40)), Ok(40));
        for bad in ["", "40", "x!", "YWZ0ZXI6LTE", "YWZ0ZXI6OTk5OTk5OTk5OTk5"] {
            assert!(offset(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC*") {
            let _ = offset(&text);
        }
    }
}
