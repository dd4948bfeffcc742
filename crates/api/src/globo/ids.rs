//! Numbers and links: what is ours under identifiers has a number here, and is named by the address of its document.

use moorage_domain::engine::EngineName;
use serde_json::Value;

/// The kinds of documents, by the names in their addresses.
pub(crate) const KINDS: &[&str] = &[
    "database",
    "credential",
    "project",
    "plan",
    "environment",
    "engine",
    "engine_type",
    "team",
    "user",
    "task",
    "snapshot",
    "database_history",
];

/// The number of an engine, as a product and as its newest version.
pub(crate) fn engine_number(engine: EngineName) -> u64 {
    match engine {
        EngineName::MariaDb => 1,
        EngineName::PostgreSql => 2,
    }
}

/// The engine of that number.
pub(crate) fn engine(number: u64) -> Option<EngineName> {
    EngineName::ALL.into_iter().find(|engine| engine_number(*engine) == number)
}

/// The number in the last part of a path.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number > 0 && i64::try_from(*number).is_ok())
}

/// What a link names, or what is wrong with it in the original's words. The host of a link does not matter, only its path.
pub(crate) fn link(value: &Value, kind: &str) -> Result<u64, String> {
    let text = match value {
        Value::String(text) => text.trim(),
        other => return Err(format!("Incorrect type.  Expected url string, received {}.", type_name(other))),
    };
    let path = match text.split_once("://") {
        Some(("http" | "https", rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        Some(_) => "",
        None => text,
    };
    let parts: Vec<&str> = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api", named, id] if KINDS.contains(named) && number(id).is_some() => match (*named == kind, number(id)) {
            (true, Some(number)) => Ok(number),
            _ => Err("Invalid hyperlink - Incorrect URL match".to_owned()),
        },
        ["api"] => Err("Invalid hyperlink - Incorrect URL match".to_owned()),
        ["api", named] if KINDS.contains(named) => Err("Invalid hyperlink - Incorrect URL match".to_owned()),
        _ => Err("Invalid hyperlink - No URL match".to_owned()),
    }
}

/// What the original's language calls it.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn links_are_read_whatever_their_host_and_refused_in_the_originals_words() {
        for good in ["/api/plan/7/", "http://elsewhere:1/api/plan/7/", "https://h/api/plan/7", "/api/plan/7/?x=y"] {
            assert_eq!(link(&json!(good), "plan"), Ok(7), "{good}");
        }
        for (bad, words) in [
            (json!("/api/environment/7/"), "Invalid hyperlink - Incorrect URL match"),
            (json!("/api/plan/"), "Invalid hyperlink - Incorrect URL match"),
            (json!("/api/plan/x/"), "Invalid hyperlink - No URL match"),
            (json!("/api/plan/0/"), "Invalid hyperlink - No URL match"),
            (json!("small"), "Invalid hyperlink - No URL match"),
            (json!("ftp://h/api/plan/7/"), "Invalid hyperlink - No URL match"),
            (json!(""), "Invalid hyperlink - No URL match"),
            (json!(7), "Incorrect type.  Expected url string, received int."),
            (json!([]), "Incorrect type.  Expected url string, received list."),
            (json!(1.5), "Incorrect type.  Expected url string, received float."),
        ] {
            assert_eq!(link(&bad, "plan"), Err(words.to_owned()), "{bad}");
        }
    }
}
