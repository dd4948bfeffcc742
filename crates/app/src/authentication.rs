//! Who is asking: access keys, tokens, passwords.

use crate::{App, problem};
use moorage_domain::tenant::{Actor, Role};
use moorage_domain::{Problem, ProblemCode};
use moorage_durable::wall_now;
use moorage_secrets as secrets;
use moorage_store::{Accounts, Credentials};
use secrecy::{ExposeSecret, SecretString};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Password checks are slow on purpose; only so many run at a time, or a flood of wrong ones would take the machine.
static PASSWORD_CHECKS: Semaphore = Semaphore::const_new(2);
/// Characters of a login password.
const PASSWORD_LENGTH: RangeInclusive<usize> = 10..=128;

fn refused() -> Problem {
    Problem::new(ProblemCode::Unauthenticated, "The credentials are not valid.")
        .hint("Look whether they are mistyped, have expired or were ended.")
}

/// Characters of a name nobody has that are remembered: no user's name or e-mail address is longer.
const MOST_REMEMBERED: usize = 254;

impl App {
    /// The owner of an access key, when the signature is the HMAC-SHA256 of one of the candidate messages under its secret
    /// key.
    pub async fn authenticate_signature(&self, access_key: &str, messages: &[String], signature: &str) -> Result<Actor, Problem> {
        let mut glance = self.parts.store.glance().await.map_err(problem::store)?;
        let Some(found) = glance.access_key(access_key).await.map_err(problem::store)? else { return Err(refused()) };
        if found.expires_at.is_some_and(|at| at <= wall_now()) {
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
        let mut glance = self.parts.store.glance().await.map_err(problem::store)?;
        match glance.token(&secrets::token_digest(token)).await.map_err(problem::store)? {
            Some((actor, expires_at)) if expires_at.is_none_or(|at| at > wall_now()) => Ok(actor),
            _ => Err(refused()),
        }
    }

    /// The account with this name (or e-mail address) and password. A password that was found right a short while ago is not
    /// checked the slow way again; wrong ones make the next attempt wait.
    pub async fn authenticate_password(&self, name: &str, password: &SecretString) -> Result<Actor, Problem> {
        let found = {
            let mut look = self.parts.store.look().await.map_err(problem::store)?;
            look.signing_in(name).await.map_err(problem::store)?
        };
        // Name and e-mail address are one account; a name that nobody has is remembered as it was typed, and waits alike.
        let typed = || format!("?{}", name.chars().take(MOST_REMEMBERED).collect::<String>());
        let who = found.as_ref().map_or_else(typed, |account| account.actor.user.to_string());
        let logins = &self.logins;
        let lock = || logins.locked_for(&who, Instant::now()).map_or(Ok(()), |wait| Err(locked(wait)));
        lock()?;
        if let Some(account) = &found
            && logins.is_proven(&account.actor.user, password.expose_secret(), &account.password_hash, Instant::now())
        {
            return Ok(account.actor.clone());
        }
        let _turn = PASSWORD_CHECKS.acquire().await.map_err(|e| problem::internal(&e))?;
        // Those who came at once and queued were not locked when they came.
        lock()?;
        let (tried, hash) = (password.clone(), found.as_ref().map(|account| account.password_hash.clone()));
        let checked = tokio::task::spawn_blocking(move || secrets::verify_password(&tried, hash.as_deref()));
        let right = checked.await.map_err(|e| problem::internal(&e))?;
        match found {
            Some(account) if right => {
                logins.was_right(&who, &account.actor.user, password.expose_secret(), &account.password_hash, Instant::now());
                Ok(account.actor)
            }
            _ => {
                logins.was_wrong(&who, Instant::now());
                tracing::warn!(name = %name.chars().take(64).collect::<String>(), "a wrong password was tried");
                Err(refused())
            }
        }
    }

    /// The hash of a new login password that follows the rules.
    pub(crate) async fn hash_of(&self, password: &SecretString) -> Result<String, Problem> {
        let length = password.expose_secret().chars().count();
        if !PASSWORD_LENGTH.contains(&length) || password.expose_secret().chars().any(char::is_control) {
            return Err(Problem::invalid("password", "A password has 10 to 128 printable characters."));
        }
        let _turn = PASSWORD_CHECKS.acquire().await.map_err(|e| problem::internal(&e))?;
        let password = password.clone();
        let hashed = tokio::task::spawn_blocking(move || secrets::hash_password(&password));
        hashed.await.map_err(|e| problem::internal(&e))?.map_err(|e| problem::internal(&e))
    }
}

fn locked(wait: Duration) -> Problem {
    let seconds = wait.as_secs() + 1;
    Problem::new(ProblemCode::LoginLocked, format!("Too many wrong passwords were tried for this name; wait {seconds} s."))
        .hint("Then sign in with the right password. Tokens and access keys are not affected.")
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
