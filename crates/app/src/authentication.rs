//! Who is asking: access keys, tokens, passwords.

use crate::{App, now, problem};
use moorage_domain::tenant::{Actor, Role};
use moorage_domain::{Problem, ProblemCode};
use moorage_secrets as secrets;
use moorage_store::Tenants;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Password checks are slow on purpose; only so many run at a time, or a flood of wrong ones would take the machine.
static PASSWORD_CHECKS: Semaphore = Semaphore::const_new(2);
/// How long a token lives that was handed out for a password.
const TOKEN_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

fn refused() -> Problem {
    Problem::new(ProblemCode::Unauthenticated, "The credentials are not valid.")
}

impl App {
    /// The owner of an access key, when the signature is the HMAC-SHA256 of one of the candidate messages under its secret
    /// key.
    pub async fn authenticate_signature(&self, access_key: &str, messages: &[String], signature: &str) -> Result<Actor, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let Some(found) = look.access_key(access_key).await.map_err(problem::store)? else { return Err(refused()) };
        if found.expires_at.is_some_and(|at| at <= now()) {
            return Err(refused());
        }
        let opened =
            self.parts.master_key.open_text(&found.sealed_secret, &access_key_context(access_key)).map_err(|e| problem::internal(&e))?;
        let mut right = false;
        for message in messages {
            let expected = secrets::hmac_sha256_base64(opened.expose_secret().as_bytes(), message.as_bytes());
            right |= secrets::same(&expected, signature);
        }
        if right { Ok(found.actor) } else { Err(refused()) }
    }

    /// The owner of a token.
    pub async fn authenticate_token(&self, token: &str) -> Result<Actor, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        match look.token(&secrets::token_digest(token)).await.map_err(problem::store)? {
            Some((actor, expires_at)) if expires_at.is_none_or(|at| at > now()) => Ok(actor),
            _ => Err(refused()),
        }
    }

    /// The account with this name (or e-mail address) and password.
    pub async fn authenticate_password(&self, user: &str, password: &SecretString) -> Result<Actor, Problem> {
        let found = {
            let mut look = self.parts.store.look().await.map_err(problem::store)?;
            look.account_named(user).await.map_err(problem::store)?
        };
        let _turn = PASSWORD_CHECKS.acquire().await.map_err(|e| problem::internal(&e))?;
        let password = password.clone();
        let hash = found.as_ref().map(|account| account.password_hash.clone());
        let right = tokio::task::spawn_blocking(move || secrets::verify_password(&password, hash.as_deref()))
            .await
            .map_err(|e| problem::internal(&e))?;
        match found {
            Some(account) if right => Ok(account.actor),
            _ => Err(refused()),
        }
    }

    /// A new token for the caller; it is shown once and kept as a digest.
    pub async fn issue_token(&self, actor: &Actor) -> Result<SecretString, Problem> {
        let token = secrets::random_token().map_err(|e| problem::internal(&e))?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        uow.insert_token(&actor.user, &secrets::token_digest(token.expose_secret()), Some(now().plus(TOKEN_LIFE)), now())
            .await
            .map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)?;
        Ok(token)
    }
}

/// What a sealed secret key is bound to.
pub fn access_key_context(access_key: &str) -> String {
    format!("access-key:{access_key}")
}

/// Refuses an actor whose role is lower.
pub(crate) fn at_least(actor: &Actor, role: Role) -> Result<(), Problem> {
    if actor.role >= role {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::Forbidden, format!("The role '{}' may not do this.", actor.role.as_str()))
        .hint(format!("Ask somebody with the role '{}' or higher.", role.as_str())))
}
