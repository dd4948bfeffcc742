//! temporary
use clap::Subcommand;
use moorage_host_local::FindInstallations;
use moorage_domain::engine::{EngineName, Installation, Version};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Subcommand)]
pub enum EngineCommand { /// l
 List }

pub async fn run(_command: EngineCommand) -> anyhow::Result<ExitCode> { Ok(ExitCode::SUCCESS) }

pub fn finder(_directory: &Path, _prefixes: &[PathBuf]) -> FindInstallations {
    Arc::new(|| Box::pin(async {
        Ok(vec![
            Installation { engine: EngineName::MariaDb, version: Version::parse("10.11.19").expect("v"), prefix: "/".into(), system: true },
            Installation { engine: EngineName::PostgreSql, version: Version::parse("15.18").expect("v"), prefix: "/".into(), system: true },
        ])
    }))
}
