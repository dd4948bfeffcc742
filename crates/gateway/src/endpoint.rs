//! One cluster's endpoint: what is in force, and who is connected.

use crate::engine_leg::LegError;
use crate::log_limit::LogLimit;
use moorage_domain::ClusterId;
use moorage_domain::endpoint_file::{EndpointFile, EngineLeg};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// How often one endpoint may write the same kind of line about strangers.
const LOG_PERIOD: Duration = Duration::from_secs(10);
/// A session that was let in so short a time ago may not have begun what it was opened for: a client that connects for each transaction is
/// left to end by itself.
const YOUNG: Duration = Duration::from_millis(250);
/// How long a hold is believed that nobody asks to be drained.
const HOLD_WITHOUT_NEWS: Duration = Duration::from_secs(5);
/// How often a connection that waits looks whether it still has to.
const HOLD_LOOK: Duration = Duration::from_millis(250);
/// A login that takes longer is ended when its endpoint is drained. On two processors that eight clusters and a compiler share, some take
/// half a second.
const LONGEST_LOGIN_WHILE_HELD: Duration = Duration::from_secs(1);
/// How often it is looked which sessions of a held endpoint can end.
const DRAIN_LOOK: Duration = Duration::from_millis(2);
/// How long a new connection waits for another primary; a client's own patience is often 10 s.
const LONGEST_HOLD: Duration = Duration::from_secs(8);

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What an endpoint does for new connections.
pub struct Settings {
    /// The accepted file.
    pub file: EndpointFile,
    /// TLS, when it is offered.
    pub tls: Option<TlsAcceptor>,
    /// The file's primary.
    pub primary: Option<Arc<EngineLeg>>,
}

impl Settings {
    /// Settings of a file.
    pub fn new(file: EndpointFile, tls: Option<TlsAcceptor>) -> Self {
        let primary = file.primary.clone().map(Arc::new);
        Self { file, tls, primary }
    }

    /// Whether the allow-list admits the address.
    pub fn allows(&self, client: IpAddr) -> bool {
        self.file.allow.iter().any(|network| network.contains(&client))
    }
}

struct Entry {
    client: SocketAddr,
    leg: Option<Arc<EngineLeg>>,
    /// When the leg was chosen: from then on its login is on its way.
    leg_at: Option<Instant>,
    /// When it was let in.
    let_in_at: Option<Instant>,
    task: Option<AbortHandle>,
    waker: Option<Waker>,
    backend: Option<i64>,
}

struct State {
    settings: Arc<Settings>,
    connections: HashMap<u64, Entry>,
}

/// What became of a new connection.
pub enum Admission {
    /// It may go on.
    Admitted(Connection),
    /// Its address is not in the allow-list.
    NotAllowed,
    /// The endpoint (or the gateway) is full.
    TooMany,
}

/// One cluster's endpoint.
pub struct Endpoint {
    cluster: ClusterId,
    state: Mutex<State>,
    capacity: Arc<Capacity>,
    /// Open connections of the cluster, wherever they came in: the limit is one for all of them.
    of_cluster: Arc<AtomicUsize>,
    refused: AtomicU64,
    next: AtomicU64,
    left: Notify,
    /// Whether the settings in force say that another primary is about to follow.
    held: AtomicBool,
    /// Whether sessions end between two transactions now: those that are young have ended by themselves.
    closes: AtomicBool,
    /// Until when that is believed, in milliseconds since this endpoint was made.
    held_until: AtomicU64,
    since: Instant,
    replaced: Notify,
    refused_log: LogLimit,
    full_log: LogLimit,
    unreachable_log: LogLimit,
}

impl Endpoint {
    /// An endpoint with nobody connected.
    pub fn new(cluster: ClusterId, settings: Settings, capacity: Arc<Capacity>, of_cluster: Arc<AtomicUsize>) -> Self {
        let held = AtomicBool::new(settings.file.hold);
        let held_until = AtomicU64::new(millis(HOLD_WITHOUT_NEWS));
        Self {
            cluster,
            state: Mutex::new(State { settings: Arc::new(settings), connections: HashMap::new() }),
            capacity,
            of_cluster,
            refused: AtomicU64::new(0),
            next: AtomicU64::new(0),
            left: Notify::new(),
            held,
            closes: AtomicBool::new(false),
            held_until,
            since: Instant::now(),
            replaced: Notify::new(),
            refused_log: LogLimit::new(LOG_PERIOD),
            full_log: LogLimit::new(LOG_PERIOD),
            unreachable_log: LogLimit::new(LOG_PERIOD),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cluster.
    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// What is in force now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.state().settings)
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.state().connections.len()
    }

    /// Connections refused because of the allow-list.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Decides about a new connection and, where it may stay, counts it from now on.
    pub fn admit(self: &Arc<Self>, client: SocketAddr) -> Admission {
        let mut state = self.state();
        if !state.settings.allows(client.ip()) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Admission::NotAllowed;
        }
        let most = state.settings.file.most_connections as usize;
        let one_more = |open: usize| (open < most).then_some(open + 1);
        if self.of_cluster.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Admission::TooMany;
        }
        if !self.capacity.take() {
            self.of_cluster.fetch_sub(1, Ordering::Relaxed);
            return Admission::TooMany;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        state
            .connections
            .insert(number, Entry { client, leg: None, leg_at: None, let_in_at: None, task: None, waker: None, backend: None });
        Admission::Admitted(Connection { endpoint: Arc::clone(self), number, client, since: Instant::now() })
    }

    fn wake_all(&self) {
        let wakers: Vec<Waker> = self.state().connections.values().filter_map(|entry| entry.waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Writes down that an address was refused, or that there was no room.
    pub fn turned_away(&self, client: SocketAddr, full: bool) {
        let cluster = &self.cluster;
        if full {
            if let Some(more) = self.full_log.pass() {
                let most = self.settings().file.most_connections;
                tracing::warn!(%cluster, %client, most, more, "refused a connection: the limit is reached");
            }
        } else if let Some(more) = self.refused_log.pass() {
            tracing::info!(%cluster, %client, more, "refused a connection: the address is not in the allow-list");
        }
    }

    /// Writes down that the engine could not be reached.
    pub fn cannot_reach(&self, error: &LegError) {
        if let Some(more) = self.unreachable_log.pass() {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(cluster = %self.cluster, %error, cause, more, "refused a connection: the database is not available");
        }
    }

    /// Remembers how to cut a connection that was just started.
    pub fn started(&self, number: u64, task: AbortHandle) {
        if let Some(entry) = self.state().connections.get_mut(&number) {
            entry.task = Some(task);
        }
    }

    /// Puts new settings in force and cuts, in the same moment, every connection they do not admit any more: to an engine
    /// that is not the primary, or from an address that is no longer allowed. Returns how many.
    pub fn replace(&self, settings: Settings) -> Vec<u64> {
        let settings = Arc::new(settings);
        let stays = |entry: &Entry| {
            settings.allows(entry.client.ip()) && entry.leg.as_ref().is_none_or(|leg| settings.primary.as_ref() == Some(leg))
        };
        let mut state = self.state();
        state.settings = Arc::clone(&settings);
        self.held.store(settings.file.hold, Ordering::Relaxed);
        self.closes.store(false, Ordering::Relaxed);
        self.hold_on();
        let cut = cut(state, |entry| !stays(entry));
        self.replaced.notify_waiters();
        cut
    }

    /// Whether another primary is about to follow. Whoever said so has to say it again and again: otherwise sessions of a primary that
    /// is well would end because the control plane has.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed) && millis(self.since.elapsed()) < self.held_until.load(Ordering::Relaxed)
    }

    /// Whether a session should end as soon as it is between two transactions.
    pub fn closes(&self) -> bool {
        self.closes.load(Ordering::Relaxed) && self.is_held()
    }

    fn hold_on(&self) {
        self.held_until.store(millis(self.since.elapsed() + HOLD_WITHOUT_NEWS), Ordering::Relaxed);
    }

    /// Connections that wait for another primary.
    pub fn waiting(&self) -> usize {
        if !self.is_held() {
            return 0;
        }
        self.state().connections.values().filter(|entry| entry.leg.is_none()).count()
    }

    /// Has the sessions of a held endpoint end that are between two transactions, for at most `limit`; how many are left.
    pub async fn drain(&self, limit: Duration) -> usize {
        let until = Instant::now() + limit;
        self.hold_on();
        // One that waits for its client does not notice by itself.
        self.wake_all();
        // Who takes long to log in has begun nothing.
        let logs_in = |entry: &Entry| entry.waker.is_none() && entry.leg_at.is_some_and(|at| at.elapsed() > LONGEST_LOGIN_WHILE_HELD);
        if self.is_held() {
            cut(self.state(), logs_in);
        }
        loop {
            let (sessions, young) = {
                let state = self.state();
                let sessions = state.connections.values().filter(|entry| entry.leg.is_some());
                let is_young = |entry: &&Entry| entry.let_in_at.is_none_or(|at| at.elapsed() < YOUNG);
                (sessions.clone().count(), sessions.filter(is_young).count())
            };
            // Sessions that stay go on writing until those that come for one transaction are through with it.
            if young == 0 && self.is_held() && !self.closes.swap(true, Ordering::Relaxed) {
                self.wake_all();
            }
            if sessions == 0 || Instant::now() >= until {
                return sessions;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }

    /// Offers another certificate to new connections.
    pub fn replace_tls(&self, tls: TlsAcceptor) {
        let mut state = self.state();
        state.settings = Arc::new(Settings::new(state.settings.file.clone(), Some(tls)));
    }

    /// Cuts every connection.
    pub fn cut_all(&self) -> Vec<u64> {
        cut(self.state(), |_| true)
    }

    /// Waits until these connections are closed.
    pub async fn gone(&self, numbers: &[u64]) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if !self.state().connections.keys().any(|number| numbers.contains(number)) {
                return;
            }
            left.await;
        }
    }
}

/// Aborts the tasks of these connections after letting go of the table: what they hold is dropped on their own threads.
fn cut(state: MutexGuard<'_, State>, which: impl Fn(&Entry) -> bool) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut tasks = Vec::new();
    for (number, entry) in state.connections.iter().filter(|(_, entry)| which(entry)) {
        numbers.push(*number);
        tasks.extend(entry.task.clone());
    }
    drop(state);
    for task in tasks {
        task.abort();
    }
    numbers
}

/// A connection that counts; leaves the endpoint's table when dropped, however it ended.
pub struct Connection {
    endpoint: Arc<Endpoint>,
    number: u64,
    /// The client's address.
    pub client: SocketAddr,
    since: Instant,
}

impl Connection {
    /// Its number at its endpoint.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The engine to connect to now; where another primary is about to follow, it is waited for. From here on this connection is cut
    /// when another one becomes the primary.
    pub async fn choose_leg(&self) -> Option<Arc<EngineLeg>> {
        let until = Instant::now() + LONGEST_HOLD;
        loop {
            let replaced = self.endpoint.replaced.notified();
            {
                let mut state = self.endpoint.state();
                let leads_somewhere = state.settings.primary.is_some();
                let waits = match state.settings.file.hold {
                    true if leads_somewhere => self.endpoint.is_held() && Instant::now() < until,
                    true => Instant::now() < until,
                    false => false,
                };
                if !waits {
                    let leg = state.settings.primary.clone();
                    if let Some(entry) = state.connections.get_mut(&self.number) {
                        entry.leg.clone_from(&leg);
                        entry.leg_at = Some(Instant::now());
                    }
                    return leg;
                }
            }
            // Also without news it is looked again whether anybody still wants the endpoint held.
            let _ = tokio::time::timeout(HOLD_LOOK, replaced).await;
        }
    }

    /// Remembers how to wake the task of this connection.
    pub fn wake_with(&self, waker: &Waker) {
        if let Some(entry) = self.endpoint.state().connections.get_mut(&self.number) {
            entry.waker = Some(waker.clone());
            entry.let_in_at.get_or_insert_with(Instant::now);
        }
    }

    /// Keeps what the engine calls this connection (PostgreSQL: backend process; MariaDB: connection id), so that an
    /// entry in its logs can be traced to an address.
    pub fn logged_in(&self, user: &str, backend: Option<i64>, tls: bool) {
        if let Some(entry) = self.endpoint.state().connections.get_mut(&self.number) {
            entry.backend = backend;
        }
        tracing::debug!(cluster = %self.endpoint.cluster, client = %self.client, user, backend, tls, "logged in");
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let entry = self.endpoint.state().connections.remove(&self.number);
        self.endpoint.capacity.give_back();
        self.endpoint.of_cluster.fetch_sub(1, Ordering::Relaxed);
        self.endpoint.left.notify_waiters();
        let backend = entry.and_then(|entry| entry.backend);
        let seconds = self.since.elapsed().as_secs_f64();
        tracing::debug!(cluster = %self.endpoint.cluster, client = %self.client, backend, seconds, "closed");
    }
}

/// How many connections the whole process may hold.
pub struct Capacity {
    most: usize,
    open: AtomicUsize,
}

impl Capacity {
    /// Room for `most`.
    pub fn new(most: usize) -> Self {
        Self { most, open: AtomicUsize::new(0) }
    }

    /// Open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn take(&self) -> bool {
        let taken = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < self.most).then_some(open + 1));
        taken.is_ok()
    }

    fn give_back(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
