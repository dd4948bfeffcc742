//! The state of a cluster or instance as users see it.

use serde::{Deserialize, Serialize};

macro_rules! states {
    ($($(#[$doc:meta])* $variant:ident $text:literal),* $(,)?) => {
        /// The vocabulary of the Samsung Cloud Platform, which is complete enough for every family.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ServiceState { $($(#[$doc])* #[serde(rename = $text)] $variant),* }

        impl ServiceState {
            /// Every state there is.
            pub const ALL: &'static [ServiceState] = &[$(ServiceState::$variant),*];
            /// The state as it is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $(ServiceState::$variant => $text),* }
            }
            /// Reads a state.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(ServiceState::$variant),)* _ => None }
            }
        }
    };
}

states! {
    /// Serving.
    Running "RUNNING",
    /// Stopped because somebody asked for it.
    Stopped "STOPPED",
    /// Its host cannot say.
    Unknown "UNKNOWN",
    /// Should serve and does not, or an operation needs an operator.
    Error "ERROR",
    /// Its creation failed; nothing but the row is left.
    Failed "FAILED",
    /// Gone.
    Terminated "TERMINATED",
    /// Being made.
    Creating "CREATING",
    /// Being stopped.
    Stopping "STOPPING",
    /// Being started.
    Starting "STARTING",
    /// Being restarted.
    Restarting "RESTARTING",
    /// Being changed.
    Editing "EDITING",
    /// Being synchronised.
    Synchronizing "SYNCHRONIZING",
    /// Being upgraded.
    Upgrading "UPGRADING",
    /// Being removed.
    Terminating "TERMINATING",
    /// Being migrated.
    Migrating "MIGRATING",
}
