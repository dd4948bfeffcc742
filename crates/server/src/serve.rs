//! `moorage serve`: opens the store, takes over what runs, serves the API, and leaves engines and gateway running when it ends.

use crate::data_directory;
use crate::first_start;
use crate::https::{Peer, Source, TlsListener};
use crate::identity::Identity;
use crate::reserve::Reserve;
use crate::{config, logging, network, output};
use anyhow::{Context, Result};
use axum::extract::ConnectInfo;
use clap::Args;
use moorage_api::ApiOptions;
use moorage_app::{App, Parts};
use moorage_domain::{Problem, ProblemCode, Timestamp};
use moorage_durable::{Runner, Settings, SteadyClock};
use moorage_engine::Engine;
use moorage_engine_mariadb::MariaDb;
use moorage_engine_postgresql::PostgreSql;
use moorage_host::Host;
use moorage_host_local::{LocalHost, LocalHostOptions};
use moorage_operations::{WatcherBoard, World};
use moorage_secrets::{CertificateAuthority, ServerName};
use moorage_store::Wakes;
use moorage_watchers::Watch;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Where the API listens, where nobody says.
pub(crate) const LISTEN: &str = "127.0.0.1:8440";
/// Client connections at most per cluster, where the configuration does not say.
pub(crate) const MOST_CONNECTIONS: u32 = 100;
/// Spare data directories of the newest version of each engine, where the configuration does not say.
pub(crate) const SPARES: usize = 4;
/// How long operations may finish their step after a request to end.
const DRAIN: Duration = Duration::from_secs(5);

/// What `moorage serve` takes.
#[derive(Args)]
pub struct ServeArguments {
    /// Directory of everything this installation keeps [default: /var/lib/moorage for root, else ./moorage-data].
    #[arg(long, env = "MOORAGE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Address and port of the API; port 0 picks a free one [default: 127.0.0.1:8440].
    #[arg(long, env = "MOORAGE_LISTEN")]
    listen: Option<String>,
    /// Configuration file.
    #[arg(long, env = "MOORAGE_CONFIG")]
    config: Option<PathBuf>,
    /// Serve https: with a certificate of the installation's own authority, or with `tls_cert` and `tls_key` of the configuration.
    #[arg(long)]
    tls: bool,
}

/// Now, by the machine's clock.
pub fn now() -> Timestamp {
    moorage_durable::wall_now()
}

/// The engines this program knows.
pub fn engines() -> Vec<Arc<dyn Engine>> {
    vec![Arc::new(MariaDb), Arc::new(PostgreSql)]
}

/// Serves until it is asked to end.
pub async fn run(arguments: ServeArguments) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let config = config::read(arguments.config.as_deref())?;
    let directory = data_directory::prepare(&arguments.data_dir.unwrap_or_else(data_directory::default_path))?;
    let lock = data_directory::lock(&directory)?;
    let traces = logging::start_with_traces()?;

    let opened = first_start::open(&directory, &config.store_address(&directory), now()).await?;
    let (store, identity) = (opened.store, opened.identity);
    let (master_key, authority) = (Arc::new(opened.master_key), Arc::new(opened.authority));
    let listener = listen(arguments.listen.or(config.server.listen.clone()).as_deref().unwrap_or(LISTEN)).await?;
    let https = https_source(arguments.tls, &config, &authority, listener.local_addr()?, &directory)?;
    let base_url = format!("{}://{}", if https.is_some() { "https" } else { "http" }, listener.local_addr()?);
    // Behind a proxy a request from anywhere comes from this machine.
    let open_metrics = listener.local_addr()?.ip().is_loopback() && config.server.public_url.is_none();

    // Before anything is started: whoever is refused leaves nothing behind.
    let subnets = config.subnets(identity.id);
    network::check(&config, &subnets, &store, &identity.host, listener.local_addr()?.port()).await?;
    let host = LocalHost::start(host_options(&directory, &identity, &config)?).await.map_err(anyhow::Error::new)?;
    host.ensure_gateway().await.unwrap_or_else(|error| tracing::error!(%error, "the gateway does not run; endpoints are not served"));
    let most_connections = config.limits.connections.unwrap_or(MOST_CONNECTIONS);
    let world = Arc::new(World {
        store: store.clone(),
        host: host.clone(),
        engines: engines(),
        master_key: master_key.clone(),
        authority: authority.clone(),
        subnets: subnets.clone(),
        public_addresses: config.public_addresses(),
        most_connections,
    });
    let settings = Settings::sole(identity.host.clone());
    let runner = Runner::start(store.clone(), world.clone(), moorage_operations::all(), Arc::new(SteadyClock), settings).await?;
    let wake = runner.waker();
    let hearing = store.wakes().map(|wakes| tokio::spawn(hear_others(wakes, wake.clone())));
    let (stop, stopping) = watch::channel(false);
    let board = Arc::new(WatcherBoard::default());
    let spares = config.storage.spares.unwrap_or(SPARES);
    let watching =
        Watch { world: world.clone(), wake: wake.clone(), spares, board: board.clone(), quarantine: config.databases.quarantine() };
    moorage_watchers::catch_up(&watching).await;
    let mut watchers = moorage_watchers::start(watching, stopping.clone());
    watchers.spawn(Reserve::of(&directory).keep(stopping.clone()));

    let app = App::new(Parts {
        store: store.clone(),
        master_key,
        engines: engines(),
        host,
        subnets,
        wake,
        overcommit: config.limits.overcommit(),
        most_connections,
        authority: authority.certificate().to_owned(),
        board,
        quarantine: config.databases.quarantine(),
        // Behind a proxy a request from anywhere comes from this machine.
        on_loopback: open_metrics,
    });
    app.note_enforcement().await?;
    let ending = stopping.clone();
    let ready = Arc::new(move || if *ending.borrow() { Err("The server is ending.".to_owned()) } else { Ok(()) });
    let options =
        ApiOptions { public_base: config.server.public_url.clone(), tls: https.is_some(), open_metrics, ready, ..ApiOptions::default() };
    let router = moorage_api::router(app, options);
    first_start::set_base_url(&directory, &base_url)?;
    tracing::info!(%base_url, data = %directory.display(), "serving");
    output::say(&format!("moorage serves {base_url} (data in {}); credentials are in bootstrap.json there", directory.display()));

    let mut end = stopping.clone();
    let ended = async move { drop(end.wait_for(|stop| *stop).await) };
    let serving = match https {
        None => {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            tokio::spawn(axum::serve(listener, service).with_graceful_shutdown(ended).into_future())
        }
        Some(source) => {
            let listener = TlsListener::start(listener, source, now)?;
            let service = router.layer(axum::middleware::map_request(with_address)).into_make_service_with_connect_info::<Peer>();
            tokio::spawn(axum::serve(listener, service).with_graceful_shutdown(ended).into_future())
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending; engines and gateway keep running");
    stop.send_replace(true);
    runner.shutdown(DRAIN).await;
    watchers.abort_all();
    while watchers.join_next().await.is_some() {}
    hearing.iter().for_each(tokio::task::JoinHandle::abort);
    // Requests had as long as the operations; a connection that is merely kept open does not hold up the end.
    serving.abort();
    store.close().await;
    drop(traces);
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

/// A request over https tells its address as one over http does.
async fn with_address(mut request: axum::extract::Request) -> axum::extract::Request {
    if let Some(ConnectInfo(Peer(address))) = request.extensions().get::<ConnectInfo<Peer>>().copied() {
        request.extensions_mut().insert(ConnectInfo(address));
    }
    request
}

/// Whether https is served, and with which certificate. The authority is left beside the data, so that commands there trust it.
fn https_source(
    asked: bool,
    config: &config::Config,
    authority: &Arc<CertificateAuthority>,
    listens_on: SocketAddr,
    directory: &Path,
) -> Result<Option<Source>> {
    if let (Some(certificate), Some(key)) = (&config.server.tls_cert, &config.server.tls_key) {
        return Ok(Some(Source::Files { certificate: certificate.clone(), key: key.clone() }));
    }
    if !asked {
        return Ok(None);
    }
    let mut names = vec![ServerName::Address(listens_on.ip()), ServerName::Dns("localhost".into())];
    names.push(ServerName::Address(std::net::Ipv4Addr::LOCALHOST.into()));
    names.push(ServerName::Dns(first_start::host_name()));
    let public = config.server.public_url.as_deref().and_then(|url| url.parse::<axum::http::Uri>().ok());
    names.extend(public.and_then(|url| url.host().map(|host| ServerName::Dns(host.to_owned()))));
    names.retain(|name| !matches!(name, ServerName::Address(address) if address.is_unspecified()));
    std::fs::write(directory.join("ca.pem"), authority.certificate()).context("writing ca.pem")?;
    Ok(Some(Source::Authority(authority.clone(), names)))
}

/// Operations of this machine may be asked for at another one on the same store.
async fn hear_others(mut wakes: Wakes, wake: Arc<dyn Fn() + Send + Sync>) {
    loop {
        wakes.next().await;
        wake();
    }
}

/// How this machine is a host for an installation.
pub fn host_options(directory: &Path, identity: &Identity, config: &config::Config) -> Result<LocalHostOptions> {
    let program = std::env::current_exe().context("finding this program's own file")?;
    let mut options = LocalHostOptions::new(identity.host.clone(), identity.short(), directory.to_owned());
    options.program = vec![program.to_string_lossy().into_owned()];
    options.uid_range = Some(identity.uids());
    options.volume_driver.clone_from(&config.storage.driver);
    options.storage_path.clone_from(&config.storage.path);
    options.installations = crate::engine_command::finder(directory, &config.engines.prefixes);
    Ok(options)
}

async fn listen(address: &str) -> Result<TcpListener> {
    let parsed: SocketAddr = address.parse().map_err(|_| {
        Problem::new(ProblemCode::ConfigInvalid, format!("'{address}' is not an address and port.")).hint("Give it as 127.0.0.1:8440.")
    })?;
    TcpListener::bind(parsed).await.map_err(|error| {
        Problem::new(ProblemCode::ConfigInvalid, format!("The API cannot listen on {address}."))
            .detail(error.to_string())
            .hint(match error.kind() {
                std::io::ErrorKind::AddrNotAvailable => "This machine has no such address: choose one of its own with --listen.",
                std::io::ErrorKind::PermissionDenied => "Ports below 1024 need root: choose another one with --listen.",
                _ => "Another program may have the port: choose another one with --listen, or port 0 for a free one.",
            })
            .into()
    })
}
