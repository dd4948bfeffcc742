//! Who asks: a signature over method, URL, time, access key, account and client type; or a bearer token.
//!
//! The body is not part of the signature. Clients disagree on the URL they sign (encoded or not, behind a proxy or not),
//! so a handful of readings of the same request are tried; none of them lets anything be signed that was not sent.

use super::dialect::Dialect;
use crate::kit::Kit;
use crate::kit::exchange::{Asking, Content, source};
use crate::kit::refusal::{Refusal, header};
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, Method};
use moorage_domain::engine::EngineName;
use moorage_domain::tenant::Actor;
use moorage_domain::{Category, Problem, ProblemCode, Timestamp};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;

/// How far a signature's time may be from ours (decisions 20).
const WINDOW_MILLIS: i64 = 15 * 60 * 1000;

/// Longer URLs are not verified: each reading of one costs a copy.
const LONGEST_URL: usize = 16 * 1024;

/// Who asks, and in which dialect.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Proven by a credential.
    pub(crate) actor: Actor,
    /// Service and version.
    pub(crate) dialect: Dialect,
}

/// Lets a request through once it is known who asks and in which dialect.
pub(crate) async fn admit(State((kit, prefix)): State<(Kit, Option<EngineName>)>, mut request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let caller = async {
        let actor = identify(&kit, &parts).await?;
        let dialect = Dialect::choose(prefix, api_version(&parts.headers))?;
        Ok::<_, Problem>(Caller { actor, dialect })
    };
    match caller.await {
        Ok(caller) => {
            request = Request::from_parts(parts, body);
            Asking::is(&request, &caller.actor);
            let actor = caller.actor.clone();
            request.extensions_mut().insert(caller);
            once(&kit, &actor, request, next).await
        }
        Err(problem) => Refusal::from(problem).into_response(),
    }
}

/// A signed change is carried out once: otherwise whoever saw a request go by could send it again for as long as its time is good.
/// The body is not part of what is signed; for a moment the same client may ask for something else under the same signature.
async fn once(kit: &Kit, actor: &Actor, request: Request, next: Next) -> Response {
    let signature = match *request.method() {
        Method::GET => None,
        _ => header(request.headers(), "scp-signature").map(str::to_owned),
    };
    let Some(signature) = signature else { return next.run(request).await };
    let body = match request.extensions().get::<Content>().map(Content::bytes) {
        Some(Ok(bytes)) => bytes.clone(),
        Some(Err(problem)) => return Refusal::from(problem).into_response(),
        None => Bytes::new(),
    };
    let source = source(&request).unwrap_or_default();
    if let Err(problem) = kit.app.use_signature(actor, &signature, &body, &source).await {
        return Refusal::from(problem).into_response();
    }
    let response = next.run(request).await;
    let ours = |refusal: &Refusal| {
        matches!(refusal.first.category(), Category::Internal | Category::Unavailable | Category::Failed | Category::Exhausted)
    };
    if response.extensions().get::<Refusal>().is_some_and(ours) {
        kit.app.give_signature_back(actor, &signature, &body).await;
    }
    response
}

/// Lets a request to a service without dialects through once it is known who asks.
pub(crate) async fn identified(State(kit): State<Kit>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match identify(&kit, &parts).await {
        Ok(actor) => {
            let mut request = Request::from_parts(parts, body);
            Asking::is(&request, &actor);
            request.extensions_mut().insert(actor.clone());
            once(&kit, &actor, request, next).await
        }
        Err(problem) => Refusal::from(problem).into_response(),
    }
}

/// The header as it came; one that cannot be read names no version we know.
fn api_version(headers: &HeaderMap) -> Option<&str> {
    headers.contains_key("scp-api-version").then(|| header(headers, "scp-api-version").unwrap_or("?"))
}

async fn identify(kit: &Kit, parts: &Parts) -> Result<Actor, Problem> {
    if let Some(signed) = Signed::read(&parts.headers)? {
        signed.check_time(kit.now())?;
        let url = Url::of(parts, kit.options.public_base.as_deref());
        let messages = signed.messages(parts.method.as_str(), &url)?;
        return kit.app.authenticate_signature(signed.access_key, &messages, signed.signature).await;
    }
    match header(&parts.headers, "authorization").and_then(|value| value.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => kit.app.authenticate_token(token.trim()).await,
        _ => Err(refused("The request carries no credentials.").hint(
            "Sign it with Scp-AccessKey, Scp-Signature, Scp-Timestamp and Scp-ClientType, or send a token as Authorization: Bearer.",
        )),
    }
}

fn refused(message: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::Unauthenticated, message)
}

/// The signature's headers.
#[derive(Debug, PartialEq, Eq)]
struct Signed<'a> {
    access_key: &'a str,
    signature: &'a str,
    timestamp: &'a str,
    account: &'a str,
    client_type: &'a str,
}

impl<'a> Signed<'a> {
    /// Reads them; none if the request is not signed, a problem if it is signed by half.
    fn read(headers: &'a HeaderMap) -> Result<Option<Self>, Problem> {
        let needed = ["scp-accesskey", "scp-signature", "scp-timestamp"];
        if !needed.iter().any(|name| headers.contains_key(*name)) {
            return Ok(None);
        }
        let get = |name: &str, shown: &str| {
            header(headers, name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| refused(format!("The header {shown} is missing or blank.")))
        };
        Ok(Some(Self {
            access_key: get("scp-accesskey", "Scp-AccessKey")?,
            signature: get("scp-signature", "Scp-Signature")?,
            timestamp: get("scp-timestamp", "Scp-Timestamp")?,
            account: header(headers, "scp-accountid").unwrap_or_default(),
            client_type: header(headers, "scp-clienttype").unwrap_or_default(),
        }))
    }

    fn check_time(&self, now: Timestamp) -> Result<(), Problem> {
        let digits = self.timestamp.len() <= 18 && self.timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let Some(at) = digits.then(|| self.timestamp.parse::<i64>().ok()).flatten() else {
            return Err(refused("Scp-Timestamp is not a time.").hint("It is the number of milliseconds since 1970-01-01T00:00:00Z."));
        };
        let away = at.saturating_sub(now.0.div_euclid(1000));
        if away.saturating_abs() <= WINDOW_MILLIS {
            return Ok(());
        }
        let side = if away > 0 { "in the future" } else { "old" };
        Err(refused(format!("The request's time is {} seconds {side}.", away.saturating_abs() / 1000))
            .hint(format!("Scp-Timestamp counts milliseconds and may be 15 minutes off; this server's clock says {}.", now.rfc3339())))
    }

    /// Every text the signature may be over.
    fn messages(&self, method: &str, url: &Url<'_>) -> Result<Vec<String>, Problem> {
        if url.target.len() > LONGEST_URL {
            return Err(refused("The request's URL is too long to be verified."));
        }
        let tail = format!("{}{}{}{}", self.timestamp, self.access_key, self.account, self.client_type);
        let targets = url.targets();
        let mut messages = Vec::new();
        for base in url.bases() {
            for target in &targets {
                let message = format!("{method}{base}{target}{tail}");
                if !messages.contains(&message) {
                    messages.push(message);
                }
            }
        }
        Ok(messages)
    }
}

/// The URL of a request, as far as the server can know what the client saw.
struct Url<'a> {
    host: &'a str,
    /// Path and query as they came over the wire.
    target: &'a str,
    /// User information of the URL; it arrives as basic credentials.
    user: Option<String>,
    public_base: Option<&'a str>,
}

/// What `encodeURI` leaves alone, turned around.
const ENCODE_URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b']')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

impl<'a> Url<'a> {
    fn of(parts: &'a Parts, public_base: Option<&'a str>) -> Self {
        let host = header(&parts.headers, "host").or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
        let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let user = header(&parts.headers, "authorization").and_then(|value| value.split_once(' ')).and_then(|(scheme, encoded)| {
            let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok()).flatten()?;
            let pair = String::from_utf8(decoded).ok()?;
            Some(pair.strip_suffix(':').map_or(pair.clone(), str::to_owned))
        });
        Self { host: host.unwrap_or_default(), target, user, public_base }
    }

    /// What may stand before the path.
    fn bases(&self) -> Vec<String> {
        let mut bases = Vec::new();
        let users = std::iter::once(String::new()).chain(self.user.iter().map(|user| format!("{user}@")));
        for user in users {
            for (scheme, port) in [("http", "80"), ("https", "443")] {
                bases.push(format!("{scheme}://{user}{}", self.host));
                // Some clients sign a default port that others leave out of the Host header.
                if !self.host.rsplit(']').next().unwrap_or_default().contains(':') {
                    bases.push(format!("{scheme}://{user}{}:{port}", self.host));
                }
            }
        }
        bases.extend(self.public_base.map(str::to_owned));
        bases
    }

    /// Readings of path and query: as sent, with the query decoded, with `+` read as a space too, and that encoded the way
    /// `encodeURI` does it.
    fn targets(&self) -> Vec<String> {
        let mut targets = vec![self.target.to_owned()];
        if let Some((path, query)) = self.target.split_once('?') {
            let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned);
            let plain = decoded(query);
            let spaced = decoded(&query.replace('+', " "));
            let again = spaced.as_deref().map(|query| utf8_percent_encode(query, ENCODE_URI).to_string());
            targets.extend([plain, spaced, again].into_iter().flatten().map(|query| format!("{path}?{query}")));
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, Mac};
    use proptest::prelude::*;
    use sha2::Sha256;

    fn sign(message: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"SKEXAMPLE").expect("any key will do");
        mac.update(message.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
    fn signed<'a>(account: &'a str) -> Signed<'a> {
        Signed { access_key: "AKEXAMPLE", signature: "", timestamp: "1605290625682", account, client_type: "Openapi" }
    }
    fn url<'a>(host: &'a str, target: &'a str) -> Url<'a> {
        Url { host, target, user: None, public_base: None }
    }
    fn accepts(signed: &Signed<'_>, method: &str, url: &Url<'_>, signature: &str) -> bool {
        signed.messages(method, url).expect("messages").iter().any(|message| sign(message) == signature)
    }
    fn accepts_url(url: &Url<'_>, signed_url: &str) -> bool {
        accepts(&signed(""), "GET", url, &sign(&format!("GET{signed_url}1605290625682AKEXAMPLEOpenapi")))
    }

    #[test]
    fn the_vendors_signatures_verify() {
        let host = "127.0.0.1:8080";
        for (method, target, account, signature) in [
            ("GET", "/v1/clusters?name=demo&page=0&size=20&sort=name%3Aasc", "", "0HtuBXllxQFR7ska72OQ2oirBguizBIpAZbrJEV49do="),
            ("POST", "/mariadb/v1/clusters", "", "2YmNSxBGukfdG5HPu0xppuJwAFkWKFyP1Hz8kfKayok="),
            ("GET", "/v1/endpoints", "", "ZXyTvmCYHbVP/qiVhyVYcC7/G33URLJsFaUrkO6noEk="),
            ("DELETE", "/v1/clusters/109a585ae67b4e8482fdafc8a4a5be74", "acct1", "hOHgH3l9Ptm0A6JmvGQ8HnqDqSVA6ROe7PwZrpNewfk="),
        ] {
            assert!(accepts(&signed(account), method, &url(host, target), signature), "{method} {target}");
            assert!(!accepts(&signed("other"), method, &url(host, target), signature), "{method} {target}");
            assert!(!accepts(&signed(account), "PUT", &url(host, target), signature), "{method} {target}");
        }
    }

    #[test]
    fn a_query_may_be_signed_as_sent_or_decoded() {
        let wire = url("h:1", "/v1/clusters?sort=name%3Aasc&name=a+b%20c");
        for good in [
            "http://h:1/v1/clusters?sort=name%3Aasc&name=a+b%20c",
            "http://h:1/v1/clusters?sort=name:asc&name=a+b c",
            "http://h:1/v1/clusters?sort=name:asc&name=a b c",
            "http://h:1/v1/clusters?sort=name:asc&name=a%20b%20c",
            "https://h:1/v1/clusters?sort=name:asc&name=a b c",
        ] {
            assert!(accepts_url(&wire, good), "{good}");
        }
        for bad in [
            "http://h:1/v1/clusters?sort=name:desc&name=a b c",
            "http://h:2/v1/clusters?sort=name:asc&name=a b c",
            "http://h:1/v1/clusters",
            "http://h:1/v1/clusters?sort=name%253Aasc&name=a+b%20c",
        ] {
            assert!(!accepts_url(&wire, bad), "{bad}");
        }
    }

    #[test]
    fn the_public_base_default_ports_and_user_information_are_known() {
        let mut wire = url("h", "/v1/endpoints");
        assert!(accepts_url(&wire, "http://h:80/v1/endpoints"));
        assert!(accepts_url(&wire, "https://h:443/v1/endpoints"));
        assert!(!accepts_url(&wire, "https://db.example.org/moor/v1/endpoints"));
        wire.public_base = Some("https://db.example.org/moor");
        assert!(accepts_url(&wire, "https://db.example.org/moor/v1/endpoints"));
        wire.user = Some("iam.e.samsungsdscloud.com".into());
        assert!(accepts_url(&wire, "http://iam.e.samsungsdscloud.com@h/v1/endpoints"));
    }

    #[test]
    fn a_signature_older_or_younger_than_fifteen_minutes_is_refused() {
        let now = |millis: i64| Timestamp(millis * 1000);
        let at = 1_605_290_625_682;
        for (now_millis, ok) in [(at, true), (at + 900_000, true), (at - 900_000, true), (at + 900_001, false), (at - 900_001, false)] {
            assert_eq!(signed("").check_time(now(now_millis)).is_ok(), ok, "{now_millis}");
        }
        for bad in ["", "x", "-1605290625682", "1605290625", "99999999999999999999", "1605290625682.5", "+1605290625682"] {
            let signed = Signed { timestamp: bad, ..signed("") };
            assert!(signed.check_time(now(at)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_signed_by_half_says_what_is_missing() {
        let mut headers = HeaderMap::new();
        assert_eq!(Signed::read(&headers), Ok(None));
        headers.insert("scp-accesskey", "AK".parse().expect("a value"));
        assert!(Signed::read(&headers).expect_err("half").message.contains("Scp-Signature"));
        headers.insert("scp-signature", "x".parse().expect("a value"));
        headers.insert("scp-timestamp", "1".parse().expect("a value"));
        assert!(Signed::read(&headers).expect("whole").is_some());
    }

    proptest! {
        #[test]
        fn any_target_gives_a_few_messages_and_no_panic(target in "/[!-~]{0,200}", host in "[!-~]{0,40}") {
            let wire = url(&host, &target);
            let messages = signed("").messages("GET", &wire).expect("messages");
            prop_assert!(!messages.is_empty() && messages.len() <= 20);
        }
        #[test]
        fn a_tampered_path_never_verifies(path in "/v1/[a-z]{1,20}", other in "/v1/[a-z]{1,20}") {
            prop_assume!(path != other);
            let wire = url("h:1", &path);
            let signed_url = format!("http://h:1{other}");
            prop_assert!(!accepts_url(&wire, &signed_url));
        }
    }
}
