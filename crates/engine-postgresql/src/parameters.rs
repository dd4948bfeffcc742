//! Parameters of PostgreSQL: read from `postgres --describe-config`, and from a running server.

use moorage_domain::parameter::{Parameter, ParameterType};
use tokio_postgres::SimpleQueryRow;

/// What a running server says of its parameters. Those that stand in no file of settings only report, or belong to one transaction
/// (flags are there since 15).
pub const APPLIED: &str = "SELECT name, setting, unit, short_desc, context, vartype, min_val, max_val, \
    array_to_string(enumvals, ','), boot_val, pending_restart, category FROM pg_settings \
    WHERE NOT 'NOT_IN_SAMPLE' = ANY (pg_settings_get_flags(name))";

/// Categories that are not shown.
const HIDDEN_CATEGORIES: &[&str] = &["File Locations", "Developer Options", "Customized Options", "Preset Options"];

/// Names that are not shown: where things are on the host, and how its instances know each other.
const HIDDEN: &[&str] = &[
    "archive_cleanup_command",
    "archive_command",
    "archive_library",
    "cluster_name",
    "dynamic_library_path",
    "event_source",
    "krb_server_keyfile",
    "primary_conninfo",
    "recovery_end_command",
    "restore_command",
    "unix_socket_directories",
    "unix_socket_group",
    "unix_socket_permissions",
];

/// What Moorage sets and depends on: durability, connections, replication, the log.
const MANAGED: &[&str] = &[
    "allow_system_table_mods",
    "archive_mode",
    "dynamic_shared_memory_type",
    "fsync",
    "full_page_writes",
    "hot_standby",
    "jit",
    "jit_provider",
    "lc_messages",
    "listen_addresses",
    "log_destination",
    "log_directory",
    "log_file_mode",
    "log_filename",
    "log_line_prefix",
    "log_timezone",
    "logging_collector",
    "max_connections",
    "max_replication_slots",
    "max_wal_senders",
    "min_dynamic_shared_memory",
    "password_encryption",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "restart_after_crash",
    "shared_memory_type",
    "shared_preload_libraries",
    "superuser_reserved_connections",
    "synchronous_commit",
    "synchronous_standby_names",
    "timezone",
    "wal_level",
    "wal_log_hints",
];

fn shown(name: &str, category: &str) -> bool {
    let category = category.split(" / ").next().unwrap_or(category);
    let of_the_host = name.starts_with("ssl_") || name.starts_with("syslog_") || name.starts_with("recovery_target");
    !HIDDEN_CATEGORIES.contains(&category) && !HIDDEN.contains(&name) && !of_the_host
}

fn modifiable(name: &str, context: &str) -> bool {
    // TimeZone is spelled with capitals.
    context != "internal" && !MANAGED.contains(&name.to_ascii_lowercase().as_str())
}

fn data_type(word: &str) -> ParameterType {
    match word.to_ascii_lowercase().as_str() {
        "bool" | "boolean" => ParameterType::Boolean,
        "integer" => ParameterType::Integer,
        "real" => ParameterType::Number,
        "enum" => ParameterType::Enumeration,
        _ => ParameterType::Text,
    }
}

fn some(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn range(least: Option<&str>, greatest: Option<&str>) -> Option<String> {
    Some(format!("{}-{}", some(least)?, some(greatest)?))
}

/// By name; a few are spelled with capitals.
pub fn by_name(a: &Parameter, b: &Parameter) -> std::cmp::Ordering {
    a.name.to_ascii_lowercase().cmp(&b.name.to_ascii_lowercase())
}

/// A row of [`APPLIED`].
pub fn applied(row: &SimpleQueryRow) -> Option<Parameter> {
    let (name, context, category) = (row.get(0)?, row.get(4)?, row.get(11)?);
    if !shown(name, category) {
        return None;
    }
    let data_type = data_type(row.get(5)?);
    let allowed = match data_type {
        ParameterType::Boolean => Some("off,on".to_owned()),
        ParameterType::Enumeration => some(row.get(8)),
        _ => range(row.get(6), row.get(7)),
    };
    Some(Parameter {
        name: name.to_owned(),
        data_type,
        unit: some(row.get(2)),
        default_value: row.get(9).map(str::to_owned),
        allowed_values: allowed,
        needs_restart: context == "postmaster",
        modifiable: modifiable(name, context),
        description: some(row.get(3)),
        applied_value: row.get(1).map(str::to_owned),
        pending_restart: row.get(10) == Some("t"),
    })
}

/// Reads the output of `postgres --describe-config`: a line each, with tabs between name, context, group, type, default, least,
/// greatest, and two descriptions.
pub fn described(output: &str) -> Vec<Parameter> {
    let mut found: Vec<Parameter> = output.lines().filter_map(describe).collect();
    found.sort_by(by_name);
    found
}

fn describe(line: &str) -> Option<Parameter> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, context, group, kind, default, least, greatest, short, ..] = fields.as_slice() else { return None };
    if !shown(name, group) {
        return None;
    }
    let data_type = data_type(kind);
    let allowed = match data_type {
        ParameterType::Boolean => Some("off,on".to_owned()),
        ParameterType::Integer | ParameterType::Number => range(Some(least), Some(greatest)),
        _ => None,
    };
    let default = match (data_type, *default) {
        (ParameterType::Boolean, "FALSE") => "off",
        (ParameterType::Boolean, "TRUE") => "on",
        (_, value) => value,
    };
    Some(Parameter {
        name: (*name).to_owned(),
        data_type,
        unit: None,
        default_value: Some(default.to_owned()),
        allowed_values: allowed,
        needs_restart: *context == "postmaster",
        modifiable: modifiable(name, context),
        description: some(Some(short)),
        applied_value: None,
        pending_restart: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_says_of_itself_is_read_and_the_hosts_business_is_not_shown() {
        let output = "work_mem\tuser\tResource Usage / Memory\tINTEGER\t4096\t64\t2147483647\tSets the maximum memory.\tLong words.\n\
                      fsync\tsighup\tWrite-Ahead Log / Settings\tBOOLEAN\tTRUE\t\t\tForces synchronization.\t\n\
                      data_directory\tpostmaster\tFile Locations\tSTRING\t\t\t\tSets the directory.\t\n\
                      a line of something else\n";
        let found = described(output);
        assert_eq!(found.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["fsync", "work_mem"]);
        assert_eq!((found[0].default_value.as_deref(), found[0].modifiable), (Some("on"), false));
        assert_eq!((found[1].allowed_values.as_deref(), found[1].modifiable), (Some("64-2147483647"), true));
    }
}
