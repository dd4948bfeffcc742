//! Parameters of MariaDB: read from `mariadbd --verbose --help`, and from a running server.

use moorage_domain::parameter::{Parameter, ParameterType};
use std::collections::BTreeMap;

/// What a running server says of its variables. Those of a session, and those that cannot be set when it starts, only report.
pub const APPLIED: &str = "SELECT LOWER(VARIABLE_NAME), GLOBAL_VALUE, DEFAULT_VALUE, VARIABLE_TYPE, VARIABLE_COMMENT, NUMERIC_MIN_VALUE, \
     NUMERIC_MAX_VALUE, ENUM_VALUE_LIST, READ_ONLY FROM information_schema.SYSTEM_VARIABLES \
     WHERE VARIABLE_SCOPE <> 'SESSION ONLY' AND COMMAND_LINE_ARGUMENT IS NOT NULL";

/// A row of [`APPLIED`].
pub type AppliedRow =
    (String, Option<String>, Option<String>, String, Option<String>, Option<String>, Option<String>, Option<String>, String);

/// Beginnings of names that are not shown: parts that are switched off, and where things are on the host.
const HIDDEN_PREFIXES: &[&str] = &[
    "debug",
    "des_key",
    "feedback",
    "gssapi",
    "innodb_buffer_pool_dump",
    "innodb_buffer_pool_filename",
    "innodb_buffer_pool_load",
    "innodb_data_",
    "innodb_ft_aux",
    "performance_schema",
    "replicate_",
    "report_",
    "rpl_",
    "slave_",
    "ssl",
    "tls_version",
    "version",
    "wsrep",
];

/// Ends of names that are not shown: files and directories of the host.
const HIDDEN_ENDS: &[&str] = &["_dir", "dir", "_file", "_path", "_directory", "basename", "_index"];

/// Names that are not shown, because the host says what they are.
const HIDDEN: &[&str] =
    &["hostname", "in_transaction", "license", "log_error", "server_uid", "socket", "system_time_zone", "thread_pool_dedicated_listener"];

/// Options of the program that are no variables.
const NOT_VARIABLES: &[&str] = &[
    "ansi",
    "binlog_row_event_max_size",
    "bootstrap",
    "character_set_client_handshake",
    "chroot",
    "console",
    "default_time_zone",
    "external_locking",
    "flashback",
    "gdb",
    "getopt_prefix_matching",
    "help",
    "init_rpl_role",
    "innodb",
    "innodb_buffer_page",
    "innodb_buffer_page_lru",
    "innodb_buffer_pool_stats",
    "innodb_cmp",
    "innodb_cmp_per_index",
    "innodb_cmp_per_index_reset",
    "innodb_cmp_reset",
    "innodb_cmpmem",
    "innodb_cmpmem_reset",
    "innodb_ft_being_deleted",
    "innodb_ft_config",
    "innodb_ft_default_stopword",
    "innodb_ft_deleted",
    "innodb_ft_index_cache",
    "innodb_ft_index_table",
    "innodb_lock_waits",
    "innodb_locks",
    "innodb_metrics",
    "innodb_sys_columns",
    "innodb_sys_fields",
    "innodb_sys_foreign",
    "innodb_sys_foreign_cols",
    "innodb_sys_indexes",
    "innodb_sys_tables",
    "innodb_sys_tablespaces",
    "innodb_sys_tablestats",
    "innodb_sys_virtual",
    "innodb_tablespaces_encryption",
    "innodb_trx",
    "log_ddl_recovery",
    "log_isam",
    "log_short_format",
    "log_tc",
    "master_retry_count",
    "memlock",
    "old_style_user_limits",
    "partition",
    "port_open_timeout",
    "safe_user_create",
    "sequence",
    "show_slave_auth_info",
    "silent_startup",
    "skip_slave_start",
    "stack_trace",
    "symbolic_links",
    "sysdate_is_now",
    "table_cache",
    "tc_heuristic_recover",
    "temp_pool",
    "thread_pool_groups",
    "thread_pool_queues",
    "thread_pool_stats",
    "thread_pool_waits",
    "transaction_isolation",
    "transaction_read_only",
    "unix_socket",
    "user_variables",
    "verbose",
];

/// What Moorage sets and depends on: durability, connections, replication, who gets in.
const MANAGED: &[&str] = &[
    "bind_address",
    "extra_max_connections",
    "extra_port",
    "gtid_domain_id",
    "innodb_checksum_algorithm",
    "innodb_doublewrite",
    "innodb_flush_log_at_trx_commit",
    "innodb_flush_method",
    "innodb_force_recovery",
    "innodb_read_only",
    "local_infile",
    "log_bin",
    "log_slave_updates",
    "log_warnings",
    "max_connections",
    "old_passwords",
    "performance_schema",
    "port",
    "protocol_version",
    "proxy_protocol_networks",
    "read_only",
    "require_secure_transport",
    "secure_auth",
    "secure_file_priv",
    "server_id",
    "skip_name_resolve",
    "skip_networking",
    "skip_show_database",
    "sync_binlog",
    "time_zone",
];

fn shown(name: &str) -> bool {
    !HIDDEN_PREFIXES.iter().any(|beginning| name.starts_with(beginning))
        && !HIDDEN_ENDS.iter().any(|end| name.ends_with(end))
        && !HIDDEN.contains(&name)
}

fn data_type(word: &str) -> ParameterType {
    match word {
        "BOOLEAN" => ParameterType::Boolean,
        "DOUBLE" => ParameterType::Number,
        "ENUM" => ParameterType::Enumeration,
        "SET" | "FLAGSET" => ParameterType::Set,
        word if word.contains("INT") => ParameterType::Integer,
        _ => ParameterType::Text,
    }
}

/// A variable as a running server reports it, if it is a user's business.
pub fn applied(row: AppliedRow) -> Option<Parameter> {
    let (name, applied_value, default_value, kind, description, least, greatest, list, read_only) = row;
    if !shown(&name) {
        return None;
    }
    let data_type = data_type(&kind);
    let allowed_values = match data_type {
        ParameterType::Integer | ParameterType::Number => least.zip(greatest).map(|(least, greatest)| format!("{least}-{greatest}")),
        ParameterType::Boolean => Some("OFF,ON".to_owned()),
        _ => list,
    };
    Some(Parameter {
        modifiable: !MANAGED.contains(&name.as_str()),
        name,
        data_type,
        unit: None,
        default_value,
        allowed_values,
        needs_restart: read_only == "YES",
        description: description.filter(|text| !text.is_empty()),
        applied_value,
        pending_restart: false,
    })
}

/// Reads the output of `mariadbd --verbose --help`: options with words about them, then a table of their values. Types, bounds and
/// whether a restart is needed are not in it; a running server knows them.
pub fn described(output: &str) -> Vec<Parameter> {
    let Some((options, table)) = output.split_once("\nVariables (--variable-name=value)") else { return Vec::new() };
    let words = words_about(options);
    let values = table.lines().skip_while(|line| !line.starts_with("-----")).skip(1).take_while(|line| !line.trim().is_empty());
    let mut found: BTreeMap<String, Parameter> = BTreeMap::new();
    for line in values {
        let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let name = name.replace('-', "_").to_ascii_lowercase();
        if !shown(&name) || NOT_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let value = match value.trim() {
            "(No default value)" => None,
            value => Some(value.to_owned()),
        };
        let data_type = match value.as_deref() {
            Some("TRUE" | "FALSE") => ParameterType::Boolean,
            Some(value) if value.parse::<i128>().is_ok() => ParameterType::Integer,
            Some(value) if value.parse::<f64>().is_ok() => ParameterType::Number,
            _ => ParameterType::Text,
        };
        let value = value.map(|value| match (data_type, value.as_str()) {
            (ParameterType::Boolean, "TRUE") => "ON".to_owned(),
            (ParameterType::Boolean, _) => "OFF".to_owned(),
            _ => value,
        });
        let parameter = Parameter {
            modifiable: !MANAGED.contains(&name.as_str()),
            description: words.get(&name).cloned(),
            name: name.clone(),
            data_type,
            unit: None,
            default_value: value,
            allowed_values: None,
            needs_restart: false,
            applied_value: None,
            pending_restart: false,
        };
        found.insert(name, parameter);
    }
    found.into_values().collect()
}

/// The column in which the words about an option begin.
const WORDS_COLUMN: usize = 22;

fn words_about(options: &str) -> BTreeMap<String, String> {
    let mut words: BTreeMap<String, String> = BTreeMap::new();
    let mut about: Option<String> = None;
    for line in options.lines() {
        let option = line.trim_start();
        let option = option.split_once(", --").map_or(option, |(_, long)| long).trim_start_matches("--");
        let begins = line.starts_with("  -");
        if begins {
            let end = option.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(option.len());
            about = Some(option[..end].replace('-', "_").to_ascii_lowercase());
        } else if line.trim().is_empty() || !line.starts_with("   ") {
            about = None;
        }
        let Some(name) = &about else { continue };
        let text = line.get(WORDS_COLUMN..).unwrap_or_default();
        let separated = !begins || line.as_bytes().get(WORDS_COLUMN - 1) == Some(&b' ');
        if !text.trim().is_empty() && separated {
            let entry = words.entry(name.clone()).or_default();
            if !entry.is_empty() {
                entry.push(' ');
            }
            entry.push_str(text.trim());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "Usage: mariadbd [OPTIONS]\n\n  \
        -a, --ansi          Use ANSI SQL syntax instead of MySQL syntax.\n  \
        --back-log=#        The number of outstanding connection requests\n                      MariaDB can have.\n  \
        --datadir=name      Path to the database root directory\n  \
        --innodb-file-per-table \n                      Stores each table in a file of its own.\n                      (Defaults to on.)\n\n\
        Variables (--variable-name=value)\nand boolean options {FALSE|TRUE}      Value (after reading options)\n\
        ------------------------- -------------\n\
        ansi                      FALSE\nback-log                  80\ndatadir                   /var/lib/mysql/\n\
        innodb-file-per-table     TRUE\ninit-connect              (No default value)\n\nTo see more\n";

    #[test]
    fn what_the_program_says_of_itself_is_read_and_the_hosts_business_is_not_shown() {
        let found = described(HELP);
        assert_eq!(found.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["back_log", "init_connect", "innodb_file_per_table"]);
        assert_eq!(found[0].description.as_deref(), Some("The number of outstanding connection requests MariaDB can have."));
        assert_eq!((found[1].default_value.as_deref(), found[2].default_value.as_deref()), (None, Some("ON")));
        assert_eq!(found[2].description.as_deref(), Some("Stores each table in a file of its own. (Defaults to on.)"));
    }

    #[test]
    fn a_running_servers_row_says_what_may_be_set_and_how() {
        let text = |text: &str| Some(text.to_owned());
        let row = |name: &str, kind: &str, read_only: &str| {
            (
                name.to_owned(),
                text("151"),
                text("151"),
                kind.to_owned(),
                text("words"),
                text("10"),
                text("100000"),
                None,
                read_only.to_owned(),
            )
        };
        let found = applied(row("max_connections", "BIGINT UNSIGNED", "NO")).expect("shown");
        assert_eq!((found.data_type, found.modifiable, found.needs_restart), (ParameterType::Integer, false, false));
        assert_eq!(found.allowed_values.as_deref(), Some("10-100000"));
        assert!(applied(row("back_log", "BIGINT UNSIGNED", "YES")).expect("shown").needs_restart);
        assert!(applied(row("pid_file", "VARCHAR", "YES")).is_none());
    }
}
