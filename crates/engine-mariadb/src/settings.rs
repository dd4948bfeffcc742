//! The configuration file of one instance, sized from its server type. Pure text.

use crate::character_set;
use crate::programs;
use moorage_domain::layout::{InstanceSpec, Place, ReplicationSpec};
use std::fmt::Write as _;

/// Connections kept for administration and probes: users are held at their own number by the gateway.
const RESERVED_CONNECTIONS: u32 = 5;
/// Directory for temporary files inside the volume, so that they count as the tenant's own; not shown as a database.
pub const TEMPORARY_DIRECTORY: &str = "moorage_tmp";
/// The redo log a template is made with, and that small types keep: another size is made at the first start, which costs a
/// few flushes on a busy disk.
pub const TEMPLATE_LOG_FILE_MB: u64 = 48;

/// The account by which the instances of a cluster copy and follow each other.
pub const REPLICATION: &str = "moorage_replication";
/// The port of the address for replication.
pub const REPLICATION_PORT: u16 = 3306;
/// How long binary logs are kept: a standby that was away longer is made anew.
const KEEP_LOGS_SECONDS: u32 = 6 * 3600;
/// Nobody is acknowledged to because of time alone (a hundred years, in milliseconds).
const FOR_EVER: &str = "3153600000000";

const MIB: u64 = 1 << 20;
/// Types up to this memory are small: starting fast and staying lean counts for more than throughput.
const SMALL_MB: u64 = 2048;

/// Memory settings that follow from a server type.
#[derive(Debug, PartialEq, Eq)]
struct Sizes {
    buffer_pool_mb: u64,
    log_file_mb: u64,
    log_buffer_mb: u64,
    aria_page_cache_mb: u64,
    /// Read and write past the page cache: worth it where the buffer pool is large. On small types the page cache is a
    /// second, cheap level, and the server starts faster.
    direct: bool,
}

impl Sizes {
    fn of(memory_bytes: u64) -> Self {
        let memory_mb = memory_bytes / MIB;
        Self {
            buffer_pool_mb: (memory_mb / 2).max(16),
            log_file_mb: if memory_mb <= SMALL_MB { TEMPLATE_LOG_FILE_MB } else { (memory_mb / 16).min(2048) },
            // The server touches all of it at every start.
            log_buffer_mb: (memory_mb / 512).clamp(2, 16),
            aria_page_cache_mb: (memory_mb / 128).clamp(8, 128),
            direct: memory_mb > SMALL_MB,
        }
    }
}

/// The file the server reads instead of the system's.
pub fn main_file(spec: &InstanceSpec, place: &Place) -> String {
    let sizes = Sizes::of(spec.memory_bytes);
    let mut file = String::from("# Written by Moorage before every start; changes are lost.\n[mariadbd]\n");
    let mut set = |name: &str, value: &str| {
        let _ = writeln!(file, "{name} = {}", setting(value));
    };
    for (option, directory) in programs::directories(&spec.installation) {
        set(option, &directory);
    }
    set("datadir", &place.volume.to_string_lossy());
    set("tmpdir", &place.volume.join(TEMPORARY_DIRECTORY).to_string_lossy());
    set("ignore_db_dirs", TEMPORARY_DIRECTORY);
    set("pid_file", &place.run.join("mariadb.pid").to_string_lossy());
    set("server_id", &spec.number.max(1).to_string());

    // Users reach it over the Unix socket only; the gateway says with a PROXY header where a user comes from.
    set("socket", &place.run.join("mariadb.sock").to_string_lossy());
    set("skip_name_resolve", "ON");
    set("proxy_protocol_networks", "localhost");
    set("max_connections", &(spec.most_connections + RESERVED_CONNECTIONS).to_string());

    // Files of the host stay out of reach, even for an account that had the privilege: the server cannot write this
    // directory, and nothing in it is secret.
    set("secure_file_priv", &place.config.to_string_lossy());
    set("local_infile", "OFF");
    set("symbolic_links", "OFF");

    match &spec.replication {
        Some(replication) => replicate(&mut set, place, replication),
        None => {
            set("skip_networking", "ON");
            // There is no binary log: nobody reads it, it would fill the tenant's volume, and every commit would wait for a second
            // flush (a third of the commits per second, measured).
            set("skip_log_bin", "ON");
        }
    }
    // A commit that was acknowledged is on disk.
    set("innodb_flush_log_at_trx_commit", "1");
    set("innodb_doublewrite", "ON");
    set("innodb_checksum_algorithm", "full_crc32");
    set("innodb_flush_method", if sizes.direct { "O_DIRECT" } else { "fsync" });

    set("innodb_buffer_pool_size", &format!("{}M", sizes.buffer_pool_mb));
    set("innodb_log_file_size", &format!("{}M", sizes.log_file_mb));
    set("innodb_log_buffer_size", &format!("{}M", sizes.log_buffer_mb));
    set("aria_pagecache_buffer_size", &format!("{}M", sizes.aria_page_cache_mb));
    set("key_buffer_size", "1M");
    set("table_open_cache_instances", &spec.cpu.clamp(1, 8).to_string());
    set("performance_schema", "OFF");

    set("character_set_server", character_set::known(&spec.character_set).unwrap_or(character_set::DEFAULT));
    set("default_time_zone", &spec.timezone);
    file
}

/// Unapplied events at most, in bytes; a single transaction may be larger.
const RELAY_LOG_LIMIT: &str = "8388608";
/// What was applied is given up in files of this size.
const RELAY_LOG_PART: &str = "1048576";

/// What a cluster of two needs. It starts read-only and follows nobody by itself.
fn replicate(set: &mut impl FnMut(&str, &str), place: &Place, replication: &ReplicationSpec) {
    set("bind_address", &place.replication.to_string());
    set("port", &REPLICATION_PORT.to_string());
    set("read_only", "ON");
    set("skip_slave_start", "ON");
    set("log_bin", "binlog");
    set("log_bin_index", "binlog.index");
    set("relay_log", "relay");
    set("relay_log_index", "relay.index");
    set("binlog_format", "ROW");
    set("sync_binlog", "1");
    set("binlog_expire_logs_seconds", &KEEP_LOGS_SECONDS.to_string());
    set("max_binlog_size", "64M");
    set("log_slave_updates", "ON");
    set("gtid_strict_mode", "ON");
    set("slave_parallel_threads", "4");
    set("slave_parallel_mode", "optimistic");
    set("slave_net_timeout", "5");
    // What was received and not applied yet is bounded: a promotion has to apply it first. At the bound the receiver pauses, and with it
    // the acknowledgements: commits get as slow as they can be applied.
    set("relay_log_space_limit", RELAY_LOG_LIMIT);
    set("max_relay_log_size", RELAY_LOG_PART);
    // Who begins as a standby takes back what nobody has acknowledged; a primary keeps it (decisions 12).
    set("init_rpl_role", if replication.becomes_primary { "MASTER" } else { "SLAVE" });
    set("rpl_semi_sync_slave_enabled", "ON");
    set("rpl_semi_sync_master_wait_point", "AFTER_SYNC");
    set("rpl_semi_sync_master_timeout", FOR_EVER);
    set("rpl_semi_sync_master_wait_no_slave", "ON");
}

/// A value in an option file, quoted; a value cannot end its line.
fn setting(value: &str) -> String {
    let plain: String = value.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_server_type_within_bounds() {
        assert_eq!(
            Sizes::of(1 << 30),
            Sizes { buffer_pool_mb: 512, log_file_mb: 48, log_buffer_mb: 2, aria_page_cache_mb: 8, direct: false }
        );
        assert_eq!(
            Sizes::of(128 << 30),
            Sizes { buffer_pool_mb: 65536, log_file_mb: 2048, log_buffer_mb: 16, aria_page_cache_mb: 128, direct: true }
        );
        assert_eq!(Sizes::of(0).buffer_pool_mb, 16);
    }

    #[test]
    fn a_value_cannot_break_out_of_its_line() {
        assert_eq!(setting("a\"b\\c\nskip_grant_tables"), "\"a\\\"b\\\\cskip_grant_tables\"");
    }
}
