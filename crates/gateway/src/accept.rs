//! Listening at an address, and the decision about every new connection before anything is read from it.

use crate::connection::{LoginRules, carry};
use crate::endpoint::{Admission, Endpoint};
use crate::log_limit::LogLimit;
use crate::turning_away::TurningAway;
use crate::workers::Workers;
use rustix::io::Errno;
use rustix::net::sockopt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

/// Connections the kernel may hold for us; it takes the lesser of this and its own limit.
const BACKLOG: u32 = 4096;
/// Pause after the kernel had no descriptor or memory for a connection.
const OUT_OF_RESOURCES_PAUSE: Duration = Duration::from_millis(100);
/// A client that says nothing for this long is asked whether it is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(120);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEPALIVE_ATTEMPTS: u32 = 4;

/// What every listener needs.
pub struct Services {
    /// Threads for connections.
    pub workers: Workers,
    /// For those who may not come in.
    pub turning_away: TurningAway,
    /// What holds for logins.
    pub rules: Arc<LoginRules>,
    /// For lines about a lack of descriptors.
    pub resources_log: LogLimit,
}

/// Binds an address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// An address that is listened at.
pub struct Listening {
    /// Which one.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listening {
    /// Starts to accept.
    pub fn start(address: SocketAddr, listener: TcpListener, endpoint: Arc<Endpoint>, services: Arc<Services>) -> Self {
        Self { address, task: tokio::spawn(accept_all(listener, endpoint, services)) }
    }

    /// Closes the listener; when this returns the address is free.
    pub async fn close(self) {
        self.task.abort();
        // Cancelled, as asked.
        let _ = self.task.await;
    }
}

async fn accept_all(listener: TcpListener, endpoint: Arc<Endpoint>, services: Arc<Services>) {
    loop {
        // Connections live on other threads, so this one lets go of the socket again.
        match listener.accept().await.and_then(|(socket, client)| Ok((socket.into_std()?, client))) {
            Ok((socket, client)) => receive(socket, client, &endpoint, &services),
            Err(error) if is_lack_of_resources(&error) => {
                if let Some(more) = services.resources_log.pass() {
                    tracing::warn!(%error, more, "a connection has to wait: out of descriptors or memory");
                }
                tokio::time::sleep(OUT_OF_RESOURCES_PAUSE).await;
            }
            // Of the one connection: it was gone before it was accepted, or its network was.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

fn is_lack_of_resources(error: &io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|number| lacks.contains(&Errno::from_raw_os_error(number)))
}

fn receive(socket: TcpStream, client: SocketAddr, endpoint: &Arc<Endpoint>, services: &Arc<Services>) {
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    match endpoint.admit(client) {
        Admission::Admitted(connection) => {
            if let Err(error) = prepare(&socket) {
                tracing::debug!(cluster = %endpoint.cluster(), %client, %error, "socket options not set");
            }
            let number = connection.number();
            if let Some(task) = services.workers.spawn(carry(connection, socket, Arc::clone(&services.rules))) {
                endpoint.started(number, task);
            }
        }
        Admission::NotAllowed => services.turning_away.tell(endpoint, client, socket, false, &services.workers),
        Admission::TooMany => services.turning_away.tell(endpoint, client, socket, true, &services.workers),
    }
}

fn prepare(socket: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_ATTEMPTS)?;
    sockopt::set_socket_keepalive(socket, true)
}
