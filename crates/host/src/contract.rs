//! What every host must do, as tests that any implementation can run; fakes must pass them too, so that they cannot lie.
//!
//! [`all`] needs nothing but the trait. [`all_with_deaths`] also kills main processes and watches what follows; a host
//! whose processes are not real offers a way to let one die, or runs [`all`] only.

use crate::{
    Change, EndpointState, EndpointWish, Host, HostError, HostResult, InstanceEndpointWish, ProcessWish, StopState, TlsPem, VolumeState,
    VolumeWish,
};
use futures::StreamExt;
use moorage_domain::engine::EngineName;
use moorage_domain::instance::ProcessState;
use moorage_domain::layout::{ConfigFile, JobStep, Place, ProcessLayout, StopPlan, TemplateSpec};
use moorage_domain::{ClusterId, InstanceId, ProblemCode};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(5);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// An instance of a cluster of its own, as the contract uses it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The cluster.
    pub cluster: ClusterId,
    /// The instance.
    pub instance: InstanceId,
    /// The uid, where the host gives clusters uids.
    pub uid: Option<u32>,
}

impl Subject {
    /// A new one that nobody has heard of.
    pub fn new(host: &dyn Host) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let bits = (since.as_nanos() << 40) | (u128::from(std::process::id()) << 20) | (u128::from(number) << 1);
        Self {
            cluster: ClusterId::from_bits(bits),
            instance: InstanceId::from_bits(bits | 1),
            uid: host.uid_range().map(|range| range.start + number % u32::try_from(range.len()).unwrap_or(1)),
        }
    }
    /// Its volume.
    pub fn volume(&self, template: &TemplateSpec) -> VolumeWish {
        VolumeWish { instance: self.instance.clone(), template: template.clone(), uid: self.uid, size_gb: 10 }
    }
    /// Its process in a term.
    pub fn process(&self, layout: ProcessLayout, term: u64) -> ProcessWish {
        ProcessWish {
            instance: self.instance.clone(),
            cluster: self.cluster.clone(),
            layout,
            uid: self.uid,
            memory_bytes: 256 << 20,
            cpu: 1,
            restart: true,
            term,
        }
    }
    /// Its endpoint in a term.
    pub fn endpoint(&self, listen: SocketAddrV4, term: u64) -> EndpointWish {
        EndpointWish {
            cluster: self.cluster.clone(),
            engine: EngineName::PostgreSql,
            listen,
            interface: None,
            public: None,
            allow: Vec::new(),
            tls: Some(TlsPem { certificate: String::from("a certificate"), key: String::from("a key") }),
            most_connections: 10,
            term,
            primary: Some(self.instance.clone()),
            hold: false,
            instances: Vec::new(),
        }
    }
    /// Makes its volume, whatever that takes.
    pub async fn with_volume(self, host: &dyn Host, template: &TemplateSpec) -> Self {
        let wish = self.volume(template);
        until("the volume is ready", async || matches!(host.ensure_volume(&wish).await, Ok(VolumeState::Ready { .. }))).await;
        self
    }
}

/// A data directory with one file in it, made and personalised without any engine.
pub fn small_template(key: &str) -> TemplateSpec {
    let path = String::from("{volume}/identity");
    TemplateSpec {
        key: key.to_owned(),
        make: vec![JobStep::Write { path: path.clone(), contents: String::from("0000000000000000") }],
        personalise: vec![JobStep::Randomise { path, offset: 0, length: 8 }],
    }
}

/// A stand-in for an engine: a shell script whose child, in a session of its own, writes to `written` in the volume all the
/// time. `before` runs first.
pub fn script_engine(place: &Place, before: &str) -> ProcessLayout {
    let script = format!(
        "trap 'exit 0' TERM\n{before}\necho ready\nsetsid /bin/sh -c 'while :; do echo $$ >> written; sleep 0.02; done' &\n\
         while :; do sleep 0.05; done"
    );
    ProcessLayout {
        argv: ["/bin/sh", "-c", &script].map(str::to_owned).to_vec(),
        environment: vec![(String::from("PATH"), String::from("/usr/bin:/bin"))],
        files: vec![ConfigFile { name: String::from("engine.conf"), contents: String::from("a = 1\n") }],
        stop: StopPlan { signal: 15, grace: Duration::from_secs(5) },
        socket: place.run.join("socket"),
        working_directory: place.volume.clone(),
        marks: Vec::new(),
        has_peers: false,
        stale: Vec::new(),
        log: place.logs.join("engine.log"),
    }
}

/// Asks again and again until something is so.
///
/// # Panics
/// When it is not so in time.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !so().await {
        assert!(tokio::time::Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The pid and incarnation of a running process, waiting for it to run.
pub async fn running(host: &dyn Host, instance: &InstanceId) -> (u32, u32) {
    let mut found = (0, 0);
    until("the process runs", async || match host.process(instance).await {
        Ok(ProcessState::Running { pid, incarnation, .. }) => {
            found = (pid, incarnation);
            true
        }
        _ => false,
    })
    .await;
    found
}

fn ok<T>(result: HostResult<T>) -> T {
    match result {
        Ok(value) => value,
        Err(HostError { problem, cause, .. }) => panic!("{problem} ({:?}; cause: {cause:?})", problem.detail),
    }
}

fn refused_as_old<T: std::fmt::Debug>(result: HostResult<T>) {
    match result {
        Err(error) => assert_eq!(error.problem.code, ProblemCode::TermTooOld, "{error:?}"),
        Ok(value) => panic!("a lower term was accepted: {value:?}"),
    }
}

async fn stop(host: &dyn Host, subject: &Subject, term: u64) {
    until("the process is stopped", async || {
        ok(host.ensure_stopped(&subject.instance, &subject.cluster, term).await) == StopState::Stopped
    })
    .await;
}

/// Everything that can be seen through the trait alone.
///
/// # Panics
/// When the host does not keep the contract.
pub async fn all(host: &dyn Host, template: TemplateSpec, layout: impl Fn(&Place) -> ProcessLayout) {
    what_is_not_there_is_no_trouble(host).await;
    a_volume_is_made_once_and_kept(host, &template).await;
    it_says_what_it_has_and_what_is_left_of_a_volume(host, &template).await;
    a_manifest_is_kept_beside_its_volume_and_goes_with_it(host, &template).await;
    a_running_process_is_left_alone(host, &template, &layout).await;
    a_stopped_process_stays_stopped_until_it_is_wanted_again(host, &template, &layout).await;
    a_fence_holds_and_lower_terms_are_refused(host, &template, &layout).await;
    an_endpoint_is_served_until_it_is_removed(host, &template, &layout).await;
    changes_nudge(host, &template, &layout).await;
}

/// The same, and what follows the death of a main process. `kill` ends the process with this pid as `kill -9` does.
///
/// # Panics
/// When the host does not keep the contract.
pub async fn all_with_deaths(host: &dyn Host, template: TemplateSpec, layout: impl Fn(&Place) -> ProcessLayout, kill: impl Fn(u32)) {
    a_dead_process_is_started_again_with_the_reason_kept(host, &template, &layout, &kill).await;
    a_process_that_is_not_to_be_restarted_is_given_up_until_stopped_and_wanted(host, &template, &layout, &kill).await;
    all(host, template, layout).await;
}

async fn what_is_not_there_is_no_trouble(host: &dyn Host) {
    let subject = Subject::new(host);
    assert_eq!(ok(host.process(&subject.instance).await), ProcessState::Absent);
    assert_eq!(ok(host.ensure_stopped(&subject.instance, &subject.cluster, 1).await), StopState::Stopped);
    ok(host.fence(&subject.instance, &subject.cluster, 1).await);
    ok(host.kill_hung(&subject.instance, "it is not there").await);
    assert_eq!(ok(host.log_tail(&subject.instance, 100).await), "");
    assert_eq!(ok(host.process(&subject.instance).await), ProcessState::Absent);
    gone(host, &subject).await;
}

async fn it_says_what_it_has_and_what_is_left_of_a_volume(host: &dyn Host, template: &TemplateSpec) {
    let has = ok(host.capacity().await);
    assert!(has.memory_bytes > 0 && has.disk_bytes > 0 && has.disk_free_bytes <= has.disk_bytes, "{has:?}");
    let subject = Subject::new(host);
    assert_eq!(ok(host.volume_room(&subject.instance).await), None, "nothing is there");
    assert_eq!(ok(host.volume_used(&subject.instance).await), None, "nothing is there");
    ok(host.set_volume_reserve(&subject.instance, 1 << 40).await);
    let subject = subject.with_volume(host, template).await;
    assert!(ok(host.volume_used(&subject.instance).await).is_some_and(|bytes| bytes > 0), "files are there");
    match ok(host.volume_room(&subject.instance).await) {
        Some(room) => {
            let wished = u64::from(subject.volume(template).size_gb) << 30;
            assert!(host.abilities().volume_size_enforced && !room.is_full(true));
            ok(host.set_volume_reserve(&subject.instance, 1 << 40).await);
            assert_eq!(ok(host.volume_room(&subject.instance).await).map(|room| room.size_bytes), Some(room.size_bytes));
            ok(host.set_volume_reserve(&subject.instance, 0).await);
            assert!((wished / 100 * 95..=wished).contains(&room.size_bytes) && room.free_bytes <= room.size_bytes, "{room:?}");
        }
        None => assert!(!host.abilities().volume_size_enforced),
    }
    gone(host, &subject).await;
}

async fn a_manifest_is_kept_beside_its_volume_and_goes_with_it(host: &dyn Host, template: &TemplateSpec) {
    let subject = Subject::new(host);
    assert!(host.ensure_manifest(Some(&subject.instance), "{}").await.is_err(), "of nothing, nothing is kept");
    ok(host.ensure_manifest(None, "of the installation").await);
    while ok(host.ensure_volume(&subject.volume(template)).await) == VolumeState::Preparing {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ok(host.ensure_manifest(Some(&subject.instance), "first").await);
    ok(host.ensure_manifest(Some(&subject.instance), "second").await);
    let kept = ok(host.manifests().await);
    assert!(kept.contains(&(None, "of the installation".to_owned())), "{kept:?}");
    assert!(kept.contains(&(Some(subject.instance.clone()), "second".to_owned())), "{kept:?}");
    gone(host, &subject).await;
    assert!(!ok(host.manifests().await).iter().any(|(of, _)| of.as_ref() == Some(&subject.instance)));
}

async fn a_volume_is_made_once_and_kept(host: &dyn Host, template: &TemplateSpec) {
    assert!(ok(host.ensure_spares(template, 2).await) >= 2);
    assert!(ok(host.ensure_spares(template, 1).await) >= 1, "a second call finds them");
    let subject = Subject::new(host);
    assert_eq!(ok(host.ensure_volume(&subject.volume(template)).await), VolumeState::Ready { from_spare: true });
    assert!(matches!(ok(host.ensure_volume(&subject.volume(template)).await), VolumeState::Ready { .. }));
    assert!(ok(host.inventory().await).instances.contains_key(&subject.instance));
    // Without spares: it is made while one waits.
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(Subject::new(host).with_volume(host, template).await);
    }
    others.push(subject);
    for subject in others {
        gone(host, &subject).await;
    }
}

async fn a_running_process_is_left_alone(host: &dyn Host, template: &TemplateSpec, layout: &impl Fn(&Place) -> ProcessLayout) {
    let subject = Subject::new(host).with_volume(host, template).await;
    let place = host.place(&subject.instance);
    let wish = subject.process(layout(&place), 1);
    ok(host.ensure_process(&wish).await);
    let first = running(host, &subject.instance).await;
    for _ in 0..3 {
        ok(host.ensure_process(&wish).await);
    }
    assert_eq!(running(host, &subject.instance).await, first, "it is the same process");
    assert_eq!(ok(host.inventory().await).terms.get(&subject.cluster), Some(&1));
    ok(host.ensure_process(&ProcessWish { term: 2, ..wish }).await);
    assert_eq!(running(host, &subject.instance).await, first, "a higher term alone restarts nothing");
    gone(host, &subject).await;
}

async fn a_stopped_process_stays_stopped_until_it_is_wanted_again(
    host: &dyn Host,
    template: &TemplateSpec,
    layout: &impl Fn(&Place) -> ProcessLayout,
) {
    let subject = Subject::new(host).with_volume(host, template).await;
    let wish = subject.process(layout(&host.place(&subject.instance)), 1);
    ok(host.ensure_process(&wish).await);
    running(host, &subject.instance).await;
    stop(host, &subject, 1).await;
    assert_eq!(ok(host.process(&subject.instance).await), ProcessState::Stopped);
    assert_eq!(ok(host.ensure_stopped(&subject.instance, &subject.cluster, 1).await), StopState::Stopped, "again");
    assert_eq!(ok(host.process(&subject.instance).await), ProcessState::Stopped);
    ok(host.ensure_process(&wish).await);
    running(host, &subject.instance).await;
    match ok(host.process(&subject.instance).await) {
        ProcessState::Running { last_exit, .. } => assert_eq!(last_exit, None, "a stop that was asked for is no death"),
        other => panic!("{other:?}"),
    }
    gone(host, &subject).await;
}

async fn a_fence_holds_and_lower_terms_are_refused(host: &dyn Host, template: &TemplateSpec, layout: &impl Fn(&Place) -> ProcessLayout) {
    let subject = Subject::new(host).with_volume(host, template).await;
    let wish = |term| subject.process(layout(&host.place(&subject.instance)), term);
    ok(host.ensure_process(&wish(3)).await);
    running(host, &subject.instance).await;
    refused_as_old(host.fence(&subject.instance, &subject.cluster, 2).await);
    running(host, &subject.instance).await;
    ok(host.fence(&subject.instance, &subject.cluster, 4).await);
    assert_eq!(ok(host.process(&subject.instance).await), ProcessState::Stopped);
    ok(host.fence(&subject.instance, &subject.cluster, 4).await);
    refused_as_old(host.ensure_term(&subject.cluster, 3).await);
    ok(host.ensure_term(&subject.cluster, 4).await);
    refused_as_old(host.ensure_process(&wish(3)).await);
    refused_as_old(host.ensure_stopped(&subject.instance, &subject.cluster, 3).await);
    refused_as_old(host.ensure_endpoint(&subject.endpoint(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1), 3)).await);
    assert_eq!(ok(host.process(&subject.instance).await), ProcessState::Stopped);
    ok(host.ensure_process(&wish(4)).await);
    running(host, &subject.instance).await;
    gone(host, &subject).await;
}

/// A port that is free on loopback at this moment.
fn free_port() -> u16 {
    let bound = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    bound.map_or(40_000, |address| address.port())
}

async fn an_endpoint_is_served_until_it_is_removed(host: &dyn Host, template: &TemplateSpec, layout: &impl Fn(&Place) -> ProcessLayout) {
    until("the gateway runs", async || host.ensure_gateway().await.is_ok()).await;
    let subject = Subject::new(host).with_volume(host, template).await;
    ok(host.ensure_process(&subject.process(layout(&host.place(&subject.instance)), 1)).await);
    let mut wish = subject.endpoint(SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port()), 1);
    for _ in 0..2 {
        assert_eq!(ok(host.ensure_endpoint(&wish).await), EndpointState::Serving);
    }
    traffic_is_told_of_endpoints_only(host, &subject.cluster, true).await;
    wish.hold = true;
    assert_eq!(ok(host.ensure_endpoint(&wish).await), EndpointState::Serving);
    assert_eq!(ok(host.drain_endpoint(&subject.cluster).await), 0, "nobody is connected");
    wish.hold = false;
    (wish.tls, wish.primary) = (None, None);
    assert_eq!(ok(host.ensure_endpoint(&wish).await), EndpointState::Serving, "held without a primary");
    let at = |instance: Option<&InstanceId>| InstanceEndpointWish {
        listen: SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), wish.listen.port()),
        instance: instance.cloned(),
    };
    for instance in [Some(&subject.instance), Some(&Subject::new(host).instance), None] {
        let besides = EndpointWish { instances: vec![at(instance)], ..wish.clone() };
        assert_eq!(ok(host.ensure_endpoint(&besides).await), EndpointState::Serving, "also of one that has no process yet");
    }
    assert_eq!(ok(host.inventory().await).endpoints.iter().filter(|cluster| **cluster == subject.cluster).count(), 1);
    gone(host, &subject).await;
    traffic_is_told_of_endpoints_only(host, &subject.cluster, false).await;
}

async fn traffic_is_told_of_endpoints_only(host: &dyn Host, cluster: &ClusterId, there: bool) {
    let traffic = host.endpoint_traffic().await.expect("traffic");
    assert_eq!(traffic.get(cluster).map(|traffic| (traffic.connections, traffic.refused)), there.then_some((0, 0)));
}

async fn changes_nudge(host: &dyn Host, template: &TemplateSpec, layout: &impl Fn(&Place) -> ProcessLayout) {
    let mut changes = host.changes();
    let subject = Subject::new(host).with_volume(host, template).await;
    ok(host.ensure_process(&subject.process(layout(&host.place(&subject.instance)), 1)).await);
    running(host, &subject.instance).await;
    stop(host, &subject, 1).await;
    let nudged = tokio::time::timeout(PATIENCE, async {
        while changes.next().await.is_some_and(|change| change != Change::Instance(subject.instance.clone())) {}
    });
    assert!(nudged.await.is_ok(), "a change of the instance is told");
    gone(host, &subject).await;
}

async fn a_dead_process_is_started_again_with_the_reason_kept(
    host: &dyn Host,
    template: &TemplateSpec,
    layout: &impl Fn(&Place) -> ProcessLayout,
    kill: &impl Fn(u32),
) {
    let subject = Subject::new(host).with_volume(host, template).await;
    ok(host.ensure_process(&subject.process(layout(&host.place(&subject.instance)), 1)).await);
    let (pid, incarnation) = running(host, &subject.instance).await;
    kill(pid);
    until(
        "the next incarnation runs",
        async || matches!(host.process(&subject.instance).await, Ok(ProcessState::Running { incarnation: next, .. }) if next > incarnation),
    )
    .await;
    match ok(host.process(&subject.instance).await) {
        ProcessState::Running { last_exit: Some(exit), .. } => assert_eq!(exit.signal, Some(9), "{exit:?}"),
        other => panic!("the reason is not kept: {other:?}"),
    }
    gone(host, &subject).await;
}

async fn a_process_that_is_not_to_be_restarted_is_given_up_until_stopped_and_wanted(
    host: &dyn Host,
    template: &TemplateSpec,
    layout: &impl Fn(&Place) -> ProcessLayout,
    kill: &impl Fn(u32),
) {
    let subject = Subject::new(host).with_volume(host, template).await;
    let wish = ProcessWish { restart: false, ..subject.process(layout(&host.place(&subject.instance)), 1) };
    ok(host.ensure_process(&wish).await);
    kill(running(host, &subject.instance).await.0);
    until("it is given up", async || matches!(host.process(&subject.instance).await, Ok(ProcessState::GaveUp { .. }))).await;
    let again = ok(host.ensure_process(&wish).await);
    assert!(matches!(again, ProcessState::GaveUp { .. }), "repeating the wish is not a new one: {again:?}");
    stop(host, &subject, 1).await;
    ok(host.ensure_process(&wish).await);
    running(host, &subject.instance).await;
    gone(host, &subject).await;
}

/// Removes everything of a subject, twice, and looks that nothing is left.
pub async fn gone(host: &dyn Host, subject: &Subject) {
    for _ in 0..2 {
        ok(host.ensure_endpoint_absent(&subject.cluster).await);
        ok(host.ensure_instance_absent(&subject.instance).await);
    }
    assert_eq!(ok(host.process(&subject.instance).await), ProcessState::Absent);
    let inventory = ok(host.inventory().await);
    assert!(!inventory.instances.contains_key(&subject.instance), "{inventory:?}");
    assert!(!inventory.endpoints.contains(&subject.cluster), "{inventory:?}");
}
