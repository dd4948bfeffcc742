//! The register of every SQL statement, so that a test can prepare each on both databases.

/// Declares constant statements of one noun and their list.
macro_rules! statements {
    ($($name:ident = $text:expr;)*) => {
        $(const $name: &str = $text;)*
        pub(crate) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $text)),*];
    };
}
pub(crate) use statements;

/// Every statement with its name, for the test that prepares them on both databases.
pub fn all() -> Vec<(&'static str, &'static str)> {
    [
        crate::account::STATEMENTS,
        crate::action::STATEMENTS,
        crate::allocation::STATEMENTS,
        crate::api_id::STATEMENTS,
        crate::cluster::STATEMENTS,
        crate::credential::STATEMENTS,
        crate::database::STATEMENTS,
        crate::endpoint::STATEMENTS,
        crate::figures::STATEMENTS,
        crate::idempotency::STATEMENTS,
        crate::instance::STATEMENTS,
        crate::lease::STATEMENTS,
        crate::operation::STATEMENTS,
        crate::submission::STATEMENTS,
        crate::parameter::STATEMENTS,
        crate::plan::STATEMENTS,
        crate::project::STATEMENTS,
        crate::replication::STATEMENTS,
        crate::secret::STATEMENTS,
        crate::task::STATEMENTS,
    ]
    .concat()
}
