//! Access keys and tokens: what users prove themselves by besides a password.

use crate::authentication::access_key_context;
use crate::users::find;
use crate::{App, fresh, problem};
use moorage_domain::tenant::{AccessKey, Actor, Token};
use moorage_domain::{Problem, ProblemCode, Timestamp, TokenId};
use moorage_durable::wall_now;
use moorage_secrets as secrets;
use moorage_store::{Credentials, NewCredential};
use secrecy::{ExposeSecret, SecretString};
use std::ops::RangeInclusive;
use std::time::Duration;

/// A credential to be made.
#[derive(Clone, Debug, Default)]
pub struct CreateCredential {
    /// What it is for, in its owner's words.
    pub name: Option<String>,
    /// How long it lives, in seconds; a token thirty days and an access key for ever, where nothing is said.
    pub seconds: Option<u64>,
}

/// Seconds that may be asked for: a minute to ten years.
const LIFE: RangeInclusive<u64> = 60..=10 * 365 * 24 * 3600;
/// How long a token lives when nobody says.
const TOKEN_LIFE: u64 = 30 * 24 * 3600;
/// Credentials of each kind at most per user.
const MOST: usize = 100;

fn not_found(what: &str) -> Problem {
    Problem::new(ProblemCode::CredentialNotFound, format!("There is no such {what}.")).hint("List them to see which there are.")
}

fn expiry(new: &CreateCredential, default: Option<u64>) -> Result<Option<Timestamp>, Problem> {
    if new.name.as_ref().is_some_and(|name| name.chars().count() > 128 || name.chars().any(char::is_control)) {
        return Err(Problem::invalid("name", "A name has at most 128 printable characters."));
    }
    match new.seconds.or(default) {
        None => Ok(None),
        Some(seconds) if LIFE.contains(&seconds) => Ok(Some(wall_now().plus(Duration::from_secs(seconds)))),
        Some(_) => Err(Problem::invalid("expires_in_seconds", "A credential lives for 60 seconds to ten years.")),
    }
}

fn bounded(count: usize) -> Result<(), Problem> {
    if count < MOST {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::WrongState, format!("The user has {MOST} of them already."))
        .hint("End those that are not used any more."))
}

impl App {
    /// Access keys of a user, without their secrets.
    pub async fn access_keys(&self, actor: &Actor, user: &str) -> Result<Vec<AccessKey>, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let user = find(&mut look, actor, user).await?;
        look.access_keys_of(&user.id).await.map_err(problem::store)
    }

    /// Tokens of a user: that they are there, not what they are.
    pub async fn tokens(&self, actor: &Actor, user: &str) -> Result<Vec<Token>, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let user = find(&mut look, actor, user).await?;
        look.tokens_of(&user.id).await.map_err(problem::store)
    }

    /// A new access key with its secret, which is shown once.
    pub async fn create_access_key(&self, actor: &Actor, user: &str, new: &CreateCredential) -> Result<(AccessKey, SecretString), Problem> {
        let expires_at = expiry(new, None)?;
        let access_key = secrets::random_access_key().map_err(|e| problem::internal(&e))?;
        let secret_key = secrets::random_secret_key().map_err(|e| problem::internal(&e))?;
        let context = access_key_context(&access_key);
        let sealed = self.parts.master_key.seal(secret_key.expose_secret().as_bytes(), &context).map_err(|e| problem::internal(&e))?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let user = find(&mut uow, actor, user).await?;
        bounded(uow.access_keys_of(&user.id).await.map_err(problem::store)?.len())?;
        let at = wall_now();
        let credential = NewCredential { account: &user.id, name: new.name.as_deref(), expires_at };
        uow.insert_access_key(&credential, &access_key, &sealed, at).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)?;
        Ok((AccessKey { access_key, name: new.name.clone(), created_at: at, expires_at }, secret_key))
    }

    /// A new token, which is shown once and kept as a digest.
    pub async fn create_token(&self, actor: &Actor, user: &str, new: &CreateCredential) -> Result<(Token, SecretString), Problem> {
        let expires_at = expiry(new, Some(TOKEN_LIFE))?;
        let secret = secrets::random_token().map_err(|e| problem::internal(&e))?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let user = find(&mut uow, actor, user).await?;
        let (id, at) = (TokenId::from_bits(fresh()), wall_now());
        let known = uow.tokens_of(&user.id).await.map_err(problem::store)?;
        bounded(known.iter().filter(|token| token.expires_at.is_none_or(|end| end > at)).count())?;
        let credential = NewCredential { account: &user.id, name: new.name.as_deref(), expires_at };
        uow.insert_token(&credential, &id, &secrets::token_digest(secret.expose_secret()), at).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)?;
        Ok((Token { id, name: new.name.clone(), created_at: at, expires_at }, secret))
    }

    /// Ends an access key.
    pub async fn remove_access_key(&self, actor: &Actor, user: &str, access_key: &str) -> Result<(), Problem> {
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let user = find(&mut uow, actor, user).await?;
        if !uow.remove_access_key(&user.id, access_key).await.map_err(problem::store)? {
            return Err(not_found("access key"));
        }
        uow.commit().await.map_err(problem::store)
    }

    /// Ends a token.
    pub async fn remove_token(&self, actor: &Actor, user: &str, token: &str) -> Result<(), Problem> {
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let user = find(&mut uow, actor, user).await?;
        if !uow.remove_token(&user.id, token).await.map_err(problem::store)? {
            return Err(not_found("token"));
        }
        uow.commit().await.map_err(problem::store)
    }
}
