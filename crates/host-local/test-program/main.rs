//! Stands for the `moorage` binary in this crate's tests: its hidden subcommands `shim` and `exec`, and a gateway that does
//! nothing but bind its endpoints and speak the words of the control socket.

use moorage_domain::endpoint_file::{EndpointFile, EndpointStatus, GatewayAnswer, GatewayAsk, VERSION};
use moorage_domain::{ClusterId, HostId};
use moorage_host::Host;
use moorage_host::contract::{all_with_deaths, script_engine, small_template};
use moorage_host_local::{LocalHost, LocalHostOptions, stop_all};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match arguments.iter().map(|argument| argument.as_path()).collect::<Vec<_>>().as_slice() {
        [command, directory] if command.as_os_str() == "shim" => moorage_host_local::shim_main(directory),
        [command, directory] if command.as_os_str() == "exec" => moorage_host_local::exec_main(directory),
        [command, directory, control, ..] if command.as_os_str() == "gateway" => match gateway(directory, control) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "gateway: {error}");
                ExitCode::FAILURE
            }
        },
        [command, program, room] if command.as_os_str() == "contract" => contract(program, room),
        _ => ExitCode::from(2),
    }
}

/// The host contract, as whoever runs this.
fn contract(program: &Path, room: &Path) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Runtime::new() else { return ExitCode::FAILURE };
    let mut options = LocalHostOptions::new(HostId::from_bits(1), "00000000", room.join("data"));
    options.program = vec![program.display().to_string()];
    options.run_dir = Some(room.join("run"));
    let here = options.clone();
    let kept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(async {
            let host = LocalHost::start(here).await.map_err(|error| format!("{error:?}"))?;
            let abilities = host.abilities();
            if abilities.tenants_isolated || abilities.groups_tracked || abilities.limits_enforced || abilities.network_isolated {
                return Err(format!("promises too much: {abilities:?}"));
            }
            let kill = |pid: u32| {
                let _ = std::process::Command::new("/bin/kill").args(["-9", &pid.to_string()]).status();
            };
            all_with_deaths(&*host, small_template("small"), |place| script_engine(place, ""), kill).await;
            Ok(())
        })
    }));
    let kept = kept.unwrap_or_else(|_| Err(String::from("the contract is not kept")));
    let stopped = runtime.block_on(stop_all(options)).map_err(|error| format!("{error:?}"));
    let kept = kept.and(stopped.map(drop));
    match kept {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn gateway(directory: &Path, control: &Path) -> std::io::Result<()> {
    let _ = std::fs::remove_file(control);
    let socket = UnixListener::bind(control)?;
    let mut bound: BTreeMap<ClusterId, (TcpListener, EndpointFile)> = BTreeMap::new();
    for entry in std::fs::read_dir(directory.join("endpoints"))? {
        if let Some(cluster) = entry?.file_name().to_str().and_then(|name| ClusterId::parse(name.strip_suffix(".json")?).ok()) {
            apply(directory, &mut bound, &cluster);
        }
    }
    loop {
        let (stream, _) = socket.accept()?;
        let mut line = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut line)?;
        let answer = match serde_json::from_str(&line)? {
            GatewayAsk::Apply { cluster } => apply(directory, &mut bound, &cluster),
            GatewayAsk::Drain { cluster } => GatewayAnswer::Draining { cluster, sessions: 0 },
            GatewayAsk::Status => {
                let status = |(cluster, (_, file)): (&ClusterId, &(TcpListener, EndpointFile))| EndpointStatus {
                    cluster: cluster.clone(),
                    generation: file.generation,
                    listening: true,
                    connections: 0,
                    refused: 0,
                    held: 0,
                };
                GatewayAnswer::Status { pid: std::process::id(), version: VERSION, endpoints: bound.iter().map(status).collect() }
            }
        };
        let mut stream = stream;
        stream.write_all(serde_json::to_string(&answer)?.as_bytes())?;
        stream.write_all(b"\n")?;
    }
}

fn apply(directory: &Path, bound: &mut BTreeMap<ClusterId, (TcpListener, EndpointFile)>, cluster: &ClusterId) -> GatewayAnswer {
    let cluster = cluster.clone();
    let refused = |reason: String| GatewayAnswer::Refused { cluster: cluster.clone(), reason };
    let path = directory.join("endpoints").join(format!("{cluster}.json"));
    let file: EndpointFile = match std::fs::read(&path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(file) => file,
            Err(error) => return refused(error.to_string()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bound.remove(&cluster);
            return GatewayAnswer::Closed { cluster };
        }
        Err(error) => return refused(error.to_string()),
    };
    // What a real gateway needs to be able to read.
    if let Some(unreadable) = file.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]).find(|path| std::fs::read(path).is_err()) {
        return refused(format!("{} cannot be read", unreadable.display()));
    }
    let generation = file.generation;
    if bound.get(&cluster).is_none_or(|(_, before)| before.listen != file.listen) {
        bound.remove(&cluster);
        match TcpListener::bind(file.listen) {
            Ok(listener) => bound.insert(cluster.clone(), (listener, file)),
            Err(error) => {
                let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
                return GatewayAnswer::CannotListen { cluster, at: None, in_use, applied: None, reason: error.to_string() };
            }
        };
    }
    GatewayAnswer::Applied { cluster, generation }
}
