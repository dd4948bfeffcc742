//! What a cluster of two is struck with.

use crate::clients::Writers;
use crate::support::{Cluster, Installation, kill, processes_in, rand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A blow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Blow {
    PrimaryKilled,
    PrimaryFrozen,
    PrimaryFrozenForTwoSeconds,
    PrimaryFrozenUnderAChange,
    PrimaryKilledInALongCommit,
    StandbyKilled,
    StandbyFrozen,
    BothKilled,
    GatewayKilled,
    ServerKilledDuringAFailover,
    NetworkCut,
    Switchover,
    RollingRestart,
}

impl Blow {
    pub const ALL: [Self; 13] = [
        Self::PrimaryKilled,
        Self::StandbyKilled,
        Self::Switchover,
        Self::PrimaryFrozen,
        Self::PrimaryFrozenForTwoSeconds,
        Self::GatewayKilled,
        Self::BothKilled,
        Self::NetworkCut,
        Self::PrimaryFrozenUnderAChange,
        Self::StandbyFrozen,
        Self::ServerKilledDuringAFailover,
        Self::PrimaryKilledInALongCommit,
        Self::RollingRestart,
    ];

    /// Whether another instance is the primary afterwards.
    pub fn moves(self) -> bool {
        match self {
            Self::PrimaryKilled
            | Self::PrimaryFrozen
            | Self::PrimaryFrozenUnderAChange
            | Self::PrimaryKilledInALongCommit
            | Self::ServerKilledDuringAFailover
            | Self::Switchover
            | Self::RollingRestart => true,
            Self::PrimaryFrozenForTwoSeconds
            | Self::StandbyKilled
            | Self::StandbyFrozen
            | Self::BothKilled
            | Self::GatewayKilled
            | Self::NetworkCut => false,
        }
    }

    /// Whether clients must not notice it, but for connections that are closed between two transactions.
    pub fn is_planned(self) -> bool {
        matches!(self, Self::Switchover | Self::RollingRestart)
    }

    /// Whether it can be dealt here.
    pub fn is_possible(self, installation: &Installation, cluster: &Cluster) -> bool {
        let frozen = [Self::PrimaryFrozen, Self::PrimaryFrozenForTwoSeconds, Self::PrimaryFrozenUnderAChange, Self::StandbyFrozen];
        let has_network = || !network_of(cluster).is_empty();
        match self {
            Self::NetworkCut => has_network(),
            blow if frozen.contains(&blow) => freezer(&instance(&shown(installation, cluster), "ACTIVE")).is_some(),
            _ => true,
        }
    }

    /// Deals it.
    pub fn strike(self, installation: &mut Installation, cluster: &Cluster, writers: &Writers) {
        let before = shown(installation, cluster);
        let (primary, standby) = (instance(&before, "ACTIVE"), instance(&before, "STANDBY"));
        match self {
            Self::PrimaryKilled => kill(main_process(installation, &primary), 9),
            Self::StandbyKilled => kill(main_process(installation, &standby), 9),
            Self::BothKilled => {
                let both = [main_process(installation, &primary), main_process(installation, &standby)];
                both.into_iter().for_each(|pid| kill(pid, 9));
            }
            Self::PrimaryKilledInALongCommit => {
                let pid = main_process(installation, &primary);
                writers.at_a_long_commit(|| {
                    std::thread::sleep(Duration::from_millis(rand() % 30));
                    kill(pid, 9);
                });
            }
            Self::PrimaryFrozen => freeze(&primary, true),
            Self::StandbyFrozen => freeze(&standby, true),
            Self::PrimaryFrozenForTwoSeconds => {
                freeze(&primary, true);
                std::thread::sleep(Duration::from_secs(2));
                freeze(&primary, false);
            }
            Self::PrimaryFrozenUnderAChange => {
                freeze(&primary, true);
                let body = json!({"password": "An0ther-Pa55!"});
                let (status, accepted) =
                    installation.native("PUT", &format!("/moorage/v1/clusters/{}/owner-password", cluster.id), Some(body));
                assert_eq!(status, 202, "{accepted}");
                let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an id"));
                let code = ended["problem"]["code"].as_str().unwrap_or_default();
                assert_eq!((ended["status"].as_str(), code), (Some("failed"), "superseded"), "{ended}");
            }
            Self::GatewayKilled => kill(gateway(installation), 9),
            Self::ServerKilledDuringAFailover => {
                kill(main_process(installation, &primary), 9);
                std::thread::sleep(Duration::from_millis(rand() % 200));
                installation.kill_server();
                installation.serve();
            }
            Self::NetworkCut => {
                cut(cluster, true);
                std::thread::sleep(Duration::from_millis(1_000 + rand() % 6_000));
                cut(cluster, false);
            }
            Self::Switchover => planned(installation, cluster, "switchover"),
            Self::RollingRestart => planned(installation, cluster, "restart"),
        }
    }
}

fn planned(installation: &Installation, cluster: &Cluster, verb: &str) {
    let (status, accepted) = installation.native("POST", &format!("/moorage/v1/clusters/{}/{verb}", cluster.id), None);
    assert_eq!(status, 202, "{accepted}");
    let ended = installation.ended(accepted["operation"]["id"].as_str().expect("an id"));
    assert_eq!(ended["status"], "succeeded", "{verb}: {ended}");
}

pub fn shown(installation: &Installation, cluster: &Cluster) -> Value {
    installation.native("GET", &format!("/moorage/v1/clusters/{}", cluster.id), None).1
}

pub fn instance(shown: &Value, role: &str) -> String {
    let all = shown["instances"].as_array().expect("instances");
    let of_role: Vec<_> = all.iter().filter(|instance| instance["role"] == role).collect();
    assert_eq!((all.len(), of_role.len()), (2, 1), "{shown}");
    of_role[0]["id"].as_str().expect("an id").to_owned()
}

/// The process that a shim keeps in this directory. Its number says nothing about its age: numbers begin anew.
fn kept_in(installation: &Installation, directory: &Path) -> u32 {
    let is_kept = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default().trim();
        let line = std::fs::read(format!("/proc/{parent}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"shim")
    };
    installation.until(Duration::from_secs(10), "it has a process", |_| processes_in(directory).into_iter().find(is_kept))
}

/// Kills the engine of an instance.
pub fn kill_main_process(installation: &Installation, instance: &str) {
    kill(main_process(installation, instance), 9);
}

/// Kills the engine that works in a directory.
pub fn kill_main_process_in(installation: &Installation, directory: &Path) {
    kill(kept_in(installation, directory), 9);
}

/// The main process of an instance.
pub fn main_process(installation: &Installation, instance: &str) -> u32 {
    kept_in(installation, &installation.directory.join("instances").join(instance).join("volume"))
}

fn gateway(installation: &Installation) -> u32 {
    kept_in(installation, &installation.directory.join("gateway"))
}

fn find(arguments: &[&str]) -> Option<PathBuf> {
    let found = Command::new("find").args(arguments).output().expect("find runs");
    String::from_utf8_lossy(&found.stdout).lines().next().map(PathBuf::from)
}

fn freezer(instance: &str) -> Option<PathBuf> {
    find(&["/sys/fs/cgroup", "-path", &format!("*{instance}*"), "-name", "cgroup.freeze"])
}

pub fn freeze(instance: &str, frozen: bool) {
    std::fs::write(freezer(instance).expect("a switch"), if frozen { "1" } else { "0" }).expect("switched");
}

/// Where the network of a cluster's instances is held; nothing where they have none of their own.
pub fn network_of(cluster: &Cluster) -> String {
    find(&["/run/moorage", "-path", &format!("*/networks/{}", cluster.id)]).map(|path| path.display().to_string()).unwrap_or_default()
}

/// Takes the network on which the two meet away, or gives it back.
pub fn cut(cluster: &Cluster, away: bool) {
    let way = if away { "down" } else { "up" };
    let done = Command::new("nsenter").arg(format!("--net={}", network_of(cluster))).args(["ip", "link", "set", "lo", way]).status();
    assert!(done.expect("nsenter runs").success());
}

/// The socket over which an instance is asked directly.
pub fn socket(installation: &Installation, instance: &str) -> PathBuf {
    let directory = installation.directory.display().to_string();
    let wanted = format!("*{instance}*");
    let found =
        find(&["/run/moorage", &directory, "-type", "s", "-path", &wanted, "(", "-name", "mariadb.sock", "-o", "-name", ".s.PGSQL.*", ")"]);
    found.expect("it listens at a socket")
}
