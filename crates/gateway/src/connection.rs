//! One client's connection from its first byte to its last.

use crate::client_stream::{ClientStream, say_and_close};
use crate::endpoint::Connection;
use crate::engine_stream::EngineStream;
use crate::relay::{RelayError, Watch, relay};
use crate::{mariadb, postgresql};
use moorage_domain::engine::EngineName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What holds for logins.
#[derive(Clone, Debug)]
pub struct LoginRules {
    /// How long a client may take to say what it wants, TLS included.
    pub handshake: Duration,
    /// How long a client may take to be logged in.
    pub login: Duration,
    /// The account that administers the engines of this host.
    pub administrator: Option<String>,
}

/// A client and the engine that let it in.
pub struct LoggedIn {
    /// The client.
    pub client: ClientStream,
    /// The engine.
    pub engine: EngineStream,
    /// Follows what they say.
    pub watch: SessionWatch,
}

/// Follows a session in its protocol.
pub enum SessionWatch {
    /// PostgreSQL's.
    PostgreSql(postgresql::TransactionWatch),
    /// MariaDB's.
    MariaDb(mariadb::CommandWatch),
}

/// Why a connection did not get as far as a login. Nobody but its client need care.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// It broke.
    #[error("the connection broke")]
    Broke(#[from] io::Error),
    /// The client took too long.
    #[error("the client took too long")]
    TooSlow,
    /// It does not speak PostgreSQL's protocol.
    #[error("not PostgreSQL's protocol")]
    PostgreSql(#[from] postgresql::messages::Malformed),
    /// It does not speak MariaDB's protocol.
    #[error("not MariaDB's protocol")]
    MariaDb(#[from] mariadb::packets::Malformed),
    /// It was refused, and told so.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// It only wanted a statement cancelled.
    #[error("cancelled a statement")]
    Cancelled,
}

/// Carries one connection.
pub async fn carry(connection: Connection, socket: std::net::TcpStream, rules: Arc<LoginRules>) {
    let cluster = connection.endpoint().cluster().clone();
    let client = connection.client;
    // What a login needs is given back before the long life of the connection begins.
    let login = Box::pin(log_in(&connection, socket, &rules));
    match timeout(rules.login, login).await.unwrap_or(Err(LoginError::TooSlow)) {
        Ok(LoggedIn { client: mut stream, mut engine, watch }) => {
            let (ended, asked) = match watch {
                SessionWatch::PostgreSql(watch) => {
                    (pass(&connection, &mut stream, &mut engine, watch).await, postgresql::primary_changes())
                }
                SessionWatch::MariaDb(watch) => (pass(&connection, &mut stream, &mut engine, watch).await, Vec::new()),
            };
            let words = match ended {
                Err(RelayError::Forbidden) => mariadb::change_of_user_denied(client.ip()),
                Err(RelayError::Asked) => asked,
                _ => return,
            };
            drop(engine);
            drop(connection);
            // The client may be gone already.
            let _ = say_and_close(&mut stream, &words).await;
            return;
        }
        Err(LoginError::Cancelled) => tracing::debug!(%cluster, %client, "cancel request passed on"),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::debug!(%cluster, %client, %error, cause, "no login");
        }
    }
    drop(connection);
}

/// Passes on what client and engine say until the session ends.
async fn pass(connection: &Connection, client: &mut ClientStream, engine: &mut EngineStream, watch: impl Watch) -> Result<(), RelayError> {
    let mut known = false;
    let asked = |cx: &mut std::task::Context<'_>| {
        if !known {
            connection.wake_with(cx.waker());
            known = true;
        }
        connection.endpoint().closes()
    };
    let relayed = relay(client, engine, watch, asked).await;
    if let Err(error) = &relayed {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::debug!(cluster = %connection.endpoint().cluster(), client = %connection.client, %error, cause, "ended early");
    }
    relayed
}

async fn log_in(connection: &Connection, socket: std::net::TcpStream, rules: &Arc<LoginRules>) -> Result<LoggedIn, LoginError> {
    let stream = TcpStream::from_std(socket)?;
    match connection.endpoint().settings().file.engine {
        EngineName::PostgreSql => postgresql::log_in(connection, stream, rules).await,
        EngineName::MariaDb => mariadb::log_in(connection, stream, rules).await,
    }
}
