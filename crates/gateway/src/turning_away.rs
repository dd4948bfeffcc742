//! Telling clients that cannot be admitted why, without letting them cost much.

use crate::endpoint::Endpoint;
use crate::workers::Workers;
use crate::{mariadb, postgresql};
use moorage_domain::engine::EngineName;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Clients that are being told at one time; more are closed without a word.
const MOST: usize = 64;
/// How long one of them may take to listen.
const LIMIT: Duration = Duration::from_secs(5);

/// Tells clients that cannot be admitted why.
pub struct TurningAway {
    permits: Arc<Semaphore>,
}

impl TurningAway {
    /// With nobody to tell yet.
    pub fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(MOST)) }
    }

    /// Tells one client. `full`: there was no room; else its address is not allowed.
    pub fn tell(&self, endpoint: &Arc<Endpoint>, client: SocketAddr, mut socket: TcpStream, full: bool, workers: &Workers) {
        endpoint.turned_away(client, full);
        match endpoint.settings().file.engine {
            EngineName::MariaDb => {
                // A new socket has room for one packet; a client that left already needs none.
                let _ = socket.write(&mariadb::turned_away(client.ip(), full));
            }
            EngineName::PostgreSql => {
                let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return };
                let endpoint = Arc::clone(endpoint);
                workers.spawn(async move {
                    if let Ok(stream) = tokio::net::TcpStream::from_std(socket) {
                        let told = Box::pin(postgresql::turn_away(&endpoint, client, stream, full));
                        let _ = timeout(LIMIT, told).await;
                    }
                    drop(permit);
                });
            }
        }
    }
}
