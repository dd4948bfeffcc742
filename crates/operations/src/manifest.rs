//! Manifests: what a store knows of a cluster, and of people, kept beside the data, so that a lost store can be rebuilt.

use crate::world::{World, host_failed, store_failed};
use moorage_domain::database::Stage;
use moorage_domain::{ClusterId, InstanceId};
use moorage_durable::StepError;
use moorage_host::HostError;
use moorage_store::{SCHEMA_VERSION, StoreError, StoredRow, StoredValue, Transfer};
use serde::{Deserialize, Serialize};

/// The form of the document.
const VERSION: u32 = 1;

/// Rows as a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// Schema version of the store the rows are of.
    pub schema: i64,
    /// The rows, in the order in which they refer to each other.
    pub rows: Vec<StoredRow>,
}

/// Why a document is not a manifest this build can use.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not one at all.
    #[error("it is damaged")]
    Damaged(#[from] serde_json::Error),
    /// Another build wrote it.
    #[error(
        "it was written by another version of the program (document {version}, schema {schema}; this one knows {VERSION} and {SCHEMA_VERSION})"
    )]
    OtherVersion {
        /// Of the document.
        version: u32,
        /// Of the rows.
        schema: i64,
    },
}

/// Why a manifest could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The rows could not be read.
    #[error("its rows could not be read")]
    Store(#[from] StoreError),
    /// The host could not keep it.
    #[error("the host could not keep it")]
    Host(#[from] HostError),
}

impl Manifest {
    fn of(rows: Vec<StoredRow>) -> Self {
        Self { version: VERSION, schema: SCHEMA_VERSION, rows }
    }
    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_str(text)?;
        if (manifest.version, manifest.schema) != (VERSION, SCHEMA_VERSION) {
            return Err(ManifestError::OtherVersion { version: manifest.version, schema: manifest.schema });
        }
        Ok(manifest)
    }
    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What was last seen of an instance is seen again after a rebuild, and changes all the time.
fn lasting(mut row: StoredRow) -> StoredRow {
    if row.table == "instance" {
        row.set("observed", StoredValue::Text("{}".into()));
        row.set("observed_at", StoredValue::Null(()));
    }
    // What was under way is not known after a rebuild: it can be removed, and a password that was about to change is set anew.
    if row.table == "database" {
        row.set("used_bytes", StoredValue::Null(()));
        row.set("stage", StoredValue::Text(Stage::Made.as_str().to_owned()));
    }
    if row.table == "credential" {
        row.set("stage", StoredValue::Text(Stage::Made.as_str().to_owned()));
        if row.text("sealed_next").is_some() {
            row.set("sealed_password", StoredValue::Null(()));
            row.set("sealed_next", StoredValue::Null(()));
        }
    }
    // Who may be promoted is true of a moment.
    if row.table == "replication" {
        row.set("promotable", StoredValue::Null(()));
        row.set("reason", StoredValue::Text("What is known of it dates from before the store was rebuilt.".into()));
    }
    row
}

/// Keeps the manifest of a cluster beside each of its volumes.
pub async fn keep(world: &World, cluster: &ClusterId) -> Result<(), KeepError> {
    let rows = world.store.look().await?.rows_of_cluster(cluster).await?;
    let manifest = Manifest::of(rows.into_iter().map(lasting).collect());
    let text = manifest.text();
    for row in manifest.rows.iter().filter(|row| row.table == "instance") {
        let Some(instance) = row.text("id").and_then(|id| InstanceId::parse(id).ok()) else { continue };
        world.host.ensure_manifest(Some(&instance), &text).await?;
    }
    Ok(())
}

/// The same within a step.
pub(crate) async fn keep_in_step(world: &World, cluster: &ClusterId) -> Result<(), StepError> {
    keep(world, cluster).await.map_err(|error| match error {
        KeepError::Store(error) => store_failed(error),
        KeepError::Host(error) => host_failed(error),
    })
}

/// The manifest of people and of the installation, as a document.
pub async fn of_people(world: &World) -> Result<String, StoreError> {
    Ok(Manifest::of(world.store.look().await?.rows_of_people().await?).text())
}
