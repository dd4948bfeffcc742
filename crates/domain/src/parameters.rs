//! What a family may check before it asks: names and characters that every engine agrees on.

/// Account names no user may have: they belong to the engines or to Moorage (decisions 1).
pub const RESERVED_ACCOUNTS: &[&str] = &[
    "root",
    "mysql",
    "mariadb",
    "mariadb.sys",
    "postgres",
    "moorage",
    "moorage_admin",
    "moorage_replication",
    "public",
    "none",
    "pg_database_owner",
];

/// Whether an account name is reserved, whatever its case.
pub fn is_reserved_account(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    RESERVED_ACCOUNTS.contains(&name.as_str()) || name.starts_with("pg_") || name.starts_with("moorage_")
}

/// Database names no user may have, per engine or because Moorage uses them.
pub const RESERVED_DATABASES: &[&str] =
    &["mysql", "sys", "information_schema", "performance_schema", "postgres", "template0", "template1", "test"];

/// Whether a database name is reserved, whatever its case.
pub fn is_reserved_database(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    RESERVED_DATABASES.contains(&name.as_str()) || name.starts_with("moorage_")
}

/// Whether the text is the name of a time zone in the tz database.
pub fn is_time_zone(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && jiff::tz::TimeZone::get(name).is_ok()
}
