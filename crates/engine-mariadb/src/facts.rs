//! What can be said of a version without starting it.

use crate::character_set;
use moorage_domain::engine::Version;
use moorage_engine::Fact;

/// The facts families list as properties of an engine version.
pub fn facts(version: &Version) -> Vec<Fact> {
    let fact = |name: &'static str, value: String| Fact { name, value };
    vec![
        fact("version", version.to_string()),
        fact("wire_protocol", String::from("10")),
        fact("default_port", crate::DEFAULT_PORT.to_string()),
        fact("default_character_set", String::from(character_set::DEFAULT)),
        fact("character_sets", character_set::all()),
        fact("authentication", String::from("mysql_native_password")),
        fact("storage_engine", String::from("InnoDB")),
    ]
}
