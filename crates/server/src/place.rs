//! Where a command that works without a server finds the installation.

use crate::{config, data_directory};
use anyhow::Result;
use moorage_store::StoreAddress;
use std::path::PathBuf;

/// Where the installation is.
#[derive(clap::Args)]
pub struct Place {
    /// Directory of the installation [default: /var/lib/moorage for root, else ./moorage-data].
    #[arg(long, env = "MOORAGE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Configuration file.
    #[arg(long, env = "MOORAGE_CONFIG")]
    config: Option<PathBuf>,
}

/// What a command works on.
pub struct Opened {
    /// The data directory, made where it is missing.
    pub directory: PathBuf,
    /// Where the store is.
    pub store: StoreAddress,
    /// The configuration in force.
    pub config: config::Config,
}

impl Place {
    /// Reads the configuration and prepares the directory.
    pub fn open(self) -> Result<Opened> {
        let config = config::read(self.config.as_deref())?;
        let directory = data_directory::prepare(&self.data_dir.unwrap_or_else(data_directory::default_path))?;
        Ok(Opened { store: config.store_address(&directory), directory, config })
    }
}
