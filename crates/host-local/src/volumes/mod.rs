//! Volumes: data directories of instances, taken from spares so that a create is as fast as the engine's own start.

pub(crate) mod drivers;
pub(crate) mod jobs;
pub(crate) mod kept;
mod templates;

use crate::files::{self, Durability};
use crate::machine::Machine;
use crate::mounts;
use crate::problems::{Doing, blocking, failed};
use moorage_domain::decide::reserve::portion;
use moorage_domain::instance::VolumeRoom;
use moorage_domain::layout::TemplateSpec;
use moorage_domain::{InstanceId, Problem};
use moorage_host::{Change, HostError, HostResult, VolumeState, VolumeWish};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

const VERSION: u32 = 1;
/// Who has not asked for this long does not wait any more.
const WAITS: Duration = Duration::from_secs(60);

/// Says that a volume is complete; written last.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct VolumeFile {
    version: u32,
    template: String,
    uid: Option<u32>,
    from_spare: bool,
    /// Its ceiling in GiB; a volume of before there were any has none.
    #[serde(default)]
    size_gb: Option<u32>,
}

/// An instance that waits for a volume.
struct Waiting {
    /// The attempt it waits for.
    attempt: u64,
    asked: Instant,
}

/// The making of volumes of one template.
#[derive(Default)]
struct Preparation {
    /// Number of the attempt that runs or ran last.
    attempt: u64,
    running: bool,
    /// What came of the attempt that ran last, when it failed.
    failure: Option<Failure>,
    waiting: HashMap<InstanceId, Waiting>,
}

#[derive(Clone)]
struct Failure {
    attempt: u64,
    problem: Problem,
    passing: bool,
}

/// Makes, hands out and removes volumes.
pub(crate) struct Volumes {
    machine: Arc<Machine>,
    changes: broadcast::Sender<Change>,
    preparations: Mutex<HashMap<String, Preparation>>,
    /// One preparation at a time per template.
    makers: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Volumes {
    pub fn new(machine: Arc<Machine>, changes: broadcast::Sender<Change>) -> Arc<Self> {
        Arc::new(Self { machine, changes, preparations: Mutex::default(), makers: Mutex::default() })
    }

    fn preparations(&self) -> MutexGuard<'_, HashMap<String, Preparation>> {
        self.preparations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn maker(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut makers = self.makers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(makers.entry(key.to_owned()).or_default())
    }

    /// Makes spares until `count` wait.
    pub async fn ensure_spares(&self, template: &TemplateSpec, count: usize) -> HostResult<usize> {
        templates::check_key(&template.key)?;
        loop {
            let waiting = templates::count(&self.machine, &template.key)?;
            if waiting >= count {
                return Ok(waiting);
            }
            let maker = self.maker(&template.key);
            let _one = maker.lock().await;
            if templates::count(&self.machine, &template.key)? < count {
                templates::add_spare(&self.machine, template).await?;
            }
        }
    }

    /// Removes the templates and spares under other keys that nobody needs right now; returns their keys.
    pub async fn ensure_only_templates(&self, keep: &[String]) -> HostResult<Vec<String>> {
        let machine = Arc::clone(&self.machine);
        let mut keys = blocking(move || templates::keys(&machine)).await?;
        keys.retain(|key| !keep.contains(key));
        let mut removed = Vec::new();
        for key in keys {
            // Whoever makes one holds this, and whoever wants to make one waits until it is removed as a whole.
            let Ok(one) = self.maker(&key).try_lock_owned() else { continue };
            if self.is_awaited(&key) {
                continue;
            }
            let (machine, going) = (Arc::clone(&self.machine), key.clone());
            // The lock goes along: the removal ends even when nobody waits for it any more.
            blocking(move || {
                let _one = one;
                templates::remove(&machine, &going).doing("remove a template that is not needed any more")
            })
            .await?;
            tracing::info!(template = key, "a template that is not needed any more was removed with its spares");
            removed.push(key);
        }
        Ok(removed)
    }

    /// Whether an instance waits for a volume of this template.
    fn is_awaited(&self, key: &str) -> bool {
        let preparations = self.preparations();
        preparations.get(key).is_some_and(|made| made.running || made.waiting.values().any(|waiting| waiting.asked.elapsed() < WAITS))
    }

    /// Makes sure an instance's volume is there. The caller sees to it that nobody else does the same for this instance.
    pub async fn ensure(self: &Arc<Self>, wish: &VolumeWish) -> HostResult<VolumeState> {
        templates::check_key(&wish.template.key)?;
        let (machine, wished) = (Arc::clone(&self.machine), wish.clone());
        let waited = self.preparations().get(&wish.template.key).is_some_and(|made| made.waiting.contains_key(&wish.instance));
        if let Some(from_spare) = blocking(move || take(&machine, &wished, waited)).await? {
            if let Some(preparation) = self.preparations().get_mut(&wish.template.key) {
                preparation.waiting.remove(&wish.instance);
            }
            return Ok(VolumeState::Ready { from_spare });
        }
        let mut preparations = self.preparations();
        let preparation = preparations.entry(wish.template.key.clone()).or_default();
        let waits_for = preparation.waiting.get(&wish.instance).map(|waiting| waiting.attempt);
        if let (Some(attempt), Some(failure)) = (waits_for, &preparation.failure)
            && failure.attempt >= attempt
        {
            let failure = failure.clone();
            preparation.waiting.remove(&wish.instance);
            return Err(HostError { problem: failure.problem, passing: failure.passing, cause: None });
        }
        if !preparation.running {
            (preparation.running, preparation.attempt) = (true, preparation.attempt + 1);
            let (own, template) = (Arc::clone(self), wish.template.clone());
            tokio::spawn(async move { own.prepare(template).await });
        }
        let attempt = waits_for.unwrap_or(preparation.attempt);
        preparation.waiting.insert(wish.instance.clone(), Waiting { attempt, asked: Instant::now() });
        Ok(VolumeState::Preparing)
    }

    /// Makes spares while instances wait for one.
    async fn prepare(self: Arc<Self>, template: TemplateSpec) {
        loop {
            let made = {
                let maker = self.maker(&template.key);
                let _one = maker.lock().await;
                // Another maker may have been faster.
                match templates::count(&self.machine, &template.key) {
                    Ok(0) => templates::add_spare(&self.machine, &template).await,
                    Ok(_) => Ok(()),
                    Err(error) => Err(error),
                }
            };
            if !self.after_attempt(&template.key, made.err()) {
                return;
            }
            // The spare is taken by whoever waits and asks next.
            let until = Instant::now() + Duration::from_secs(2);
            while Instant::now() < until && templates::count(&self.machine, &template.key).is_ok_and(|count| count > 0) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    /// Writes down what came of making one spare and tells those who wait; whether more are needed.
    fn after_attempt(&self, key: &str, failure: Option<HostError>) -> bool {
        let mut preparations = self.preparations();
        let Some(preparation) = preparations.get_mut(key) else { return false };
        preparation.waiting.retain(|_, waiting| waiting.asked.elapsed() < WAITS);
        if let Some(error) = &failure {
            let problem = &error.problem;
            tracing::warn!(template = key, %problem, detail = problem.detail, cause = ?error.cause, "a data directory could not be made");
        }
        let more = failure.is_none() && !preparation.waiting.is_empty();
        let attempt = preparation.attempt;
        preparation.failure = failure.map(|error| Failure { attempt, problem: error.problem, passing: error.passing });
        preparation.running = more;
        for instance in preparation.waiting.keys() {
            let _ = self.changes.send(Change::Instance(instance.clone()));
        }
        more
    }

    /// An instance does not wait any more.
    pub fn forget(&self, instance: &InstanceId) {
        for preparation in self.preparations().values_mut() {
            preparation.waiting.remove(instance);
        }
    }
}

/// Whether an instance's volume is complete.
pub(crate) fn is_ready(machine: &Machine, instance: &InstanceId) -> HostResult<bool> {
    let mark = machine.instance(instance).join("volume.json");
    let found: Option<VolumeFile> = files::read_json(&mark).doing("read a volume's mark")?;
    Ok(found.is_some() && machine.driver.has(&machine.place(instance).volume))
}

/// Makes sure that an engine can work in its volume: after a reboot, nothing is mounted.
pub(crate) fn open(machine: &Machine, instance: &InstanceId) -> HostResult<()> {
    let Some(size_gb) = size_of(machine, instance)? else { return Ok(()) };
    machine.driver.open(&machine.place(instance).volume, size_gb).doing("open a volume")?;
    // An engine that ended on a full volume does not start on it without help.
    match room(machine, instance)?.filter(|room| room.is_full(false)) {
        Some(room) => set_reserve(machine, instance, portion(room.reserve_used_bytes)),
        None => Ok(()),
    }
}

/// Lets the engine of a full volume use so many bytes of its reserve.
pub(crate) fn set_reserve(machine: &Machine, instance: &InstanceId, bytes: u64) -> HostResult<()> {
    let (true, Some(size_gb)) = (is_ready(machine, instance)?, size_of(machine, instance)?) else { return Ok(()) };
    machine.driver.set_reserve(&machine.place(instance).volume, size_gb, bytes).doing("change the reserve of a volume")
}

fn size_of(machine: &Machine, instance: &InstanceId) -> HostResult<Option<u32>> {
    let found: Option<VolumeFile> = files::read_json(&machine.instance(instance).join("volume.json")).doing("read a volume's mark")?;
    Ok(found.and_then(|found| found.size_gb))
}

/// The ceiling of an instance's volume and what is left of it, in bytes; none where it does not bind.
pub(crate) fn room(machine: &Machine, instance: &InstanceId) -> HostResult<Option<VolumeRoom>> {
    let (true, Some(size_gb)) = (is_ready(machine, instance)?, size_of(machine, instance)?) else { return Ok(None) };
    let found = machine.driver.room(&machine.place(instance).volume, size_gb).doing("measure a volume")?;
    let bytes = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
    Ok(found.map(|(size_bytes, left)| VolumeRoom { size_bytes, free_bytes: bytes(left), reserve_used_bytes: bytes(-left) }))
}

/// What an instance's volume takes on disk, in bytes; none where nothing is there.
pub(crate) fn used(machine: &Machine, instance: &InstanceId) -> HostResult<Option<u64>> {
    let volume = machine.place(instance).volume;
    if !is_ready(machine, instance)? {
        return Ok(None);
    }
    files::used(&volume).doing("measure a volume").map(Some)
}

/// Takes a spare for the instance and gives it to its account; none when no spare waits. `waited`: it was made for this
/// instance or its like, so nobody can say a spare had been waiting. A crash anywhere leaves something that the next call completes: the mark that says "ready" is written last.
fn take(machine: &Machine, wish: &VolumeWish, waited: bool) -> HostResult<Option<bool>> {
    let account = machine.account(wish.uid)?;
    let directory = machine.instance(&wish.instance);
    let (volume, mark) = (machine.place(&wish.instance).volume, directory.join("volume.json"));
    if let Some(found) = files::read_json::<VolumeFile>(&mark).doing("read a volume's mark")?
        && machine.driver.has(&volume)
    {
        if found.uid != wish.uid {
            return Err(failed("use a volume that belongs to another account", io::Error::other(format!("{found:?}"))));
        }
        machine.driver.open(&volume, found.size_gb.unwrap_or(wish.size_gb)).doing("open a volume")?;
        return Ok(Some(found.from_spare));
    }
    let spares = templates::spares_of(machine, &wish.template.key);
    if !machine.driver.has(&volume) {
        let waiting = files::names(&spares).doing("look for a spare data directory")?;
        if waiting.is_empty() {
            return Ok(None);
        }
        files::ensure_directory(&directory, 0o711, None).doing("make an instance's directory")?;
        let taken = waiting.iter().find_map(|name| match machine.driver.take(&spares.join(name), &volume, wish.size_gb) {
            Ok(()) => Some(Ok(())),
            // Somebody else took it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        });
        match taken {
            Some(taken) => taken.doing("take a spare data directory")?,
            None => return Ok(None),
        }
    }
    machine.driver.open(&volume, wish.size_gb).doing("open a volume")?;
    if let Some(account) = account {
        // Closed to its former account first; its own last.
        files::give(&volume, crate::files::Account { uid: 0, gid: 0 }).doing("give a volume to its account")?;
        files::give_contents(&volume, account).doing("give a volume to its account")?;
        files::ensure_directory(&volume, 0o700, Some(account)).doing("give a volume to its account")?;
    }
    let contents = VolumeFile {
        version: VERSION,
        template: wish.template.key.clone(),
        uid: wish.uid,
        from_spare: !waited,
        size_gb: Some(wish.size_gb),
    };
    machine.driver.sync(&volume).doing("write a volume to disk")?;
    files::replace_json(&mark, &contents, 0o600, Durability::Whole).doing("mark a volume as complete")?;
    make_durable(&mark, &[&directory, &machine.instances(), &spares]).doing("write a volume to disk")?;
    Ok(Some(!waited))
}

/// The spare's contents are on disk already; what is left are owners and names. File systems with one ordered journal write
/// all of them when any of them is synchronised; on others everything is written.
fn make_durable(mark: &Path, directories: &[&Path]) -> io::Result<()> {
    const EXT4: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    let kind = rustix::fs::statfs(mark)?.f_type as u64;
    if !matches!(kind, EXT4 | XFS) {
        files::sync_file_system(mark)?;
    }
    std::fs::File::open(mark)?.sync_all()?;
    directories.iter().try_for_each(|directory| match files::sync_directory(directory) {
        // Its other spares were removed meanwhile, and the directory with them.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    })
}

/// Removes a volume and its mark.
pub(crate) fn remove(machine: &Machine, instance: &InstanceId) -> io::Result<()> {
    files::remove(&machine.instance(instance).join("volume.json"))?;
    drivers::remove(&machine.place(instance).volume)
}

/// The instances whose volumes are mounted or stand behind a loop device, whatever became of their directories.
pub(crate) fn opened(machine: &Machine) -> HostResult<Vec<InstanceId>> {
    let instances = machine.instances();
    let mounted = mounts::below(&instances).doing("list the mounted volumes")?.into_iter().map(|mount| mount.at);
    let own = |path: PathBuf| {
        let name = path.strip_prefix(&instances).ok()?.components().next()?.as_os_str().to_str()?.to_owned();
        InstanceId::parse(&name).ok()
    };
    Ok(mounted.chain(mounts::loop_files()).filter_map(own).collect())
}
