//! The configuration files of one instance, sized from its server type. Pure text.
//!
//! Everything is given in files of the host's own directory: the ones `initdb` leaves in the volume are not read.

use moorage_domain::layout::{InstanceSpec, Place, ReplicationSpec};
use std::fmt::Write as _;

/// The role that administers an instance; only the operating-system account of `serve` is let in as it.
pub const ADMINISTRATOR: &str = "moorage_admin";
/// The role by which the instances of a cluster copy and follow each other.
pub const REPLICATION: &str = "moorage_replication";
/// The port in the name of the Unix socket, and of the address for replication where there is one.
pub const SOCKET_PORT: u16 = 5432;
/// Connections kept for administration and probes when users have taken all of theirs.
const RESERVED_CONNECTIONS: u32 = 5;

const MIB: u64 = 1 << 20;

/// Memory and processor settings that follow from a server type.
#[derive(Debug, PartialEq, Eq)]
struct Sizes {
    shared_buffers_mb: u64,
    effective_cache_size_mb: u64,
    work_mem_kb: u64,
    maintenance_work_mem_mb: u64,
    max_wal_size_mb: u64,
    parallel_workers: u32,
}

impl Sizes {
    fn of(memory_bytes: u64, cpu: u32, most_connections: u32) -> Self {
        let memory_mb = memory_bytes / MIB;
        let connections = u64::from(most_connections.max(1));
        Self {
            shared_buffers_mb: (memory_mb / 4).clamp(16, 64 * 1024),
            effective_cache_size_mb: (memory_mb * 5 / 8).max(32),
            // A quarter of the memory shared by all connections at once; a query may use it more than once.
            work_mem_kb: (memory_mb * 1024 / 4 / connections).clamp(1024, 64 * 1024),
            maintenance_work_mem_mb: (memory_mb / 16).clamp(16, 1024),
            max_wal_size_mb: memory_mb.clamp(512, 8 * 1024),
            parallel_workers: cpu.saturating_sub(1).min(4),
        }
    }
}

/// `postgresql.conf`.
pub fn main_file(spec: &InstanceSpec, place: &Place) -> String {
    let sizes = Sizes::of(spec.memory_bytes, spec.cpu, spec.most_connections);
    let mut file = String::from("# Written by Moorage before every start; changes are lost.\n");
    let mut set = |name: &str, value: &str| {
        let _ = writeln!(file, "{name} = {}", setting(value));
    };
    set("data_directory", &place.volume.to_string_lossy());
    set("hba_file", &place.config.join("pg_hba.conf").to_string_lossy());
    set("ident_file", &place.config.join("pg_ident.conf").to_string_lossy());
    set("cluster_name", spec.instance.as_str());

    // Users reach it over the Unix socket only; the directory it is in says who may open it.
    set("listen_addresses", &spec.replication.as_ref().map(|_| place.replication.to_string()).unwrap_or_default());
    set("port", &SOCKET_PORT.to_string());
    set("unix_socket_directories", &place.run.to_string_lossy());
    set("unix_socket_permissions", "0777");
    set("max_connections", &(spec.most_connections + RESERVED_CONNECTIONS).to_string());
    set("superuser_reserved_connections", &RESERVED_CONNECTIONS.to_string());
    set("password_encryption", "scram-sha-256");

    // A commit that was acknowledged is on disk.
    set("fsync", "on");
    set("full_page_writes", "on");
    set("synchronous_commit", "on");
    set("wal_level", "replica");
    set("wal_log_hints", "on");
    if let Some(replication) = &spec.replication {
        replicate(&mut set, spec, replication);
    }

    set("shared_buffers", &format!("{}MB", sizes.shared_buffers_mb));
    set("effective_cache_size", &format!("{}MB", sizes.effective_cache_size_mb));
    set("work_mem", &format!("{}kB", sizes.work_mem_kb));
    set("maintenance_work_mem", &format!("{}MB", sizes.maintenance_work_mem_mb));
    set("max_wal_size", &format!("{}MB", sizes.max_wal_size_mb));
    set("min_wal_size", "80MB");
    set("max_parallel_workers", &sizes.parallel_workers.to_string());
    set("max_parallel_workers_per_gather", &sizes.parallel_workers.min(2).to_string());
    set("random_page_cost", "1.1");
    // Shared segments of parallel queries are files of the volume, not of the machine's shared memory: nothing is left
    // there when the whole group is killed. Most fit into what is set aside, which is not touched before it is used.
    set("dynamic_shared_memory_type", "mmap");
    set("min_dynamic_shared_memory", if sizes.parallel_workers > 0 { "32MB" } else { "0" });
    // The compiler library is larger than the server and not part of an unpacked version.
    set("jit", "off");
    set("jit_provider", "none");

    set("timezone", &spec.timezone);
    set("log_timezone", "UTC");
    for category in ["lc_messages", "lc_monetary", "lc_numeric", "lc_time"] {
        set(category, "C");
    }

    // Standard error is the log file.
    set("log_destination", "stderr");
    set("logging_collector", "off");
    set("log_line_prefix", "%m [%p] %q%u@%d ");
    set("log_checkpoints", "off");
    file
}

/// What a cluster of two needs. Either instance names the other: which of them follows is not a matter of settings.
fn replicate(set: &mut impl FnMut(&str, &str), spec: &InstanceSpec, replication: &ReplicationSpec) {
    let value = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let peer = format!(
        "host={} port={SOCKET_PORT} user={REPLICATION} password={} application_name={} sslmode=disable connect_timeout=2",
        replication.peer_place.replication,
        value(&replication.password.0),
        value(spec.instance.as_str()),
    );
    set("primary_conninfo", &peer);
    set("hot_standby", "on");
    // At the default of 5 s some promotions take that long (measured: docs, decisions 13).
    // A promotion sleeps for as long before it goes on (decision record 0019).
    set("wal_retrieve_retry_interval", "20ms");
    set("wal_receiver_status_interval", "1s");
    set("wal_receiver_timeout", "5s");
    set("wal_sender_timeout", "5s");
    // A standby that comes back finds what it missed.
    set("wal_keep_size", "256MB");
}

/// `pg_hba.conf`: the administrator by its operating-system account, everybody else by password, nobody on trust.
pub fn access_file(replicates: bool) -> String {
    let peers = if replicates {
        format!("local replication {REPLICATION} scram-sha-256\nhost replication {REPLICATION} 127.0.0.0/8 scram-sha-256\n")
    } else {
        String::new()
    };
    format!(
        "# Written by Moorage before every start; changes are lost.\n\
         local all {ADMINISTRATOR} peer map=moorage\n\
         {peers}local replication all reject\n\
         local all all scram-sha-256\n"
    )
}

/// `pg_ident.conf`: which operating-system account is the administrator.
pub fn identity_file(administrator: &str) -> String {
    let name = administrator.replace('"', "\"\"");
    format!("# Written by Moorage before every start; changes are lost.\nmoorage \"{name}\" {ADMINISTRATOR}\n")
}

/// A value in a configuration file, quoted; a value cannot end its line.
fn setting(value: &str) -> String {
    let plain: String = value.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", plain.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_server_type_within_bounds() {
        let small = Sizes::of(1 << 30, 1, 100);
        assert_eq!((small.shared_buffers_mb, small.work_mem_kb, small.parallel_workers), (256, 2621, 0));
        let large = Sizes::of(128 << 30, 16, 500);
        assert_eq!((large.shared_buffers_mb, large.maintenance_work_mem_mb, large.parallel_workers), (32 * 1024, 1024, 4));
        let none = Sizes::of(0, 0, 0);
        assert_eq!((none.shared_buffers_mb, none.work_mem_kb), (16, 1024));
    }

    #[test]
    fn a_value_cannot_break_out_of_its_line() {
        assert_eq!(setting("a'b\\c\nfsync = off"), "'a''b\\\\cfsync = off'");
    }

    #[test]
    fn nobody_gets_in_on_trust() {
        assert!(!access_file(false).contains("trust") && !access_file(true).contains("trust"));
        assert!(!access_file(false).contains("host"));
        assert_eq!(identity_file("root").lines().last(), Some("moorage \"root\" moorage_admin"));
    }
}
