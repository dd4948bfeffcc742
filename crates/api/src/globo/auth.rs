//! Who asks: user name and password in every request. Tokens of our own are taken as well.

use super::hal::Site;
use crate::kit::Kit;
use crate::kit::exchange::Asking;
use crate::kit::refusal::{Refusal, header};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use moorage_domain::{Problem, ProblemCode};
use secrecy::SecretString;

fn refused(words: &str) -> Problem {
    Problem::new(ProblemCode::Unauthenticated, words)
}

/// User name and password of the `Authorization` header, or what is wrong with it in the original's words.
fn basic(headers: &HeaderMap) -> Result<(String, SecretString), Problem> {
    let value = header(headers, "authorization").unwrap_or_default();
    let mut words = value.split_whitespace();
    if !words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic")) {
        return Err(refused("Authentication credentials were not provided."));
    }
    let Some(encoded) = words.next() else { return Err(refused("Invalid basic header. No credentials provided.")) };
    if words.next().is_some() {
        return Err(refused("Invalid basic header. Credentials string should not contain spaces."));
    }
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|pair| pair.split_once(':')) {
        Some((user, password)) => Ok((user.to_owned(), SecretString::from(password.to_owned()))),
        None => Err(refused("Invalid basic header. Credentials not correctly base64 encoded")),
    }
}

/// Whether a request does not come from a page of another site, as far as browsers say so. They send a password they know with whatever
/// a page of anybody's asks for.
pub(crate) fn is_ours(headers: &HeaderMap, public_base: Option<&str>) -> bool {
    if let Some(from) = header(headers, "sec-fetch-site") {
        return ["same-origin", "none"].contains(&from);
    }
    let Some(origin) = header(headers, "origin") else { return true };
    let place = |address: &str| {
        address.split_once("://").map_or(address, |(_, rest)| rest).split('/').next().unwrap_or_default().to_ascii_lowercase()
    };
    // A proxy may speak TLS for us: the place counts.
    let own = [header(headers, "host"), public_base].into_iter().flatten();
    own.into_iter().any(|own| place(own) == place(origin))
}

/// Lets a request through once it is known who asks, with the address it came in at.
pub(crate) async fn admit(State(kit): State<Kit>, mut request: Request, next: Next) -> Response {
    let site = Site::of(request.headers(), request.uri(), kit.options.public_base.as_deref(), kit.options.tls);
    request.extensions_mut().insert(site);
    let bearer = header(request.headers(), "authorization").and_then(|value| value.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim().to_owned());
    let checked = match bearer {
        Some(token) => kit.app.authenticate_token(&token).await,
        None if !request.method().is_safe() && !is_ours(request.headers(), kit.options.public_base.as_deref()) => {
            let problem = Problem::new(ProblemCode::Forbidden, "The request was begun by a page of another site.");
            return Refusal::from(problem.hint("Programs send no Origin header, or use a token.")).into_response();
        }
        None => match basic(request.headers()) {
            Ok((user, password)) => kit.app.authenticate_password(&user, &password).await,
            Err(problem) => return Refusal::from(problem).into_response(),
        },
    };
    match checked {
        Ok(actor) => {
            Asking::is(&request, &actor);
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        // Who guesses too often is told so; everybody else is told what the original tells.
        Err(problem) if problem.code == ProblemCode::Unauthenticated => Refusal::from(refused("Invalid username/password")).into_response(),
        Err(problem) => Refusal::from(problem).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", value.parse().expect("a header value"));
        basic(&headers).map_or_else(|problem| problem.message, |(user, _)| user)
    }

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let ours = |pairs: &[(&'static str, &str)], base: Option<&str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().expect("a header value"));
            }
            is_ours(&headers, base)
        };
        let host = ("host", "h:8440");
        assert!(
            ours(&[host], None) && ours(&[host, ("origin", "http://H:8440")], None) && ours(&[host, ("origin", "https://h:8440")], None)
        );
        assert!(ours(&[host, ("origin", "https://db.example.org")], Some("https://db.example.org/moor")));
        for elsewhere in ["https://elsewhere.example", "null", "http://h:8441", "http://h:8440.elsewhere.example"] {
            assert!(!ours(&[host, ("origin", elsewhere)], None), "{elsewhere}");
        }
        assert!(ours(&[host, ("sec-fetch-site", "same-origin"), ("origin", "http://x")], None));
        assert!(!ours(&[host, ("sec-fetch-site", "cross-site")], None) && !ours(&[host, ("sec-fetch-site", "same-site")], None));
    }

    #[test]
    fn what_is_wrong_is_said_as_the_original_says_it() {
        assert_eq!(words(&format!("Basic {}", STANDARD.encode("admin:123456"))), "admin");
        assert_eq!(words("Digest x"), "Authentication credentials were not provided.");
        assert_eq!(words("Basic"), "Invalid basic header. No credentials provided.");
        assert_eq!(words("Basic a b"), "Invalid basic header. Credentials string should not contain spaces.");
        for bad in ["Basic !!!", "Basic YWRtaW4=", "Basic /w=="] {
            assert_eq!(words(bad), "Invalid basic header. Credentials not correctly base64 encoded", "{bad}");
        }
    }
}
