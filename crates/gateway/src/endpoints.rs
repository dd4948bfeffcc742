//! All endpoints: brings what is served in line with the files.

use crate::accept::{Listening, Services, bind};
use crate::endpoint::{Capacity, Endpoint, Settings};
use crate::endpoint_directory::{EndpointDirectory, FileError, Found};
use crate::log_limit::LogLimit;
use crate::tls::{self, Stamp, TlsError, TlsStamps};
use moorage_domain::ClusterId;
use moorage_domain::endpoint_file::{EndpointFile, EndpointStatus, GatewayAnswer, VERSION};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Longest wait for cut connections to be closed; they close as soon as their thread gets its turn.
const CUT_LIMIT: Duration = Duration::from_secs(2);
/// First and longest pause between attempts to bind an address or to use a certificate.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Of so many looks one is at every file, whatever the directory's own time says.
const THOROUGH_LOOK: u32 = 5;

/// Why a file is not in force.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("its term {wanted} is older than term {seen}, which was seen before")]
    OlderTerm { wanted: u64, seen: u64 },
    #[error("its certificate cannot be used: {0}")]
    Tls(#[source] TlsError),
    #[error("{at}: {error}")]
    Listen {
        at: SocketAddr,
        #[source]
        error: io::Error,
        /// The rest of the file is in force.
        applied: Option<u64>,
    },
}

/// A way in: a cluster's endpoint, or one of its instances at an address of its own.
struct Door {
    /// The address of the instance; none: the cluster's endpoint.
    instance: Option<SocketAddr>,
    endpoint: Arc<Endpoint>,
    listening: Vec<Listening>,
}

/// A file in force.
struct Serving {
    /// The cluster's endpoint first.
    doors: Vec<Door>,
    bytes: Vec<u8>,
    stamps: Option<TlsStamps>,
}

impl Serving {
    fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.doors.first().map(|door| &door.endpoint)
    }
    fn serves_at(&self, instance: Option<SocketAddr>, at: SocketAddr) -> bool {
        let mut doors = self.doors.iter().filter(|door| door.instance == instance);
        doors.any(|door| door.listening.iter().any(|listening| listening.address == at))
    }
}

/// A way in as wished.
struct WishedDoor {
    instance: Option<SocketAddr>,
    addresses: Vec<SocketAddr>,
    file: EndpointFile,
}

/// The ways in that a file wishes for, the cluster's endpoint first.
fn wished_doors(file: EndpointFile) -> Vec<WishedDoor> {
    let of_instances = file.instances.iter().map(|instance| {
        let (listen, file) = (instance.listen, file.of_instance(instance));
        WishedDoor { instance: Some(listen), addresses: vec![listen], file }
    });
    let of_instances: Vec<_> = of_instances.collect();
    let addresses = std::iter::once(file.listen).chain(file.public).collect();
    std::iter::once(WishedDoor { instance: None, addresses, file }).chain(of_instances).collect()
}

/// An endpoint that could not be put in force for a reason that may pass by itself.
struct Waiting {
    generation: u64,
    again: Instant,
    pause: Duration,
}

/// What is known of one cluster.
#[derive(Default)]
struct Slot {
    serving: Option<Serving>,
    waiting: Option<Waiting>,
    /// Open connections, wherever they came in.
    open: Arc<AtomicUsize>,
    looked_at: Option<Stamp>,
    failed_tls: Option<TlsStamps>,
}

impl Slot {
    fn try_again_later(&mut self, generation: u64) {
        let pause = self.waiting.as_ref().map_or(TRY_AGAIN.0, |waiting| (waiting.pause * 2).min(TRY_AGAIN.1));
        self.waiting = Some(Waiting { generation, again: Instant::now() + pause, pause });
    }
}

/// All endpoints.
pub struct Endpoints {
    directory: EndpointDirectory,
    services: Arc<Services>,
    capacity: Arc<Capacity>,
    slots: BTreeMap<ClusterId, Slot>,
    terms: HashMap<ClusterId, u64>,
    keeping: HashMap<ClusterId, JoinHandle<()>>,
    looked_at: Option<Stamp>,
    looks: u32,
    directory_log: LogLimit,
}

impl Endpoints {
    /// None yet.
    pub fn new(directory: EndpointDirectory, services: Arc<Services>, capacity: Arc<Capacity>) -> Self {
        Self {
            directory,
            services,
            capacity,
            slots: BTreeMap::new(),
            terms: HashMap::new(),
            keeping: HashMap::new(),
            looked_at: None,
            looks: 0,
            directory_log: LogLimit::new(Duration::from_secs(60)),
        }
    }

    /// Puts one cluster's file in force, or closes its endpoint when the file is gone.
    pub async fn apply(&mut self, cluster: &ClusterId) -> GatewayAnswer {
        let stamp = self.directory.stamp_of(cluster);
        let (directory, wanted) = (self.directory.clone(), cluster.clone());
        let answer = match blocking(move || directory.wish(&wanted)).await {
            Ok(None) => return self.close(cluster).await,
            Ok(Some(found)) => {
                let generation = found.file.generation;
                self.put_in_force(cluster, found).await.map(|()| generation)
            }
            Err(error) => Err(error.into()),
        };
        let slot = self.slots.entry(cluster.clone()).or_default();
        slot.looked_at = stamp;
        let cluster = cluster.clone();
        match answer {
            Ok(generation) => GatewayAnswer::Applied { cluster, generation },
            Err(Refused::Listen { at, error, applied }) => {
                let in_use = error.kind() == io::ErrorKind::AddrInUse;
                tracing::warn!(%cluster, %at, %error, "cannot listen at an address of the endpoint; trying again");
                GatewayAnswer::CannotListen { cluster, at: Some(at), in_use, applied, reason: format!("{at}: {error}") }
            }
            Err(refused) => {
                tracing::warn!(%cluster, reason = %refused, "endpoint file refused; what was in force stays");
                GatewayAnswer::Refused { cluster, reason: refused.to_string() }
            }
        }
    }

    async fn put_in_force(&mut self, cluster: &ClusterId, found: Found) -> Result<(), Refused> {
        let Found { bytes, file } = found;
        let seen = self.seen_term(cluster).await;
        if file.term < seen {
            return Err(Refused::OlderTerm { wanted: file.term, seen });
        }
        let slot = self.slots.entry(cluster.clone()).or_default();
        let stamps = file.tls.as_ref().map(tls::stamps);
        if slot.serving.as_ref().is_some_and(|serving| serving.bytes == bytes && serving.stamps == stamps) {
            slot.waiting = None;
            return Ok(());
        }
        let acceptor = match load_tls(&file).await {
            Ok(acceptor) => acceptor,
            Err(error) => match slot.serving.as_ref().and_then(Serving::endpoint).map(|endpoint| endpoint.settings()) {
                // A fence must not wait for a certificate.
                Some(before) if before.file.tls == file.tls && (file.term > seen || before.file.primary != file.primary) => {
                    tracing::warn!(%cluster, %error, "the certificate cannot be used; the one before stays in use");
                    before.tls.clone()
                }
                Some(_) => return Err(Refused::Tls(error)),
                None => {
                    slot.try_again_later(file.generation);
                    return Err(Refused::Tls(error));
                }
            },
        };
        let (generation, term, listen, hold) = (file.generation, file.term, file.listen, file.hold);
        let wished = wished_doors(file);
        let mut bound = Vec::new();
        let mut unbound = None;
        for (door, at) in wished.iter().flat_map(|door| door.addresses.iter().map(|at| (door.instance, *at))) {
            if slot.serving.as_ref().is_some_and(|serving| serving.serves_at(door, at)) {
                continue;
            }
            match bind(at) {
                Ok(listener) => bound.push((door, at, listener)),
                Err(error) => unbound = unbound.or(Some((at, error))),
            }
        }
        if let Some((at, error)) = unbound.take_if(|(at, _)| *at == listen) {
            slot.try_again_later(generation);
            return Err(Refused::Listen { at, error, applied: None });
        }
        let mut before = slot.serving.take().map(|before| before.doors).unwrap_or_default();
        let (mut doors, mut left, mut cut) = (Vec::new(), Vec::new(), Vec::new());
        for WishedDoor { instance, addresses, file } in wished {
            let settings = Settings::new(file, acceptor.clone());
            let there = before.iter().position(|door| door.instance == instance).map(|index| before.swap_remove(index));
            let mut door = match there {
                Some(door) => {
                    cut.push((Arc::clone(&door.endpoint), door.endpoint.replace(settings)));
                    door
                }
                None => {
                    let endpoint = Arc::new(Endpoint::new(cluster.clone(), settings, Arc::clone(&self.capacity), Arc::clone(&slot.open)));
                    Door { instance, endpoint, listening: Vec::new() }
                }
            };
            left.extend(door.listening.extract_if(.., |listening| !addresses.contains(&listening.address)));
            for (_, at, listener) in bound.extract_if(.., |(of, ..)| *of == instance) {
                door.listening.push(Listening::start(at, listener, Arc::clone(&door.endpoint), Arc::clone(&self.services)));
            }
            doors.push(door);
        }
        // Without one of its addresses the file is not in force as a whole, so that binding it is tried again.
        let bytes_in_force = if unbound.is_some() { Vec::new() } else { bytes.clone() };
        slot.serving = Some(Serving { doors, bytes: bytes_in_force, stamps });
        slot.failed_tls = None;
        match &unbound {
            Some(_) => slot.try_again_later(generation),
            None => slot.waiting = None,
        }
        close_all(left).await;
        cut.extend(shut(before).await);
        self.terms.insert(cluster.clone(), term);
        let count: usize = cut.iter().map(|(_, cut)| cut.len()).sum();
        wait_until_gone(&cut).await;
        self.keep(cluster, bytes).await;
        tracing::info!(%cluster, generation, term, %listen, hold, cut = count, "endpoint in force");
        match unbound {
            Some((at, error)) => Err(Refused::Listen { at, error, applied: Some(generation) }),
            None => Ok(()),
        }
    }

    /// The highest term seen for this cluster, also before this start.
    async fn seen_term(&mut self, cluster: &ClusterId) -> u64 {
        if let Some(seen) = self.terms.get(cluster) {
            return *seen;
        }
        let (directory, wanted) = (self.directory.clone(), cluster.clone());
        match blocking(move || directory.accepted(&wanted)).await {
            Ok(accepted) => accepted.map_or(0, |accepted| accepted.file.term),
            Err(error) => {
                tracing::warn!(%cluster, %error, "the endpoint file that was accepted last cannot be used");
                0
            }
        }
    }

    /// Keeps an accepted file for the next start, without making anybody wait: until another one is written the next start
    /// has the file itself.
    async fn keep(&mut self, cluster: &ClusterId, bytes: Vec<u8>) {
        self.wait_until_kept(cluster).await;
        let (directory, wanted) = (self.directory.clone(), cluster.clone());
        let keeping = tokio::task::spawn_blocking(move || {
            let kept = match directory.accepted(&wanted) {
                Ok(Some(before)) if before.bytes == bytes => Ok(()),
                _ => directory.accept(&wanted, &bytes),
            };
            if let Err(error) = kept {
                tracing::warn!(cluster = %wanted, %error, "the accepted endpoint file could not be kept beside the wish");
            }
        });
        self.keeping.insert(cluster.clone(), keeping);
    }

    async fn wait_until_kept(&mut self, cluster: &ClusterId) {
        if let Some(keeping) = self.keeping.remove(cluster)
            && let Err(error) = keeping.await
        {
            tracing::error!(%cluster, %error, "keeping an accepted endpoint file panicked");
        }
    }

    async fn close(&mut self, cluster: &ClusterId) -> GatewayAnswer {
        let serving = self.slots.remove(cluster).and_then(|slot| slot.serving);
        if let Some(serving) = serving {
            let cut = shut(serving.doors).await;
            wait_until_gone(&cut).await;
            let count: usize = cut.iter().map(|(_, cut)| cut.len()).sum();
            tracing::info!(%cluster, cut = count, "endpoint closed");
        }
        self.wait_until_kept(cluster).await;
        if let Err(error) = self.directory.forget(cluster) {
            tracing::warn!(%cluster, %error, "the accepted endpoint file of a closed endpoint could not be removed");
        }
        GatewayAnswer::Closed { cluster: cluster.clone() }
    }

    /// Serves what the files say, from nothing. What is not acceptable gives way to what was accepted last.
    pub async fn start(&mut self) {
        for cluster in self.clusters() {
            if let GatewayAnswer::Refused { .. } = self.apply(&cluster).await {
                self.fall_back(&cluster).await;
            }
        }
        self.looked_at = self.directory.stamp();
        tracing::info!(endpoints = self.slots.len(), "serving");
    }

    async fn fall_back(&mut self, cluster: &ClusterId) {
        let Ok(Some(accepted)) = self.directory.accepted(cluster) else { return };
        match self.put_in_force(cluster, accepted).await {
            Ok(()) => tracing::warn!(%cluster, "serving the endpoint file that was accepted last"),
            Err(error) => tracing::error!(%cluster, %error, "this endpoint is not served: correct its file"),
        }
    }

    fn clusters(&self) -> BTreeSet<ClusterId> {
        self.directory.clusters().unwrap_or_else(|error| {
            if let Some(more) = self.directory_log.pass() {
                tracing::warn!(%error, more, "the directory of endpoint files cannot be read; what is in force stays");
            }
            BTreeSet::new()
        })
    }

    /// Looks for files that changed although nobody said so, for certificates that were renewed, and for addresses that may
    /// have become free.
    pub async fn look(&mut self) {
        self.looks = self.looks.wrapping_add(1);
        let stamp = self.directory.stamp();
        let mut clusters: BTreeSet<ClusterId> = self.slots.keys().cloned().collect();
        let changed = stamp != self.looked_at || self.looks.is_multiple_of(THOROUGH_LOOK);
        if changed {
            clusters.extend(self.clusters());
            self.looked_at = stamp;
        }
        for cluster in clusters {
            let slot = self.slots.entry(cluster.clone()).or_default();
            let due = slot.waiting.as_ref().is_some_and(|waiting| waiting.again <= Instant::now());
            if due || changed && self.directory.stamp_of(&cluster) != slot.looked_at {
                let answer = self.apply(&cluster).await;
                let unserved = self.slots.get(&cluster).is_some_and(|slot| slot.serving.is_none());
                if unserved && matches!(answer, GatewayAnswer::Refused { .. }) {
                    self.fall_back(&cluster).await;
                }
            } else {
                self.renew_tls(&cluster).await;
            }
        }
    }

    async fn renew_tls(&mut self, cluster: &ClusterId) {
        let Some(slot) = self.slots.get_mut(cluster) else { return };
        let Some(serving) = &mut slot.serving else { return };
        let Some(settings) = serving.endpoint().map(|endpoint| endpoint.settings()) else { return };
        let Some(files) = &settings.file.tls else { return };
        let stamps = tls::stamps(files);
        if serving.stamps == Some(stamps) || slot.failed_tls == Some(stamps) {
            return;
        }
        match load_tls(&settings.file).await {
            Ok(Some(acceptor)) => {
                serving.doors.iter().for_each(|door| door.endpoint.replace_tls(acceptor.clone()));
                serving.stamps = Some(stamps);
                slot.failed_tls = None;
                tracing::info!(%cluster, "certificate renewed");
            }
            Ok(None) => {}
            Err(error) => {
                slot.failed_tls = Some(stamps);
                tracing::warn!(%cluster, %error, "the renewed certificate cannot be used; the one before stays in use");
            }
        }
    }

    /// Closes every listener; open connections go on.
    pub async fn stop_listening(&mut self) -> Vec<Arc<Endpoint>> {
        let kept: Vec<ClusterId> = self.keeping.keys().cloned().collect();
        for cluster in kept {
            self.wait_until_kept(&cluster).await;
        }
        let mut endpoints = Vec::new();
        for slot in std::mem::take(&mut self.slots).into_values() {
            for door in slot.serving.into_iter().flat_map(|serving| serving.doors) {
                close_all(door.listening).await;
                endpoints.push(door.endpoint);
            }
        }
        endpoints
    }

    /// A cluster's endpoint and those of its instances.
    pub fn find(&self, cluster: &ClusterId) -> Vec<Arc<Endpoint>> {
        let serving = self.slots.get(cluster).and_then(|slot| slot.serving.as_ref());
        serving.iter().flat_map(|serving| &serving.doors).map(|door| Arc::clone(&door.endpoint)).collect()
    }

    /// Who this is and what it serves.
    pub fn status(&self) -> GatewayAnswer {
        let endpoints = self.slots.iter().filter_map(|(cluster, slot)| {
            let doors = slot.serving.as_ref().map(|serving| serving.doors.as_slice()).unwrap_or_default();
            let sum = |of: fn(&Endpoint) -> usize| {
                let sum: usize = doors.iter().map(|door| of(&door.endpoint)).sum();
                u32::try_from(sum).unwrap_or(u32::MAX)
            };
            let generation = match doors.first().map(|door| &door.endpoint) {
                Some(endpoint) => endpoint.settings().file.generation,
                None => slot.waiting.as_ref()?.generation,
            };
            Some(EndpointStatus {
                cluster: cluster.clone(),
                generation,
                listening: !doors.is_empty(),
                connections: sum(Endpoint::connections),
                refused: doors.iter().map(|door| door.endpoint.refused()).sum(),
                held: sum(Endpoint::waiting),
            })
        });
        GatewayAnswer::Status { pid: std::process::id(), version: VERSION, endpoints: endpoints.collect() }
    }
}

async fn close_all(listening: Vec<Listening>) {
    for listening in listening {
        listening.close().await;
    }
}

/// Connections that were cut, and where.
type Cut = (Arc<Endpoint>, Vec<u64>);

/// Closes ways in for good.
async fn shut(doors: Vec<Door>) -> Vec<Cut> {
    let mut cut = Vec::new();
    for door in doors {
        close_all(door.listening).await;
        let numbers = door.endpoint.cut_all();
        cut.push((door.endpoint, numbers));
    }
    cut
}

async fn wait_until_gone(cut: &[Cut]) {
    for (endpoint, numbers) in cut {
        if timeout(CUT_LIMIT, endpoint.gone(numbers)).await.is_err() {
            tracing::error!(cluster = %endpoint.cluster(), "connections that were cut are still open: restart the gateway");
        }
    }
}

async fn load_tls(file: &EndpointFile) -> Result<Option<TlsAcceptor>, TlsError> {
    let Some(files) = file.tls.clone() else { return Ok(None) };
    let engine = file.engine;
    blocking(move || tls::load(&files, engine)).await.map(Some)
}

/// Runs file work where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
