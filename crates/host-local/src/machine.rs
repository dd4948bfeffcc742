//! What this machine is and where things are on it: options, directories, accounts, abilities; all found once at the start.

use crate::cgroups::ControlGroups;
use crate::files::{self, Account, closed_ancestor, ensure_directory};
use crate::problems::Doing;
use crate::shim::leave_the_network;
use crate::shim::protocol::ShimDirectory;
use crate::volumes::drivers::Driver;
use crate::volumes::kept;
use futures::future::BoxFuture;
use moorage_domain::decide::admission::Capacity;
use moorage_domain::engine::Installation;
use moorage_domain::layout::Place;
use moorage_domain::{HostId, InstanceId, Problem, ProblemCode};
use moorage_host::{Abilities, HostError, HostResult};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Looks for engine versions, afresh at every call.
pub type FindInstallations = Arc<dyn Fn() -> BoxFuture<'static, HostResult<Vec<Installation>>> + Send + Sync>;

/// The account that makes templates and spares: unprivileged, and with an entry in the account database, without which
/// some engines refuse to initialise a directory.
const NOBODY: Account = Account { uid: 65_534, gid: 65_534 };

/// How a machine is to be used as a host.
#[derive(Clone)]
pub struct LocalHostOptions {
    /// Which host it is.
    pub host_id: HostId,
    /// Eight hexadecimal digits that tell this installation's groups and sockets from another's on the same machine.
    pub installation_id_hex8: String,
    /// Where everything durable is.
    pub data_dir: PathBuf,
    /// How to run this binary; its hidden subcommands are appended.
    pub program: Vec<String>,
    /// Uids for clusters; used only when started by root. The last one is the gateway's.
    pub uid_range: Option<Range<u32>>,
    /// How volumes are kept: `directory`, `reflink`, `btrfs`, `image`; none: as so far, else the best that works.
    pub volume_driver: Option<String>,
    /// Where instances with their volumes are; none: as so far, else in the data directory.
    pub storage_path: Option<PathBuf>,
    /// Where sockets are; none: `/run/moorage/<8 hex>` for root, else the user's run directory or one in `/tmp`.
    pub run_dir: Option<PathBuf>,
    /// Finds engine versions.
    pub installations: FindInstallations,
    /// When a gateway counts as hung.
    pub gateway_patience: GatewayPatience,
}

/// When a gateway that runs and does not answer is killed, so that another one takes its place.
#[derive(Clone, Copy, Debug)]
pub struct GatewayPatience {
    /// How often it is asked.
    pub ask_every: Duration,
    /// How long an answer may take.
    pub answer: Duration,
    /// So many silences in a row are too many.
    pub silences: u32,
}

impl Default for GatewayPatience {
    fn default() -> Self {
        Self { ask_every: Duration::from_secs(5), answer: Duration::from_secs(5), silences: 3 }
    }
}

impl LocalHostOptions {
    /// Sensible defaults: this executable, uids 700000 to 759999, the best volume driver, no engine versions.
    pub fn new(host_id: HostId, installation_id_hex8: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        let own = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_else(|_| String::from("moorage"));
        Self {
            host_id,
            installation_id_hex8: installation_id_hex8.into(),
            data_dir: data_dir.into(),
            program: vec![own],
            uid_range: Some(700_000..760_000),
            volume_driver: None,
            storage_path: None,
            run_dir: None,
            installations: Arc::new(|| Box::pin(async { Ok(Vec::new()) })),
            gateway_patience: GatewayPatience::default(),
        }
    }
}

/// The machine as found at the start.
pub(crate) struct Machine {
    pub options: LocalHostOptions,
    pub data: PathBuf,
    /// Where instances, templates and spares are.
    pub storage: PathBuf,
    pub run: PathBuf,
    pub groups: ControlGroups,
    pub driver: Box<dyn Driver>,
    pub administrator: String,
    /// Uids that clusters may be given.
    pub uids: Option<Range<u32>>,
    /// Runs the gateway.
    pub gateway_account: Option<Account>,
    /// Makes templates and spares.
    pub job_account: Option<Account>,
    pub networks: bool,
}

impl Machine {
    /// Looks at the machine and prepares the directories.
    pub fn find(options: LocalHostOptions) -> HostResult<Self> {
        let hex8 = &options.installation_id_hex8;
        if hex8.len() != 8 || !hex8.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Problem::new(ProblemCode::ConfigInvalid, "The installation id is not eight hexadecimal digits.").into());
        }
        let root = rustix::process::geteuid().is_root();
        let data = prepare_directory(&options.data_dir, root)?;
        let uids = options.uid_range.clone().filter(|range| root && range.len() > 1 && can_give(&data, range.start));
        if root && options.uid_range.is_some() && uids.is_none() {
            tracing::warn!("files cannot be given to the configured uids: tenants are not isolated on this host");
        }
        let (uids, gateway_account) = match uids {
            Some(range) => {
                let last = range.end - 1;
                (Some(range.start..last), Some(Account { uid: last, gid: last }))
            }
            None => (None, None),
        };
        let storage = match kept::path(options.storage_path.as_deref(), &data)? {
            path if path == data => path,
            path => prepare_directory(&path, root)?,
        };
        let driver = kept::find(options.volume_driver.as_deref(), &storage, &data)?;
        let run = prepare_run_directory(&options, &data, root)?;
        let groups = if root { ControlGroups::find(hex8) } else { ControlGroups::default() };
        let networks = root && std::thread::spawn(|| leave_the_network().is_ok()).join().unwrap_or(false);
        let job_account = (root && can_give(&data, NOBODY.uid)).then_some(NOBODY);
        Ok(Self {
            administrator: administrator(),
            data,
            storage,
            run,
            groups,
            driver,
            uids,
            gateway_account,
            job_account,
            networks,
            options,
        })
    }

    pub fn abilities(&self) -> Abilities {
        Abilities {
            tenants_isolated: self.uids.is_some(),
            network_isolated: self.networks,
            groups_tracked: self.groups.tracks(),
            limits_enforced: self.groups.limits(),
            volume_driver: self.driver.name().to_owned(),
            volume_size_enforced: self.driver.enforces_size(),
            atomic_snapshots: self.driver.takes_snapshots(),
        }
    }

    /// What there is of memory, and of the file system that volumes are on.
    pub fn capacity(&self) -> std::io::Result<Capacity> {
        let disk = rustix::fs::statvfs(&self.storage)?;
        Ok(Capacity {
            memory_bytes: memory(&std::fs::read_to_string("/proc/meminfo")?).unwrap_or(u64::MAX),
            disk_bytes: disk.f_blocks * disk.f_frsize,
            disk_free_bytes: disk.f_bavail * disk.f_frsize,
        })
    }

    /// Who an instance's files and processes belong to. Root's own account is never one of them.
    pub fn account(&self, uid: Option<u32>) -> HostResult<Option<Account>> {
        match (uid, &self.uids) {
            (Some(uid), Some(range)) if range.contains(&uid) => Ok(Some(Account { uid, gid: uid })),
            (None, None) => Ok(self.job_account),
            (Some(uid), Some(range)) => {
                Err(refused(format!("Uid {uid} is not one of this host's ({} to {}).", range.start, range.end - 1)))
            }
            (Some(_), None) => Err(refused(String::from("This host cannot give a cluster a uid of its own."))),
            (None, Some(_)) => Err(refused(String::from("Every cluster on this host needs a uid of its own."))),
        }
    }

    pub fn instances(&self) -> PathBuf {
        self.storage.join("instances")
    }
    pub fn instance(&self, id: &InstanceId) -> PathBuf {
        self.instances().join(id.as_str())
    }
    pub fn place(&self, id: &InstanceId) -> Place {
        let own = self.instance(id);
        Place {
            volume: own.join("volume"),
            config: own.join("config"),
            run: self.run.join(id.as_str()),
            logs: own.join("logs"),
            replication: replication_address(id),
        }
    }
    pub fn shim_of(&self, id: &InstanceId) -> ShimDirectory {
        ShimDirectory::new(self.instance(id).join("shim"))
    }
    pub fn gateway(&self) -> PathBuf {
        self.data.join("gateway")
    }
    pub fn shim_of_gateway(&self) -> ShimDirectory {
        ShimDirectory::new(self.gateway().join("shim"))
    }
    pub fn control_of_gateway(&self) -> PathBuf {
        self.run.join("gateway").join("control")
    }
    pub fn nudges(&self) -> PathBuf {
        self.data.join("nudges")
    }
    pub fn terms(&self) -> PathBuf {
        self.data.join("terms")
    }
    pub fn templates(&self) -> PathBuf {
        self.storage.join("templates")
    }
    pub fn spares(&self) -> PathBuf {
        self.storage.join("spares")
    }
    /// Half-made things; everything in it may be removed at the start.
    pub fn work(&self) -> PathBuf {
        self.storage.join("work")
    }
    /// The instances that have a directory here.
    pub fn instances_here(&self) -> HostResult<Vec<InstanceId>> {
        let names = files::names(&self.instances()).doing("list the instances")?;
        Ok(names.iter().filter_map(|name| InstanceId::parse(name).ok()).collect())
    }
}

/// An address in the upper half of 127.0.0.0/8, where no endpoint is. It only has to differ from its peer's where clusters have
/// networks of their own; where they have none, from all others on the machine.
fn replication_address(instance: &InstanceId) -> Ipv4Addr {
    let hash =
        instance.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let [.., a, b, c] = (hash ^ (hash >> 32)).to_be_bytes();
    Ipv4Addr::new(127, a | 0x80, b, c.clamp(1, 254))
}

fn refused(message: String) -> HostError {
    Problem::new(ProblemCode::HostFailed, message).into()
}

fn unusable(path: &Path, why: impl Into<String>, hint: &str) -> HostError {
    let message = format!("The directory {} cannot be used.", path.display());
    Problem::new(ProblemCode::DataDirectoryUnusable, message).detail(why).hint(hint).into()
}

fn prepare_directory(given: &Path, root: bool) -> HostResult<PathBuf> {
    let unwritable = |error: std::io::Error| {
        unusable(given, error.to_string(), "Choose a directory that this account can write to, on a file system with free space.")
    };
    std::fs::create_dir_all(given).map_err(unwritable)?;
    let data = std::fs::canonicalize(given).map_err(unwritable)?;
    // Engines run under uids of their own: they pass through, but cannot list.
    let found = std::fs::metadata(&data).map_err(unwritable)?;
    let mode = if root { 0o711 } else { 0o700 };
    if found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o777 != mode {
        ensure_directory(&data, mode, None).map_err(unwritable)?;
    }
    if root && let Some(closed) = closed_ancestor(&data) {
        let why = format!("Engines run under accounts of their own, and {} lets no other account pass.", closed.display());
        return Err(unusable(
            given,
            why,
            "Choose a directory below one that everybody may enter, such as /var/lib, or add the x permission.",
        ));
    }
    Ok(data)
}

/// Whether files can be given to a uid (inside a user namespace, many do not exist).
fn can_give(data: &Path, uid: u32) -> bool {
    let probe = data.join(format!(".uid-{}", std::process::id()));
    let given = std::fs::write(&probe, b"").and_then(|()| files::give(&probe, Account { uid, gid: uid })).is_ok();
    let _ = std::fs::remove_file(&probe);
    given
}

/// Where sockets are. The choice depends on the environment and is therefore remembered: whoever comes later, from another
/// session, has to look in the same place.
fn choose_run_directory(options: &LocalHostOptions, data: &Path, root: bool) -> PathBuf {
    let own = rustix::process::geteuid().as_raw();
    let hex8 = &options.installation_id_hex8;
    if let Some(given) = &options.run_dir {
        return given.clone();
    }
    if root {
        return PathBuf::from("/run/moorage").join(hex8);
    }
    let remembered = std::fs::read_to_string(data.join("run-directory")).unwrap_or_default();
    let remembered = PathBuf::from(remembered.trim());
    if remembered.is_absolute() && remembered.parent().is_some_and(Path::is_dir) {
        return remembered;
    }
    // Socket paths have 107 bytes; the names below take up to sixty of them.
    let users = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir() && dir.as_os_str().len() <= 30);
    users.map_or_else(|| PathBuf::from(format!("/tmp/moorage-{own}-{hex8}")), |dir| dir.join(format!("moorage-{hex8}")))
}

fn prepare_run_directory(options: &LocalHostOptions, data: &Path, root: bool) -> HostResult<PathBuf> {
    let own = rustix::process::geteuid().as_raw();
    let run = choose_run_directory(options, data, root);
    let mode = if root { 0o711 } else { 0o700 };
    let prepared = (|| {
        if let Some(parent) = run.parent()
            && !parent.is_dir()
        {
            std::fs::create_dir_all(parent)?;
            ensure_directory(parent, 0o755, None)?;
        }
        ensure_directory(&run, mode, None)?;
        // In a directory that everybody can write to, somebody else may have made it first.
        if std::fs::symlink_metadata(&run)?.uid() != own {
            return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, "it belongs to another account"));
        }
        let remembered = data.join("run-directory");
        let path = run.as_os_str().as_encoded_bytes();
        if std::fs::read(&remembered).is_ok_and(|found| found == path) {
            return Ok(());
        }
        files::replace(&remembered, path, 0o600, None, files::Durability::Whole)
    })();
    prepared.doing(&format!("prepare the socket directory {}", run.display()))?;
    Ok(run)
}

/// The machine's memory in bytes, from /proc/meminfo.
fn memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

/// Name of the account this process runs as.
fn administrator() -> String {
    let own = rustix::process::geteuid().as_raw();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let listed = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<u32>().ok()? == own).then(|| name.to_owned())
    });
    let asked = || {
        let output = std::process::Command::new("id").arg("-un").output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
    };
    listed.or_else(asked).unwrap_or_else(|| own.to_string())
}
