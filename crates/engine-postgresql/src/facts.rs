//! What can be said of a version without starting it.

use crate::encoding;
use moorage_domain::engine::Version;
use moorage_engine::Fact;

/// The facts families list as properties of an engine version.
pub fn facts(version: &Version) -> Vec<Fact> {
    let fact = |name: &'static str, value: String| Fact { name, value };
    vec![
        fact("version", version.to_string()),
        fact("wire_protocol", String::from("3.0")),
        fact("default_port", crate::DEFAULT_PORT.to_string()),
        fact("default_encoding", String::from(encoding::DEFAULT_ENCODING)),
        fact("encodings", encoding::encodings()),
        fact("default_locale", String::from(encoding::DEFAULT_LOCALE)),
        fact("locales", encoding::locales()),
        fact("password_encryption", String::from("scram-sha-256")),
        fact("data_checksums", String::from("on")),
    ]
}
