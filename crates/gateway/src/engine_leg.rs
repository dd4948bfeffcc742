//! The way from the gateway to an engine.

use crate::engine_stream::EngineStream;
use moorage_domain::endpoint_file::EngineLeg;
use std::io;
use std::time::Duration;
use tokio::net::UnixStream;

/// How long to wait between attempts while the engine's queue of new connections is full.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(10);

/// Why a leg cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LegError {
    /// The engine cannot be reached.
    #[error("the engine does not accept connections")]
    Connect(#[source] io::Error),
    /// A leg this build has no way for.
    #[error("engines on other machines are not reachable from this gateway")]
    NotLocal,
}

/// Connects. A full queue is waited for; the caller sets the limit.
pub async fn connect(leg: &EngineLeg) -> Result<EngineStream, LegError> {
    match leg {
        EngineLeg::Unix(path) => loop {
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(QUEUE_FULL_PAUSE).await,
                other => return other.and_then(|socket| EngineStream::new(socket.into_std()?)).map_err(LegError::Connect),
            }
        },
        EngineLeg::Tcp { .. } => Err(LegError::NotLocal),
    }
}
