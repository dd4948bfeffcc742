//! Engine versions and server types on offer.

use crate::view::EngineVersionView;
use crate::{App, problem};
use moorage_domain::engine::{EngineName, Installation, Version};
use moorage_domain::server_type::ServerType;
use moorage_domain::{Problem, ProblemCode};
use moorage_engine::Engine;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The identifier of an engine version: 32 hexadecimal digits, the same on every installation.
pub fn engine_version_id(engine: EngineName, version: &Version) -> String {
    digest_id(&format!("{engine}@{version}"))
}

/// An identifier that follows from a name.
pub(crate) fn digest_id(name: &str) -> String {
    Sha256::digest(name).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl App {
    /// Versions installed on the host, newest first within an engine.
    pub async fn engine_versions(&self, engine: Option<EngineName>) -> Result<Vec<EngineVersionView>, Problem> {
        let mut views = Vec::new();
        for installation in self.installations().await? {
            if engine.is_some_and(|only| only != installation.engine) {
                continue;
            }
            let described = self.engine(installation.engine)?;
            let major = installation.version.major(installation.engine);
            views.push(EngineVersionView {
                id: engine_version_id(installation.engine, &installation.version),
                engine: installation.engine,
                end_of_service: !described.supported().contains(&major.as_str()),
                facts: described.facts(&installation.version),
                operating_system: operating_system(),
                version: installation.version,
                major,
            });
        }
        Ok(views)
    }

    /// One version by its identifier.
    pub async fn engine_version(&self, id: &str, within: EngineName) -> Result<EngineVersionView, Problem> {
        let versions = self.engine_versions(Some(within)).await?;
        versions.into_iter().find(|version| version.id == id).ok_or_else(unknown_version)
    }

    /// Sizes a user can choose.
    pub fn server_types(&self) -> Vec<ServerType> {
        ServerType::catalogue()
    }

    /// What can run here, newest first within an engine.
    pub(crate) async fn installations(&self) -> Result<Vec<Installation>, Problem> {
        let mut found = self.parts.host.installations().await.map_err(problem::host)?;
        found.sort_by(|a, b| (a.engine, &b.version).cmp(&(b.engine, &a.version)));
        Ok(found)
    }

    pub(crate) fn engine(&self, name: EngineName) -> Result<&Arc<dyn Engine>, Problem> {
        let known = self.parts.engines.iter().find(|engine| engine.name() == name);
        known.ok_or_else(|| Problem::new(ProblemCode::EngineVersionUnknown, format!("This installation does not run {}.", name.display())))
    }
}

pub(crate) fn unknown_version() -> Problem {
    Problem::new(ProblemCode::EngineVersionUnknown, "There is no such engine version here.")
        .hint("List the engine versions; install another one with `moorage engine install`.")
}

/// Name and version from os-release; looked up once.
fn operating_system() -> (String, String) {
    static FOUND: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    FOUND
        .get_or_init(|| {
            let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim_matches('"').to_owned())
            };
            (field("ID=").unwrap_or_else(|| "linux".into()), field("VERSION_ID=").unwrap_or_else(|| "unknown".into()))
        })
        .clone()
}
