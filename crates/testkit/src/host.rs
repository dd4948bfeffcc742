//! The host on a [`Machine`].

use crate::machine::{Machine, Parts, Process, Volume, host_failure};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use moorage_domain::decide::admission::Capacity;
use moorage_domain::engine::{EngineName, Installation, Version};
use moorage_domain::instance::{ProcessState, VolumeRoom};
use moorage_domain::layout::{JobStep, Place, Program, TemplateSpec};
use moorage_domain::{ClusterId, HostId, InstanceId, Problem, ProblemCode};
use moorage_host::{
    Abilities, Change, EndpointState, EndpointWish, Host, HostResult, Inventory, JobState, JobWish, ProcessWish, StopState, Traffic,
    VolumeState, VolumeWish,
};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

/// The host on a [`Machine`]; keeps the contract of every host.
#[derive(Clone)]
pub struct FakeHost {
    id: HostId,
    machine: Machine,
}

impl FakeHost {
    /// The host of this machine.
    pub fn new(id: HostId, machine: Machine) -> Self {
        Self { id, machine }
    }
    fn call<T>(&self, verb: &'static str, run: impl FnOnce() -> HostResult<T>) -> HostResult<T> {
        self.machine.call(verb, run, host_failure(verb))
    }
    fn state(&self, instance: &InstanceId) -> ProcessState {
        self.machine.settle(instance);
        self.machine.lock().processes.get(instance).map_or(ProcessState::Absent, |process| process.state.clone())
    }
    fn changed(&self, instance: &InstanceId) {
        self.machine.tell(&Change::Instance(instance.clone()));
    }
}

/// Remembers the term, refusing one lower than the highest.
/// Everywhere that an endpoint is served.
fn listens(wish: &EndpointWish) -> impl Iterator<Item = SocketAddrV4> {
    std::iter::once(wish.listen).chain(wish.public).chain(wish.instances.iter().map(|instance| instance.listen))
}

fn raise(parts: &mut Parts, cluster: &ClusterId, term: u64) -> HostResult<()> {
    let highest = parts.terms.entry(cluster.clone()).or_insert(term);
    if term < *highest {
        return Err(Problem::new(ProblemCode::TermTooOld, format!("Term {term} is over; the host has seen term {highest}.")).into());
    }
    *highest = term;
    Ok(())
}

#[async_trait]
impl Host for FakeHost {
    fn id(&self) -> &HostId {
        &self.id
    }
    fn abilities(&self) -> Abilities {
        Abilities {
            tenants_isolated: true,
            network_isolated: true,
            groups_tracked: true,
            limits_enforced: true,
            volume_driver: "fake".into(),
            volume_size_enforced: false,
            atomic_snapshots: false,
        }
    }
    fn administrator(&self) -> String {
        "root".into()
    }
    fn uid_range(&self) -> Option<std::ops::Range<u32>> {
        Some(300_000..301_000)
    }
    fn place(&self, instance: &InstanceId) -> Place {
        let under = |part: &str| PathBuf::from(format!("/fake/{part}/{instance}"));
        let replication = Ipv4Addr::new(127, 128, 0, 1);
        Place { volume: under("volumes"), config: under("config"), run: under("run"), logs: under("logs"), replication }
    }
    async fn capacity(&self) -> HostResult<Capacity> {
        self.call("capacity", || Ok(self.machine.lock().capacity))
    }
    async fn volume_room(&self, instance: &InstanceId) -> HostResult<Option<VolumeRoom>> {
        self.call("volume_room", || Ok(self.machine.lock().volumes.get(instance).and_then(|volume| volume.room)))
    }
    async fn volume_used(&self, instance: &InstanceId) -> HostResult<Option<u64>> {
        self.call("volume_used", || Ok(self.machine.lock().volumes.contains_key(instance).then_some(64 << 20)))
    }
    async fn set_volume_reserve(&self, instance: &InstanceId, bytes: u64) -> HostResult<()> {
        self.call("set_volume_reserve", || {
            if let Some(volume) = self.machine.lock().volumes.get_mut(instance) {
                volume.reserve_given = bytes > 0;
            }
            Ok(())
        })
    }
    async fn installations(&self) -> HostResult<Vec<Installation>> {
        let version = |engine, text: &str| Version::parse(text).map(|version| (engine, version));
        let known = [version(EngineName::MariaDb, "10.11.19"), version(EngineName::PostgreSql, "15.20")];
        let known = known.into_iter().flatten();
        self.call("installations", || {
            Ok(known
                .map(|(engine, version)| Installation { prefix: format!("/fake/{engine}").into(), engine, version, system: false })
                .collect())
        })
    }
    async fn ensure_spares(&self, template: &TemplateSpec, count: usize) -> HostResult<usize> {
        self.call("ensure_spares", || {
            let mut parts = self.machine.lock();
            parts.templates.insert(template.key.clone());
            let spares = parts.spares.entry(template.key.clone()).or_default();
            *spares = count.max(*spares);
            Ok(*spares)
        })
    }
    async fn ensure_only_templates(&self, keep: &[String]) -> HostResult<Vec<String>> {
        self.call("ensure_only_templates", || {
            let mut parts = self.machine.lock();
            let removed: Vec<String> = parts.templates.iter().filter(|key| !keep.contains(key)).cloned().collect();
            for key in &removed {
                parts.templates.remove(key);
                parts.spares.remove(key);
            }
            Ok(removed)
        })
    }
    async fn ensure_volume(&self, wish: &VolumeWish) -> HostResult<VolumeState> {
        self.call("ensure_volume", || {
            let mut parts = self.machine.lock();
            if let Some(volume) = parts.volumes.get_mut(&wish.instance) {
                volume.preparing = false;
                return Ok(VolumeState::Ready { from_spare: volume.from_spare });
            }
            let spare = parts.spares.get_mut(&wish.template.key).filter(|spares| **spares > 0);
            let from_spare = spare.map(|spares| *spares -= 1).is_some();
            parts.templates.insert(wish.template.key.clone());
            parts.volumes.insert(wish.instance.clone(), Volume { preparing: !from_spare, from_spare, ..Volume::default() });
            Ok(if from_spare { VolumeState::Ready { from_spare } } else { VolumeState::Preparing })
        })
    }
    async fn ensure_term(&self, cluster: &ClusterId, term: u64) -> HostResult<()> {
        self.call("ensure_term", || raise(&mut self.machine.lock(), cluster, term))
    }
    async fn ensure_process(&self, wish: &ProcessWish) -> HostResult<ProcessState> {
        self.call("ensure_process", || {
            let start = {
                let mut parts = self.machine.lock();
                raise(&mut parts, &wish.cluster, wish.term)?;
                if parts.volumes.get(&wish.instance).is_none_or(|volume| volume.preparing) {
                    return Err(Problem::new(ProblemCode::HostFailed, "The instance has no volume.").into());
                }
                let process =
                    parts.processes.entry(wish.instance.clone()).or_insert_with(|| Process::new(wish.layout.clone(), wish.restart));
                let start = matches!(process.state, ProcessState::Stopped);
                if start {
                    *process = Process { incarnation: process.incarnation, ..Process::new(wish.layout.clone(), wish.restart) };
                }
                start
            };
            if start {
                self.machine.start(&wish.instance);
                self.changed(&wish.instance);
            }
            Ok(self.state(&wish.instance))
        })
    }
    async fn ensure_job(&self, wish: &JobWish) -> HostResult<JobState> {
        self.call("ensure_job", || {
            if matches!(self.state(&wish.instance), ProcessState::Running { .. }) {
                return Err(Problem::new(ProblemCode::HostFailed, "Its engine runs.").into());
            }
            let mut parts = self.machine.lock();
            raise(&mut parts, &wish.cluster, wish.term)?;
            let (name, asked) = parts.jobs.entry(wish.instance.clone()).or_insert_with(|| (wish.name.clone(), false));
            if *name != wish.name {
                (*name, *asked) = (wish.name.clone(), false);
            }
            if !std::mem::replace(asked, true) {
                return Ok(JobState::Running);
            }
            // Whatever is done to a volume, it is to hold what its peer holds.
            let peers = wish.steps.iter().filter_map(|step| match step {
                JobStep::Write { contents, .. } => InstanceId::parse(contents).ok(),
                _ => None,
            });
            peers.for_each(|peer| parts.copy(&peer, &wish.instance));
            Ok(JobState::Done)
        })
    }
    async fn process(&self, instance: &InstanceId) -> HostResult<ProcessState> {
        self.call("process", || Ok(self.state(instance)))
    }
    async fn ensure_stopped(&self, instance: &InstanceId, cluster: &ClusterId, term: u64) -> HostResult<StopState> {
        let state = self.call("ensure_stopped", || {
            let now = self.machine.now();
            {
                let mut parts = self.machine.lock();
                raise(&mut parts, cluster, term)?;
                let Some(process) = parts.processes.get_mut(instance) else { return Ok(StopState::Stopped) };
                match process.state {
                    ProcessState::Running { .. } => {
                        process.stop_asked_at.get_or_insert(now);
                    }
                    _ => process.state = ProcessState::Stopped,
                }
            }
            match self.state(instance) {
                ProcessState::Stopped => Ok(StopState::Stopped),
                _ => Ok(StopState::Stopping),
            }
        });
        self.changed(instance);
        state
    }
    async fn fence(&self, instance: &InstanceId, cluster: &ClusterId, term: u64) -> HostResult<()> {
        self.call("fence", || {
            let mut parts = self.machine.lock();
            raise(&mut parts, cluster, term)?;
            if let Some(process) = parts.processes.get_mut(instance) {
                process.state = ProcessState::Stopped;
            }
            Ok(())
        })?;
        self.changed(instance);
        Ok(())
    }
    async fn kill_hung(&self, instance: &InstanceId, reason: &str) -> HostResult<()> {
        self.call("kill_hung", || {
            let now = self.machine.now();
            if let Some(process) = self.machine.lock().processes.get_mut(instance) {
                process.kill(now, reason);
            }
            Ok(())
        })?;
        self.changed(instance);
        Ok(())
    }
    async fn ensure_endpoint(&self, wish: &EndpointWish) -> HostResult<EndpointState> {
        self.call("ensure_endpoint", || {
            let mut parts = self.machine.lock();
            raise(&mut parts, &wish.cluster, wish.term)?;
            if parts.gateway_down {
                return Err(moorage_host::HostError {
                    problem: Problem::new(ProblemCode::GatewayUnavailable, "The gateway does not answer."),
                    passing: true,
                    cause: None,
                });
            }
            let busy = |at: SocketAddrV4| {
                let others = parts.endpoints.iter().filter(|(cluster, _)| **cluster != wish.cluster);
                let mut elsewhere = others.flat_map(|(_, other)| listens(other));
                elsewhere.any(|other| other == at) || parts.occupied.contains(at.ip())
            };
            if busy(wish.listen) {
                return Ok(EndpointState::AddressInUse);
            }
            let without = listens(wish).find(|at| busy(*at));
            let tls = wish.tls.clone().or_else(|| parts.endpoints.get(&wish.cluster).and_then(|before| before.tls.clone()));
            parts.endpoints.insert(wish.cluster.clone(), EndpointWish { tls, ..wish.clone() });
            Ok(match without {
                Some(at) => EndpointState::ServingPartly { at: at.into(), in_use: true, reason: format!("{at}: in use") },
                None => EndpointState::Serving,
            })
        })
    }
    async fn endpoint_certificate(&self, cluster: &ClusterId) -> HostResult<Option<String>> {
        self.call("endpoint_certificate", || {
            let parts = self.machine.lock();
            Ok(parts.endpoints.get(cluster).and_then(|endpoint| endpoint.tls.as_ref()).map(|tls| tls.certificate.clone()))
        })
    }
    async fn ensure_gateway(&self) -> HostResult<()> {
        self.call("ensure_gateway", || Ok(()))
    }
    async fn ensure_instance_absent(&self, instance: &InstanceId) -> HostResult<()> {
        self.call("ensure_instance_absent", || {
            let mut parts = self.machine.lock();
            parts.processes.remove(instance);
            parts.volumes.remove(instance);
            parts.manifests.remove(&Some(instance.clone()));
            Ok(())
        })?;
        self.changed(instance);
        Ok(())
    }
    async fn ensure_endpoint_absent(&self, cluster: &ClusterId) -> HostResult<()> {
        self.call("ensure_endpoint_absent", || {
            self.machine.lock().endpoints.remove(cluster);
            Ok(())
        })
    }
    async fn inventory(&self) -> HostResult<Inventory> {
        self.call("inventory", || {
            let parts = self.machine.lock();
            let mut instances: std::collections::BTreeMap<_, _> =
                parts.volumes.keys().map(|instance| (instance.clone(), ProcessState::Absent)).collect();
            instances.extend(parts.processes.iter().map(|(instance, process)| (instance.clone(), process.state.clone())));
            Ok(Inventory { instances, endpoints: parts.endpoints.keys().cloned().collect(), terms: parts.terms.clone() })
        })
    }
    async fn output_of(&self, _program: &Program) -> HostResult<String> {
        self.call("output_of", || Ok("max_connections\nwork_mem\n".to_owned()))
    }
    async fn ensure_manifest(&self, of: Option<&InstanceId>, text: &str) -> HostResult<()> {
        self.call("ensure_manifest", || {
            let mut parts = self.machine.lock();
            if let Some(instance) = of
                && !parts.volumes.contains_key(instance)
            {
                return Err(Problem::new(ProblemCode::HostFailed, "There is no such instance.").into());
            }
            parts.manifests.insert(of.cloned(), text.to_owned());
            Ok(())
        })
    }
    async fn manifests(&self) -> HostResult<Vec<(Option<InstanceId>, String)>> {
        self.call("manifests", || Ok(self.machine.lock().manifests.clone().into_iter().collect()))
    }
    async fn log_tail(&self, instance: &InstanceId, most_bytes: u64) -> HostResult<String> {
        self.call("log_tail", || {
            let log = match self.state(instance) {
                ProcessState::Absent => String::new(),
                ProcessState::BackingOff { last, .. } | ProcessState::GaveUp { last } => format!("{}\n", last.last_words),
                _ => "ready\n".into(),
            };
            Ok(if log.len() as u64 <= most_bytes { log } else { String::new() })
        })
    }
    async fn ensure_log_bounded(&self, _instance: &InstanceId, _most_bytes: u64) -> HostResult<bool> {
        // Its logs are a line long.
        self.call("ensure_log_bounded", || Ok(false))
    }
    async fn endpoint_public(&self, cluster: &ClusterId) -> HostResult<Option<SocketAddrV4>> {
        self.call("endpoint_public", || Ok(self.machine.lock().endpoints.get(cluster).and_then(|endpoint| endpoint.public)))
    }
    async fn endpoint_traffic(&self) -> HostResult<BTreeMap<ClusterId, Traffic>> {
        self.call("endpoint_traffic", || {
            let parts = self.machine.lock();
            Ok(parts.endpoints.keys().map(|cluster| (cluster.clone(), Traffic::default())).collect())
        })
    }
    async fn drain_endpoint(&self, cluster: &ClusterId) -> HostResult<u32> {
        self.call("drain_endpoint", || Ok(self.machine.lock().sessions.get(cluster).copied().unwrap_or_default()))
    }
    fn changes(&self) -> BoxStream<'static, Change> {
        self.machine.listen().boxed()
    }
}
