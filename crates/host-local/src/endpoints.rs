//! Endpoints: the files the gateway serves from, its control socket, and the keeping of the gateway itself.

use crate::files::{self, Account, Durability, ensure_directory};
use crate::instances;
use crate::machine::Machine;
use crate::problems::{Doing, failed};
use crate::shim::protocol::{ProcessFile, RestartRule, VERSION};
use moorage_domain::endpoint_file::{self, EndpointFile, EngineLeg, GatewayAnswer, GatewayAsk, InstanceEndpoint, TlsFiles};
use moorage_domain::instance::ProcessState;
use moorage_domain::layout::StopPlan;
use moorage_domain::{ClusterId, InstanceId, Problem, ProblemCode};
use moorage_host::{EndpointState, EndpointWish, HostError, HostResult, TlsPem};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// How long a restarting gateway is waited for.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest log of the gateway, and what is kept of a longer one.
const LONGEST_LOG: (u64, u64) = (16 << 20, 2 << 20);
/// Longest answer of the gateway.
const LONGEST_ANSWER: u64 = 4 << 20;

fn endpoints(machine: &Machine) -> PathBuf {
    machine.gateway().join("endpoints")
}
fn tls(machine: &Machine) -> PathBuf {
    machine.gateway().join("tls")
}
fn log_of_gateway(machine: &Machine) -> PathBuf {
    machine.gateway().join("logs").join("gateway.log")
}
fn endpoint_file(machine: &Machine, cluster: &ClusterId) -> PathBuf {
    endpoints(machine).join(format!("{cluster}.json"))
}
fn tls_files(machine: &Machine, cluster: &ClusterId) -> TlsFiles {
    let named = |kind: &str| tls(machine).join(format!("{cluster}.{kind}.pem"));
    TlsFiles { certificate: named("certificate"), key: named("key") }
}

/// Clusters that have an endpoint here.
pub(crate) fn list(machine: &Machine) -> HostResult<Vec<ClusterId>> {
    let names = files::names(&endpoints(machine)).doing("list the endpoints")?;
    Ok(names.iter().filter_map(|name| ClusterId::parse(name.strip_suffix(".json")?).ok()).collect())
}

/// The addresses of an endpoint and of its instances that an interface has to carry, each with that interface.
pub(crate) fn carried_by(machine: &Machine, cluster: &ClusterId) -> HostResult<Vec<(String, Ipv4Addr)>> {
    let file: Option<EndpointFile> = files::read_json(&endpoint_file(machine, cluster)).doing("read an endpoint's file")?;
    let Some((file, interface)) = file.and_then(|file| file.interface.clone().map(|interface| (file, interface))) else {
        return Ok(Vec::new());
    };
    let listens = std::iter::once(file.listen).chain(file.instances.iter().map(|instance| instance.listen));
    let addresses = listens.filter_map(|listen| match listen {
        SocketAddr::V4(listen) => Some((interface.clone(), *listen.ip())),
        SocketAddr::V6(_) => None,
    });
    Ok(addresses.collect())
}

/// Where an endpoint is wished to listen for other machines.
pub(crate) fn public(machine: &Machine, cluster: &ClusterId) -> HostResult<Option<SocketAddrV4>> {
    let file: Option<EndpointFile> = files::read_json(&endpoint_file(machine, cluster)).doing("read an endpoint's file")?;
    Ok(file.and_then(|file| match file.public {
        Some(SocketAddr::V4(public)) => Some(public),
        _ => None,
    }))
}

/// The interface and address of every endpoint here that an interface has to carry.
pub(crate) fn carried(machine: &Machine) -> HostResult<Vec<(ClusterId, String, Ipv4Addr)>> {
    let mut carried = Vec::new();
    for cluster in list(machine)? {
        let addresses = carried_by(machine, &cluster)?.into_iter();
        carried.extend(addresses.map(|(interface, address)| (cluster.clone(), interface, address)));
    }
    Ok(carried)
}

/// Writes what the gateway needs and the wish to run it; returns the sequence of the wish.
pub(crate) fn write_gateway_wish(machine: &Machine) -> HostResult<u64> {
    let account = machine.gateway_account;
    let readers = account.map(|account| Account { uid: 0, gid: account.gid });
    let own = machine.gateway();
    let shared = if account.is_some() { 0o750 } else { 0o700 };
    let prepared = (|| {
        ensure_directory(&own, if account.is_some() { 0o711 } else { 0o700 }, None)?;
        ensure_directory(&endpoints(machine), shared, readers)?;
        ensure_directory(&tls(machine), 0o700, account)?;
        // The gateway could not make a directory here itself.
        ensure_directory(&own.join("accepted"), 0o700, account)?;
        ensure_directory(&own.join("logs"), 0o700, account)?;
        ensure_directory(&machine.run, if account.is_some() { 0o711 } else { 0o700 }, None)?;
        ensure_directory(&machine.run.join("gateway"), shared, account)
    })();
    prepared.doing("prepare the gateway's directories")?;
    let mut argv = machine.options.program.clone();
    argv.push(String::from("gateway"));
    argv.push(own.display().to_string());
    argv.push(machine.control_of_gateway().display().to_string());
    argv.push(String::from("--administrator"));
    argv.push(machine.administrator.clone());
    let logging = ["MOORAGE_LOG", "MOORAGE_LOG_FORMAT"];
    let logging = logging.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
    let process = ProcessFile {
        version: VERSION,
        name: String::from("gateway"),
        cluster: None,
        program: machine.options.program.clone(),
        argv,
        environment: logging,
        working_directory: own.clone(),
        stale: Vec::new(),
        marks: Vec::new(),
        account,
        log: Some(log_of_gateway(machine)),
        groups: machine.groups.plan("gateway", 0, 0),
        own_network: false,
        network: None,
        restart: RestartRule::Always,
        stop: StopPlan { signal: 15, grace: Duration::from_secs(5) },
        socket: None,
        nudge: Some(machine.nudges()),
        shim_group: machine.groups.shims(),
        kept: true,
    };
    instances::want_running(&machine.shim_of_gateway(), &process, 0)
}

/// Makes sure the gateway's log is not too long; whether it was.
pub(crate) fn bound_log(machine: &Machine) -> io::Result<bool> {
    files::shorten(&log_of_gateway(machine), LONGEST_LOG.0, LONGEST_LOG.1)
}

/// Writes an endpoint's files if anything about it changed; returns the generation to be acknowledged.
pub(crate) fn write_endpoint(machine: &Machine, wish: &EndpointWish) -> HostResult<u64> {
    let writing = "write an endpoint's file";
    let path = endpoint_file(machine, &wish.cluster);
    let before: Option<EndpointFile> = files::read_json(&path).doing(writing)?;
    let paths = tls_files(machine, &wish.cluster);
    let new_tls = match &wish.tls {
        Some(given) => write_tls(machine, &paths, given).doing("write an endpoint's certificate")?,
        None => false,
    };
    let tls = there(&paths).doing(writing)?.then_some(paths);
    if tls.is_none() && before.as_ref().is_some_and(|before| before.tls.is_some()) {
        return Err(certificate_lost());
    }
    let leg_to = |instance: &InstanceId| -> HostResult<Option<EngineLeg>> {
        let process = machine.shim_of(instance).process().doing(writing)?;
        Ok(process.and_then(|process| process.socket).map(EngineLeg::Unix))
    };
    let primary = match &wish.primary {
        Some(instance) => {
            let missing =
                || Problem::new(ProblemCode::HostFailed, format!("Instance {instance} has no process on this host to connect to."));
            Some(leg_to(instance)?.ok_or_else(missing)?)
        }
        None => None,
    };
    let instances = wish.instances.iter().map(|wished| {
        let leg = wished.instance.as_ref().map(leg_to).transpose()?.flatten();
        Ok(InstanceEndpoint { listen: SocketAddr::V4(wished.listen), leg })
    });
    let instances = instances.collect::<HostResult<_>>()?;
    let generation = before.as_ref().map_or(0, |file| file.generation);
    let file = EndpointFile {
        version: endpoint_file::VERSION,
        generation,
        cluster: wish.cluster.clone(),
        engine: wish.engine,
        listen: SocketAddr::V4(wish.listen),
        interface: wish.interface.clone(),
        public: wish.public.map(SocketAddr::V4),
        allow: wish.allow.clone(),
        tls,
        tls_required: false,
        most_connections: wish.most_connections,
        term: wish.term,
        primary,
        hold: wish.hold,
        instances,
    };
    if before.as_ref() == Some(&file) && !new_tls {
        return Ok(generation);
    }
    let file = EndpointFile { generation: generation + 1, ..file };
    let bytes = serde_json::to_vec_pretty(&file).map_err(|error| failed(writing, error.into()))?;
    let readers = machine.gateway_account.map(|account| Account { uid: 0, gid: account.gid });
    files::replace(&path, &bytes, if readers.is_some() { 0o640 } else { 0o600 }, readers, Durability::Durable).doing(writing)?;
    Ok(file.generation)
}

/// Whether certificate and key are both there.
fn there(paths: &TlsFiles) -> io::Result<bool> {
    Ok(paths.certificate.try_exists()? && paths.key.try_exists()?)
}

fn certificate_lost() -> HostError {
    Problem::new(ProblemCode::HostFailed, "The certificate of the endpoint is lost.")
        .detail("The endpoint is served with TLS, and the file of its certificate or of its key is gone from this host.")
        .hint("Give the endpoint a new certificate; until then it stays as it is and is never served without TLS.")
        .into()
}

/// The certificate in force of a cluster's endpoint, without its chain; none when there is none or it is lost.
pub(crate) fn certificate(machine: &Machine, cluster: &ClusterId) -> HostResult<Option<String>> {
    let reading = "read an endpoint's certificate";
    let file: Option<EndpointFile> = files::read_json(&endpoint_file(machine, cluster)).doing(reading)?;
    let Some(paths) = file.and_then(|file| file.tls) else { return Ok(None) };
    if !there(&paths).doing(reading)? {
        return Ok(None);
    }
    let chain = std::fs::read_to_string(&paths.certificate).doing(reading)?;
    Ok(leaf(&chain).map(str::to_owned))
}

/// The first certificate of a PEM chain.
fn leaf(chain: &str) -> Option<&str> {
    const END: &str = "-----END CERTIFICATE-----";
    let start = chain.find("-----BEGIN CERTIFICATE-----")?;
    let end = start + chain[start..].find(END)? + END.len();
    let newline = chain[end..].starts_with('\n');
    Some(&chain[start..end + usize::from(newline)])
}

/// Writes certificate and key where they differ; whether they did. They have to be there before a file names them.
fn write_tls(machine: &Machine, paths: &TlsFiles, given: &TlsPem) -> io::Result<bool> {
    let mut changed = false;
    for (path, contents) in [(&paths.certificate, &given.certificate), (&paths.key, &given.key)] {
        if std::fs::read(path).is_ok_and(|found| found == contents.as_bytes()) {
            continue;
        }
        files::replace(path, contents.as_bytes(), 0o600, machine.gateway_account, Durability::Durable)?;
        changed = true;
    }
    Ok(changed)
}

/// Removes an endpoint's files.
pub(crate) fn remove_endpoint(machine: &Machine, cluster: &ClusterId) -> HostResult<()> {
    let removing = "remove an endpoint's file";
    let path = endpoint_file(machine, cluster);
    let there = path.exists();
    files::remove(&path).doing(removing)?;
    if there {
        files::sync_directory(&endpoints(machine)).doing(removing)?;
    }
    let paths = tls_files(machine, cluster);
    files::remove(&paths.certificate).doing(removing)?;
    files::remove(&paths.key).doing(removing)
}

/// Asks the gateway one thing.
pub(crate) async fn ask_once(control: &Path, ask: &GatewayAsk, limit: Duration) -> io::Result<GatewayAnswer> {
    let conversation = async {
        let mut stream = UnixStream::connect(control).await?;
        let mut line = serde_json::to_vec(ask)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = String::new();
        BufReader::new(stream.take(LONGEST_ANSWER)).read_line(&mut answer).await?;
        if answer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the gateway closed the conversation"));
        }
        Ok(serde_json::from_str(&answer)?)
    };
    match tokio::time::timeout(limit, conversation).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the gateway did not answer in time")),
    }
}

/// Asks until the gateway answers; it may be just restarting.
pub(crate) async fn ask(machine: &Machine, ask: &GatewayAsk) -> HostResult<GatewayAnswer> {
    let control = machine.control_of_gateway();
    let until = Instant::now() + PATIENCE;
    loop {
        match ask_once(&control, ask, ANSWER).await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= until || error.kind() == io::ErrorKind::TimedOut => return Err(unavailable(error)),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn unavailable(error: io::Error) -> HostError {
    let problem = Problem::new(ProblemCode::GatewayUnavailable, "The gateway does not answer at the moment.")
        .hint("It restarts by itself; this is tried again.");
    HostError { problem, passing: true, cause: Some(error.into()) }
}

/// Tells the gateway to read a cluster's file and waits until it is in force.
pub(crate) async fn apply(machine: &Machine, cluster: &ClusterId, generation: u64) -> HostResult<EndpointState> {
    match ask(machine, &GatewayAsk::Apply { cluster: cluster.clone() }).await? {
        GatewayAnswer::Applied { generation: applied, .. } if applied >= generation => Ok(EndpointState::Serving),
        GatewayAnswer::CannotListen { at: Some(at), applied: Some(applied), in_use, reason, .. } if applied >= generation => {
            Ok(EndpointState::ServingPartly { at, in_use, reason })
        }
        GatewayAnswer::CannotListen { in_use: true, .. } => Ok(EndpointState::AddressInUse),
        GatewayAnswer::CannotListen { reason, .. } | GatewayAnswer::Refused { reason, .. } => {
            Err(Problem::new(ProblemCode::HostFailed, "The gateway could not serve the endpoint.").detail(reason).into())
        }
        other => Err(unavailable(io::Error::other(format!("unexpected answer {other:?}")))),
    }
}

/// Has the sessions of a held endpoint end that are between two transactions; how many are left.
pub(crate) async fn drain(machine: &Machine, cluster: &ClusterId) -> HostResult<u32> {
    match ask(machine, &GatewayAsk::Drain { cluster: cluster.clone() }).await? {
        GatewayAnswer::Draining { sessions, .. } => Ok(sessions),
        other => Err(unavailable(io::Error::other(format!("unexpected answer {other:?}")))),
    }
}

/// Tells the gateway that a cluster's file is gone and waits until it is closed, or until it is certain that no gateway
/// runs that could still serve it.
pub(crate) async fn close(machine: &Machine, cluster: &ClusterId) -> HostResult<()> {
    let gateway = machine.shim_of_gateway();
    let looking = "look after the gateway";
    if matches!(instances::observe(&gateway).doing(looking)?, ProcessState::Absent | ProcessState::Stopped) {
        return Ok(());
    }
    match ask(machine, &GatewayAsk::Apply { cluster: cluster.clone() }).await {
        Ok(GatewayAnswer::Closed { .. }) => Ok(()),
        Ok(GatewayAnswer::Refused { reason, .. } | GatewayAnswer::CannotListen { reason, .. }) => {
            Err(Problem::new(ProblemCode::HostFailed, "The gateway could not close the endpoint.").detail(reason).into())
        }
        Ok(other) => Err(unavailable(io::Error::other(format!("unexpected answer {other:?}")))),
        Err(error) => match instances::observe(&gateway).doing(looking)? {
            ProcessState::Running { .. } => Err(error),
            // A gateway that starts later finds no file.
            _ => Ok(()),
        },
    }
}
