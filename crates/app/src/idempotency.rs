//! A request that is repeated because its answer was lost gets that answer, and is not carried out twice.

use crate::{App, now, problem};
use moorage_domain::tenant::Actor;
use moorage_domain::{Problem, ProblemCode, Timestamp};
use moorage_store::IdempotencyKeys;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// A request that was begun so long ago and has no answer has nobody at it any more: its server or its store ended in the middle.
const ABANDONED: Duration = Duration::from_secs(120);
/// Requests that a client signs in one millisecond arrive within this time.
const AT_ONCE: Duration = Duration::from_secs(2);

/// What a key stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Keyed {
    /// Nothing yet: the request is to be carried out, and its answer kept.
    First,
    /// A request that was answered.
    Answered {
        /// Its status.
        status: u16,
        /// Its body.
        body: String,
    },
}

/// Checks a key: 1 to 128 printable characters.
pub fn check_idempotency_key(key: &str) -> Result<(), Problem> {
    if (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Problem::invalid("Idempotency-Key", "An idempotency key has 1 to 128 printable characters without spaces.")
        .hint("A fresh UUID for every request is a good one."))
}

fn digest(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// No key that a client sends has a space in it.
fn signature_key(signature: &str) -> String {
    format!("signature {}", digest(signature))
}

fn signed_request_key(signature: &str, body: &[u8]) -> String {
    format!("{} {}", signature_key(signature), digest(body))
}

fn context(actor: &Actor, key: &str) -> String {
    format!("answer {} {key}", actor.user)
}

impl App {
    /// Notes that a request begins under a key, or finds what it got before. The digest covers all of the request that matters.
    pub async fn begin_keyed(&self, actor: &Actor, key: &str, request: &[u8]) -> Result<Keyed, Problem> {
        check_idempotency_key(key)?;
        let digest = digest(request);
        let now = now();
        let forget = Timestamp(now.0.saturating_sub(i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX)));
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        if uow.begin_keyed(&actor.user, key, &digest, forget, now).await.map_err(problem::store)? {
            uow.commit().await.map_err(problem::store)?;
            return Ok(Keyed::First);
        }
        let Some(known) = uow.keyed_request(&actor.user, key).await.map_err(problem::store)? else { return Err(Problem::internal()) };
        if known.request != digest {
            return Err(Problem::new(ProblemCode::IdempotencyKeyReused, "The idempotency key was used for another request.")
                .hint("Use a fresh key for every new request."));
        }
        match known.answer {
            Some((status, sealed)) => {
                let body = self.parts.master_key.open_text(&sealed, &context(actor, key)).map_err(|error| problem::internal(&error))?;
                Ok(Keyed::Answered { status, body: body.expose_secret().to_owned() })
            }
            None if now.since(known.started_at) < ABANDONED => {
                Err(Problem::new(ProblemCode::IdempotencyKeyInUse, "The request with this idempotency key is still being answered.")
                    .hint("Repeat the request in a few seconds to get its answer."))
            }
            // Carrying it out again might be the second time.
            None => Err(Problem::new(ProblemCode::OutcomeUnknown, "The request with this idempotency key broke off; whether it was carried out is not known.")
                .hint("Look at what it was to change and at the operations (`moorage operation list`). If it was not carried out, make it again with another key.")),
        }
    }

    /// Keeps the answer that a request got.
    pub async fn answer_keyed(&self, actor: &Actor, key: &str, status: u16, body: &str) -> Result<(), Problem> {
        // A token or a key that is shown once is in some of them.
        let sealed = self.parts.master_key.seal(body.as_bytes(), &context(actor, key)).map_err(|error| problem::internal(&error))?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        uow.answer_keyed(&actor.user, key, status, &sealed).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)
    }

    /// Takes a signature that asks for a change with this body. Whoever sends both a second time repeats what may have been done.
    /// Another body, which is not signed, counts as a request of its own for a moment only: a client that asks for several things
    /// at once signs them alike when their times are alike; later, or from another address (`source`), it is somebody who saw the
    /// signature go by.
    pub async fn use_signature(&self, actor: &Actor, signature: &str, body: &[u8], source: &str) -> Result<(), Problem> {
        let now = now();
        let forget = Timestamp(now.0.saturating_sub(i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX)));
        let (of_any_body, of_this_body) = (signature_key(signature), signed_request_key(signature, body));
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let mut fresh = uow.begin_keyed(&actor.user, &of_this_body, "", forget, now).await.map_err(problem::store)?;
        let first = format!("{source} {of_this_body}");
        if fresh && !uow.begin_keyed(&actor.user, &of_any_body, &first, forget, now).await.map_err(problem::store)? {
            let known = uow.keyed_request(&actor.user, &of_any_body).await.map_err(problem::store)?;
            let same_source = |first: &str| first.split_once(' ').is_some_and(|(known, _)| known == source);
            fresh = known.is_some_and(|known| same_source(&known.request) && now.since(known.started_at) < AT_ONCE);
        }
        if !fresh {
            return Err(Problem::new(ProblemCode::Unauthenticated, "The request's signature was used already.")
                .hint("Sign every change anew, with the present time; look first whether the earlier one was carried out."));
        }
        uow.commit().await.map_err(problem::store)
    }

    /// Gives a signature back: the request failed on our side, and its sender may repeat it as it is.
    pub async fn give_signature_back(&self, actor: &Actor, signature: &str, body: &[u8]) {
        let (of_any_body, of_this_body) = (signature_key(signature), signed_request_key(signature, body));
        let given_back = async {
            let mut uow = self.parts.store.begin().await?;
            uow.forget_keyed(&actor.user, &of_this_body).await?;
            // What others sent with it stays used.
            if uow.keyed_request(&actor.user, &of_any_body).await?.is_some_and(|first| first.request.ends_with(&of_this_body)) {
                uow.forget_keyed(&actor.user, &of_any_body).await?;
            }
            uow.commit().await
        };
        if let Err(error) = given_back.await {
            tracing::debug!(%error, "a signature could not be given back; its sender has to sign anew");
        }
    }

    /// Forgets a request that was refused: nothing was done, and the same one may be made again.
    pub async fn forget_keyed(&self, actor: &Actor, key: &str) {
        let forgotten = async {
            let mut uow = self.parts.store.begin().await?;
            uow.forget_keyed(&actor.user, key).await?;
            uow.commit().await
        };
        if let Err(error) = forgotten.await {
            tracing::warn!(%error, "a key of a request that was refused could not be forgotten; repeated, its outcome is said not to be known");
        }
    }

    /// Notes that nobody is at a request any more and that its outcome is not known.
    pub async fn break_off_keyed(&self, actor: &Actor, key: &str) {
        let at = Timestamp(now().0.saturating_sub(i64::try_from(ABANDONED.as_micros()).unwrap_or(i64::MAX)));
        let noted = async {
            let mut uow = self.parts.store.begin().await?;
            uow.date_keyed_back(&actor.user, key, at).await?;
            uow.commit().await
        };
        if let Err(error) = noted.await {
            tracing::warn!(%error, seconds = ABANDONED.as_secs(), "that a request broke off could not be noted; until then it is said to go on");
        }
    }
}
