//! PostgreSQL described: layout, jobs, administration.

use async_trait::async_trait;
use moorage_domain::Problem;
use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::decide::health::Probe;
use moorage_domain::engine::{EngineName, Installation, Version};
use moorage_domain::layout::{InstanceSpec, JobStep, Place, ProcessLayout, Program, TemplateSpec};
use moorage_domain::parameter::Parameter;
use moorage_domain::secret::Verifier;
use moorage_engine::{Engine, EngineError, EngineSession, Fact, Package};
use std::path::{Path, PathBuf};
use std::time::Duration;

mod accounts;
mod copies;
mod database;
mod encoding;
mod facts;
mod last_words;
mod layout;
mod packages;
mod parameters;
mod programs;
mod quote;
mod ready;
mod replication;
mod session;
mod settings;
mod template;
mod verifier;

const DEFAULT_PORT: u16 = 2866;

/// PostgreSQL.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgreSql;

#[async_trait]
impl Engine for PostgreSql {
    fn name(&self) -> EngineName {
        EngineName::PostgreSql
    }
    fn supported(&self) -> &'static [&'static str] {
        &["15"]
    }
    fn packages(&self, version: &Version) -> Vec<Package> {
        packages::packages(version)
    }
    fn server_binary(&self, prefix: &Path, major: &str) -> PathBuf {
        programs::directory(prefix, major).join("postgres")
    }
    fn client_program(&self) -> &'static str {
        "psql"
    }
    fn read_version(&self, output: &str) -> Option<Version> {
        let version = output.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
        Version::parse(version).ok()
    }
    fn facts(&self, version: &Version) -> Vec<Fact> {
        facts::facts(version)
    }
    fn default_port(&self) -> u16 {
        DEFAULT_PORT
    }
    fn default_character_set(&self) -> &'static str {
        encoding::DEFAULT_ENCODING
    }
    fn default_locale(&self) -> Option<&'static str> {
        Some(encoding::DEFAULT_LOCALE)
    }
    fn check_database(&self, database: &DatabaseSpec) -> Result<(), Problem> {
        database::check(database).map(drop)
    }
    fn template(&self, installation: &Installation, _administrator: &str) -> TemplateSpec {
        template::template(installation)
    }
    fn catalogue(&self, installation: &Installation) -> Program {
        let argv = vec![programs::program(installation, "postgres"), String::from("--describe-config")];
        Program { argv, environment: programs::environment(installation) }
    }
    fn read_catalogue(&self, output: &str) -> Vec<Parameter> {
        parameters::described(output)
    }
    fn layout(&self, spec: &InstanceSpec, place: &Place) -> ProcessLayout {
        layout::layout(spec, place)
    }
    /// Systems of different identifiers do not follow each other.
    fn new_standby_is_complete(&self) -> bool {
        false
    }
    fn copy(&self, spec: &InstanceSpec, _place: &Place) -> Vec<JobStep> {
        copies::copy(spec)
    }
    fn rewind(&self, spec: &InstanceSpec, place: &Place) -> Vec<JobStep> {
        copies::rewind(spec, place)
    }
    fn verifier(&self, password: &str, salt: [u8; 16]) -> Result<Verifier, Problem> {
        verifier::verifier(password, salt)
    }
    async fn connect(&self, socket: &Path, administrator: &str) -> Result<Box<dyn EngineSession>, EngineError> {
        if administrator.is_empty() {
            return Err(nameless());
        }
        Ok(Box::new(session::connect(socket).await?))
    }
    async fn probe(&self, socket: &Path, _administrator: &str, limit: Duration) -> Probe {
        session::probe(socket, limit).await
    }
    fn without_refusals(&self, log: &str) -> String {
        log.lines().filter(|line| !line.contains("FATAL:  the database system is ")).collect::<Vec<_>>().join("\n")
    }
    fn last_words(&self, log: &str) -> String {
        last_words::last_words(log)
    }
}

fn nameless() -> EngineError {
    let problem = Problem::new(
        moorage_domain::ProblemCode::EngineRefused,
        "The operating-system account that Moorage runs as has no name, so no engine can tell who administers it.",
    )
    .hint("Add the account to the password database (getent passwd must list it), then start Moorage again.");
    EngineError { problem, passing: false, cause: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_is_no_progress() {
        let asked = "2026-01-01 [7] moorage_admin@postgres FATAL:  the database system is starting up\n";
        let before = "2026-01-01 [5] LOG:  redo starts at 0/1\n";
        let once = PostgreSql.without_refusals(&format!("{before}{asked}"));
        assert_eq!(once, PostgreSql.without_refusals(&format!("{before}{asked}{asked}")));
        assert_ne!(once, PostgreSql.without_refusals(&format!("{before}{asked}2026-01-01 [5] LOG:  redo in progress\n")));
    }

    #[test]
    fn reads_the_version_the_server_reports() {
        let read = |text: &str| PostgreSql.read_version(text).map(|v| v.to_string());
        assert_eq!(read("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n").as_deref(), Some("15.18"));
        assert_eq!(read("postgres (PostgreSQL) 17beta1"), None);
        assert_eq!(read("mariadbd  Ver 10.11.19-MariaDB"), None);
    }
}
