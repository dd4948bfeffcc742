//! The server at the other end: requests, credentials, and answers or failures.

use reqwest::{Certificate, Method, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::{Failure, ProblemBody};
use crate::options::ClientOptions;

const PREFIX: &str = "/moorage/v1";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Who asks.
enum Credential {
    Token(SecretString),
    Login { user: String, password: SecretString },
}

/// `bootstrap.json` of a data directory, as far as it matters here.
#[derive(Deserialize)]
struct Bootstrap {
    base_url: String,
    token: Option<SecretString>,
    user: Option<String>,
    password: Option<SecretString>,
}

/// A server and how to prove who is asking.
pub struct Server {
    http: reqwest::Client,
    base: String,
    credential: Credential,
}

impl Server {
    /// Finds out where the server is and who asks; nothing is sent yet.
    pub fn reach(options: &ClientOptions) -> Result<Self, Failure> {
        let mut token = match &options.token_file {
            Some(path) => Some(read_token(path)?),
            None => std::env::var("MOORAGE_TOKEN").ok().filter(|token| !token.is_empty()).map(SecretString::from),
        };
        let mut login = None;
        let mut base = options.server.clone();
        let mut ca_file = options.ca_file.clone();
        if base.is_none() || token.is_none() {
            let directory = options.data_dir.clone().unwrap_or_else(default_data_directory);
            let bootstrap = read_bootstrap(&directory)?;
            // A credential is for its own server only; it is not shown to another one.
            if base.as_ref().is_some_and(|base| !same_server(base, &bootstrap.base_url)) {
                return Err(Failure::new("There is no token for this server.")
                    .why(format!("The data directory {} belongs to the server at {}.", directory.display(), bootstrap.base_url))
                    .hint("Give a token with --token-file or MOORAGE_TOKEN."));
            }
            base.get_or_insert(bootstrap.base_url);
            // A server with a certificate of its own authority leaves that beside its data.
            let own = directory.join("ca.pem");
            ca_file = ca_file.or_else(|| own.is_file().then_some(own));
            if token.is_none() {
                token = bootstrap.token;
                login = bootstrap.user.zip(bootstrap.password);
            }
        }
        let base = base.unwrap_or_default();
        let credential = match (token, login) {
            (Some(token), _) => Credential::Token(token),
            (None, Some((user, password))) => Credential::Login { user, password },
            (None, None) => return Err(Failure::new("There is no token.").hint("Give one with --token-file or MOORAGE_TOKEN.")),
        };
        let url = Url::parse(&base)
            .ok()
            .filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
            .ok_or_else(|| Failure::new(format!("'{base}' is not the URL of a server.")).hint("Write it as http://127.0.0.1:8440."))?;
        let http = http_client(&url, ca_file.as_deref().filter(|_| url.scheme() == "https"))?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), credential })
    }

    /// Reads a document.
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        json(self.send(self.request(Method::GET, path).query(query)).await?).await
    }

    /// Reads text.
    pub async fn get_text(&self, path: &str) -> Result<String, Failure> {
        self.send(self.request(Method::GET, path)).await?.text().await.map_err(cut)
    }

    /// Reads every page of a list.
    pub async fn get_all(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut query = query.to_vec();
        loop {
            let mut page = self.get(path, &query).await?;
            match page["items"].take() {
                Value::Array(more) => items.extend(more),
                _ => return Err(strange("a list without items")),
            }
            let Some(next) = page["next"].as_str() else { return Ok(items) };
            let again = query.iter().any(|(name, value)| *name == "cursor" && value == next);
            if again {
                return Err(strange("a list that never ends"));
            }
            query.retain(|(name, _)| *name != "cursor");
            query.push(("cursor", next.to_owned()));
        }
    }

    /// Asks for a change.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        json(self.send(self.request(Method::POST, path).json(body)).await?).await
    }

    /// Asks for something to be replaced.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        json(self.send(self.request(Method::PUT, path).json(body)).await?).await
    }

    /// Asks for a part of something to be changed.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        json(self.send(self.request(Method::PATCH, path).json(body)).await?).await
    }

    /// Asks for an end.
    pub async fn delete(&self, path: &str) -> Result<Value, Failure> {
        json(self.send(self.request(Method::DELETE, path)).await?).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{PREFIX}{path}", self.base));
        match &self.credential {
            Credential::Token(token) => request.bearer_auth(token.expose_secret()),
            Credential::Login { user, password } => request.basic_auth(user, Some(password.expose_secret())),
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| {
            let why = root_cause(&error);
            let (happened, hint) = if error.is_timeout() {
                ("did not answer in time", "Is it running? Start it with 'moorage serve', or name another with --server.")
            } else if error.is_builder() {
                return Failure::new("The request cannot be sent.")
                    .why(why)
                    .hint("A token is one line of letters, digits and signs: look at where it comes from.");
            } else if error.is_connect() {
                ("cannot be reached", "Is it running? Start it with 'moorage serve', or name another with --server.")
            } else {
                ("did not answer", "Is it still running, and is that its URL? One that serves https is reached with https:// only.")
            };
            Failure::new(format!("The server at {} {happened}.", self.base)).why(why).hint(hint).passing()
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let mut failure = match serde_json::from_str::<ProblemBody>(&text) {
            Ok(body) => Failure::from(body),
            Err(_) => Failure::new(format!("The server at {} answered {status}.", self.base)).hint("Is this a Moorage server?"),
        };
        failure.passing = status.is_server_error();
        Err(failure)
    }
}

/// A path segment that stands for one thing, whatever characters the user typed.
pub fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    // A segment of dots alone would be taken for a way up.
    let dots = text.bytes().all(|byte| byte == b'.');
    text.bytes().map(|byte| if plain(byte) && !dots { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// An answer that this version does not understand.
pub fn strange(what: &str) -> Failure {
    Failure::new(format!("The server sent {what}.")).hint("Server and client may be of versions that do not fit together.")
}

async fn json(response: Response) -> Result<Value, Failure> {
    let nothing = response.status() == reqwest::StatusCode::NO_CONTENT;
    let bytes = response.bytes().await.map_err(cut)?;
    if nothing {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|_| strange("something that is not JSON"))
}

fn cut(error: reqwest::Error) -> Failure {
    Failure::new("The server's answer broke off.").why(root_cause(&error)).passing()
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn http_client(url: &Url, ca_file: Option<&Path>) -> Result<reqwest::Client, Failure> {
    let impossible = |error: reqwest::Error| Failure::new("The connection cannot be set up.").why(root_cause(&error));
    // Set once per process; whoever comes second finds it set.
    let _already_set = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = reqwest::Client::builder().connect_timeout(CONNECT_LIMIT).timeout(REQUEST_LIMIT);
    let loopback = url.host_str().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    });
    if loopback {
        builder = builder.no_proxy();
    }
    match ca_file {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| Failure::new(format!("Cannot read {}.", path.display())).why(error))?;
            builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(impossible)?);
        }
        None if url.scheme() == "https" => {
            return Err(Failure::new("A server with https needs a certificate to be trusted by.").hint("Name it with --ca-file."));
        }
        None => {}
    }
    builder.build().map_err(impossible)
}

fn read_token(path: &Path) -> Result<SecretString, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("The token file {} cannot be read.", path.display())).why(error))?;
    let token = text.trim();
    if token.is_empty() || token.contains(|c: char| !c.is_ascii_graphic()) {
        return Err(Failure::new(format!("The file {} does not hold a token.", path.display())));
    }
    Ok(SecretString::from(token))
}

fn read_bootstrap(directory: &Path) -> Result<Bootstrap, Failure> {
    let path = directory.join("bootstrap.json");
    let bytes = std::fs::read(&path).map_err(|error| {
        Failure::new("It is not known which server to talk to, or as whom.")
            .why(format!("{}: {error}", path.display()))
            .hint("Name the data directory with --data-dir, or the server with --server and a token with --token-file.")
    })?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::new(format!("{} cannot be read.", path.display())).why(error))
}

/// Where `moorage serve` keeps its data unless told otherwise.
fn default_data_directory() -> PathBuf {
    PathBuf::from(if rustix::process::geteuid().is_root() { "/var/lib/moorage" } else { "./moorage-data" })
}

fn same_server(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one.origin() == other.origin(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_user_types_stays_one_segment_of_the_path() {
        assert_eq!(segment("my-cluster_1"), "my-cluster_1");
        assert_eq!(segment("../a b?c"), "..%2Fa%20b%3Fc");
        assert_eq!(segment(".."), "%2E%2E");
    }
}
