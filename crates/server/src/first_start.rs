//! Opening an installation, and what its first start makes: tenant, administrator, authority, and the file that tells the
//! operator.

use crate::identity::{Identity, write_durably};
use anyhow::{Context, Result};
use moorage_domain::tenant::Role;
use moorage_domain::{HostId, Problem, ProblemCode, ProjectId, Timestamp, TokenId, UserId};
use moorage_secrets as secrets;
use moorage_secrets::{CertificateAuthority, MasterKey};
use moorage_store::{NewAccount, NewCredential, Rows, Secrets, Store, StoreAddress, StoreError};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::path::Path;

/// An installation whose store is open.
pub struct Opened {
    /// Its store.
    pub store: Store,
    /// Its key.
    pub master_key: MasterKey,
    /// Its certificate authority.
    pub authority: CertificateAuthority,
    /// Who this machine is in it.
    pub identity: Identity,
}

/// The file of a store that is not on another database.
pub fn store_file(directory: &Path) -> std::path::PathBuf {
    directory.join("store.db")
}

/// Takes a store's file away, with what the database keeps beside it.
pub fn remove_store_file(path: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        drop(std::fs::remove_file(name));
    }
}

/// Opens an installation, making it where there is none. A store that is gone while databases are there is not started over, and a
/// master key that is not the store's is refused: nothing is changed then.
pub async fn open(directory: &Path, address: &StoreAddress, now: Timestamp) -> Result<Opened> {
    if let StoreAddress::File(path) = address
        && !path.exists()
    {
        refuse_to_begin_anew(directory, &format!("{} is missing", path.display()))?;
    }
    let store = open_store(address).await?;
    let known = store.look().await?.fact("installation").await?.is_some();
    if !known {
        refuse_to_begin_anew(directory, "the store is empty")?;
    }
    let master_key = master_key(directory, known)?;
    let identity = match Identity::read(directory)? {
        Some(identity) => identity,
        None => {
            // Data directories of before several machines could share a store have their identity in it.
            let identity = match identity_in_store(&store, address).await? {
                Some(identity) => identity,
                None => {
                    refuse_orphans(directory, "identity.json is missing")?;
                    Identity::random()?
                }
            };
            identity.write(directory)?;
            identity
        }
    };
    ensure(&store, &master_key, directory, &identity, now).await?;
    let authority = authority(&mut store.look().await?, &master_key).await?;
    Ok(Opened { store, master_key, authority, identity })
}

/// Opens the store; one from a newer program, or one that cannot be reached, is refused with what to do.
pub async fn open_store(address: &StoreAddress) -> Result<Store> {
    Store::connect(address).await.map_err(|error| match (&error, address) {
        (StoreError::TooNew { found, known }, _) => Problem::new(
            ProblemCode::StoreTooNew,
            format!("The store has schema version {found}; this program knows versions up to {known}."),
        )
        .hint("Start the newer program that wrote it. Nothing was changed.")
        .into(),
        (_, StoreAddress::PostgreSql(_)) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            Problem::new(ProblemCode::StoreUnavailable, "The PostgreSQL database of the store cannot be used.")
                .detail(cause)
                .hint("Check that it runs, and MOORAGE_DATABASE_URL or `[store] url`: postgres://USER:PASSWORD@HOST:PORT/DATABASE.")
                .into()
        }
        (_, StoreAddress::File(path)) if is_damaged(&error) => {
            Problem::new(ProblemCode::DataDirectoryUnusable, format!("The store {} is damaged.", path.display()))
                .detail(std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default())
                .hint(
                    "Move it and the files with its name and -wal or -shm behind it away. Then put a backup back (`moorage store restore`), or \
                     rebuild it from what is kept beside the databases (`moorage store rebuild`). Databases keep serving meanwhile; nothing was changed.",
                )
                .into()
        }
        (_, StoreAddress::File(path)) => anyhow::Error::new(error).context(format!("opening the store {}", path.display())),
    })
}

/// SQLite's codes for a file that is no database, or one that contradicts itself.
fn is_damaged(error: &StoreError) -> bool {
    let StoreError::Database { source, .. } = error else { return false };
    let code = source.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    // The lowest byte; what is above says more of the same.
    matches!(code.map(|code| code & 0xff), Some(11 | 26))
}

async fn identity_in_store(store: &Store, address: &StoreAddress) -> Result<Option<Identity>> {
    if matches!(address, StoreAddress::PostgreSql(_)) {
        return Ok(None);
    }
    let mut look = store.look().await?;
    let (Some(id), Some(host)) = (look.fact("installation").await?, look.fact("host").await?) else { return Ok(None) };
    let id = u128::from_str_radix(&id, 16).context("reading the installation's identity")?;
    Ok(Some(Identity { id, host: HostId::parse(&host)? }))
}

/// Databases without a store are somebody's: nothing begins anew beside them.
fn refuse_orphans(directory: &Path, why: &str) -> Result<(), Problem> {
    let instances = moorage_host_local::Kept::instances(directory).map_err(|error| error.problem)?.len();
    if instances == 0 { Ok(()) } else { Err(store_is_missing(directory, &format!("{instances} databases are"), why)) }
}

/// Nor is another installation begun on a machine that belonged to one and has none of its databases: the other machines would find
/// it in their store's place.
fn refuse_to_begin_anew(directory: &Path, why: &str) -> Result<(), Problem> {
    refuse_orphans(directory, why)?;
    let belonged = directory.join("manifest.json").exists();
    if belonged { Err(store_is_missing(directory, "the manifest of an installation is", why)) } else { Ok(()) }
}

fn store_is_missing(directory: &Path, what_is_there: &str, why: &str) -> Problem {
    Problem::new(ProblemCode::DataDirectoryUnusable, format!("The store is missing, but {what_is_there} in {}.", directory.display()))
        .detail(format!("{why}."))
        .hint(
            "Put the store back from a backup (`moorage store restore`), or rebuild it from what is kept beside the databases \
             (`moorage store rebuild`). To begin another installation, name another directory. Databases keep serving meanwhile; nothing was changed.",
        )
}

/// The master key: made by the first start, and from then on only read, because nothing else opens what it has sealed.
fn master_key(directory: &Path, store_is_known: bool) -> Result<MasterKey> {
    let path = directory.join("master.key");
    if !store_is_known {
        return MasterKey::load_or_create(&path).context("making the master key");
    }
    MasterKey::load(&path).map_err(|error| {
        Problem::new(ProblemCode::DataDirectoryUnusable, format!("The master key {} cannot be read.", path.display()))
            .detail(error.to_string())
            .hint(
                "Put its copy back, or on a machine that joins a store, copy the file from the one that made it: the secrets in the \
                 store open with no other key. Databases keep serving meanwhile.",
            )
            .into()
    })
}

/// Makes everything a first start makes; of several servers that start on one empty store, one does.
async fn ensure(store: &Store, master_key: &MasterKey, directory: &Path, identity: &Identity, now: Timestamp) -> Result<()> {
    let mut uow = store.begin().await?;
    uow.insert_host(&identity.host, &host_name(), now).await?;
    if uow.fact("installation").await?.is_some() {
        return Ok(uow.commit().await?);
    }
    let setting = |name: &str, default: &str| std::env::var(name).ok().filter(|v| !v.is_empty()).unwrap_or_else(|| default.to_owned());
    let user = setting("MOORAGE_ADMIN_USER", "moorage");
    let email = setting("MOORAGE_ADMIN_EMAIL", "moorage@localhost");
    let password = match std::env::var("MOORAGE_ADMIN_PASSWORD") {
        Ok(password) if !password.is_empty() => SecretString::from(password),
        _ => secrets::random_password()?,
    };
    let project = ProjectId::from_bits(uuid::Uuid::now_v7().as_u128());
    let account = UserId::from_bits(uuid::Uuid::now_v7().as_u128());
    let (access_key, secret_key, token) = (secrets::random_access_key()?, secrets::random_secret_key()?, secrets::random_token()?);

    // The file first: a crash before the commit makes all of it anew, a crash after it loses nothing.
    let bootstrap = json!({
        "base_url": "", "user": user, "email": email, "password": password.expose_secret(), "access_key": access_key,
        "secret_key": secret_key.expose_secret(), "token": token.expose_secret(), "account_id": project, "project_id": project,
    });
    write_durably(&directory.join(BOOTSTRAP), &bootstrap)?;

    let authority = CertificateAuthority::create(&identity.short(), now)?;
    uow.insert_project(&project, "default", now).await?;
    let password_hash = secrets::hash_password(&password)?;
    let new = NewAccount {
        id: &account,
        project: &project,
        name: &user,
        email: &email,
        password_hash: &password_hash,
        role: Role::Administrator,
    };
    uow.insert_account(&new, now).await?;
    let sealed = master_key.seal(secret_key.expose_secret().as_bytes(), &moorage_app::access_key_context(&access_key))?;
    let first = NewCredential { account: &account, name: Some("made by the first start"), expires_at: None };
    uow.insert_access_key(&first, &access_key, &sealed, now).await?;
    let token_id = TokenId::from_bits(uuid::Uuid::now_v7().as_u128());
    uow.insert_token(&first, &token_id, &secrets::token_digest(token.expose_secret()), now).await?;
    uow.set_fact("authority", authority.certificate()).await?;
    uow.set_fact("authority-key", &authority.sealed_key(master_key)?).await?;
    uow.set_fact("project", project.as_str()).await?;
    uow.set_fact("installation", &format!("{:032x}", identity.id)).await?;
    Ok(uow.commit().await?)
}

/// The certificate authority that the first start made; what seals its key is the store's master key and no other.
async fn authority(rows: &mut impl Rows, master_key: &MasterKey) -> Result<CertificateAuthority> {
    let certificate = rows.fact("authority").await?.context("the store has no certificate authority")?;
    let key = rows.fact("authority-key").await?.context("the store has no key of the certificate authority")?;
    CertificateAuthority::load(&certificate, &key, master_key).map_err(|error| {
        Problem::new(ProblemCode::DataDirectoryUnusable, "The master key is not the one that sealed this store's secrets.")
            .detail(error.to_string())
            .hint("Put the right master.key into the data directory. Databases keep serving meanwhile; nothing was changed.")
            .into()
    })
}

/// Refuses a master key that does not open what these rows have sealed.
pub async fn check_key(rows: &mut impl Rows, directory: &Path) -> Result<()> {
    authority(rows, &master_key(directory, true)?).await.map(drop)
}

const BOOTSTRAP: &str = "bootstrap.json";

/// Puts the real address of the API into `bootstrap.json`; the rest stays as it is. A file that somebody removed on purpose
/// stays away, and one that somebody damaged is left to them: the server needs neither.
pub fn set_base_url(directory: &Path, base_url: &str) -> Result<()> {
    let Ok(text) = std::fs::read_to_string(directory.join(BOOTSTRAP)) else { return Ok(()) };
    let Some(mut bootstrap) = serde_json::from_str(&text).ok().filter(serde_json::Value::is_object) else {
        tracing::warn!("bootstrap.json is not the JSON object it was; it is left as it is, and the address of the API is not in it");
        return Ok(());
    };
    if bootstrap["base_url"] != base_url {
        bootstrap["base_url"] = json!(base_url);
        write_durably(&directory.join(BOOTSTRAP), &bootstrap)?;
    }
    Ok(())
}

/// The name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
