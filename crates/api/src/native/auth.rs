//! Who asks: `Authorization: Bearer TOKEN`, or basic credentials.

use crate::kit::Kit;
use crate::kit::exchange::Asking;
use crate::kit::refusal::{Refusal, header};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use moorage_domain::tenant::Actor;
use moorage_domain::{Problem, ProblemCode};
use secrecy::SecretString;

/// A credential as it came.
#[derive(Debug)]
pub(crate) enum Credential {
    /// A token.
    Token(String),
    /// User name and password.
    Basic(String, SecretString),
}

impl Credential {
    /// Reads the `Authorization` header.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let refused = |message: &str| {
            Problem::new(ProblemCode::Unauthenticated, message)
                .hint("Send a token as Authorization: Bearer, or user name and password as Authorization: Basic.")
        };
        let Some((scheme, rest)) = header(headers, "authorization").and_then(|value| value.split_once(' ')) else {
            return Err(refused("The request carries no credentials."));
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
            return Ok(Self::Token(rest.to_owned()));
        }
        let pair = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(rest).ok()).flatten();
        let pair = pair.and_then(|bytes| String::from_utf8(bytes).ok());
        match pair.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((user, password)) => Ok(Self::Basic(user.to_owned(), SecretString::from(password.to_owned()))),
            None => Err(refused("The Authorization header cannot be read.")),
        }
    }
    /// Whose it is.
    pub(crate) async fn check(&self, kit: &Kit) -> Result<Actor, Problem> {
        match self {
            Self::Token(token) => kit.app.authenticate_token(token).await,
            Self::Basic(user, password) => kit.app.authenticate_password(user, password).await,
        }
    }
}

/// Lets a request through once it is known who asks.
pub(crate) async fn admit(State(kit): State<Kit>, mut request: Request, next: Next) -> Response {
    let credential = match Credential::read(request.headers()) {
        Ok(credential) => credential,
        Err(problem) => return Refusal::from(problem).into_response(),
    };
    match credential.check(&kit).await {
        Ok(actor) => {
            Asking::is(&request, &actor);
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(problem) => Refusal::from(problem).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn read(value: &str) -> Result<Credential, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", value.parse().expect("a header value"));
        Credential::read(&headers)
    }

    #[test]
    fn tokens_and_passwords_are_read_and_nothing_else() {
        assert!(matches!(read("bearer abc"), Ok(Credential::Token(token)) if token == "abc"));
        let encoded = STANDARD.encode("ann:a:b");
        let basic = read(&format!("Basic {encoded}")).expect("valid");
        assert!(matches!(basic, Credential::Basic(user, password) if user == "ann" && password.expose_secret() == "a:b"));
        for bad in ["", "Bearer", "Bearer  ", "Basic", "Basic !!!", "Basic YWJj", "Digest x", "abc"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(Credential::read(&HeaderMap::new()).is_err());
    }
}
