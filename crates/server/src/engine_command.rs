//! `moorage engine`: engine versions of this machine, without a server.

use crate::identity::Identity;
use crate::place::{Opened, Place};
use crate::{first_start, output, serve};
use anyhow::Result;
use clap::Subcommand;
use moorage_domain::engine::{EngineName, Installation, Version};
use moorage_domain::{HostId, Problem, ProblemCode};
use moorage_engine::Engine;
use moorage_host_local::FindInstallations;
use moorage_host_local::installations::{EngineKind, Installations, PackageWish};
use moorage_store::{Clusters, Store, StoreAddress};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// What can be done with engine versions.
#[derive(Subcommand)]
pub enum EngineCommand {
    /// Versions that can run here, and what Debian offers.
    List {
        /// Ask the package registries which versions could be installed, too.
        #[arg(long)]
        available: bool,
        /// `table` for people, `json` for scripts.
        #[arg(long, default_value = "table", value_parser = ["table", "json"])]
        output: String,
        #[command(flatten)]
        place: Place,
    },
    /// Install a version beside the others from Debian packages; the system is not touched.
    Install {
        /// `mariadb@10.11.19`, or `postgresql@15` for the newest 15 on offer.
        name_at_version: String,
        #[command(flatten)]
        place: Place,
    },
    /// Remove a version that Moorage installed.
    Remove {
        /// `mariadb@10.11.18`.
        name_at_version: String,
        #[command(flatten)]
        place: Place,
    },
}

fn open(place: Place) -> Result<(Opened, Installations)> {
    let opened = place.open()?;
    let installations = installations(&opened.directory, &opened.config.engines.prefixes);
    Ok((opened, installations))
}

/// Carries out a command.
pub async fn run(command: EngineCommand) -> Result<ExitCode> {
    match command {
        EngineCommand::List { available, output, place } => list(place, available, &output).await?,
        EngineCommand::Install { name_at_version, place } => {
            let (_, installations) = open(place)?;
            let installed = installations.install(&name_at_version, &|text| output::say(text)).await?;
            output::print(&installed.label());
        }
        EngineCommand::Remove { name_at_version, place } => {
            let (Opened { store, directory, .. }, installations) = open(place)?;
            let (engine, version) = read_label(&name_at_version)?;
            refuse_if_used(&directory, &store, &installations, engine, &version).await?;
            installations.remove(engine, &version).await?;
            output::say(&format!("{engine}@{version} is removed"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(place: Place, available: bool, format: &str) -> Result<()> {
    let (_, installations) = open(place)?;
    let mut rows: Vec<(EngineName, String, String)> = Vec::new();
    let found = installations.find().await;
    for installation in &found {
        let whose = if installation.system { "of the system".to_owned() } else { installation.prefix.display().to_string() };
        rows.push((installation.engine, installation.version.to_string(), whose));
    }
    if available {
        for engine in EngineName::ALL {
            for version in installations.available(engine).await? {
                if !found.iter().any(|known| known.engine == engine && known.version == version) {
                    rows.push((engine, version.to_string(), "can be installed".into()));
                }
            }
        }
    }
    if format == "json" {
        let list: Vec<_> =
            rows.iter().map(|(engine, version, place)| json!({"engine": engine, "version": version, "place": place})).collect();
        output::print(&serde_json::to_string_pretty(&list)?);
        return Ok(());
    }
    if rows.is_empty() {
        output::say(
            "no engine version is installed; install one with `moorage engine install mariadb@10.11` or `moorage engine install postgresql@15`",
        );
    }
    for (engine, version, place) in rows {
        output::print(&format!("{:<12}{version:<12}{place}", engine.as_str()));
    }
    Ok(())
}

fn read_label(label: &str) -> Result<(EngineName, Version), Problem> {
    let wrong = || {
        Problem::new(ProblemCode::InvalidRequest, format!("'{label}' is not an engine version."))
            .hint("Name it as mariadb@10.11.18 or postgresql@15.20.")
    };
    let (engine, version) = label.split_once('@').ok_or_else(wrong)?;
    Ok((EngineName::parse(engine).ok_or_else(wrong)?, Version::parse(version).map_err(|_| wrong())?))
}

/// A version that clusters of this installation run on stays, unless the same version is there from elsewhere too.
async fn refuse_if_used(
    directory: &Path,
    address: &StoreAddress,
    installations: &Installations,
    engine: EngineName,
    version: &Version,
) -> Result<()> {
    let Some(identity) = Identity::read(directory)? else { return Ok(()) };
    let store: Store = first_start::open_store(address).await?;
    let used = used_by(&store, &identity.host, engine, version).await;
    store.close().await;
    let used = used?;
    let own = directory.join("engines");
    let elsewhere = installations.find().await.iter().any(|i| i.engine == engine && i.version == *version && !i.prefix.starts_with(&own));
    if used.is_empty() || elsewhere {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::WrongState, format!("{engine}@{version} is in use by: {}.", used.join(", ")))
        .hint("Terminate these clusters first.")
        .into())
}

async fn used_by(store: &Store, host: &HostId, engine: EngineName, version: &Version) -> Result<Vec<String>> {
    let clusters = store.look().await?.clusters_of_host(host).await?;
    Ok(clusters.into_iter().filter(|c| c.engine == engine && c.version == *version).map(|c| c.name).collect())
}

fn installations(directory: &Path, prefixes: &[PathBuf]) -> Installations {
    Installations::new(directory, prefixes.to_vec(), serve::engines().into_iter().map(kind).collect())
}

fn kind(engine: Arc<dyn Engine>) -> EngineKind {
    let (binary, reader, packager) = (engine.clone(), engine.clone(), engine.clone());
    EngineKind {
        engine: engine.name(),
        majors: engine.supported().iter().map(ToString::to_string).collect(),
        server_binary: Arc::new(move |prefix, major| binary.server_binary(prefix, major)),
        read_version: Arc::new(move |text| reader.read_version(text)),
        packages: Arc::new(move |version| {
            let packages = packager.packages(version).into_iter();
            packages.map(|package| PackageWish { name: package.name.to_owned(), versioned: package.versioned }).collect()
        }),
    }
}

/// How the host finds engine versions: in the data directory, in the configured prefixes and of the system.
pub fn finder(directory: &Path, prefixes: &[PathBuf]) -> FindInstallations {
    let installations = Arc::new(installations(directory, prefixes));
    Arc::new(move || {
        let installations = installations.clone();
        Box::pin(async move { Ok::<Vec<Installation>, _>(installations.find().await) })
    })
}
