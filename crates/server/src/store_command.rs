//! `moorage store`: copies, backups and repair of what the control plane itself keeps. The databases are not touched.

use crate::backup_file::{self, Contents};
use crate::identity::Identity;
use crate::place::{Opened, Place};
use crate::{data_directory, first_start, output, rebuild, serve};
use anyhow::{Context, Result};
use clap::Subcommand;
use moorage_domain::{Problem, ProblemCode};
use moorage_store::{Store, StoreAddress, StoreError, TABLES, Transfer};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What can be done with the store.
#[derive(Subcommand)]
pub enum StoreCommand {
    /// Write everything the control plane keeps (rows, master key, certificate authority) into one file; a server may run meanwhile
    Backup {
        /// The file; it must not exist yet. Whoever reads it holds the keys of the installation.
        file: PathBuf,
        /// Leave the master key out; without it the file's secrets do not open.
        #[arg(long)]
        without_key: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Make the store anew from a backup; there must be none in its place
    Restore {
        /// A file that `moorage store backup` wrote.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Copy the store from the data directory's file into the PostgreSQL database of MOORAGE_DATABASE_URL or `[store] url`
    Copy {
        #[command(flatten)]
        place: Place,
    },
    /// Bring back what a lost store knew from what is kept beside the databases; they keep running throughout
    Rebuild {
        #[command(flatten)]
        place: Place,
    },
}

/// Carries out a command.
pub async fn run(command: StoreCommand) -> Result<ExitCode> {
    match command {
        StoreCommand::Backup { file, without_key, place } => backup(&place.open()?, &file, without_key).await?,
        StoreCommand::Restore { file, place } => restore(&place.open()?, &file).await?,
        StoreCommand::Copy { place } => copy(&place.open()?).await?,
        StoreCommand::Rebuild { place } => return rebuild(&place.open()?).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(message: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::DataDirectoryUnusable, message)
}

async fn as_it_is(opened: &Opened) -> Result<Store> {
    if let StoreAddress::File(path) = &opened.store
        && !path.exists()
    {
        return Err(refused(format!("There is no store in {}.", opened.directory.display()))
            .hint("Name the installation's directory with --data-dir, or its database with MOORAGE_DATABASE_URL.")
            .into());
    }
    Store::connect_as_it_is(&opened.store).await.map_err(|error| match error {
        StoreError::OtherVersion { found, known } => {
            refused(format!("The store has schema version {found}, this program reads version {known}."))
                .hint("Use the program that serves it.")
                .into()
        }
        other => anyhow::Error::new(other).context("opening the store"),
    })
}

async fn backup(opened: &Opened, file: &Path, without_key: bool) -> Result<()> {
    let identity = Identity::read(&opened.directory)?;
    let key = if without_key {
        None
    } else {
        let path = opened.directory.join("master.key");
        Some(std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?)
    };
    let store = as_it_is(opened).await?;
    let mut writer = backup_file::Writer::create(file, identity.as_ref(), key.as_deref(), serve::now())?;
    let mut look = store.look().await?;
    for table in TABLES {
        look.each_row(table, |row| writer.row(&row).map_err(|error| StoreError::Unreadable { what: "row", why: error.to_string() }))
            .await?;
    }
    drop(look);
    store.close().await;
    let rows = writer.finish()?;
    let warning = if without_key { "without the master key" } else { "with the master key: keep it as safe as the installation itself" };
    output::say(&format!("{} holds {rows} rows, {warning}", file.display()));
    Ok(())
}

async fn restore(opened: &Opened, file: &Path) -> Result<()> {
    let _lock = data_directory::lock(&opened.directory)?;
    let contents = backup_file::read(file)?;
    if let StoreAddress::File(path) = &opened.store
        && path.exists()
    {
        return Err(refused(format!("There is a store in {} already.", opened.directory.display()))
            .hint(format!("Move {} and its -wal and -shm away first, if that is meant.", path.display()))
            .into());
    }
    restore_files(&opened.directory, &contents)?;
    let made = filling(opened, &contents.rows, contents.schema).await;
    if let (Err(_), StoreAddress::File(path)) = (&made, &opened.store) {
        first_start::remove_store_file(path);
    }
    made?;
    // Brought up to date, and tried with the key.
    let now = first_start::open(&opened.directory, &opened.store, serve::now()).await?;
    now.store.close().await;
    output::say(&format!(
        "the store is restored as it was on {} ({} rows); `moorage store rebuild` adds databases made since",
        contents.made_at.rfc3339(),
        contents.rows.len()
    ));
    Ok(())
}

/// The key and the identity, unless they are here already; others than these stay untouched and are refused.
fn restore_files(directory: &Path, contents: &Contents) -> Result<()> {
    let path = directory.join("master.key");
    match (std::fs::read_to_string(&path), &contents.master_key) {
        (Ok(here), Some(backed_up)) if here.trim() != backed_up.trim() => {
            return Err(refused(format!("{} is another key than the one in the backup.", path.display()))
                .hint("Move it away first, if that is meant.")
                .into());
        }
        (Ok(_), _) => {}
        (Err(_), Some(backed_up)) => backup_file::write_secret(&path, backed_up)?,
        (Err(_), None) => {
            return Err(refused("The backup was made without the master key, and there is none here.")
                .hint(format!("Put the key's copy at {} (mode 0600) first.", path.display()))
                .into());
        }
    }
    match (Identity::read(directory)?, &contents.identity) {
        (None, Some(identity)) => identity.write(directory),
        _ => Ok(()),
    }
}

/// Fills a new store; nothing of it is there unless all of it is.
async fn filling(opened: &Opened, rows: &[moorage_store::StoredRow], schema: i64) -> Result<()> {
    let store = Store::make_at_version(&opened.store, schema).await.map_err(|error| match error {
        StoreError::TooNew { found, known } => anyhow::Error::new(
            Problem::new(ProblemCode::StoreTooNew, format!("The rows are of schema version {found}; this program knows up to {known}."))
                .hint("Use the newer program that wrote them."),
        ),
        other => anyhow::Error::new(other).context("making the store"),
    })?;
    if !store.look().await?.is_empty().await? {
        return Err(refused("The database already has the store of an installation in it.").hint("Name an empty one.").into());
    }
    refuse_newer_tables(&opened.store, schema).await?;
    let mut uow = store.begin().await?;
    for row in rows {
        uow.insert_row(row).await?;
    }
    uow.commit().await?;
    store.close().await;
    Ok(())
}

/// Rows go into tables of their own version only: what a migration does to rows would be left out. A server that finds a database empty
/// makes the newest tables in it before it refuses to begin anew.
async fn refuse_newer_tables(address: &StoreAddress, schema: i64) -> Result<()> {
    let StoreAddress::PostgreSql(_) = address else { return Ok(()) };
    let found = match Store::connect_as_it_is(address).await {
        Ok(store) => {
            store.close().await;
            moorage_store::SCHEMA_VERSION
        }
        Err(StoreError::OtherVersion { found, .. }) => found,
        Err(other) => return Err(anyhow::Error::new(other).context("opening the store")),
    };
    if found == schema {
        return Ok(());
    }
    Err(refused(format!("The database has tables of schema version {found}, though no rows; those of the backup are of version {schema}."))
        .hint("Make the database anew, and restore before a server is started on it.")
        .into())
}

async fn copy(opened: &Opened) -> Result<()> {
    let StoreAddress::PostgreSql(_) = &opened.store else {
        return Err(Problem::new(ProblemCode::ConfigInvalid, "No database is named that the store could be copied to.")
            .hint("Set MOORAGE_DATABASE_URL to postgres://USER:PASSWORD@HOST:PORT/DATABASE.")
            .into());
    };
    let _lock = data_directory::lock(&opened.directory)?;
    let path = first_start::store_file(&opened.directory);
    // Opened once as a server does: it is brought up to date, and its key is tried.
    let from = if path.exists() {
        first_start::open(&opened.directory, &StoreAddress::File(path.clone()), serve::now()).await?.store
    } else {
        return Err(refused(format!("There is no store in {}.", opened.directory.display())).into());
    };
    let mut rows = Vec::new();
    let mut look = from.look().await?;
    for table in TABLES {
        look.each_row(table, |row| {
            rows.push(row);
            Ok(())
        })
        .await?;
    }
    drop(look);
    from.close().await;
    filling(opened, &rows, moorage_store::SCHEMA_VERSION).await?;
    // Two stores of one installation would drift apart: a server that is started without the URL finds none and says so.
    let kept = opened.directory.join("store.db.copied");
    std::fs::rename(&path, &kept).with_context(|| format!("putting {} aside", path.display()))?;
    output::say(&format!("{} rows are copied; the file is kept as {}. Serve with the same URL from now on.", rows.len(), kept.display()));
    Ok(())
}

async fn rebuild(opened: &Opened) -> Result<ExitCode> {
    let _lock = data_directory::lock(&opened.directory)?;
    let told = rebuild::run(&opened.directory, &opened.store, serve::now()).await?;
    for line in &told.lines {
        output::print(line);
    }
    output::say(&format!(
        "{} databases are in the store again, {} were in it already; start `moorage serve`",
        told.brought_back, told.known_already
    ));
    if told.left_out == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    output::say(&format!("{} could not be brought back and are left alone; why is said above", told.left_out));
    Ok(ExitCode::FAILURE)
}
