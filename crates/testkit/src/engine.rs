//! The engine on a [`Machine`].

use crate::machine::{Machine, Parts, Volume};
use async_trait::async_trait;
use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::database::{AccountName, AccountSpec};
use moorage_domain::decide::health::Probe;
use moorage_domain::engine::{EngineName, Installation, Version};
use moorage_domain::layout::{
    ConfigFile, InstanceSpec, JobStep, Place, ProcessLayout, Program, ReplicationPassword, StopPlan, TemplateSpec,
};
use moorage_domain::parameter::{Parameter, ParameterType};
use moorage_domain::parameters::{is_reserved_account, is_reserved_database};
use moorage_domain::secret::Verifier;
use moorage_domain::{InstanceId, Problem, ProblemCode};
use moorage_engine::{Acknowledgement, Engine, EngineError, EngineFacts, EngineSession, Fact, Package, Position};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The engine of one product on a [`Machine`]; keeps the contract of every engine.
#[derive(Clone)]
pub struct FakeEngine {
    name: EngineName,
    machine: Machine,
}

impl FakeEngine {
    /// The engine of this product on this machine.
    pub fn new(name: EngineName, machine: Machine) -> Self {
        Self { name, machine }
    }
    fn version(&self) -> &'static str {
        match self.name {
            EngineName::MariaDb => "10.11.19",
            EngineName::PostgreSql => "15.20",
        }
    }
}

const MARK: &str = "FAKE$";

fn fault(verb: &'static str) -> impl Fn(bool) -> EngineError {
    move |passing| {
        let words = format!("The engine was told to fail at {verb}.");
        let code = if passing { ProblemCode::EngineUnreachable } else { ProblemCode::EngineRefused };
        EngineError { problem: Problem::new(code, words), passing, cause: None }
    }
}

fn plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= 63 && !name.chars().any(char::is_control)
}

/// A parameter like any other.
fn a_parameter(name: &str) -> Parameter {
    Parameter {
        name: name.into(),
        data_type: ParameterType::Integer,
        unit: None,
        default_value: Some("1".into()),
        allowed_values: Some("1-9".into()),
        needs_restart: name == "max_connections",
        modifiable: name != "max_connections",
        description: Some(format!("What {name} is for.")),
        applied_value: Some("2".into()),
        pending_restart: false,
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn name(&self) -> EngineName {
        self.name
    }
    fn supported(&self) -> &'static [&'static str] {
        match self.name {
            EngineName::MariaDb => &["10.11"],
            EngineName::PostgreSql => &["15"],
        }
    }
    fn packages(&self, _version: &Version) -> Vec<Package> {
        vec![Package { name: "fake-server", versioned: true }]
    }
    fn server_binary(&self, prefix: &Path, major: &str) -> PathBuf {
        prefix.join(major).join("server")
    }
    fn client_program(&self) -> &'static str {
        "fake"
    }
    fn read_version(&self, output: &str) -> Option<Version> {
        Version::parse(output.trim().strip_prefix("fake ")?).ok()
    }
    fn facts(&self, version: &Version) -> Vec<Fact> {
        vec![Fact { name: "version", value: version.to_string() }]
    }
    fn default_port(&self) -> u16 {
        2866
    }
    fn default_character_set(&self) -> &'static str {
        match self.name {
            EngineName::MariaDb => "utf8",
            EngineName::PostgreSql => "UTF-8",
        }
    }
    fn default_locale(&self) -> Option<&'static str> {
        match self.name {
            EngineName::MariaDb => None,
            EngineName::PostgreSql => Some("C"),
        }
    }
    fn check_database(&self, database: &DatabaseSpec) -> Result<(), Problem> {
        if !plain(&database.name) || is_reserved_database(&database.name) {
            return Err(Problem::invalid("database.name", "The engine cannot have a database of that name."));
        }
        if !plain(&database.owner) || is_reserved_account(&database.owner) {
            return Err(Problem::invalid("database.owner", "The engine cannot have an account of that name."));
        }
        if !["utf8", "utf8mb4", "UTF-8", "SQL_ASCII"].contains(&database.character_set.as_str()) {
            return Err(Problem::invalid("database.character_set", "The engine does not know it."));
        }
        match database.locale.as_deref() {
            None | Some("C" | "POSIX" | "C.UTF-8") => Ok(()),
            Some(_) => Err(Problem::invalid("database.locale", "The engine does not know it.")),
        }
    }
    fn template(&self, installation: &Installation, administrator: &str) -> TemplateSpec {
        let mut hasher = DefaultHasher::new();
        administrator.hash(&mut hasher);
        let path = String::from("{volume}/identity");
        TemplateSpec {
            key: format!("{}-{}-fake-{:016x}", self.name, installation.version, hasher.finish()),
            make: vec![JobStep::Write { path: path.clone(), contents: "0".repeat(16) }],
            personalise: vec![JobStep::Randomise { path, offset: 0, length: 8 }],
        }
    }
    fn catalogue(&self, installation: &Installation) -> Program {
        let major = installation.version.major(self.name);
        let argv = vec![self.server_binary(&installation.prefix, &major).display().to_string(), "--catalogue".into()];
        Program { argv, environment: Vec::new() }
    }
    fn read_catalogue(&self, output: &str) -> Vec<Parameter> {
        let named = |name: &str| Parameter { applied_value: None, ..a_parameter(name) };
        output.lines().map(named).collect()
    }
    fn layout(&self, spec: &InstanceSpec, place: &Place) -> ProcessLayout {
        let major = spec.installation.version.major(self.name);
        ProcessLayout {
            argv: vec![self.server_binary(&spec.installation.prefix, &major).display().to_string()],
            environment: Vec::new(),
            files: vec![ConfigFile { name: "engine.conf".into(), contents: format!("number = {}\n", spec.number) }],
            stop: StopPlan { signal: 15, grace: Duration::from_secs(60) },
            socket: place.run.join("socket"),
            working_directory: place.volume.clone(),
            stale: Vec::new(),
            marks: Vec::new(),
            has_peers: spec.replication.is_some(),
            log: place.logs.join("engine.log"),
        }
    }
    fn new_standby_is_complete(&self) -> bool {
        self.name == EngineName::MariaDb
    }
    fn copy(&self, spec: &InstanceSpec, _place: &Place) -> Vec<JobStep> {
        let peer = spec.replication.as_ref().map(|replication| replication.peer.to_string());
        peer.into_iter().map(|peer| JobStep::Write { path: "{volume}/copy".into(), contents: peer }).collect()
    }
    fn rewind(&self, spec: &InstanceSpec, place: &Place) -> Vec<JobStep> {
        if self.new_standby_is_complete() { Vec::new() } else { self.copy(spec, place) }
    }
    fn verifier(&self, password: &str, salt: [u8; 16]) -> Result<Verifier, Problem> {
        if password.is_empty() {
            return Err(Problem::invalid("database.password", "A password is not empty."));
        }
        let mut hasher = DefaultHasher::new();
        (password, salt).hash(&mut hasher);
        Ok(Verifier(format!("{MARK}{:016x}", hasher.finish())))
    }
    async fn connect(&self, socket: &Path, _administrator: &str) -> Result<Box<dyn EngineSession>, EngineError> {
        let open = || self.machine.answering(socket).ok_or_else(|| EngineError::unreachable("nothing listens there"));
        let instance = self.machine.call("connect", open, fault("connect"))?;
        Ok(Box::new(FakeSession { engine: self.clone(), socket: socket.to_owned(), instance }))
    }
    async fn probe(&self, socket: &Path, _administrator: &str, limit: Duration) -> Probe {
        let look = || Ok::<_, ()>(self.machine.answering(socket).is_some());
        let answered = self.machine.call("probe", look, |_| ()).unwrap_or(false);
        if answered {
            return Probe::Answered;
        }
        // A hung engine takes all the time it is given.
        let hangs = self.machine.lock().processes.values().any(|process| {
            process.layout.socket == socket && matches!(process.state, moorage_domain::instance::ProcessState::Running { .. })
        });
        if hangs {
            tokio::time::sleep(limit.min(Duration::from_millis(20))).await;
        }
        Probe::Silent
    }
    fn last_words(&self, log: &str) -> String {
        log.lines().next_back().unwrap_or_default().to_owned()
    }
}

/// A conversation with one running instance; it breaks when the instance stops answering.
struct FakeSession {
    engine: FakeEngine,
    socket: PathBuf,
    instance: InstanceId,
}

impl FakeSession {
    fn alive(&self) -> Result<(), EngineError> {
        match self.engine.machine.answering(&self.socket) {
            Some(instance) if instance == self.instance => Ok(()),
            _ => Err(EngineError::unreachable("the connection is lost")),
        }
    }
}

impl FakeSession {
    fn has_peers(&self, parts: &Parts) -> bool {
        parts.processes.get(&self.instance).is_some_and(|process| process.layout.has_peers)
    }
    /// Changes what is in its volume, as far as it may, and waits for whoever has to have it: as nobody can wait here, it says so.
    fn write(&self, change: impl FnOnce(&mut Volume) -> Result<(), EngineError>) -> Result<(), EngineError> {
        let mut parts = self.engine.machine.lock();
        let has_peers = self.has_peers(&parts);
        let volume = parts.volumes.get_mut(&self.instance).ok_or_else(|| EngineError::unreachable("the volume is gone"))?;
        if has_peers && !volume.writable {
            return Err(EngineError::refused("it is read-only", "it was not promoted"));
        }
        change(volume)?;
        volume.written += 1;
        let waits = volume.requires;
        parts.replicate(&self.instance);
        if waits && parts.followers(&self.instance).is_empty() {
            return Err(EngineError::unreachable("a commit waits for a standby"));
        }
        Ok(())
    }
    /// Changes what is in its volume as one call, which may be told to fail.
    fn change(&self, verb: &'static str, change: impl FnOnce(&mut Volume) -> Result<(), EngineError>) -> Result<(), EngineError> {
        let run = || {
            self.alive()?;
            self.write(change)
        };
        self.engine.machine.call(verb, run, fault(verb))
    }
    fn on_volume<T>(&self, verb: &'static str, act: impl FnOnce(&mut Volume) -> T) -> Result<T, EngineError> {
        let run = || {
            self.alive()?;
            let mut parts = self.engine.machine.lock();
            let volume = parts.volumes.get_mut(&self.instance).ok_or_else(|| EngineError::unreachable("the volume is gone"))?;
            Ok(act(volume))
        };
        self.engine.machine.call(verb, run, fault(verb))
    }
}

#[async_trait]
impl EngineSession for FakeSession {
    async fn ensure_database_with_owner(&mut self, database: &DatabaseSpec, verifier: &Verifier) -> Result<(), EngineError> {
        let verb = "ensure_database_with_owner";
        let make = || {
            self.alive()?;
            self.engine.check_database(database).map_err(|problem| EngineError { problem, passing: false, cause: None })?;
            if !verifier.0.starts_with(MARK) {
                return Err(EngineError::refused("that is no verifier", "a password in clear"));
            }
            self.write(|volume| {
                volume.databases.insert(database.name.clone(), (database.owner.clone(), verifier.0.clone()));
                Ok(())
            })
        };
        self.engine.machine.call(verb, make, fault(verb))
    }
    async fn ensure_password(&mut self, account: &str, verifier: &Verifier) -> Result<(), EngineError> {
        let verb = "ensure_password";
        let change = || {
            self.alive()?;
            if !verifier.0.starts_with(MARK) {
                return Err(EngineError::refused("that is no verifier", "a password in clear"));
            }
            self.write(|volume| {
                let of_owner = volume.databases.values_mut().find(|(known, _)| known == account).map(|(_, password)| password);
                let found = of_owner.or(volume.accounts.get_mut(account).map(|(_, password)| password));
                let password = found.ok_or_else(|| EngineError::refused("there is no such account", account.to_owned()))?;
                password.clone_from(&verifier.0);
                Ok(())
            })
        };
        self.engine.machine.call(verb, change, fault(verb))
    }
    async fn replace_password(&mut self, account: &str, verifier: &Verifier) -> Result<(), EngineError> {
        self.ensure_password(account, verifier).await
    }
    async fn ensure_database(&mut self, database: &DatabaseSpec) -> Result<(), EngineError> {
        self.engine.check_database(database).map_err(|problem| EngineError { problem, passing: false, cause: None })?;
        self.change("ensure_database", |volume| {
            volume.databases.entry(database.name.clone()).or_default();
            Ok(())
        })
    }
    async fn prepare_databases(&mut self) -> Result<(), EngineError> {
        self.on_volume("prepare_databases", |_| ())
    }
    async fn ensure_account(&mut self, account: &AccountSpec, verifier: &Verifier) -> Result<(), EngineError> {
        if !verifier.0.starts_with(MARK) || is_reserved_account(&account.name) {
            return Err(EngineError::refused("that is no verifier, or no name", "a password in clear"));
        }
        self.change("ensure_account", |volume| {
            if !volume.databases.contains_key(&account.database) {
                return Err(EngineError::refused("there is no such database", account.database.clone()));
            }
            volume.accounts.insert(account.name.clone(), (account.clone(), verifier.0.clone()));
            Ok(())
        })
    }
    async fn shut_out_others(&mut self, _database: &str, _accounts: &[String]) -> Result<(), EngineError> {
        self.on_volume("shut_out_others", |_| ())
    }
    async fn account_name(&mut self, name: &str) -> Result<AccountName, EngineError> {
        self.on_volume("account_name", |volume| {
            let is_there = volume.accounts.contains_key(name) || volume.databases.values().any(|(owner, _)| owner == name);
            if is_there { AccountName::Account } else { AccountName::Free }
        })
    }
    async fn end_sessions(&mut self, account: &str) -> Result<(), EngineError> {
        match is_reserved_account(account) {
            true => Err(EngineError::refused("that account is the engine's", account.to_owned())),
            false => self.on_volume("end_sessions", |_| ()),
        }
    }
    async fn ensure_account_absent(&mut self, account: &AccountSpec) -> Result<(), EngineError> {
        if is_reserved_account(&account.name) {
            return Err(EngineError::refused("that account is the engine's", account.name.clone()));
        }
        self.change("ensure_account_absent", |volume| {
            volume.accounts.remove(&account.name);
            Ok(())
        })
    }
    async fn ensure_database_absent(&mut self, name: &str) -> Result<(), EngineError> {
        if is_reserved_database(name) {
            return Err(EngineError::refused("that database is the engine's", name.to_owned()));
        }
        self.change("ensure_database_absent", |volume| {
            volume.databases.remove(name);
            Ok(())
        })
    }
    async fn database_sizes(&mut self) -> Result<Vec<(String, u64)>, EngineError> {
        self.on_volume("database_sizes", |volume| volume.databases.keys().map(|name| (name.clone(), 8192)).collect())
    }
    async fn parameters(&mut self) -> Result<Vec<Parameter>, EngineError> {
        let read = || {
            self.alive()?;
            Ok(vec![a_parameter("max_connections"), a_parameter("work_mem")])
        };
        self.engine.machine.call("parameters", read, fault("parameters"))
    }
    async fn observe(&mut self) -> Result<EngineFacts, EngineError> {
        let look = || {
            self.alive()?;
            let parts = self.engine.machine.lock();
            let databases = parts.volumes.get(&self.instance).map(|volume| volume.databases.keys().cloned().collect());
            let writable = !self.has_peers(&parts) || parts.volumes.get(&self.instance).is_some_and(|volume| volume.writable);
            Ok(EngineFacts { version: self.engine.version().into(), writable, databases: databases.unwrap_or_default() })
        };
        self.engine.machine.call("observe", look, fault("observe"))
    }
    async fn ensure_replication_account(&mut self, verifier: &Verifier) -> Result<(), EngineError> {
        let verb = "ensure_replication_account";
        let make = || {
            self.alive()?;
            if !verifier.0.starts_with(MARK) {
                return Err(EngineError::refused("that is no verifier", "a password in clear"));
            }
            self.write(|_| Ok(()))
        };
        self.engine.machine.call(verb, make, fault(verb))
    }
    async fn promote(&mut self, waits_for: Option<&InstanceId>) -> Result<(), EngineError> {
        self.on_volume("promote", |volume| {
            if !volume.writable {
                (volume.writable, volume.follows, volume.requires) = (true, None, waits_for.is_some());
            }
        })
    }
    async fn require_acknowledgement(&mut self, _standby: &InstanceId) -> Result<(), EngineError> {
        self.on_volume("require_acknowledgement", |volume| volume.requires = true)
    }
    async fn lag(&mut self) -> Result<Option<Duration>, EngineError> {
        self.on_volume("lag", |_| Some(Duration::ZERO))
    }
    async fn applies_within(&mut self, _limit: Duration) -> Result<bool, EngineError> {
        self.on_volume("applies_within", |_| true)
    }
    async fn release_commits(&mut self) -> Result<(), EngineError> {
        self.on_volume("release_commits", |volume| volume.requires = false)
    }
    async fn acknowledgement(&mut self, standby: &InstanceId) -> Result<Acknowledgement, EngineError> {
        let required = self.on_volume("acknowledgement", |volume| volume.requires)?;
        let given = required && self.engine.machine.lock().followers(&self.instance).contains(standby);
        Ok(Acknowledgement { required, given, awaited: false })
    }
    async fn position(&mut self) -> Result<Position, EngineError> {
        self.on_volume("position", |volume| Position(volume.written.to_string()))
    }
    async fn follow(&mut self, primary: &Place, _password: &ReplicationPassword) -> Result<(), EngineError> {
        let name = primary.volume.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let primary = InstanceId::parse(name).map_err(|error| EngineError::refused("there is no such primary", error.to_string()))?;
        let writable = self.on_volume("follow", |volume| {
            volume.follows = (!volume.writable).then(|| primary.clone());
            volume.writable
        })?;
        if writable {
            return Err(EngineError::refused("it is writable", "it was promoted"));
        }
        self.engine.machine.lock().replicate(&primary);
        Ok(())
    }
    async fn progress(&mut self) -> Result<String, EngineError> {
        self.on_volume("progress", |volume| volume.written.to_string())
    }
    async fn has(&mut self, position: &Position) -> Result<bool, EngineError> {
        self.on_volume("has", |volume| volume.follows.is_some() && position.0.parse::<u64>().is_ok_and(|wanted| volume.written >= wanted))
    }
}
