//! A machine in memory: what is on it stays when the control plane dies.

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use moorage_domain::database::AccountSpec;
use moorage_domain::decide::admission::Capacity;
use moorage_domain::decide::restart::{self, AfterDeath};
use moorage_domain::instance::{ProcessExit, ProcessState, VolumeRoom};
use moorage_domain::layout::ProcessLayout;
use moorage_domain::{ClusterId, InstanceId, Problem, ProblemCode, Timestamp};
use moorage_durable::Clock;
use moorage_host::{Change, EndpointWish, HostError};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A machine in memory. Clones are the same machine: give one to each control plane that lives on it.
#[derive(Clone)]
pub struct Machine {
    clock: Arc<dyn Clock>,
    parts: Arc<Mutex<Parts>>,
}

/// How an injected failure shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Said to be passing: trying again may help.
    Passing,
    /// Said to be for good.
    ForGood,
    /// The call does its work and then fails as passing: the answer was lost.
    AnswerLost,
}

pub(crate) struct Parts {
    pub(crate) capacity: Capacity,
    pub(crate) templates: BTreeSet<String>,
    pub(crate) spares: BTreeMap<String, usize>,
    pub(crate) volumes: BTreeMap<InstanceId, Volume>,
    pub(crate) processes: BTreeMap<InstanceId, Process>,
    pub(crate) endpoints: BTreeMap<ClusterId, EndpointWish>,
    pub(crate) terms: BTreeMap<ClusterId, u64>,
    /// Work begun on volumes: its name, and whether it was asked about since.
    pub(crate) jobs: BTreeMap<InstanceId, (String, bool)>,
    pub(crate) manifests: BTreeMap<Option<InstanceId>, String>,
    pub(crate) occupied: BTreeSet<Ipv4Addr>,
    pub(crate) gateway_down: bool,
    /// Sessions that are in a transaction and stay in it.
    pub(crate) sessions: BTreeMap<ClusterId, u32>,
    pub(crate) start_takes: Duration,
    pub(crate) stop_takes: Duration,
    silent: bool,
    cannot_start: Option<String>,
    calls: BTreeMap<&'static str, u32>,
    failures: BTreeMap<(&'static str, u32), Failure>,
    always: BTreeMap<&'static str, Failure>,
    listeners: Vec<UnboundedSender<Change>>,
    last_pid: u32,
}

impl Default for Parts {
    fn default() -> Self {
        // Room for whatever a test makes.
        let capacity = Capacity { memory_bytes: 1 << 50, disk_bytes: 1 << 50, disk_free_bytes: 1 << 50 };
        Self {
            capacity,
            templates: BTreeSet::new(),
            spares: BTreeMap::new(),
            volumes: BTreeMap::new(),
            processes: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            terms: BTreeMap::new(),
            jobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            occupied: BTreeSet::new(),
            gateway_down: false,
            sessions: BTreeMap::new(),
            start_takes: Duration::ZERO,
            stop_takes: Duration::ZERO,
            silent: false,
            cannot_start: None,
            calls: BTreeMap::new(),
            failures: BTreeMap::new(),
            always: BTreeMap::new(),
            listeners: Vec::new(),
            last_pid: 0,
        }
    }
}

/// A data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) preparing: bool,
    pub(crate) from_spare: bool,
    pub(crate) room: Option<VolumeRoom>,
    pub(crate) reserve_given: bool,
    /// Database name to owner and verifier.
    pub(crate) databases: BTreeMap<String, (String, String)>,
    /// Accounts beside owners of first databases, with their verifiers.
    pub(crate) accounts: BTreeMap<String, (AccountSpec, String)>,
    /// With peers: it was promoted in this life.
    pub(crate) writable: bool,
    /// With peers: whom it follows.
    pub(crate) follows: Option<InstanceId>,
    /// With peers: commits wait for a follower.
    pub(crate) requires: bool,
    /// Changes so far.
    pub(crate) written: u64,
}

/// A process under its shim.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) state: ProcessState,
    pub(crate) layout: ProcessLayout,
    pub(crate) restart: bool,
    pub(crate) incarnation: u32,
    pub(crate) stop_asked_at: Option<Timestamp>,
    pub(crate) deaths: u32,
}

impl Machine {
    /// An empty machine whose processes live by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, parts: Arc::default() }
    }

    /// Lets the `nth` call of a verb from now, counted from 1, fail. Verbs are the methods of the host and engine traits.
    pub fn fail_call(&self, verb: &'static str, nth: u32, failure: Failure) {
        let mut parts = self.lock();
        let so_far = parts.calls.get(verb).copied().unwrap_or(0);
        parts.failures.insert((verb, so_far + nth), failure);
    }
    /// Lets every call of a verb fail from now on, or none.
    pub fn fail_every_call(&self, verb: &'static str, failure: Option<Failure>) {
        match failure {
            Some(failure) => self.lock().always.insert(verb, failure),
            None => self.lock().always.remove(verb),
        };
    }
    /// How often a verb was called.
    pub fn calls(&self, verb: &str) -> u32 {
        self.lock().calls.get(verb).copied().unwrap_or(0)
    }
    /// Has so much memory and disk.
    pub fn has(&self, capacity: Capacity) {
        self.lock().capacity = capacity;
    }
    /// So much is left of an instance's volume.
    pub fn volume_has(&self, instance: &InstanceId, room: Option<VolumeRoom>) {
        if let Some(volume) = self.lock().volumes.get_mut(instance) {
            volume.room = room;
        }
    }
    /// Whether an instance's volume was given its reserve.
    pub fn has_reserve(&self, instance: &InstanceId) -> bool {
        self.lock().volumes.get(instance).is_some_and(|volume| volume.reserve_given)
    }
    /// Lets another program listen at this address.
    pub fn occupy(&self, address: Ipv4Addr) {
        self.lock().occupied.insert(address);
    }
    /// Engines run but never answer, or do again.
    pub fn engines_are_silent(&self, silent: bool) {
        self.lock().silent = silent;
    }
    /// Engines end right after their start with these words in their log, or start again.
    pub fn engines_cannot_start(&self, words: Option<&str>) {
        self.lock().cannot_start = words.map(str::to_owned);
    }
    /// How long engines take until they answer.
    pub fn engines_start_in(&self, time: Duration) {
        self.lock().start_takes = time;
    }
    /// How long engines take to shut down.
    pub fn engines_stop_in(&self, time: Duration) {
        self.lock().stop_takes = time;
    }
    /// The gateway is down, or back.
    pub fn gateway_is_down(&self, down: bool) {
        self.lock().gateway_down = down;
        self.tell(&Change::Gateway);
    }

    /// Ends a process as `kill -9` does; its shim follows the restart rules.
    pub fn kill(&self, pid: u32) {
        let now = self.clock.now();
        let mut died = None;
        for (instance, process) in &mut self.lock().processes {
            if matches!(process.state, ProcessState::Running { pid: running, .. } if running == pid) {
                let exit = exit(now, None, Some(9), "");
                process.die(exit);
                died = Some(instance.clone());
            }
        }
        if let Some(instance) = died {
            self.settle(&instance);
            self.tell(&Change::Instance(instance));
        }
    }
    /// Ends every process, its shim included; volumes and endpoint files are on disk and stay.
    pub fn reboot(&self) {
        self.lock().processes.clear();
    }

    /// What is on it, as text: volumes, processes, endpoints. Spares and terms stay and are not shown.
    pub fn inventory(&self) -> String {
        let parts = self.lock();
        let mut text = String::new();
        for (instance, volume) in &parts.volumes {
            let (databases, accounts) = (volume.databases.keys().collect::<Vec<_>>(), volume.accounts.keys().collect::<Vec<_>>());
            let _ = writeln!(text, "volume {instance} {databases:?} {accounts:?}");
        }
        for (instance, process) in &parts.processes {
            let state = match process.state {
                ProcessState::Running { .. } => "running",
                ProcessState::BackingOff { .. } => "backing off",
                ProcessState::GaveUp { .. } => "given up",
                ProcessState::Stopped => "stopped",
                ProcessState::Absent => "absent",
            };
            let _ = writeln!(text, "process {instance} {state}");
        }
        for (cluster, endpoint) in &parts.endpoints {
            let _ = writeln!(text, "endpoint {cluster} {} {:?} {:?}", endpoint.listen, endpoint.primary, endpoint.allow);
        }
        text
    }
    /// Somebody has decided on a cluster in this term, as if by another copy of the store.
    pub fn has_seen_term(&self, cluster: &ClusterId, term: u64) {
        self.lock().terms.insert(cluster.clone(), term);
    }
    /// The highest term of a cluster that was ever seen.
    pub fn term(&self, cluster: &ClusterId) -> Option<u64> {
        self.lock().terms.get(cluster).copied()
    }
    /// The endpoint of a cluster as it was last wished.
    pub fn endpoint(&self, cluster: &ClusterId) -> Option<EndpointWish> {
        self.lock().endpoints.get(cluster).cloned()
    }
    /// So many sessions of a cluster are in a transaction from now on.
    pub fn set_sessions(&self, cluster: &ClusterId, count: u32) {
        self.lock().sessions.insert(cluster.clone(), count);
    }
    /// Whether an instance's commits wait for a follower.
    pub fn waits_for_a_standby(&self, instance: &InstanceId) -> bool {
        self.lock().volumes.get(instance).is_some_and(|volume| volume.requires)
    }
    /// Whether an instance of several was promoted in its present life.
    pub fn is_writable(&self, instance: &InstanceId) -> bool {
        self.lock().volumes.get(instance).is_some_and(|volume| volume.writable)
    }
    /// Ends the process of whoever was promoted, as `kill -9` does.
    pub fn kill_primaries(&self) {
        let primaries: Vec<_> = self.lock().volumes.iter().filter(|(_, volume)| volume.writable).map(|(id, _)| id.clone()).collect();
        primaries.iter().filter_map(|primary| self.pid(primary)).for_each(|pid| self.kill(pid));
    }
    /// Ends every process but those that were promoted.
    pub fn kill_standbys(&self) {
        let standbys: Vec<_> = self.lock().volumes.iter().filter(|(_, volume)| !volume.writable).map(|(id, _)| id.clone()).collect();
        standbys.iter().filter_map(|standby| self.pid(standby)).for_each(|pid| self.kill(pid));
    }
    /// The process id of an instance that runs.
    pub fn pid(&self, instance: &InstanceId) -> Option<u32> {
        match self.lock().processes.get(instance)?.state {
            ProcessState::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }
    /// The databases in an instance's volume with their owners.
    pub fn databases(&self, instance: &InstanceId) -> Vec<(String, String)> {
        let parts = self.lock();
        let databases = parts.volumes.get(instance).map(|volume| &volume.databases);
        databases.into_iter().flatten().map(|(name, (owner, _))| (name.clone(), owner.clone())).collect()
    }

    /// The accounts in an instance's volume beside owners of first databases, with their verifiers.
    pub fn accounts(&self, instance: &InstanceId) -> Vec<(AccountSpec, String)> {
        self.lock().volumes.get(instance).map(|volume| volume.accounts.values().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
    pub(crate) fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn listen(&self) -> UnboundedReceiver<Change> {
        let (sender, receiver) = unbounded();
        self.lock().listeners.push(sender);
        receiver
    }
    pub(crate) fn tell(&self, change: &Change) {
        self.lock().listeners.retain(|listener| listener.unbounded_send(change.clone()).is_ok());
    }

    /// Counts a call and runs it, unless it is to fail.
    pub(crate) fn call<T, E>(&self, verb: &'static str, run: impl FnOnce() -> Result<T, E>, fail: impl Fn(bool) -> E) -> Result<T, E> {
        let failure = {
            let mut parts = self.lock();
            let count = parts.calls.entry(verb).or_default();
            *count += 1;
            let nth = *count;
            parts.failures.remove(&(verb, nth)).or_else(|| parts.always.get(verb).copied())
        };
        match failure {
            None => run(),
            Some(Failure::Passing) => Err(fail(true)),
            Some(Failure::ForGood) => Err(fail(false)),
            Some(Failure::AnswerLost) => run().and_then(|_| Err(fail(true))),
        }
    }

    /// Starts the process of an instance, or lets it end at once where engines cannot start.
    pub(crate) fn start(&self, instance: &InstanceId) {
        let now = self.clock.now();
        let mut parts = self.lock();
        parts.last_pid += 1;
        let pid = 1000 + parts.last_pid;
        let words = parts.cannot_start.clone();
        let Some(process) = parts.processes.get_mut(instance) else { return };
        let last_exit = match &process.state {
            ProcessState::BackingOff { last, .. } => Some(last.clone()),
            _ => None,
        };
        process.incarnation += 1;
        process.stop_asked_at = None;
        let (has_peers, incarnation) = (process.layout.has_peers, process.incarnation);
        process.state = ProcessState::Running { pid, incarnation, since: now, last_exit };
        if let Some(words) = words {
            process.die(exit(now, Some(1), None, &words));
        }
        parts.jobs.remove(instance);
        if let Some(volume) = parts.volumes.get_mut(instance).filter(|_| has_peers) {
            (volume.writable, volume.follows, volume.requires) = (false, None, false);
        }
    }

    /// Lets happen what time has brought: a restart after a rest, the end of a shutdown.
    pub(crate) fn settle(&self, instance: &InstanceId) {
        let now = self.clock.now();
        for _ in 0..100 {
            let due = {
                let mut parts = self.lock();
                let stop_takes = parts.stop_takes;
                let Some(process) = parts.processes.get_mut(instance) else { return };
                if process.stop_asked_at.is_some_and(|at| now.since(at) >= stop_takes) {
                    process.state = ProcessState::Stopped;
                    process.stop_asked_at = None;
                    process.deaths = 0;
                }
                matches!(process.state, ProcessState::BackingOff { until, .. } if until <= now)
            };
            if !due {
                return;
            }
            self.start(instance);
        }
    }

    /// The instance whose engine listens on this socket and answers by now.
    pub(crate) fn answering(&self, socket: &Path) -> Option<InstanceId> {
        let instance = self.lock().processes.iter().find(|(_, process)| process.layout.socket == socket).map(|(id, _)| id.clone())?;
        self.settle(&instance);
        let parts = self.lock();
        match &parts.processes.get(&instance)?.state {
            ProcessState::Running { since, .. } if !parts.silent && self.clock.now().since(*since) >= parts.start_takes => Some(instance),
            _ => None,
        }
    }
}

impl Parts {
    /// Whether an instance runs and follows that one.
    fn is_follower(&self, instance: &InstanceId, of: &InstanceId) -> bool {
        let runs = self.processes.get(instance).is_some_and(|process| matches!(process.state, ProcessState::Running { .. }));
        runs && self.volumes.get(instance).is_some_and(|volume| volume.follows.as_ref() == Some(of))
    }
    /// Those who run and follow that one.
    pub(crate) fn followers(&self, of: &InstanceId) -> Vec<InstanceId> {
        self.volumes.keys().filter(|instance| self.is_follower(instance, of)).cloned().collect()
    }
    /// Hands everything an instance has to those who follow it.
    pub(crate) fn replicate(&mut self, from: &InstanceId) {
        for follower in self.followers(from) {
            self.copy(from, &follower);
        }
    }
    /// Makes one volume hold what another holds.
    pub(crate) fn copy(&mut self, from: &InstanceId, to: &InstanceId) {
        let Some(Volume { databases, accounts, written, .. }) = self.volumes.get(from).cloned() else { return };
        if let Some(volume) = self.volumes.get_mut(to) {
            (volume.databases, volume.accounts, volume.written) = (databases, accounts, written);
        }
    }
}

impl Process {
    pub(crate) fn new(layout: ProcessLayout, restart: bool) -> Self {
        Self { state: ProcessState::Stopped, layout, restart, incarnation: 0, stop_asked_at: None, deaths: 0 }
    }
    fn die(&mut self, last: ProcessExit) {
        let ProcessState::Running { since, .. } = self.state else { return };
        let (deaths, after) = restart::decide(self.deaths, since, last.at);
        self.deaths = deaths;
        self.state = match after {
            AfterDeath::RestartIn(rest) if self.restart => ProcessState::BackingOff { until: last.at.plus(rest), last },
            _ => ProcessState::GaveUp { last },
        };
    }
    pub(crate) fn kill(&mut self, now: Timestamp, reason: &str) {
        self.die(exit(now, None, Some(9), reason));
    }
}

fn exit(at: Timestamp, code: Option<i32>, signal: Option<i32>, words: &str) -> ProcessExit {
    ProcessExit { at, code, signal, out_of_memory: false, volume_full: false, last_words: words.to_owned() }
}

pub(crate) fn host_failure(verb: &'static str) -> impl Fn(bool) -> HostError {
    move |passing| HostError {
        problem: Problem::new(ProblemCode::HostFailed, format!("The machine was told to fail at {verb}.")),
        passing,
        cause: None,
    }
}
