//! MariaDB clients: from the engine's greeting to its final OK.

mod commands;
pub mod packets;
mod proxy_header;
mod responses;

pub use commands::CommandWatch;

use crate::client_stream::{ClientStream, close, say_and_close};
use crate::connection::{LoggedIn, LoginError, LoginRules, SessionWatch};
use crate::endpoint::Connection;
use crate::engine_leg;
use crate::engine_stream::EngineStream;
use packets::{Answer, Greeting, LoginRequest, Malformed, Refusal};
use proxy_header::proxy_header;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Lets a client log in at the primary, or tells it why not.
pub async fn log_in(connection: &Connection, stream: TcpStream, rules: &Arc<LoginRules>) -> Result<LoggedIn, LoginError> {
    let mut client = ClientStream::Plain(stream);
    let mut engine = match connect(connection).await {
        Ok(engine) => engine,
        Err(refusal) => return refuse(client, &refusal, 0).await,
    };
    let settings = connection.endpoint().settings();
    engine.write_all(&proxy_header(connection.client, settings.file.listen)).await?;
    let mut greeting = PacketReader::default().next(&mut engine).await?;
    let number = match packets::adjust_greeting(&mut greeting.payload, settings.tls.is_some())? {
        Greeting::Hello { connection } => connection,
        Greeting::Error => {
            say_and_close(&mut client, &packets::frame(greeting.sequence, &greeting.payload)).await?;
            return Err(LoginError::Refused("by the engine"));
        }
    };
    client.write_all(&packets::frame(greeting.sequence, &greeting.payload)).await?;

    let hear = hear_out(client, settings.tls.as_ref(), greeting.sequence.wrapping_add(1), rules);
    let Login { client, request, mut packet, shift } = timeout(rules.handshake, hear).await.map_err(|_| LoginError::TooSlow)??;
    let next = packet.sequence.wrapping_add(1);
    if settings.file.tls_required && !client.is_tls() {
        return refuse(client, &needs_tls(), next).await;
    }
    if request.reserved {
        return refuse(client, &access_denied(&request, connection.client.ip()), next).await;
    }
    packets::without_gateway_matters(&mut packet.payload);
    engine.write_all(&packets::frame(packet.sequence.wrapping_sub(shift), &packet.payload)).await?;
    let watch = SessionWatch::MariaDb(CommandWatch::new(Arc::clone(rules), request.secret_has_length, request.ends_with_ok));
    let mut logged_in = LoggedIn { client, engine, watch };
    match authenticate(&mut logged_in, shift).await? {
        Authentication::Accepted => connection.logged_in(&request.user, Some(i64::from(number)), logged_in.client.is_tls()),
        Authentication::Refused => {
            // The engine's word is the last one, whatever else the client said ahead of it.
            drop(logged_in.engine);
            close(&mut logged_in.client).await?;
            return Err(LoginError::Refused("by the engine"));
        }
        Authentication::OutOfTurn { sequence } => {
            drop(logged_in.engine);
            return refuse(logged_in.client, &bad_handshake(), sequence.wrapping_add(1)).await;
        }
    }
    Ok(logged_in)
}

/// Tells a client that cannot be admitted why: the server speaks first in this protocol, so nothing need be read.
pub fn turned_away(client: IpAddr, full: bool) -> Vec<u8> {
    let refusal = if full {
        Refusal { number: 1040, state: "08004", message: "Too many connections".to_owned() }
    } else {
        let message = format!("Host '{client}' is not allowed to connect to this MariaDB server");
        Refusal { number: 1130, state: "HY000", message }
    };
    refusal.to_bytes(0)
}

/// A client that asked to log in.
struct Login {
    client: ClientStream,
    request: LoginRequest,
    packet: Packet,
    /// By how much the client's packet numbers are ahead of the engine's: its request for TLS is one packet the engine never
    /// sees.
    shift: u8,
}

/// Reads the client's login, inside TLS where it asks for it. Its request for TLS is read to the last byte and no further:
/// what follows belongs to TLS.
async fn hear_out(mut client: ClientStream, tls: Option<&TlsAcceptor>, sequence: u8, rules: &LoginRules) -> Result<Login, LoginError> {
    let administrator = rules.administrator.as_deref();
    let packet = PacketReader::default().next(&mut client).await?.numbered(sequence)?;
    match (packets::parse_answer(&packet.payload, false, administrator)?, client, tls) {
        (Answer::Login(request), client, _) => Ok(Login { client, request, packet, shift: 0 }),
        (Answer::Ssl, ClientStream::Plain(stream), Some(tls)) => {
            let mut client = ClientStream::Tls(Box::new(tls.accept(stream).await?));
            let packet = PacketReader::default().next(&mut client).await?.numbered(sequence.wrapping_add(1))?;
            match packets::parse_answer(&packet.payload, true, administrator)? {
                Answer::Login(request) => Ok(Login { client, request, packet, shift: 1 }),
                Answer::Ssl => Err(Malformed::Answer.into()),
            }
        }
        (Answer::Ssl, ..) => Err(Malformed::Answer.into()),
    }
}

/// How an authentication ends.
enum Authentication {
    /// The engine said yes.
    Accepted,
    /// The engine said no.
    Refused,
    /// The client said something with this number that it was not asked.
    OutOfTurn { sequence: u8 },
}

/// Passes the packets of the login in both directions, renumbered, until the engine has decided.
///
/// The client has one answer to each packet of the engine and no more: what it says earlier could be a command that the
/// engine reads after its decision, and that [`CommandWatch`] would never see.
async fn authenticate(logged_in: &mut LoggedIn, shift: u8) -> Result<Authentication, LoginError> {
    let LoggedIn { client, engine, .. } = logged_in;
    let mut answer_due: Option<u8> = None;
    let mut from_engine = PacketReader::default();
    let mut from_client = PacketReader::default();
    loop {
        tokio::select! {
            packet = from_engine.next(engine) => {
                let packet = packet?;
                client.write_all(&packets::frame(packet.sequence.wrapping_add(shift), &packet.payload)).await?;
                client.flush().await?;
                match packets::ends_login(&packet.payload) {
                    Some(true) if from_client.has_begun() => return Err(Malformed::Order.into()),
                    Some(true) => return Ok(Authentication::Accepted),
                    Some(false) => return Ok(Authentication::Refused),
                    None => answer_due = packet.sequence.checked_add(shift).and_then(|said| said.checked_add(1)),
                }
            }
            packet = from_client.next(client) => {
                let packet = packet?;
                if answer_due.take() != Some(packet.sequence) {
                    return Ok(Authentication::OutOfTurn { sequence: packet.sequence });
                }
                engine.write_all(&packets::frame(packet.sequence.wrapping_sub(shift), &packet.payload)).await?;
            }
        }
    }
}

/// A packet of a login.
struct Packet {
    sequence: u8,
    payload: Vec<u8>,
}

impl Packet {
    fn numbered(self, sequence: u8) -> Result<Self, Malformed> {
        if self.sequence == sequence { Ok(self) } else { Err(Malformed::Order) }
    }
}

/// Reads packets, never a byte beyond. A read that is abandoned loses nothing.
#[derive(Default)]
struct PacketReader {
    header: [u8; 4],
    header_filled: usize,
    payload: Vec<u8>,
    payload_filled: usize,
}

impl PacketReader {
    /// Whether a part of a packet has been read.
    fn has_begun(&self) -> bool {
        self.header_filled > 0
    }

    async fn next<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> Result<Packet, LoginError> {
        while self.header_filled < 4 {
            self.header_filled += read_some(from, &mut self.header[self.header_filled..]).await?;
            if self.header_filled == 4 {
                let (length, _) = packets::parse_header(self.header)?;
                self.payload = vec![0; length];
                self.payload_filled = 0;
            }
        }
        while self.payload_filled < self.payload.len() {
            self.payload_filled += read_some(from, &mut self.payload[self.payload_filled..]).await?;
        }
        self.header_filled = 0;
        Ok(Packet { sequence: self.header[3], payload: std::mem::take(&mut self.payload) })
    }
}

async fn read_some<R: AsyncRead + Unpin>(from: &mut R, into: &mut [u8]) -> io::Result<usize> {
    match from.read(into).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
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

async fn refuse(mut client: ClientStream, refusal: &Refusal, sequence: u8) -> Result<LoggedIn, LoginError> {
    say_and_close(&mut client, &refusal.to_bytes(sequence)).await?;
    Err(LoginError::Refused(refusal.state))
}

/// In the server's own words, so that a reserved account looks like any wrong password.
fn access_denied(request: &LoginRequest, client: IpAddr) -> Refusal {
    let password = if request.password { "YES" } else { "NO" };
    let message = format!("Access denied for user '{}'@'{client}' (using password: {password})", request.user);
    Refusal { number: 1045, state: "28000", message }
}

/// What a client is told that tried to become a reserved account after its login.
pub fn change_of_user_denied(client: IpAddr) -> Vec<u8> {
    let message = format!("Access denied: the connection from '{client}' may not change to a reserved account");
    Refusal { number: 1045, state: "28000", message }.to_bytes(1)
}

/// What the server itself says of packets out of order.
fn bad_handshake() -> Refusal {
    Refusal { number: 1043, state: "08S01", message: "Bad handshake".to_owned() }
}

fn needs_tls() -> Refusal {
    let message = "Connections using insecure transport are prohibited: this database requires TLS".to_owned();
    Refusal { number: 3159, state: "08004", message }
}

fn unavailable(why: &str) -> Refusal {
    Refusal { number: 1053, state: "08S01", message: format!("The database is not available: {why}. Try again in a moment.") }
}
