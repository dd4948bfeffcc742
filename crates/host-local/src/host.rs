//! [`LocalHost`]: the host trait, carried out on this machine.

use crate::addresses;
use crate::endpoints;
use crate::files;
use crate::gateway_watch;
use crate::identity::boot;
use crate::instance_jobs::InstanceJobs;
use crate::instances;
use crate::machine::{LocalHostOptions, Machine};
use crate::manifests;
use crate::networks;
use crate::problems::{Doing, blocking, until_done};
use crate::programs;
use crate::shim::protocol::{ShimDirectory, Want};
use crate::shims::Shims;
use crate::terms::Terms;
use crate::volumes::{self, Volumes};
use async_trait::async_trait;
use futures::stream::BoxStream;
use moorage_domain::decide::admission::Capacity;
use moorage_domain::endpoint_file::{EndpointStatus, GatewayAnswer, GatewayAsk};
use moorage_domain::engine::Installation;
use moorage_domain::instance::{ProcessState, VolumeRoom};
use moorage_domain::layout::{Place, Program, TemplateSpec};
use moorage_domain::{ClusterId, HostId, InstanceId, Problem, ProblemCode};
use moorage_host::{
    Abilities, Change, EndpointState, EndpointWish, Host, HostError, HostResult, Inventory, JobState, JobWish, ProcessWish, StopState,
    Traffic, VolumeState, VolumeWish,
};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddrV4;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

/// How long a stop is waited for within one call.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How long a shim may take to act on a wish.
const SHIM_PATIENCE: Duration = Duration::from_secs(2);
/// How often a shim's answer is looked for while one waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// This machine as a host.
pub struct LocalHost {
    machine: Arc<Machine>,
    terms: Arc<Terms>,
    volumes: Arc<Volumes>,
    shims: Arc<Shims>,
    changes: broadcast::Sender<Change>,
    jobs: InstanceJobs,
    locks: Mutex<HashMap<InstanceId, Arc<tokio::sync::Mutex<()>>>>,
    /// Held while files of the gateway are written.
    gateway_files: Arc<tokio::sync::Mutex<()>>,
    listener: AbortHandle,
    gateway_watch: AbortHandle,
    addresses: AbortHandle,
}

impl Drop for LocalHost {
    fn drop(&mut self) {
        self.listener.abort();
        self.gateway_watch.abort();
        self.addresses.abort();
    }
}

impl LocalHost {
    /// Looks at the machine, adopts what runs on it and from then on keeps the shims.
    pub async fn start(options: LocalHostOptions) -> HostResult<Arc<Self>> {
        let (machine, terms) = blocking(move || {
            let machine = Machine::find(options)?;
            let terms = Terms::open(machine.terms())?;
            volumes::jobs::clear(&machine)?;
            Ok((Arc::new(machine), Arc::new(terms)))
        })
        .await?;
        let (changes, _) = broadcast::channel(1024);
        let listener = listen(&machine, changes.clone())?;
        let shims = Shims::new(machine.options.program.clone(), changes.clone());
        let volumes = Volumes::new(Arc::clone(&machine), changes.clone());
        let gateway_watch = tokio::spawn(gateway_watch::watch(Arc::clone(&machine))).abort_handle();
        let gateway_files = Arc::default();
        let addresses = tokio::spawn(addresses::keep(Arc::clone(&machine), Arc::clone(&gateway_files))).abort_handle();
        let host = Arc::new(Self {
            machine,
            terms,
            volumes,
            shims,
            changes,
            jobs: InstanceJobs::default(),
            locks: Mutex::default(),
            gateway_files,
            listener,
            gateway_watch,
            addresses,
        });
        host.adopt().await?;
        Ok(host)
    }

    /// Every process that was wanted in this boot is looked after again; what was wanted before a reboot waits for
    /// `ensure_process`.
    async fn adopt(&self) -> HostResult<()> {
        let machine = Arc::clone(&self.machine);
        let kept = blocking(move || {
            let adopting = "adopt what runs";
            let mut kept = Vec::new();
            for instance in machine.instances_here()? {
                if instances::prepare_adoption(&machine, &instance).doing(adopting)? {
                    kept.push((machine.shim_of(&instance), Change::Instance(instance)));
                }
            }
            let gateway = machine.shim_of_gateway();
            match gateway.wanted().doing(adopting)? {
                Some(wanted) if wanted.boot == boot() && wanted.want == Want::Run => {
                    endpoints::write_gateway_wish(&machine)?;
                    kept.push((gateway, Change::Gateway));
                }
                _ => {}
            }
            Ok(kept)
        })
        .await?;
        for (directory, change) in kept {
            self.shims.watch(&directory, change);
        }
        Ok(())
    }

    async fn lock(&self, instance: &InstanceId) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(instance.clone()).or_default())
        };
        lock.lock_owned().await
    }

    async fn raise(&self, cluster: &ClusterId, term: u64) -> HostResult<()> {
        let (terms, cluster) = (Arc::clone(&self.terms), cluster.clone());
        blocking(move || terms.raise(&cluster, term)).await
    }

    async fn observe(&self, directory: &ShimDirectory) -> HostResult<ProcessState> {
        let directory = directory.clone();
        blocking(move || instances::observe(&directory).doing("look at a process")).await
    }

    /// Makes a shim act on the wish and waits until it has, or the time is over. Whether it has.
    async fn carry_out(&self, directory: &ShimDirectory, change: Change, sequence: u64, limit: Duration) -> HostResult<bool> {
        let until = Instant::now() + limit;
        if progress(directory, sequence).await? == Progress::AtRest {
            return Ok(true);
        }
        self.shims.ensure(directory, change.clone()).await?;
        let mut looks = 0_u32;
        loop {
            let done = progress(directory, sequence).await? != Progress::Going;
            if done || Instant::now() >= until {
                return Ok(done);
            }
            tokio::time::sleep(LOOK_EVERY).await;
            looks += 1;
            // A shim that was just leaving when the wish was written did not see it.
            if looks.is_multiple_of(20) {
                self.shims.ensure(directory, change.clone()).await?;
            }
        }
    }

    /// Forgets a cluster's term when nothing of the cluster is left.
    async fn retire_if_gone(&self, cluster: &ClusterId) -> HostResult<()> {
        let (machine, terms, cluster) = (Arc::clone(&self.machine), Arc::clone(&self.terms), cluster.clone());
        blocking(move || {
            if endpoints::list(&machine)?.contains(&cluster) {
                return Ok(());
            }
            for instance in machine.instances_here()? {
                let process = machine.shim_of(&instance).process().doing("look for other instances of a cluster")?;
                if process.is_some_and(|process| process.cluster.as_ref() == Some(&cluster)) {
                    return Ok(());
                }
            }
            networks::remove(&machine, &cluster).doing("remove a cluster's network")?;
            terms.retire(&cluster)
        })
        .await
    }
}

/// Reads the pipe into which shims say that something changed.
fn listen(machine: &Machine, changes: broadcast::Sender<Change>) -> HostResult<AbortHandle> {
    let pipe = machine.nudges();
    let opened = (|| {
        match rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        // Open for writing too: the pipe never ends.
        tokio::net::unix::pipe::OpenOptions::new().read_write(true).open_receiver(&pipe)
    })();
    let mut lines = BufReader::new(opened.doing("open the pipe for changes")?).lines();
    let task = tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if line == "gateway" {
                let _ = changes.send(Change::Gateway);
            } else if let Ok(instance) = InstanceId::parse(&line) {
                let _ = changes.send(Change::Instance(instance));
            }
        }
    });
    Ok(task.abort_handle())
}

/// How far a shim is with a wish.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// It has not acted upon it yet.
    Going,
    /// It has, and keeps the process.
    Kept,
    /// The process was to end and has ended: no shim is needed any more.
    AtRest,
}

async fn progress(directory: &ShimDirectory, sequence: u64) -> HostResult<Progress> {
    let directory = directory.clone();
    blocking(move || {
        let looking = "look at a shim's record";
        let status = directory.status().doing(looking)?.unwrap_or_default();
        let ending = directory.wanted().doing(looking)?.is_some_and(|wanted| wanted.want != Want::Run);
        Ok(match (status.sequence >= sequence, ending) {
            (true, true) if status.state == ProcessState::Stopped => Progress::AtRest,
            (true, false) => Progress::Kept,
            _ => Progress::Going,
        })
    })
    .await
}

fn not_yet_dead() -> HostError {
    let problem = Problem::new(ProblemCode::HostFailed, "A process of the instance cannot be killed at the moment.")
        .hint("The kernel holds it, usually waiting for a disk; this is tried again.");
    HostError { problem, passing: true, cause: None }
}

#[async_trait]
impl Host for LocalHost {
    fn id(&self) -> &HostId {
        &self.machine.options.host_id
    }
    fn abilities(&self) -> Abilities {
        self.machine.abilities()
    }
    fn administrator(&self) -> String {
        self.machine.administrator.clone()
    }
    fn uid_range(&self) -> Option<Range<u32>> {
        self.machine.uids.clone()
    }
    fn place(&self, instance: &InstanceId) -> Place {
        self.machine.place(instance)
    }
    async fn capacity(&self) -> HostResult<Capacity> {
        let machine = Arc::clone(&self.machine);
        blocking(move || machine.capacity().doing("measure the machine")).await
    }
    async fn volume_room(&self, instance: &InstanceId) -> HostResult<Option<VolumeRoom>> {
        let (machine, instance) = (Arc::clone(&self.machine), instance.clone());
        blocking(move || volumes::room(&machine, &instance)).await
    }
    async fn volume_used(&self, instance: &InstanceId) -> HostResult<Option<u64>> {
        let (machine, instance) = (Arc::clone(&self.machine), instance.clone());
        blocking(move || volumes::used(&machine, &instance)).await
    }
    async fn set_volume_reserve(&self, instance: &InstanceId, bytes: u64) -> HostResult<()> {
        let _one = self.lock(instance).await;
        let (machine, instance) = (Arc::clone(&self.machine), instance.clone());
        blocking(move || volumes::set_reserve(&machine, &instance, bytes)).await
    }
    async fn installations(&self) -> HostResult<Vec<Installation>> {
        (self.machine.options.installations)().await
    }
    async fn ensure_spares(&self, template: &TemplateSpec, count: usize) -> HostResult<usize> {
        self.volumes.ensure_spares(template, count).await
    }
    async fn ensure_only_templates(&self, keep: &[String]) -> HostResult<Vec<String>> {
        self.volumes.ensure_only_templates(keep).await
    }
    async fn ensure_volume(&self, wish: &VolumeWish) -> HostResult<VolumeState> {
        // A process follows as soon as the volume is there.
        let machine = Arc::clone(&self.machine);
        drop(tokio::task::spawn_blocking(move || machine.groups.expect_moves()));
        let _one = self.lock(&wish.instance).await;
        self.volumes.ensure(wish).await
    }

    async fn ensure_term(&self, cluster: &ClusterId, term: u64) -> HostResult<()> {
        self.raise(cluster, term).await
    }

    async fn ensure_process(&self, wish: &ProcessWish) -> HostResult<ProcessState> {
        self.raise(&wish.cluster, wish.term).await?;
        let directory = self.machine.shim_of(&wish.instance);
        let sequence = {
            let _one = self.lock(&wish.instance).await;
            self.jobs.end(&wish.instance).await;
            let (machine, terms, wish) = (Arc::clone(&self.machine), Arc::clone(&self.terms), wish.clone());
            // Asked again under the lock: a fence of a higher term may have passed meanwhile.
            blocking(move || {
                terms.raise(&wish.cluster, wish.term)?;
                instances::write_wish(&machine, &wish)
            })
            .await?
        };
        let state = self.observe(&directory).await?;
        if matches!(state, ProcessState::GaveUp { .. }) {
            return Ok(state);
        }
        self.carry_out(&directory, Change::Instance(wish.instance.clone()), sequence, SHIM_PATIENCE).await?;
        self.observe(&directory).await
    }

    async fn ensure_job(&self, wish: &JobWish) -> HostResult<JobState> {
        self.raise(&wish.cluster, wish.term).await?;
        let _one = self.lock(&wish.instance).await;
        let directory = self.machine.shim_of(&wish.instance);
        if matches!(self.observe(&directory).await?, ProcessState::Running { .. }) {
            return Err(Problem::new(ProblemCode::HostFailed, "Its engine runs: nothing else may work on its volume.").into());
        }
        // A shim that has yet to record the end would take what works in the volume for what is left of the engine.
        if let Some(wanted) = directory.wanted().doing("look at a shim's wish")?.filter(|wanted| wanted.want != Want::Run) {
            let change = Change::Instance(wish.instance.clone());
            if !self.carry_out(&directory, change, wanted.sequence, SHIM_PATIENCE).await? {
                return Err(Problem::new(ProblemCode::HostFailed, "The end of its engine is not recorded yet.").into());
            }
        }
        self.jobs.ensure(&self.machine, wish, self.changes.clone()).await
    }

    async fn process(&self, instance: &InstanceId) -> HostResult<ProcessState> {
        self.observe(&self.machine.shim_of(instance)).await
    }

    async fn ensure_stopped(&self, instance: &InstanceId, cluster: &ClusterId, term: u64) -> HostResult<StopState> {
        until_done(async {
            self.raise(cluster, term).await?;
            let directory = self.machine.shim_of(instance);
            let sequence = {
                let _one = self.lock(instance).await;
                let here = directory.clone();
                blocking(move || instances::want_ended(&here, Want::Stop, Some(term))).await?
            };
            let Some(sequence) = sequence else { return Ok(StopState::Stopped) };
            self.carry_out(&directory, Change::Instance(instance.clone()), sequence, STOP_PATIENCE).await?;
            Ok(if self.observe(&directory).await? == ProcessState::Stopped { StopState::Stopped } else { StopState::Stopping })
        })
        .await
    }

    async fn fence(&self, instance: &InstanceId, cluster: &ClusterId, term: u64) -> HostResult<()> {
        until_done(async {
            self.raise(cluster, term).await?;
            let directory = self.machine.shim_of(instance);
            let ended = {
                let _one = self.lock(instance).await;
                let here = directory.clone();
                blocking(move || {
                    if instances::want_ended(&here, Want::Fenced, Some(term))?.is_none() {
                        return Ok(false);
                    }
                    // Without waiting for the shim, which may be dead. Nobody can enter the group any more.
                    let empty = here.group().and_then(|group| group.end(Duration::from_secs(10))).doing("fence an instance")?;
                    if empty { Ok(true) } else { Err(not_yet_dead()) }
                })
                .await?
            };
            if ended {
                self.shims.record_meanwhile(directory, Change::Instance(instance.clone()));
            }
            Ok(())
        })
        .await
    }

    async fn kill_hung(&self, instance: &InstanceId, reason: &str) -> HostResult<()> {
        until_done(async {
            let (machine, instance, reason) = (Arc::clone(&self.machine), instance.clone(), reason.to_owned());
            blocking(move || {
                // It may be silent because the directory of its socket is gone.
                instances::prepare_adoption(&machine, &instance).doing("make the directory of a socket again")?;
                instances::kill_hung(&machine.shim_of(&instance), &reason).doing("kill a hung engine")
            })
            .await
        })
        .await
    }

    async fn ensure_endpoint(&self, wish: &EndpointWish) -> HostResult<EndpointState> {
        until_done(async {
            self.raise(&wish.cluster, wish.term).await?;
            let (wish, foreign) = addresses::without_foreign(wish).await?;
            let (gateway, generation) = {
                let _one = self.gateway_files.lock().await;
                // Asked again under the lock: the file of a higher term may have been written meanwhile.
                self.raise(&wish.cluster, wish.term).await?;
                addresses::take_away(&self.machine, &wish.cluster, Some(&wish)).await?;
                let (machine, wished) = (Arc::clone(&self.machine), wish.clone());
                let written = blocking(move || {
                    let gateway = endpoints::write_gateway_wish(&machine)?;
                    Ok((gateway, endpoints::write_endpoint(&machine, &wished)?))
                })
                .await?;
                // After the file, which says where the addresses have to be taken away again.
                if !addresses::carry(&wish).await? {
                    return Ok(EndpointState::AddressInUse);
                }
                written
            };
            self.carry_out(&self.machine.shim_of_gateway(), Change::Gateway, gateway, SHIM_PATIENCE).await?;
            let state = endpoints::apply(&self.machine, &wish.cluster, generation).await?;
            Ok(foreign.filter(|_| state == EndpointState::Serving).unwrap_or(state))
        })
        .await
    }

    async fn endpoint_certificate(&self, cluster: &ClusterId) -> HostResult<Option<String>> {
        until_done(async {
            // Not while certificate and key are being replaced.
            let _one = self.gateway_files.lock().await;
            let (machine, cluster) = (Arc::clone(&self.machine), cluster.clone());
            blocking(move || endpoints::certificate(&machine, &cluster)).await
        })
        .await
    }

    async fn endpoint_public(&self, cluster: &ClusterId) -> HostResult<Option<SocketAddrV4>> {
        let (machine, cluster) = (Arc::clone(&self.machine), cluster.clone());
        blocking(move || endpoints::public(&machine, &cluster)).await
    }

    async fn endpoint_traffic(&self) -> HostResult<BTreeMap<ClusterId, Traffic>> {
        if !self.machine.gateway().is_dir() {
            return Ok(BTreeMap::new());
        }
        let answer = endpoints::ask(&self.machine, &GatewayAsk::Status).await?;
        let GatewayAnswer::Status { endpoints, .. } = answer else { return Ok(BTreeMap::new()) };
        let traffic = |status: EndpointStatus| {
            (status.cluster, Traffic { connections: status.connections, refused: status.refused, held: status.held })
        };
        Ok(endpoints.into_iter().map(traffic).collect())
    }

    async fn drain_endpoint(&self, cluster: &ClusterId) -> HostResult<u32> {
        endpoints::drain(&self.machine, cluster).await
    }

    async fn ensure_gateway(&self) -> HostResult<()> {
        until_done(async {
            let sequence = {
                let _one = self.gateway_files.lock().await;
                let machine = Arc::clone(&self.machine);
                blocking(move || endpoints::write_gateway_wish(&machine)).await?
            };
            self.carry_out(&self.machine.shim_of_gateway(), Change::Gateway, sequence, SHIM_PATIENCE).await?;
            endpoints::ask(&self.machine, &GatewayAsk::Status).await.map(drop)
        })
        .await
    }

    async fn ensure_instance_absent(&self, instance: &InstanceId) -> HostResult<()> {
        until_done(async {
            self.volumes.forget(instance);
            self.jobs.end(instance).await;
            let directory = self.machine.shim_of(instance);
            let cluster = {
                let _one = self.lock(instance).await;
                let (machine, here, own) = (Arc::clone(&self.machine), directory.clone(), instance.clone());
                let cluster = blocking(move || {
                    let cluster = here.process().doing("remove an instance")?.and_then(|process| process.cluster);
                    instances::want_ended(&here, Want::Fenced, None)?;
                    Ok(cluster)
                })
                .await?;
                self.shims.forget(&directory);
                directory.kick();
                blocking(move || instances::remove(&machine, &own)).await?;
                let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
                // Only where nobody else waits for it: the map and this call hold one each.
                if locks.get(instance).is_some_and(|lock| Arc::strong_count(lock) <= 2) {
                    locks.remove(instance);
                }
                cluster
            };
            match cluster {
                Some(cluster) => self.retire_if_gone(&cluster).await,
                None => Ok(()),
            }
        })
        .await
    }

    async fn ensure_endpoint_absent(&self, cluster: &ClusterId) -> HostResult<()> {
        until_done(async {
            {
                let _one = self.gateway_files.lock().await;
                // The file goes last: it is what says where the address is.
                addresses::take_away(&self.machine, cluster, None).await?;
                let (machine, gone) = (Arc::clone(&self.machine), cluster.clone());
                blocking(move || endpoints::remove_endpoint(&machine, &gone)).await?;
            }
            // Also when there was no file: an earlier call may have ended before the gateway was told.
            if self.machine.gateway().is_dir() {
                endpoints::close(&self.machine, cluster).await?;
            }
            self.retire_if_gone(cluster).await
        })
        .await
    }

    async fn inventory(&self) -> HostResult<Inventory> {
        let (machine, terms) = (Arc::clone(&self.machine), self.terms.all());
        blocking(move || {
            let mut inventory = Inventory { endpoints: endpoints::list(&machine)?, terms, ..Inventory::default() };
            let mut found = machine.instances_here()?;
            let running = files::names(&machine.run).doing("list the socket directories")?;
            found.extend(volumes::opened(&machine)?);
            found.extend(machine.groups.named("").iter().chain(&running).filter_map(|name| InstanceId::parse(name).ok()));
            for instance in found {
                let state = instances::observe(&machine.shim_of(&instance)).doing("look at a process")?;
                inventory.instances.insert(instance, state);
            }
            Ok(inventory)
        })
        .await
    }

    async fn output_of(&self, program: &Program) -> HostResult<String> {
        programs::output_of(program, self.machine.job_account).await
    }

    async fn ensure_manifest(&self, of: Option<&InstanceId>, text: &str) -> HostResult<()> {
        let (machine, of, text) = (self.machine.clone(), of.cloned(), text.to_owned());
        blocking(move || manifests::keep(&machine, of.as_ref(), &text)).await
    }

    async fn manifests(&self) -> HostResult<Vec<(Option<InstanceId>, String)>> {
        let machine = self.machine.clone();
        blocking(move || manifests::all(&machine)).await
    }

    async fn log_tail(&self, instance: &InstanceId, most_bytes: u64) -> HostResult<String> {
        let machine = self.machine.clone();
        let instance = instance.clone();
        blocking(move || {
            let reading = "read an engine's log";
            match log_of(&machine, &instance).doing(reading)? {
                Some(log) => files::tail(&log, 0, most_bytes).doing(reading),
                None => Ok(String::new()),
            }
        })
        .await
    }

    async fn ensure_log_bounded(&self, instance: &InstanceId, most_bytes: u64) -> HostResult<bool> {
        let machine = self.machine.clone();
        let instance = instance.clone();
        blocking(move || {
            let shortening = "shorten an engine's log";
            match log_of(&machine, &instance).doing(shortening)? {
                Some(log) => files::shorten(&log, most_bytes, most_bytes / 8).doing(shortening),
                None => Ok(false),
            }
        })
        .await
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        let receiver = self.changes.subscribe();
        Box::pin(futures::stream::unfold(receiver, |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(change) => return Some((change, receiver)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        }))
    }
}

/// The file an instance's engine logs to, once it has been described; never one outside its directory for logs.
fn log_of(machine: &Machine, instance: &InstanceId) -> std::io::Result<Option<PathBuf>> {
    let named = machine.shim_of(instance).process()?.and_then(|process| process.log);
    Ok(named.filter(|log| log.parent() == Some(&machine.place(instance).logs)))
}
