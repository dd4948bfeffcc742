//! MariaDB described: layout, jobs, administration.

use async_trait::async_trait;
use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::decide::health::Probe;
use moorage_domain::engine::{EngineName, Installation, Version};
use moorage_domain::layout::{InstanceSpec, JobStep, Place, ProcessLayout, Program, TemplateSpec};
use moorage_domain::parameter::Parameter;
use moorage_domain::secret::Verifier;
use moorage_domain::{Problem, ProblemCode};
use moorage_engine::{Engine, EngineError, EngineSession, Fact, Package};
use std::path::{Path, PathBuf};
use std::time::Duration;

mod accounts;
mod character_set;
mod copies;
mod database;
mod facts;
mod last_words;
mod layout;
mod packages;
mod parameters;
mod programs;
mod quote;
mod replication;
mod session;
mod settings;
mod template;
mod verifier;

const DEFAULT_PORT: u16 = 2866;

/// MariaDB Server.
#[derive(Clone, Copy, Debug, Default)]
pub struct MariaDb;

#[async_trait]
impl Engine for MariaDb {
    fn name(&self) -> EngineName {
        EngineName::MariaDb
    }
    fn supported(&self) -> &'static [&'static str] {
        &["10.11"]
    }
    fn packages(&self, version: &Version) -> Vec<Package> {
        packages::packages(version)
    }
    fn server_binary(&self, prefix: &Path, _major: &str) -> PathBuf {
        programs::server(prefix)
    }
    fn client_program(&self) -> &'static str {
        "mariadb"
    }
    fn read_version(&self, output: &str) -> Option<Version> {
        let (_, rest) = output.split_once("  Ver ")?;
        let (version, _) = rest.split_once("-MariaDB")?;
        Version::parse(version).ok()
    }
    fn facts(&self, version: &Version) -> Vec<Fact> {
        facts::facts(version)
    }
    fn default_port(&self) -> u16 {
        DEFAULT_PORT
    }
    fn default_character_set(&self) -> &'static str {
        character_set::DEFAULT
    }
    fn default_locale(&self) -> Option<&'static str> {
        None
    }
    fn check_database(&self, database: &DatabaseSpec) -> Result<(), Problem> {
        database::check(database).map(drop)
    }
    fn template(&self, installation: &Installation, administrator: &str) -> TemplateSpec {
        template::template(installation, administrator)
    }
    fn catalogue(&self, installation: &Installation) -> Program {
        let server = programs::server(&installation.prefix).to_string_lossy().into_owned();
        let argv = [server.as_str(), "--no-defaults", "--verbose", "--help"].map(String::from).to_vec();
        Program { argv, environment: programs::environment(installation) }
    }
    fn read_catalogue(&self, output: &str) -> Vec<Parameter> {
        parameters::described(output)
    }
    fn layout(&self, spec: &InstanceSpec, place: &Place) -> ProcessLayout {
        layout::layout(spec, place)
    }
    /// BACKUP STAGE BLOCK_COMMIT waits for them.
    fn copies_while_commits_wait(&self) -> bool {
        false
    }
    /// Its binary log begins with the first account.
    fn new_standby_is_complete(&self) -> bool {
        true
    }
    fn copy(&self, spec: &InstanceSpec, _place: &Place) -> Vec<JobStep> {
        copies::copy(spec)
    }
    /// Started to follow, the server itself takes back what nobody has acknowledged.
    fn rewind(&self, _spec: &InstanceSpec, _place: &Place) -> Vec<JobStep> {
        Vec::new()
    }
    fn verifier(&self, password: &str, _salt: [u8; 16]) -> Result<Verifier, Problem> {
        verifier::verifier(password)
    }
    async fn connect(&self, socket: &Path, administrator: &str) -> Result<Box<dyn EngineSession>, EngineError> {
        if administrator.is_empty() {
            return Err(nameless());
        }
        Ok(Box::new(session::connect(socket, administrator).await?))
    }
    async fn probe(&self, socket: &Path, administrator: &str, limit: Duration) -> Probe {
        session::probe(socket, administrator, limit).await
    }
    fn last_words(&self, log: &str) -> String {
        last_words::last_words(log)
    }
}

fn nameless() -> EngineError {
    let problem = Problem::new(
        ProblemCode::EngineRefused,
        "The operating-system account that Moorage runs as has no name, so no engine can tell who administers it.",
    )
    .hint("Add the account to the password database (getent passwd must list it), then start Moorage again.");
    EngineError { problem, passing: false, cause: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_the_server_reports() {
        let read = |text: &str| MariaDb.read_version(text).map(|v| v.to_string());
        let output = "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)\n";
        assert_eq!(read(output).as_deref(), Some("10.11.19"));
        assert_eq!(read("/usr/sbin/mysqld  Ver 8.0.36 for Linux on x86_64"), None);
    }
}
