//! Text that must not show up in a log, and the verifier of a password, which is all that is kept of it.

use serde::{Deserialize, Serialize};

/// What an engine needs to check a password, in the engine's own form (PostgreSQL: `SCRAM-SHA-256$...`; MariaDB:
/// `*` and 40 hexadecimal digits). Not the password, yet worth hiding: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verifier(pub String);

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(hidden)")
    }
}
