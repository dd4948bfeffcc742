//! The least that operations need of a host and an engine: everything works at once and nothing is real.

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::decide::health::Probe;
use moorage_domain::engine::{EngineName, Installation, Version};
use moorage_domain::instance::ProcessState;
use moorage_domain::layout::{InstanceSpec, Place, ProcessLayout, StopPlan, TemplateSpec};
use moorage_domain::secret::Verifier;
use moorage_domain::{ClusterId, HostId, InstanceId, Problem, Timestamp};
use moorage_engine::{Engine, EngineError, EngineFacts, EngineSession, Fact, Package};
use moorage_host::{
    Abilities, Change, EndpointState, EndpointWish, Host, HostResult, Inventory, ProcessWish, StopState, VolumeState, VolumeWish,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A host in memory.
pub struct MemoryHost {
    id: HostId,
    processes: Mutex<BTreeMap<InstanceId, ProcessState>>,
}

impl MemoryHost {
    pub fn new(id: HostId) -> Self {
        Self { id, processes: Mutex::default() }
    }
    fn processes(&self) -> MutexGuard<'_, BTreeMap<InstanceId, ProcessState>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Host for MemoryHost {
    fn id(&self) -> &HostId {
        &self.id
    }
    fn abilities(&self) -> Abilities {
        Abilities {
            tenants_isolated: true,
            network_isolated: false,
            groups_tracked: true,
            limits_enforced: true,
            volume_driver: "directory".into(),
            volume_size_enforced: false,
            atomic_snapshots: false,
        }
    }
    fn administrator(&self) -> String {
        "root".into()
    }
    fn uid_range(&self) -> Option<std::ops::Range<u32>> {
        Some(60_000..60_100)
    }
    fn place(&self, _: &InstanceId) -> Place {
        let path = PathBuf::from("/nowhere");
        Place { volume: path.clone(), config: path.clone(), run: path.clone(), logs: path }
    }
    async fn installations(&self) -> HostResult<Vec<Installation>> {
        let installation = |engine, version: &str| Installation {
            engine,
            version: Version::parse(version).expect("a version"),
            prefix: "/".into(),
            system: true,
        };
        Ok(vec![installation(EngineName::MariaDb, "10.11.6"), installation(EngineName::PostgreSql, "15.10")])
    }
    async fn ensure_spares(&self, _: &TemplateSpec, count: usize) -> HostResult<usize> {
        Ok(count)
    }
    async fn ensure_volume(&self, _: &VolumeWish) -> HostResult<VolumeState> {
        Ok(VolumeState::Ready { from_spare: true })
    }
    async fn ensure_process(&self, wish: &ProcessWish) -> HostResult<ProcessState> {
        let running = ProcessState::Running { pid: 1, incarnation: 1, since: Timestamp(0), last_exit: None };
        self.processes().insert(wish.instance.clone(), running.clone());
        Ok(running)
    }
    async fn process(&self, instance: &InstanceId) -> HostResult<ProcessState> {
        Ok(self.processes().get(instance).cloned().unwrap_or_default())
    }
    async fn ensure_stopped(&self, instance: &InstanceId, _: &ClusterId, _: u64) -> HostResult<StopState> {
        self.processes().insert(instance.clone(), ProcessState::Stopped);
        Ok(StopState::Stopped)
    }
    async fn fence(&self, instance: &InstanceId, _: &ClusterId, _: u64) -> HostResult<()> {
        self.processes().insert(instance.clone(), ProcessState::Stopped);
        Ok(())
    }
    async fn kill_hung(&self, _: &InstanceId, _: &str) -> HostResult<()> {
        Ok(())
    }
    async fn ensure_endpoint(&self, _: &EndpointWish) -> HostResult<EndpointState> {
        Ok(EndpointState::Serving)
    }
    async fn ensure_gateway(&self) -> HostResult<()> {
        Ok(())
    }
    async fn ensure_instance_absent(&self, instance: &InstanceId) -> HostResult<()> {
        self.processes().remove(instance);
        Ok(())
    }
    async fn ensure_endpoint_absent(&self, _: &ClusterId) -> HostResult<()> {
        Ok(())
    }
    async fn inventory(&self) -> HostResult<Inventory> {
        Ok(Inventory { instances: self.processes().clone(), ..Inventory::default() })
    }
    async fn log_tail(&self, _: &InstanceId, _: u64) -> HostResult<String> {
        Ok("ready for connections\n".into())
    }
    fn changes(&self) -> BoxStream<'static, Change> {
        stream::pending().boxed()
    }
}

/// An engine that answers at once.
pub struct MemoryEngine(pub EngineName);

#[async_trait]
impl Engine for MemoryEngine {
    fn name(&self) -> EngineName {
        self.0
    }
    fn supported(&self) -> &'static [&'static str] {
        match self.0 {
            EngineName::MariaDb => &["10.11"],
            EngineName::PostgreSql => &["15"],
        }
    }
    fn packages(&self, _: &Version) -> Vec<Package> {
        Vec::new()
    }
    fn server_binary(&self, prefix: &Path, _: &str) -> PathBuf {
        prefix.join("server")
    }
    fn client_program(&self) -> &'static str {
        "client"
    }
    fn read_version(&self, output: &str) -> Option<Version> {
        Version::parse(output).ok()
    }
    fn facts(&self, _: &Version) -> Vec<Fact> {
        vec![Fact { name: "default_character_set", value: self.default_character_set().into() }]
    }
    fn default_port(&self) -> u16 {
        2866
    }
    fn default_character_set(&self) -> &'static str {
        match self.0 {
            EngineName::MariaDb => "utf8",
            EngineName::PostgreSql => "UTF-8",
        }
    }
    fn default_locale(&self) -> Option<&'static str> {
        (self.0 == EngineName::PostgreSql).then_some("C")
    }
    fn check_database(&self, database: &DatabaseSpec) -> Result<(), Problem> {
        if ["utf8", "utf8mb4", "UTF-8"].contains(&database.character_set.as_str()) {
            return Ok(());
        }
        Err(Problem::invalid("database.character_set", format!("There is no character set '{}'.", database.character_set)))
    }
    fn template(&self, installation: &Installation, _: &str) -> TemplateSpec {
        TemplateSpec { key: installation.label(), make: Vec::new(), personalise: Vec::new() }
    }
    fn layout(&self, _: &InstanceSpec, place: &Place) -> ProcessLayout {
        ProcessLayout {
            argv: vec!["/nowhere/server".into()],
            environment: Vec::new(),
            files: Vec::new(),
            stop: StopPlan { signal: 15, grace: Duration::from_secs(1) },
            socket: place.run.join("socket"),
            working_directory: place.volume.clone(),
            log: place.logs.join("log"),
        }
    }
    fn verifier(&self, _: &str, _: [u8; 16]) -> Result<Verifier, Problem> {
        Ok(Verifier("verifier".into()))
    }
    async fn connect(&self, _: &Path, _: &str) -> Result<Box<dyn EngineSession>, EngineError> {
        Ok(Box::new(MemorySession))
    }
    async fn probe(&self, _: &Path, _: &str, _: Duration) -> Probe {
        Probe::Answered
    }
    fn last_words(&self, _: &str) -> String {
        String::new()
    }
}

struct MemorySession;

#[async_trait]
impl EngineSession for MemorySession {
    async fn ensure_database_with_owner(&mut self, _: &DatabaseSpec, _: &Verifier) -> Result<(), EngineError> {
        Ok(())
    }
    async fn observe(&mut self) -> Result<EngineFacts, EngineError> {
        Ok(EngineFacts { version: "1".into(), writable: true, databases: Vec::new() })
    }
}
