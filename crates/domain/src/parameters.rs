//! What a family may check before it asks: names and characters that every engine agrees on.

/// Account names no user may have: they belong to the engines or to Moorage (decisions 1).
pub const RESERVED_ACCOUNTS: &[&str] = &[
    "root",
    "mysql",
    "mariadb",
    "mariadb.sys",
    "system user",
    "event_scheduler",
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

/// Files beside the zones of the tz database that no engine takes for a zone.
const NO_TIME_ZONES: &[&str] = &["factory", "localtime", "posixrules", "etc/unknown", "local"];

/// Whether the text is the name of a time zone in the tz database.
pub fn is_time_zone(name: &str) -> bool {
    let known = !name.is_empty() && name.len() <= 64 && jiff::tz::TimeZone::get(name).is_ok();
    known && !NO_TIME_ZONES.contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_zone_is_one_that_every_engine_knows() {
        for good in ["UTC", "Asia/Seoul", "asia/seoul", "Etc/GMT+1", "America/Argentina/Buenos_Aires"] {
            assert!(is_time_zone(good), "{good}");
        }
        for bad in ["", "Mars/Olympus", "Factory", "localtime", "posixrules", "Etc/Unknown", "+09:00", "KST9", "../UTC", "Asia/Seoul "] {
            assert!(!is_time_zone(bad), "{bad}");
        }
    }
}
