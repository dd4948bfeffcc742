//! The control socket: the control plane says which file changed, and asks what is served.

use crate::endpoints::Endpoints;
use moorage_domain::endpoint_file::{GatewayAnswer, GatewayAsk};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore};

/// No ask is longer.
const LONGEST_ASK: u64 = 4096;
/// Conversations at one time.
const MOST_CONVERSATIONS: usize = 32;
/// How long one ask waits for sessions to end.
const DRAIN: Duration = Duration::from_millis(100);
/// How often to see whether the socket is still at its path.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A control socket that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A gateway answers there already.
    #[error("another gateway already answers at {0}")]
    Taken(PathBuf),
    /// The socket cannot be made.
    #[error("cannot listen at {path}")]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The control socket.
pub struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
    inode: u64,
    /// Besides root: this process's own uid and the owner of its directory.
    may_speak: [u32; 2],
}

impl ControlSocket {
    /// Opens it, in place of one that a dead gateway left behind.
    pub fn open(path: &Path, directory: &Path) -> Result<Self, ControlError> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(ControlError::Taken(path.to_owned()));
        }
        let own = rustix::process::geteuid().as_raw();
        let owner = fs::metadata(directory).map_or(own, |found| found.uid());
        let listener = Self::bind(path).map_err(|source| ControlError::Bind { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), inode: inode(path), listener, may_speak: [own, owner] })
    }

    fn bind(path: &Path) -> io::Result<UnixListener> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o660))?;
        Ok(listener)
    }

    /// Answers for ever. A socket file that was removed is made again.
    pub async fn answer(mut self, endpoints: Arc<Mutex<Endpoints>>) {
        let permits = Arc::new(Semaphore::new(MOST_CONVERSATIONS));
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.converse(stream, &endpoints, &permits),
                    Err(error) => {
                        tracing::warn!(%error, "the control socket could not accept");
                        tokio::time::sleep(LOOK_EVERY).await;
                    }
                },
                _ = look.tick() => {
                    if inode(&self.path) != self.inode && !self.path.exists() {
                        match Self::bind(&self.path) {
                            Ok(listener) => {
                                self.listener = listener;
                                self.inode = inode(&self.path);
                                tracing::warn!("the control socket had been removed and was made again");
                            }
                            Err(error) => tracing::warn!(%error, "the control socket was removed and cannot be made again yet"),
                        }
                    }
                }
            }
        }
    }

    fn converse(&self, stream: UnixStream, endpoints: &Arc<Mutex<Endpoints>>, permits: &Arc<Semaphore>) {
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == 0 || self.may_speak.contains(&peer.uid()) => {}
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "an account without the right to speak tried the control socket");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "a peer of the control socket cannot be identified");
                return;
            }
        }
        let Ok(permit) = Arc::clone(permits).try_acquire_owned() else { return };
        let endpoints = Arc::clone(endpoints);
        tokio::spawn(async move {
            if let Err(error) = conversation(stream, &endpoints).await {
                tracing::debug!(%error, "a conversation at the control socket broke off");
            }
            drop(permit);
        });
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if inode(&self.path) == self.inode {
            // Left behind it would do no harm either.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |found| found.ino())
}

async fn conversation(stream: UnixStream, endpoints: &Mutex<Endpoints>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        (&mut read).take(LONGEST_ASK).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        let ask = match serde_json::from_slice(&line) {
            Ok(ask) => ask,
            Err(error) => {
                tracing::warn!(%error, "an ask at the control socket cannot be understood");
                return Ok(());
            }
        };
        let answer: GatewayAnswer = match ask {
            GatewayAsk::Apply { cluster } => endpoints.lock().await.apply(&cluster).await,
            GatewayAsk::Drain { cluster } => {
                let found = endpoints.lock().await.find(&cluster);
                let mut sessions = 0;
                for (index, endpoint) in found.iter().enumerate() {
                    // Of the instances only the one that leaves has its sessions go.
                    if index == 0 || endpoint.settings().file.hold {
                        sessions += endpoint.drain(DRAIN).await;
                    }
                }
                GatewayAnswer::Draining { cluster, sessions: u32::try_from(sessions).unwrap_or(u32::MAX) }
            }
            GatewayAsk::Status => endpoints.lock().await.status(),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        write.write_all(&line).await?;
    }
}
