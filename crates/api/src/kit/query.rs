//! Query strings: form-encoded pairs.

use percent_encoding::percent_decode;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The decoded pairs of a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads `k=v&k=v`; `+` is a space, percent-encoding is undone, bytes that are not UTF-8 are replaced.
    pub(crate) fn parse(raw: Option<&str>) -> Self {
        let pairs = raw
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(key), decode(value))
            })
            .collect();
        Self { pairs }
    }
    /// The pairs as fields of a form; of several of one name the last.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.pairs.into_iter().map(|(key, value)| (key, Value::String(value))).collect()
    }
    /// The last value given for a key; a blank one counts as none.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

fn decode(text: &str) -> String {
    let spaced: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pairs_are_decoded_and_blank_ones_count_as_absent() {
        let query = Query::parse(Some("sort=name%3Aasc&name=a+b&x=&name=c%20d&flag"));
        assert_eq!(query.get("sort"), Some("name:asc"));
        assert_eq!(query.get("name"), Some("c d"));
        assert_eq!((query.get("x"), query.get("flag"), query.get("y")), (None, None, None));
        assert_eq!(Query::parse(None), Query::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(raw in "\\PC*") {
            Query::parse(Some(&raw));
        }
        #[test]
        fn what_is_encoded_comes_back(value in "[^\\x00]{1,40}") {
            let raw = format!("k={}", percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC));
            let query = Query::parse(Some(&raw));
            prop_assert_eq!(query.get("k"), Some(value.as_str()));
        }
    }
}
