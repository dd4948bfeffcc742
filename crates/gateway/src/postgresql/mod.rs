//! PostgreSQL clients: from the first byte to "ready for query".

pub mod messages;
mod transactions;

pub use transactions::TransactionWatch;

use crate::client_stream::{ClientStream, say_and_close};
use crate::connection::{LoggedIn, LoginError, LoginRules, SessionWatch};
use crate::endpoint::{Connection, Endpoint};
use crate::engine_leg;
use crate::engine_stream::EngineStream;
use crate::relay::Watch;
use crate::tls::POSTGRESQL_ALPN;
use messages::{Login, LoginWatch, Opening, Refusal, Startup};
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// First byte of a TLS handshake; an opening message begins with a zero.
const TLS_HANDSHAKE: u8 = 0x16;

/// A client that said what it wants.
struct Opened {
    client: ClientStream,
    opening: Opening,
    message: Vec<u8>,
}

/// Lets a client log in at the primary, or tells it why not.
pub async fn log_in(connection: &Connection, stream: TcpStream, rules: &LoginRules) -> Result<LoggedIn, LoginError> {
    let settings = connection.endpoint().settings();
    let opened = timeout(rules.handshake, open(stream, settings.tls.as_ref())).await.map_err(|_| LoginError::TooSlow)??;
    let Opened { mut client, opening, message } = opened;
    let startup = match opening {
        Opening::Startup(startup) => startup,
        Opening::Cancel => return Err(pass_cancel_on(connection.endpoint(), &message).await),
        Opening::OtherProtocol { major, minor } => return refuse(client, &other_protocol(major, minor)).await,
        Opening::Ssl | Opening::GssEncryption => return Err(messages::Malformed::Parameters.into()),
    };
    if let Some(refusal) = not_admissible(&startup, settings.file.tls_required && !client.is_tls(), connection.client.ip()) {
        return refuse(client, &refusal).await;
    }
    let mut engine = match connect(connection).await {
        Ok(engine) => engine,
        Err(refusal) => return refuse(client, &refusal).await,
    };
    engine.write_all(&message).await?;
    let mut watch = TransactionWatch::at_login();
    let backend = authenticate(&mut client, &mut engine, &mut watch).await?;
    connection.logged_in(&startup.user, backend.map(i64::from), client.is_tls());
    Ok(LoggedIn { client, engine, watch: SessionWatch::PostgreSql(watch) })
}

/// Tells a client that cannot be admitted why, in its own protocol. A cancel request is passed on where only room is
/// lacking: that is when people need it.
pub async fn turn_away(endpoint: &Endpoint, client: SocketAddr, stream: TcpStream, full: bool) -> Result<(), LoginError> {
    let settings = endpoint.settings();
    let mut opened = open(stream, settings.tls.as_ref()).await?;
    match opened.opening {
        Opening::Cancel if full => return Err(pass_cancel_on(endpoint, &opened.message).await),
        Opening::Cancel => {}
        _ => {
            let refusal = if full { too_many() } else { not_allowed(client.ip()) };
            say_and_close(&mut opened.client, &refusal.to_bytes()).await?;
        }
    }
    Ok(())
}

async fn refuse(mut client: ClientStream, refusal: &Refusal) -> Result<LoggedIn, LoginError> {
    say_and_close(&mut client, &refusal.to_bytes()).await?;
    Err(LoginError::Refused(refusal.code))
}

/// Hears a client out until it says what it wants; TLS and encryption requests are answered on the way, each at most once.
/// Messages are read to their last byte and no further, so nothing sent in the clear before TLS is ever taken for
/// something said inside it.
async fn open(stream: TcpStream, tls: Option<&TlsAcceptor>) -> Result<Opened, LoginError> {
    let mut first = [0; 1];
    let mut client = if tls.is_some() && stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE {
        let client = accept_tls(stream, tls).await?;
        // Without it, another protocol's client could be made to speak to a database.
        if !matches!(&client, ClientStream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(POSTGRESQL_ALPN)) {
            return Err(LoginError::Refused("direct TLS without ALPN"));
        }
        client
    } else {
        ClientStream::Plain(stream)
    };
    let mut asked_for_tls = client.is_tls();
    let mut asked_for_gss = false;
    loop {
        let mut prefix = [0; 4];
        client.read_exact(&mut prefix).await?;
        let mut message = vec![0; messages::opening_length(prefix)?];
        message[..4].copy_from_slice(&prefix);
        client.read_exact(&mut message[4..]).await?;
        match messages::parse_opening(&message)? {
            Opening::Ssl if !asked_for_tls => {
                asked_for_tls = true;
                client = match client {
                    ClientStream::Plain(mut stream) if tls.is_some() => {
                        stream.write_all(b"S").await?;
                        accept_tls(stream, tls).await?
                    }
                    mut client => {
                        client.write_all(b"N").await?;
                        client
                    }
                };
            }
            Opening::GssEncryption if !asked_for_gss => {
                asked_for_gss = true;
                client.write_all(b"N").await?;
                client.flush().await?;
            }
            Opening::Ssl | Opening::GssEncryption => return Err(LoginError::Refused("asked for encryption twice")),
            opening => return Ok(Opened { client, opening, message }),
        }
    }
}

async fn accept_tls(stream: TcpStream, tls: Option<&TlsAcceptor>) -> Result<ClientStream, LoginError> {
    match tls {
        Some(tls) => Ok(ClientStream::Tls(Box::new(tls.accept(stream).await?))),
        None => Ok(ClientStream::Plain(stream)),
    }
}

/// Passes the talk about passwords in both directions until the engine has decided; gives the process id of the backend.
async fn authenticate(
    client: &mut ClientStream,
    engine: &mut EngineStream,
    session: &mut TransactionWatch,
) -> Result<Option<i32>, LoginError> {
    let mut watch = LoginWatch::new();
    let mut up = [0; 1024];
    let mut down = [0; 4096];
    loop {
        tokio::select! {
            count = engine.read(&mut down) => {
                let said = &down[..count?];
                if said.is_empty() {
                    return Err(LoginError::Refused("the engine closed the connection"));
                }
                let login = watch.saw(said);
                session.heard(said);
                client.write_all(said).await?;
                client.flush().await?;
                if login != Login::Going {
                    return Ok(watch.backend());
                }
            }
            count = client.read(&mut up) => {
                let said = &up[..count?];
                if said.is_empty() {
                    return Err(LoginError::Refused("the client closed the connection"));
                }
                // Some say what they want ahead.
                session.admits(said);
                engine.write_all(said).await?;
            }
        }
    }
}

async fn connect(connection: &Connection) -> Result<EngineStream, Refusal> {
    let Some(leg) = connection.choose_leg().await else {
        return Err(unavailable("its cluster has no primary at the moment"));
    };
    engine_leg::connect(&leg).await.map_err(|error| {
        connection.endpoint().cannot_reach(&error);
        unavailable("its server does not accept connections at the moment")
    })
}

/// Passes a cancel request on and waits until the engine has taken note of it, which it says by closing.
async fn pass_cancel_on(endpoint: &Endpoint, message: &[u8]) -> LoginError {
    let Some(leg) = endpoint.settings().primary.clone() else { return LoginError::Cancelled };
    let passed_on = async {
        let mut engine = engine_leg::connect(&leg).await.map_err(std::io::Error::other)?;
        engine.write_all(message).await?;
        engine.read(&mut [0; 16]).await
    };
    match passed_on.await {
        Ok(_) => LoginError::Cancelled,
        Err(error) => LoginError::Broke(error),
    }
}

fn not_admissible(startup: &Startup, needs_tls: bool, client: IpAddr) -> Option<Refusal> {
    let refusal = |code, message, hint| Some(Refusal { code, message, hint });
    if needs_tls {
        return refusal(
            "28000",
            format!("this database requires TLS, and the connection from host \"{client}\" does not use it"),
            Some("Connect with sslmode=require or stricter."),
        );
    }
    if startup.reserved {
        return refusal("28P01", format!("password authentication failed for user \"{}\"", startup.user), None);
    }
    if startup.replication {
        return refusal("28000", "replication connections are not accepted at this address".to_owned(), None);
    }
    None
}

fn not_allowed(client: IpAddr) -> Refusal {
    Refusal {
        code: "28000",
        message: format!("no entry in the allow-list for host \"{client}\""),
        hint: Some("Add the address to the allow-list of the cluster."),
    }
}

fn too_many() -> Refusal {
    Refusal {
        code: "53300",
        message: "sorry, too many clients already: the connection limit of this database is reached".to_owned(),
        hint: Some("Close connections that are not needed, or use a connection pool."),
    }
}

/// What a client is told whose session ends because its cluster changes its primary.
pub fn primary_changes() -> Vec<u8> {
    let message = "terminating connection: the primary of this database changes".to_owned();
    Refusal { code: "57P01", message, hint: Some("Connect again; no transaction was open.") }.to_bytes()
}

fn unavailable(why: &str) -> Refusal {
    Refusal { code: "57P03", message: format!("the database is not available: {why}"), hint: Some("Try again in a moment.") }
}

fn other_protocol(major: u16, minor: u16) -> Refusal {
    Refusal {
        code: "0A000",
        message: format!("unsupported frontend protocol {major}.{minor}: this server supports 3.0 and later minor versions"),
        hint: None,
    }
}
