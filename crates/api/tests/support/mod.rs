//! The whole control plane behind the router, in one process, with a host and engines that are fakes.

pub mod transcript;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use http::{Request, Response};
use http_body_util::BodyExt;
use moorage_api::ApiOptions;
use moorage_app::{App, Parts};
use moorage_domain::engine::EngineName;
use moorage_domain::subnet::Subnet;
use moorage_domain::tenant::Role;
use moorage_domain::{HostId, ProjectId, Timestamp, TokenId, UserId};
use moorage_durable::{Runner, Settings, SteadyClock};
use moorage_engine::Engine;
use moorage_host::Host;
use moorage_operations::World as Operations;
use moorage_secrets::{CertificateAuthority, MasterKey, token_digest};
use moorage_store::{NewAccount, NewCredential, Store};
use moorage_testkit::{FakeEngine, FakeHost, Machine, TestStore};
use sha2::Sha256;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tower::ServiceExt;

/// Name in the Host header, as the client sees it.
pub const HOST: &str = "moorage.test:8440";
/// The access key of the first tenant, and its secret key.
pub const ACCESS_KEY: &str = "AKEXAMPLE";
/// See [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "SKEXAMPLE";
/// A token of the first tenant's administrator.
pub const TOKEN: &str = "token-of-the-first-tenant";
/// A token of the first tenant's viewer.
pub const VIEWERS_TOKEN: &str = "token-of-a-viewer";
/// A token of the first tenant's operator.
pub const OPERATORS_TOKEN: &str = "token-of-an-operator";
/// A token of another tenant's administrator.
pub const FOREIGN_TOKEN: &str = "token-of-another-tenant";

type Waker = Arc<dyn Fn() + Send + Sync>;

/// A control plane. Operations are carried out once they are let.
pub struct ControlPlane {
    /// What is served.
    pub router: Router,
    store: TestStore,
    operations: Arc<Operations>,
    host: HostId,
    wake: Arc<Mutex<Option<Waker>>>,
    runner: Option<Runner>,
}

impl ControlPlane {
    /// A fresh one.
    pub async fn start() -> Self {
        Self::start_with(ApiOptions::default()).await
    }
    /// A fresh one whose HTTP side behaves as given.
    pub async fn start_with(options: ApiOptions) -> Self {
        let rows = TestStore::open().await;
        let store = rows.store().clone();
        let master_key = Arc::new(MasterKey::generate().expect("randomness"));
        let authority = Arc::new(CertificateAuthority::create("test", now()).expect("an authority"));
        let host_id = HostId::from_bits(7);
        let machine = Machine::new(Arc::new(SteadyClock));
        let host: Arc<dyn Host> = Arc::new(FakeHost::new(host_id.clone(), machine.clone()));
        let engine = |name| Arc::new(FakeEngine::new(name, machine.clone())) as Arc<dyn Engine>;
        let engines: Vec<Arc<dyn Engine>> = EngineName::ALL.into_iter().map(engine).collect();
        let subnets = vec![Subnet { id: "default".into(), cidr: "127.64.0.0/24".parse().expect("a network"), interface: None }];
        people(&store, &master_key, &host_id).await;
        let operations = Arc::new(Operations {
            store: store.clone(),
            host: host.clone(),
            engines: engines.clone(),
            master_key: master_key.clone(),
            authority: authority.clone(),
            subnets: subnets.clone(),
            public_addresses: None,
            most_connections: 100,
        });
        let wake: Arc<Mutex<Option<Waker>>> = Arc::default();
        let bell = wake.clone();
        let app = App::new(Parts {
            store: store.clone(),
            master_key,
            engines,
            host,
            subnets,
            wake: Arc::new(move || {
                if let Some(wake) = bell.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
                    wake();
                }
            }),
            overcommit: Default::default(),
            most_connections: 100,
            authority: authority.certificate().to_owned(),
            board: Arc::default(),
            quarantine: Duration::from_secs(7 * 24 * 3600),
            on_loopback: true,
        });
        let router = moorage_api::router(app, options);
        Self { router, store: rows, operations, host: host_id, wake, runner: None }
    }

    /// The store, for what nobody can ask for.
    pub fn store(&self) -> &Store {
        self.store.store()
    }

    /// The store's file.
    pub fn store_path(&self) -> std::path::PathBuf {
        self.store.path()
    }

    /// Lets operations run from now on.
    pub async fn let_operations_run(&mut self) {
        if self.runner.is_some() {
            return;
        }
        let clock = Arc::new(SteadyClock);
        let settings = Settings::sole(self.host.clone());
        let runner = Runner::start(self.store.store().clone(), self.operations.clone(), moorage_operations::all(), clock, settings).await;
        let runner = runner.expect("a runner");
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = Some(runner.waker());
        self.runner = Some(runner);
    }
    /// Holds operations where they are.
    pub async fn hold_operations(&mut self) {
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(runner) = self.runner.take() {
            runner.shutdown(Duration::from_secs(5)).await;
        }
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Response<Vec<u8>> {
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes().to_vec();
        Response::from_parts(parts, body)
    }
    /// Sends a request without a body under a token.
    pub async fn ask(&self, method: &str, target: &str, token: Option<&str>) -> Response<Vec<u8>> {
        let mut request = Request::builder().method(method).uri(target).header("host", HOST);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(Body::empty()).expect("a request")).await
    }
    /// Sends a request with a body under a token.
    pub async fn ask_with(&self, method: &str, target: &str, token: &str, body: &serde_json::Value) -> Response<Vec<u8>> {
        let request = Request::builder().method(method).uri(target).header("host", HOST).header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json").body(Body::from(body.to_string()));
        self.send(request.expect("a request")).await
    }
}

/// Two tenants.
async fn people(store: &Store, master_key: &MasterKey, host: &HostId) {
    let at = now();
    let mut uow = store.begin().await.expect("a unit of work");
    uow.insert_host(host, "here", at).await.expect("a host");
    for (bits, name, role, token) in [
        (1, "moorage", Role::Administrator, TOKEN),
        (2, "looker", Role::Viewer, VIEWERS_TOKEN),
        (3, "stranger", Role::Administrator, FOREIGN_TOKEN),
        (4, "runner", Role::Operator, OPERATORS_TOKEN),
    ] {
        let project = ProjectId::from_bits(if bits == 3 { 0xb } else { 0xa });
        if matches!(bits, 1 | 3) {
            uow.insert_project(&project, &format!("project of {name}"), at).await.expect("a project");
        }
        let user = UserId::from_bits(bits);
        let email = format!("{name}@moorage.test");
        let account = NewAccount { id: &user, project: &project, name, email: &email, password_hash: "", role };
        uow.insert_account(&account, at).await.expect("an account");
        let credential = NewCredential { account: &user, name: None, expires_at: None };
        uow.insert_token(&credential, &TokenId::from_bits(bits), &token_digest(token), at).await.expect("a token");
        if bits == 1 {
            let context = format!("access-key:{ACCESS_KEY}");
            let sealed = master_key.seal(SECRET_KEY.as_bytes(), &context).expect("sealed");
            uow.insert_access_key(&credential, ACCESS_KEY, &sealed, at).await.expect("an access key");
        }
    }
    uow.set_fact("project", ProjectId::from_bits(0xa).as_str()).await.expect("the installation's own project");
    uow.commit().await.expect("committed");
}

/// Now.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    Timestamp(i64::try_from(since.as_micros()).expect("a near date"))
}

/// Milliseconds since 1970, as signatures carry them; never the same twice, for a signature asks for one change.
pub fn millis() -> String {
    static LAST: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    let order = std::sync::atomic::Ordering::SeqCst;
    let present = now().0 / 1000;
    let before = LAST.fetch_update(order, order, |last| Some(present.max(last + 1))).expect("always updated");
    present.max(before + 1).to_string()
}

/// The signature of a request by the first tenant's access key.
pub fn signature(method: &str, url: &str, timestamp: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET_KEY.as_bytes()).expect("any key will do");
    mac.update(format!("{method}{url}{timestamp}{ACCESS_KEY}Openapi").as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
