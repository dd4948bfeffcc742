//! What the first start makes: identity, tenant, administrator, authority, and the file that tells the operator.

use anyhow::{Context, Result};
use moorage_domain::tenant::Role;
use moorage_domain::{HostId, Problem, ProblemCode, ProjectId, Timestamp, TokenId, UserId};
use moorage_secrets as secrets;
use moorage_secrets::{CertificateAuthority, MasterKey};
use moorage_store::{NewAccount, NewCredential, Secrets, Store};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Who the installation is.
#[derive(Debug)]
pub struct Installation {
    /// Random identity.
    pub id: u128,
    /// This machine's identity in the store.
    pub host: HostId,
}

impl Installation {
    /// The eight digits that mark what belongs to the installation on its machine.
    pub fn short(&self) -> String {
        format!("{:032x}", self.id)[..8].to_owned()
    }

    /// The uids its clusters and its gateway run under: one of 1,024 ranges above a thousand million, so that two
    /// installations on one machine are strangers too.
    pub fn uids(&self) -> std::ops::Range<u32> {
        let start = 1_000_000_000 + u32::try_from(self.id % 1024).unwrap_or(0) * 65_536;
        start..start + 65_536
    }
}

/// The master key: made by the first start, and from then on only read, because nothing else opens what it has sealed. A
/// directory whose store is gone while databases are there is not started over.
pub fn master_key(directory: &Path) -> Result<MasterKey> {
    let path = directory.join("master.key");
    if directory.join("store.db").exists() {
        return MasterKey::load(&path).map_err(|error| {
            Problem::new(ProblemCode::DataDirectoryUnusable, format!("The master key {} cannot be read.", path.display()))
                .detail(error.to_string())
                .hint("Put its copy back: the secrets in the store open with no other key. Databases keep serving meanwhile.")
                .into()
        });
    }
    let instances = std::fs::read_dir(directory.join("instances")).map(Iterator::count).unwrap_or(0);
    if instances > 0 {
        return Err(Problem::new(
            ProblemCode::DataDirectoryUnusable,
            format!("The store is missing, but {instances} databases are in {}.", directory.display()),
        )
        .hint("Put store.db back from its copy. Databases keep serving meanwhile; nothing was changed.")
        .into());
    }
    MasterKey::load_or_create(&path).context("making the master key")
}

/// Reads the installation's identity, or makes everything a first start makes.
pub async fn ensure(store: &Store, master_key: &MasterKey, directory: &Path, now: Timestamp) -> Result<Installation> {
    let mut look = store.look().await?;
    let known = look.fact("installation").await?;
    let host = look.fact("host").await?;
    drop(look);
    if let (Some(id), Some(host)) = (known, host) {
        return Ok(Installation {
            id: u128::from_str_radix(&id, 16).context("reading the installation's identity")?,
            host: HostId::parse(&host)?,
        });
    }
    let installation = Installation { id: secrets::random_bits()?, host: HostId::from_bits(uuid::Uuid::now_v7().as_u128()) };
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
    write_bootstrap(directory, &bootstrap)?;

    let authority = CertificateAuthority::create(&installation.short(), now)?;
    let mut uow = store.begin().await?;
    uow.insert_host(&installation.host, &host_name(), now).await?;
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
    uow.set_fact("host", installation.host.as_str()).await?;
    uow.set_fact("installation", &format!("{:032x}", installation.id)).await?;
    uow.commit().await?;
    Ok(installation)
}

/// This machine's identity in the store, once a first start has made one.
pub async fn host(store: &Store) -> Result<Option<HostId>> {
    let host = store.look().await?.fact("host").await?;
    Ok(host.map(|id| HostId::parse(&id)).transpose()?)
}

/// The certificate authority that the first start made.
pub async fn authority(store: &Store, master_key: &MasterKey) -> Result<CertificateAuthority> {
    let mut look = store.look().await?;
    let certificate = look.fact("authority").await?.context("the store has no certificate authority")?;
    let key = look.fact("authority-key").await?.context("the store has no key of the certificate authority")?;
    Ok(CertificateAuthority::load(&certificate, &key, master_key)?)
}

/// Puts the real address of the API into `bootstrap.json`; the rest stays as it is. A file that somebody removed on purpose
/// stays away, and one that somebody damaged is left to them: the server needs neither.
pub fn set_base_url(directory: &Path, base_url: &str) -> Result<()> {
    let Ok(text) = std::fs::read_to_string(directory.join("bootstrap.json")) else { return Ok(()) };
    let Some(mut bootstrap) = serde_json::from_str(&text).ok().filter(serde_json::Value::is_object) else {
        tracing::warn!("bootstrap.json is not the JSON object it was; it is left as it is, and the address of the API is not in it");
        return Ok(());
    };
    if bootstrap["base_url"] != base_url {
        bootstrap["base_url"] = json!(base_url);
        write_bootstrap(directory, &bootstrap)?;
    }
    Ok(())
}

fn write_bootstrap(directory: &Path, bootstrap: &serde_json::Value) -> Result<()> {
    let (temporary, path) = (directory.join("bootstrap.json.new"), directory.join("bootstrap.json"));
    drop(std::fs::remove_file(&temporary));
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).context("writing bootstrap.json")?;
    file.write_all(serde_json::to_string_pretty(bootstrap)?.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path).context("writing bootstrap.json")?;
    std::fs::File::open(directory)?.sync_all()?;
    Ok(())
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
