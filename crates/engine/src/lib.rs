//! What an engine is: it describes processes, files, jobs and SQL; a host carries them out. It never knows which host.

use async_trait::async_trait;
use moorage_domain::InstanceId;
use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::database::{AccountName, AccountSpec};
use moorage_domain::decide::health::Probe;
use moorage_domain::engine::{EngineName, Installation, Version};
use moorage_domain::layout::{InstanceSpec, JobStep, Place, ProcessLayout, Program, ReplicationPassword, TemplateSpec};
use moorage_domain::parameter::Parameter;
use moorage_domain::secret::Verifier;
use moorage_domain::{Problem, ProblemCode};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod contract;

/// What went wrong while talking to or about an engine: what users may see, and the cause for the log.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct EngineError {
    /// For users.
    pub problem: Problem,
    /// Not answering yet (starting, recovering, too many connections, connection lost): try again.
    pub passing: bool,
    /// For the log.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl EngineError {
    /// The engine cannot be talked to right now.
    pub fn unreachable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            problem: Problem::new(ProblemCode::EngineUnreachable, "The engine does not answer yet."),
            passing: true,
            cause: Some(cause.into()),
        }
    }
    /// The engine refused; `words` are its own and become the detail.
    pub fn refused(words: impl Into<String>, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let problem = Problem::new(ProblemCode::EngineRefused, "The engine refused.").detail(words);
        Self { problem, passing: false, cause: Some(cause.into()) }
    }
}

/// A Debian package whose contents, unpacked into a prefix, are part of an engine version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its version follows the engine's (else the newest is taken: libraries that the system may not have).
    pub versioned: bool,
}

/// How a version is sold to users: what the families list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Name (`default_character_set`).
    pub name: &'static str,
    /// Value.
    pub value: String,
}

/// Knows one database product.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Which one.
    fn name(&self) -> EngineName;
    /// Major versions that are supported (`10.11`).
    fn supported(&self) -> &'static [&'static str];
    /// Debian packages of a version, the one that carries its version number first.
    fn packages(&self, version: &Version) -> Vec<Package>;
    /// Where its server binary is inside a prefix, for a major version.
    fn server_binary(&self, prefix: &Path, major: &str) -> PathBuf;
    /// Where the command-line client for users is called (`mariadb`, `psql`).
    fn client_program(&self) -> &'static str;
    /// Reads the output of `SERVER --version`.
    fn read_version(&self, output: &str) -> Option<Version>;
    /// Facts about a version (character sets, defaults, protocol) that families list as properties.
    fn facts(&self, version: &Version) -> Vec<Fact>;
    /// The port users get when they name none (SCP: 2866 for both).
    fn default_port(&self) -> u16;
    /// The character set or encoding used when none is given (`utf8`, `UTF-8`).
    fn default_character_set(&self) -> &'static str;
    /// The locale used when none is given.
    fn default_locale(&self) -> Option<&'static str>;
    /// Whether the engine can make such a database; the problem names the field in the domain's words (`database.name`,
    /// `database.owner`, `database.character_set`, `database.locale`).
    fn check_database(&self, database: &DatabaseSpec) -> Result<(), Problem>;
    /// How an empty data directory is made. `administrator` is the operating-system account that will administer it.
    fn template(&self, installation: &Installation, administrator: &str) -> TemplateSpec;
    /// What to run to learn which parameters a version has.
    fn catalogue(&self, installation: &Installation) -> Program;
    /// Reads what that program says: parameters by name, with their defaults.
    fn read_catalogue(&self, output: &str) -> Vec<Parameter>;
    /// The process of one instance.
    fn layout(&self, spec: &InstanceSpec, place: &Place) -> ProcessLayout;
    /// Whether an instance made from the template can follow a primary made from the same one, from its beginning; else it has to be
    /// made a copy.
    fn new_standby_is_complete(&self) -> bool;
    /// Steps that make an instance's volume a copy of its peer's, which runs; whatever was in it is gone.
    fn copy(&self, spec: &InstanceSpec, place: &Place) -> Vec<JobStep>;
    /// Whether that copy is made also while commits of its peer wait for somebody.
    fn copies_while_commits_wait(&self) -> bool {
        true
    }
    /// Steps that make what a former primary wrote fit what its peer, the primary now, has; they may fail, and then only a copy helps.
    /// None where being started to follow is enough.
    fn rewind(&self, spec: &InstanceSpec, place: &Place) -> Vec<JobStep>;
    /// Turns a password into what the engine keeps of it. `salt` is fresh random bytes.
    fn verifier(&self, password: &str, salt: [u8; 16]) -> Result<Verifier, Problem>;
    /// Opens an administrative session over the instance's socket; gives up after a few seconds.
    async fn connect(&self, socket: &Path, administrator: &str) -> Result<Box<dyn EngineSession>, EngineError>;
    /// Asks whether the engine answers, within `limit`.
    async fn probe(&self, socket: &Path, administrator: &str, limit: std::time::Duration) -> Probe;
    /// A log without what the engine writes every time it is asked before it can answer: what is left says whether it gets on.
    fn without_refusals(&self, log: &str) -> String {
        log.to_owned()
    }
    /// Picks from the end of a log the lines that say why the engine could not start or died: the engine's own words.
    fn last_words(&self, log: &str) -> String;
}

/// One administrative conversation with one running instance; every call has a time limit.
#[async_trait]
pub trait EngineSession: Send {
    /// Makes sure the database exists with this character set or encoding and locale, belongs to the owner account (made
    /// or given this verifier), and is the owner's alone: no superuser, no CREATEROLE, no FILE, nothing outside it
    /// (decisions 2).
    async fn ensure_database_with_owner(&mut self, database: &DatabaseSpec, verifier: &Verifier) -> Result<(), EngineError>;
    /// Makes sure the account, which exists, logs in with what has this verifier. Nothing else of it changes, and who is logged in
    /// stays so.
    async fn ensure_password(&mut self, account: &str, verifier: &Verifier) -> Result<(), EngineError>;
    /// Makes sure there is such a database beside the others, in which nobody may do anything yet; its owner is made afterwards.
    async fn ensure_database(&mut self, database: &DatabaseSpec) -> Result<(), EngineError>;
    /// Makes sure some databases are ready to become tenants', where making one takes long. It may take seconds, and may be left at any time.
    async fn prepare_databases(&mut self) -> Result<(), EngineError>;
    /// Makes sure there is such an account, which logs in with what has this verifier, and may do what it says and nothing else.
    async fn ensure_account(&mut self, account: &AccountSpec, verifier: &Verifier) -> Result<(), EngineError>;
    /// Makes sure the account, which exists, logs in with what has this verifier, and that no session is left that was let in before. Who is
    /// connected cannot come in between.
    async fn replace_password(&mut self, account: &str, verifier: &Verifier) -> Result<(), EngineError>;
    /// Makes sure nobody gets into a database but these accounts of its own: whoever its owners let in besides them is out, sessions included.
    async fn shut_out_others(&mut self, database: &str, accounts: &[String]) -> Result<(), EngineError>;
    /// What the name of an account stands for.
    async fn account_name(&mut self, name: &str) -> Result<AccountName, EngineError>;
    /// Ends the sessions of an account; it may log in again.
    async fn end_sessions(&mut self, account: &str) -> Result<(), EngineError>;
    /// Makes sure there is no such account, and no session of it; what it made in its database stays.
    async fn ensure_account_absent(&mut self, account: &AccountSpec) -> Result<(), EngineError>;
    /// Makes sure there is no such database, whoever is connected to it.
    async fn ensure_database_absent(&mut self, name: &str) -> Result<(), EngineError>;
    /// What each database takes on disk, in bytes, by name.
    async fn database_sizes(&mut self) -> Result<Vec<(String, u64)>, EngineError>;
    /// The parameters of the running engine by name, with the values it really applies.
    async fn parameters(&mut self) -> Result<Vec<Parameter>, EngineError>;
    /// What the engine says of itself.
    async fn observe(&mut self) -> Result<EngineFacts, EngineError>;

    /// On a primary: makes sure the account exists by which its peer copies and follows it.
    async fn ensure_replication_account(&mut self, verifier: &Verifier) -> Result<(), EngineError>;
    /// Makes it writable once everything it has received is applied; who reads there until then is cut off, for that may be in the way. From its first commit on its commits wait until this standby has
    /// them, where one is given, and else for nobody. One that is writable stays as it is.
    async fn promote(&mut self, waits_for: Option<&InstanceId>) -> Result<(), EngineError>;
    /// On a primary: whether commits wait until this standby has them. When it returns, every commit that begins does; those that have
    /// ended before are part of what [`position`](Self::position) says.
    async fn require_acknowledgement(&mut self, standby: &InstanceId) -> Result<(), EngineError>;
    /// Writes to disk what a recovery would have to do again; nothing to do where that is little anyway.
    async fn checkpoint(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
    /// On a primary: sends the standby everything that was written, also by commits that did not wait for that.
    async fn ship(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
    /// On a primary: commits wait for nobody; those that wait are released.
    async fn release_commits(&mut self) -> Result<(), EngineError>;
    /// On a primary: what it says of its peer.
    async fn acknowledgement(&mut self, standby: &InstanceId) -> Result<Acknowledgement, EngineError>;
    /// On a primary whose standby has everything up to that position: ends waits for an acknowledgement that was lost with the standby's
    /// connection. A standby of PostgreSQL says again what it has; MariaDB's acknowledges only what comes in. How many were ended.
    async fn end_lost_waits(&mut self, _position: &Position) -> Result<usize, EngineError> {
        Ok(0)
    }
    /// On a standby: for how long what it has applied has been behind what it has received; none where it does not say.
    async fn lag(&mut self) -> Result<Option<Duration>, EngineError>;
    /// On a standby: whether it applies what it has received by now within so much time. Where it does not, that time has passed.
    async fn applies_within(&mut self, limit: Duration) -> Result<bool, EngineError>;
    /// On a primary: what it has written, by now.
    async fn position(&mut self) -> Result<Position, EngineError>;
    /// On a standby: makes sure it follows this peer, and acknowledges what it gets where the peer asks for that.
    async fn follow(&mut self, primary: &Place, password: &ReplicationPassword) -> Result<(), EngineError>;
    /// On a standby that follows: whether it has, on disk, what its primary had written at that position.
    async fn has(&mut self, position: &Position) -> Result<bool, EngineError>;
    /// On a standby: how far it is with getting and applying what it missed, in words that change as long as it gets on.
    async fn progress(&mut self) -> Result<String, EngineError>;
}

/// A place in what an engine has written, in its own words (PostgreSQL: an LSN; MariaDB: a GTID position).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(pub String);

/// What a primary says of its standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Commits wait for it.
    pub required: bool,
    /// It is connected, and what it says counts as an acknowledgement.
    pub given: bool,
    /// A commit waits for one at the moment.
    pub awaited: bool,
}

/// What a running engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFacts {
    /// Version it reports.
    pub version: String,
    /// Whether it accepts writes.
    pub writable: bool,
    /// Names of databases that are not the engine's own.
    pub databases: Vec<String>,
}
