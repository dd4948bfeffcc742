//! Logging in and out. A session is a token of the user's that ends by itself; its cookie cannot be read by scripts and is not sent with
//! requests that other sites begin, and what a page sends carries a proof that it came from a page of ours.

use super::page::STYLE;
use crate::globo::auth::is_ours;
use crate::globo::hal::path_of;
use crate::kit::Kit;
use crate::kit::exchange::{Asking, Content, Told};
use crate::kit::query::Query;
use crate::kit::refusal::{Answer, Refusal};
use askama::Template;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode};
use moorage_app::CreateCredential;
use moorage_domain::{Problem, ProblemCode};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const COOKIE: &str = "moorage_session";
/// How long a session lives, in seconds: a working day.
const LIFE: u64 = 12 * 3600;

/// A form that no page of this session can have sent.
pub(super) fn forged() -> Problem {
    Problem::new(ProblemCode::Forbidden, "CSRF Failed: CSRF token missing or incorrect.").hint("Load the page again, and send its form.")
}

/// The routes.
pub(crate) fn router() -> Router<Kit> {
    Router::new().route("/api-auth/login/", get(ask).post(log_in)).route("/api-auth/logout/", post(log_out))
}

/// The session a request belongs to, as its cookie says.
pub(super) struct Session {
    id: String,
    token: SecretString,
}

impl Session {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let cookies = headers.get_all(http::header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == COOKIE)?;
        // A second one was planted by somebody else; which one is ours cannot be told.
        if pairs.any(|(name, _)| name == COOKIE) {
            return None;
        }
        let (id, token) = value.split_once('.')?;
        Some(Self { id: id.to_owned(), token: SecretString::from(token.to_owned()) })
    }
    pub(super) fn token(&self) -> &str {
        self.token.expose_secret()
    }
    /// What its forms carry: nobody who has not seen a page of this session can tell it.
    pub(super) fn proof(&self) -> String {
        let digest = Sha256::digest(format!("moorage:form:{}", self.token()));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
    pub(super) fn sent_this(&self, proof: &str) -> bool {
        self.proof().as_bytes().ct_eq(proof.as_bytes()).into()
    }
}

#[derive(Template)]
#[template(path = "globo/login.html")]
struct LoginPage<'a> {
    style: &'a str,
    base: &'a str,
    trouble: &'a str,
    username: &'a str,
    next: &'a str,
}

/// The form to log in with, and what is to be said first.
pub(super) fn form(kit: &Kit, status: StatusCode, (trouble, username): (&str, &str), next: &str) -> Response {
    let page = LoginPage { style: STYLE, base: root(kit), trouble, username, next };
    (status, super::page::guarded(), Html(page.render().unwrap_or_default())).into_response()
}

/// The path before ours, which a proxy may have added.
fn root(kit: &Kit) -> &str {
    kit.options.public_base.as_deref().map_or("", path_of)
}

/// Where to go after logging in: a page of ours.
fn next(wanted: Option<&str>) -> &str {
    wanted.filter(|path| path.starts_with("/api/") && !path.contains(['\\', '\r', '\n'])).unwrap_or("/api/")
}

fn cookie(kit: &Kit, value: &str, seconds: u64) -> Option<HeaderValue> {
    let secure = kit.options.tls || kit.options.public_base.as_deref().is_some_and(|base| base.starts_with("https:"));
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{COOKIE}={value}; Path={}/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}", root(kit))).ok()
}

fn go(kit: &Kit, to: &str, cookie: Option<HeaderValue>) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(http::header::LOCATION, format!("{}{to}", root(kit)))]).into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(http::header::SET_COOKIE, cookie);
    }
    response
}

async fn ask(State(kit): State<Kit>, query: Query) -> Response {
    form(&kit, StatusCode::OK, ("", ""), next(query.get("next")))
}

async fn log_in(State(kit): State<Kit>, content: Content, request: Request) -> Answer {
    if !is_ours(request.headers(), kit.options.public_base.as_deref()) {
        let mut response = form(&kit, StatusCode::FORBIDDEN, ("The form came from another site. Log in here.", ""), next(None));
        response.extensions_mut().insert(Told(ProblemCode::Forbidden.as_str()));
        return Ok(response);
    }
    let text = std::str::from_utf8(content.bytes()?).unwrap_or_default();
    let sent = Query::parse(Some(text));
    let (user, password) = (sent.get("username").unwrap_or_default(), sent.get("password").unwrap_or_default());
    let to = next(sent.get("next"));
    let actor = match kit.app.authenticate_password(user, &SecretString::from(password.to_owned())).await {
        Ok(actor) => actor,
        Err(problem) if problem.code == ProblemCode::Unauthenticated => {
            let mut response = form(&kit, StatusCode::UNAUTHORIZED, ("Invalid username/password", user), to);
            response.extensions_mut().insert(Told(problem.code.as_str()));
            return Ok(response);
        }
        Err(problem) if problem.code == ProblemCode::LoginLocked => {
            let mut response = form(&kit, StatusCode::UNAUTHORIZED, (&problem.message, user), to);
            response.extensions_mut().insert(Told(problem.code.as_str()));
            return Ok(response);
        }
        Err(problem) => return Err(problem.into()),
    };
    Asking::is(&request, &actor);
    let new = CreateCredential { name: Some("Browser session".to_owned()), seconds: Some(LIFE) };
    let (token, secret) = kit.app.create_token(&actor, "me", &new).await?;
    let value = format!("{}.{}", token.id.as_str(), secret.expose_secret());
    Ok(go(&kit, to, cookie(&kit, &value, LIFE)))
}

async fn log_out(State(kit): State<Kit>, content: Content, request: Request) -> Answer {
    if let Some(session) = Session::of(request.headers()) {
        let text = std::str::from_utf8(content.bytes()?).unwrap_or_default();
        if !session.sent_this(Query::parse(Some(text)).get("csrfmiddlewaretoken").unwrap_or_default()) {
            return Err(Refusal::from(forged()));
        }
        if let Ok(actor) = kit.app.authenticate_token(session.token()).await {
            Asking::is(&request, &actor);
            kit.app.remove_token(&actor, "me", &session.id).await?;
        }
    }
    Ok(go(&kit, "/api-auth/login/", cookie(&kit, "", 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_logging_in_one_stays_here() {
        assert_eq!(next(Some("/api/database/?page=2")), "/api/database/?page=2");
        for elsewhere in ["https://elsewhere.example/", "//elsewhere.example", "/api/\\elsewhere", "javascript:alert(1)", "/moorage"] {
            assert_eq!(next(Some(elsewhere)), "/api/", "{elsewhere}");
        }
    }

    #[test]
    fn a_proof_belongs_to_one_session() {
        let session = |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("cookie", cookie.parse().expect("a header"));
            Session::of(&headers)
        };
        let (one, other) =
            (session("a=b; moorage_session=id1.secret1").expect("one"), session("moorage_session=id2.secret2").expect("one"));
        assert!(one.sent_this(&one.proof()) && !one.sent_this(&other.proof()) && !one.sent_this(""));
        assert_eq!((one.id.as_str(), one.token()), ("id1", "secret1"));
        assert!(session("moorage_sessions=x.y").is_none() && session("moorage_session=xy").is_none());
    }
}
