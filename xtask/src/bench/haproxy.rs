//! The peer of the gateway: HAProxy in TCP mode on the same engine sockets.

use super::engines::Engine;
use anyhow::{Context, Result, bail};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running HAProxy; it is killed when it goes out of scope.
pub struct HaProxy {
    child: Child,
    ports: Vec<(Engine, u16)>,
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl HaProxy {
    /// Starts one with this many threads in front of these sockets; like the gateway it tells MariaDB where a client comes from.
    pub fn start(threads: usize, sockets: &[(Engine, &Path)], directory: &Path) -> Result<Self> {
        let mut configuration = format!(
            "global\n nbthread {threads}\n maxconn 1000\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"
        );
        let mut ports = Vec::new();
        for (engine, socket) in sockets {
            let port = free_port()?;
            let header = if *engine == Engine::MariaDb { " send-proxy-v2" } else { "" };
            configuration.push_str(&format!(
                "listen {}\n bind 127.0.0.1:{port}\n server engine unix@{}{header}\n",
                engine.name(),
                socket.display()
            ));
            ports.push((*engine, port));
        }
        let file = directory.join(format!("haproxy-{threads}.cfg"));
        std::fs::write(&file, configuration)?;
        let log = std::fs::File::create(directory.join(format!("haproxy-{threads}.log")))?;
        let child = Command::new("/usr/sbin/haproxy").arg("-db").arg("-f").arg(&file).stdout(Stdio::null()).stderr(log).spawn();
        let this = Self { child: child.context("starting haproxy: scripts/install-missing bench installs it")?, ports };
        let begun = Instant::now();
        for (_, port) in &this.ports {
            while TcpStream::connect(("127.0.0.1", *port)).is_err() {
                if begun.elapsed() > Duration::from_secs(10) {
                    bail!("haproxy does not listen");
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(this)
    }

    /// Where it listens for an engine's clients.
    pub fn port(&self, engine: Engine) -> u16 {
        self.ports.iter().find(|(of, _)| *of == engine).map_or(0, |(_, port)| *port)
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
