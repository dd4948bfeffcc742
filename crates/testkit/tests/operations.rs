//! Every operation there is goes through the whole bench, on the fakes.

use async_trait::async_trait;
use moorage_domain::cluster::{ACTIVE_STANDBY, Cluster, InstanceWish, Wish};
use moorage_domain::database::{Credential, Database, Privileges, Stage};
use moorage_domain::engine::EngineName;
use moorage_domain::instance::{Endpoint, Instance};
use moorage_domain::operation::OperationStatus;
use moorage_domain::public_address::PublicAddresses;
use moorage_domain::replication::{Promotable, Replication};
use moorage_domain::service_state::ServiceState;
use moorage_domain::subnet::default_for;
use moorage_domain::{ClusterId, CredentialId, DatabaseId, HostId, InstanceId, OperationId, SecretId, Timestamp};
use moorage_durable::harness::{FastClock, Fixture};
use moorage_durable::{Clock, Operation, Runner, Settings};
use moorage_engine::Engine;
use moorage_host::InstanceEndpointWish;
use moorage_operations::takeover::Takeover;
use moorage_operations::{
    World, credential_create, credential_delete, credential_reset_password, database_create, database_delete, database_quarantine,
    failover, owner, provision, recover, rejoin, renew_certificate, restart, rolling_restart, set_allow_list, set_maintenance,
    set_owner_password, set_public_address, start, stop, switchover, synchronize_parameters, synchronize_state, terminate,
};
use moorage_secrets::{CertificateAuthority, ExposeSecret, MasterKey};
use moorage_store::{
    Clusters, CredentialChange, Databases, Endpoints, Instances, NewOperation, OperationRow, Operations, Replications, Secrets, Store,
    Submitted, UnitOfWork, Write,
};
use moorage_testkit::{Failure, FakeEngine, FakeHost, Machine, TestStore, a_cluster, in_fast_time, insert};
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

/// What differs between the operations: what is there before, what is asked for, what is there afterwards.
trait Case: Send + Sync + 'static {
    type Operation: Operation<World = World>;
    /// The state of the cluster before; none where it is about to be made.
    const BEFORE: Option<ServiceState>;
    const AFTER: Option<ServiceState>;
    fn operation() -> Self::Operation;
    fn request() -> <Self::Operation as Operation>::Request;
    /// What the app changes in the transaction that submits it.
    fn wish() -> Option<Wish> {
        None
    }
    /// What is asked for where that depends on what is there.
    fn request_on(_instances: &[Instance], _replication: Option<&Replication>) -> <Self::Operation as Operation>::Request {
        Self::request()
    }
    /// Whether the cluster has two instances.
    const TWO: bool = false;
    /// Whether it is strict.
    const STRICT: bool = false;
    /// What happens to the machine beforehand.
    fn beforehand(_machine: &Machine) {}
    /// What is inside the cluster when the operation begins.
    const INSIDE: Inside = Inside::Nothing;
    /// What is inside it when the operation has succeeded.
    const INSIDE_AFTER: Inside = Inside::Nothing;
    /// What the host offers to other machines by the time the operation runs, and not before.
    fn offered() -> Option<PublicAddresses> {
        None
    }
}

/// A database besides the first one, and its two credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// Neither in the store nor in the engine.
    Nothing,
    /// In the store, to be made.
    DatabaseToBeMade,
    /// In both, and one more credential in the store, to be made.
    CredentialToBeMade,
    /// In both.
    Both,
    /// In both, without one of its credentials.
    WithoutAReader,
    /// In both; the credentials are to get other passwords, or have got them.
    OtherPasswords,
    /// The same of one of them.
    AnotherForTheReader,
}

const DATABASE: u128 = 0xda;
const OWNER: u128 = 0xc1;
const READER: u128 = 0xc2;

fn database() -> DatabaseId {
    DatabaseId::from_bits(DATABASE)
}

fn reader() -> CredentialId {
    CredentialId::from_bits(READER)
}

struct Bench<C> {
    machine: Machine,
    host: Arc<FakeHost>,
    cluster: Cluster,
    master_key: Arc<MasterKey>,
    authority: Arc<CertificateAuthority>,
    case: PhantomData<C>,
}

const SECRET: u128 = 0x5ec;

impl<C: Case> Bench<C> {
    fn new(clock: FastClock) -> Self {
        let machine = Machine::new(Arc::new(clock));
        machine.engines_start_in(Duration::from_millis(150));
        machine.engines_stop_in(Duration::from_millis(150));
        let mut cluster = a_cluster(1);
        if C::TWO {
            let group = &mut cluster.spec.groups[0];
            group.role = ACTIVE_STANDBY.into();
            group.instances.push(InstanceWish { role: "STANDBY".into(), service_address: None });
        }
        cluster.spec.strict = C::STRICT;
        let host = Arc::new(FakeHost::new(cluster.host.clone(), machine.clone()));
        let master_key = Arc::new(MasterKey::generate().expect("a key"));
        let authority = Arc::new(CertificateAuthority::create("test", clock.now()).expect("an authority"));
        Self { machine, host, cluster, master_key, authority, case: PhantomData }
    }

    async fn provide_secret(&self, uow: &mut UnitOfWork, engine: &FakeEngine, now: Timestamp) {
        let secret = SecretId::from_bits(SECRET);
        let verifier = engine.verifier("Passw0rd!", [1; 16]).expect("a verifier");
        let sealed = self.master_key.seal(verifier.0.as_bytes(), &owner::secret_context(&secret)).expect("sealed");
        uow.insert_secret(&secret, &sealed, now).await.expect("kept");
    }

    fn seal(&self, id: &CredentialId, password: &str) -> String {
        self.master_key.seal(password.as_bytes(), &Credential::password_context(id)).expect("sealed")
    }

    /// Brings about what is inside the cluster beforehand.
    async fn furnish(&self, store: &Store, clock: FastClock) {
        if C::INSIDE == Inside::Nothing {
            return;
        }
        let row = Database {
            id: database(),
            project: self.cluster.project.clone(),
            cluster: self.cluster.id.clone(),
            name: "stock".into(),
            character_set: "UTF-8".into(),
            locale: None,
            first: false,
            stage: Stage::BeingMade,
            quarantine: None,
            used_bytes: None,
            created_at: clock.now(),
            created_by: "somebody".into(),
        };
        let credential = |id: u128, user: &str, privileges| Credential {
            id: CredentialId::from_bits(id),
            database: database(),
            cluster: self.cluster.id.clone(),
            user: user.into(),
            privileges,
            stage: Stage::BeingMade,
            sealed_password: None,
            sealed_next: Some(self.seal(&CredentialId::from_bits(id), "Passw0rd!")),
            created_at: clock.now(),
        };
        let mut uow = store.begin().await.expect("begun");
        uow.insert_database(&row).await.expect("inserted");
        uow.insert_credential(&credential(OWNER, "keeper", Privileges::Owner)).await.expect("inserted");
        if C::INSIDE != Inside::CredentialToBeMade {
            uow.insert_credential(&credential(READER, "reader", Privileges::ReadOnly)).await.expect("inserted");
        }
        uow.commit().await.expect("committed");
        if C::INSIDE == Inside::DatabaseToBeMade {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let request = database_create::Request { database: database() };
        self.run(store, clock, database_create::CreateDatabase, request, None).await;
        let mut uow = store.begin().await.expect("begun");
        if C::INSIDE == Inside::CredentialToBeMade {
            uow.insert_credential(&credential(READER, "reader", Privileges::ReadOnly)).await.expect("inserted");
        }
        let others: &[u128] = match C::INSIDE {
            Inside::OtherPasswords => &[OWNER, READER],
            Inside::AnotherForTheReader => &[READER],
            _ => &[],
        };
        for id in others.iter().map(|id| CredentialId::from_bits(*id)) {
            let next = CredentialChange::NextPassword(Some(self.seal(&id, "An0ther!")));
            uow.apply(&Write::Credential(id, next), clock.now()).await.expect("written");
        }
        uow.commit().await.expect("committed");
    }

    /// What is inside the cluster, in the store and in the engine of this instance: the same.
    async fn check_inside(&self, store: &Store, instance: &InstanceId, expected: Inside) {
        let mut look = store.look().await.expect("a look");
        let row = look.database(&database()).await.expect("read");
        let credentials = look.credentials_of(&database()).await.expect("read");
        let in_engine: Vec<_> =
            self.machine.databases(instance).into_iter().map(|(name, _)| name).filter(|name| name != "orders").collect();
        let accounts = self.machine.accounts(instance);
        if expected == Inside::Nothing {
            assert!(row.is_none() && credentials.is_empty() && in_engine.is_empty() && accounts.is_empty(), "{credentials:?} {accounts:?}");
            return;
        }
        assert_eq!(row.expect("a row").stage, Stage::Made);
        assert_eq!(in_engine, ["stock"]);
        let users: &[_] = if expected == Inside::WithoutAReader { &["keeper"] } else { &["keeper", "reader"] };
        assert_eq!(credentials.iter().map(|credential| credential.user.as_str()).collect::<Vec<_>>(), users);
        assert_eq!(accounts.iter().map(|(account, _)| account.name.as_str()).collect::<Vec<_>>(), users);
        for credential in credentials {
            assert_eq!((credential.stage, &credential.sealed_next), (Stage::Made, &None), "{credential:?}");
            let sealed = credential.sealed_password.expect("a password");
            let password = self.master_key.open_text(&sealed, &Credential::password_context(&credential.id)).expect("opened");
            let changed = expected == Inside::OtherPasswords || (expected == Inside::AnotherForTheReader && credential.id == reader());
            let wanted = if changed { "An0ther!" } else { "Passw0rd!" };
            assert_eq!(password.expose_secret(), wanted);
        }
    }

    fn engine(&self) -> FakeEngine {
        FakeEngine::new(EngineName::PostgreSql, self.machine.clone())
    }

    /// Runs an operation to its end, undisturbed, to bring about what the one under test presupposes.
    async fn run<O: Operation<World = World>>(
        &self,
        store: &Store,
        clock: FastClock,
        operation: O,
        request: O::Request,
        wish: Option<Wish>,
    ) {
        let row = self.ending(store, clock, operation, request, wish).await;
        assert_eq!(row.status, OperationStatus::Succeeded, "{row:?}");
    }

    /// Runs an operation until it has ended or needs an operator.
    async fn ending<O: Operation<World = World>>(
        &self,
        store: &Store,
        clock: FastClock,
        operation: O,
        request: O::Request,
        wish: Option<Wish>,
    ) -> OperationRow {
        let id = submit::<O>(store, &self.cluster, &request, wish, clock.now()).await;
        let registry = moorage_durable::Registry::new().with(operation);
        let mut world = self.world(store);
        if O::KIND != C::Operation::KIND {
            world.public_addresses = None;
        }
        let world = Arc::new(world);
        let settings = Settings::sole(self.host());
        let runner = Runner::start(store.clone(), world, registry, Arc::new(clock), settings).await.expect("a runner");
        let row = loop {
            let row = store.look().await.expect("a look").operation_row(&id).await.expect("read").expect("there");
            match row.status {
                OperationStatus::Running | OperationStatus::CleaningUp => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => break row,
            }
        };
        runner.shutdown(Duration::from_secs(10)).await;
        row
    }
}

async fn submit<O: Operation>(store: &Store, cluster: &Cluster, request: &O::Request, wish: Option<Wish>, now: Timestamp) -> OperationId {
    let id = OperationId::from_bits(u128::try_from(now.0).expect("after 1970"));
    let mut uow = store.begin().await.expect("begun");
    if let Some(wish) = wish {
        uow.apply(&Write::Wish(cluster.id.clone(), wish), now).await.expect("wished");
    }
    let secrets = [SecretId::from_bits(SECRET)];
    let new = NewOperation::new(&id, O::KIND, cluster, request, "somebody", now).with_secrets(&secrets);
    if O::KIND.starts_with("cluster.") {
        assert_eq!(uow.submit(&new).await.expect("submitted"), Submitted::Started);
    } else {
        assert!(uow.submit_inside(&new).await.expect("submitted"));
    }
    uow.commit().await.expect("committed");
    id
}

#[async_trait]
impl<C: Case> Fixture for Bench<C> {
    type Operation = C::Operation;

    async fn prepare(store: &Store, clock: FastClock) -> Self {
        let bench = Self::new(clock);
        insert(store, &bench.cluster).await;
        let mut uow = store.begin().await.expect("begun");
        bench.provide_secret(&mut uow, &bench.engine(), clock.now()).await;
        uow.commit().await.expect("committed");
        if C::BEFORE.is_some() {
            let request = provision::Request { verifier: Some(SecretId::from_bits(SECRET)) };
            bench.run(store, clock, provision::Provision, request, None).await;
        }
        if C::BEFORE == Some(ServiceState::Stopped) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            bench.run(store, clock, stop::Stop, stop::Request {}, Some(Wish::Stop)).await;
        }
        if C::BEFORE.is_some() {
            // Creating the cluster has erased the first one.
            let mut uow = store.begin().await.expect("begun");
            bench.provide_secret(&mut uow, &bench.engine(), clock.now()).await;
            uow.commit().await.expect("committed");
        }
        bench.furnish(store, clock).await;
        C::beforehand(&bench.machine);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let found = store.look().await.expect("a look").cluster(&bench.cluster.id).await.expect("read").expect("there");
        assert_eq!(C::BEFORE.unwrap_or(ServiceState::Creating), found.state);
        bench
    }
    fn operation(&self) -> C::Operation {
        C::operation()
    }
    fn host(&self) -> HostId {
        self.cluster.host.clone()
    }
    fn cluster(&self) -> ClusterId {
        self.cluster.id.clone()
    }
    fn world(&self, store: &Store) -> World {
        World {
            store: store.clone(),
            host: self.host.clone(),
            engines: vec![Arc::new(self.engine())],
            master_key: self.master_key.clone(),
            authority: self.authority.clone(),
            subnets: vec![default_for(1)],
            public_addresses: C::offered(),
            most_connections: 100,
        }
    }
    async fn submit(&self, store: &Store, now: Timestamp) -> OperationId {
        let request = {
            let mut look = store.look().await.expect("a look");
            let instances = look.instances_of(&self.cluster.id).await.expect("read");
            C::request_on(&instances, look.replication_of(&self.cluster.id).await.expect("read").as_ref())
        };
        submit::<C::Operation>(store, &self.cluster, &request, C::wish(), now).await
    }
    async fn inventory(&self, store: &Store) -> String {
        let mut look = store.look().await.expect("a look");
        let instances = look.instances_of(&self.cluster.id).await.expect("read");
        let rows: Vec<_> = instances.iter().map(|instance| (&instance.id, instance.uid, instance.number)).collect();
        let endpoint = look.endpoint_of(&self.cluster.id).await.expect("read");
        format!("{}{rows:?}\n{endpoint:?}", self.machine.inventory())
    }
    async fn check_succeeded(&self, store: &Store) {
        let mut look = store.look().await.expect("a look");
        let cluster = look.cluster(&self.cluster.id).await.expect("read");
        assert_eq!(cluster.as_ref().map(|cluster| cluster.state), C::AFTER, "{cluster:?}");
        assert_eq!(look.secret(&SecretId::from_bits(SECRET)).await.expect("read"), None, "secrets end with their operation");
        let text = self.machine.inventory();
        let lines = |kind: &str| text.lines().filter(|line| line.starts_with(kind)).count();
        if C::AFTER.is_none() {
            assert_eq!(text, "", "nothing is left");
            return;
        }
        let count = if C::TWO { 2 } else { 1 };
        assert_eq!((lines("volume"), lines("process"), lines("endpoint")), (count, count, 1), "{text}");
        let instances = look.instances_of(&self.cluster.id).await.expect("read");
        assert_eq!(instances.len(), count, "{instances:?}");
        let replication = look.replication_of(&self.cluster.id).await.expect("read");
        let writes = |instance: &&Instance| replication.as_ref().is_none_or(|replication| replication.primary == instance.id);
        let instance = instances.iter().find(writes).expect("somebody writes");
        for one in instances.iter().filter(|_| C::TWO) {
            let runs = C::AFTER == Some(ServiceState::Running) && one.id == instance.id;
            assert_eq!(self.machine.is_writable(&one.id) && self.machine.pid(&one.id).is_some(), runs, "{one:?} {text}");
            assert_eq!(one.role, if one.id == instance.id { "ACTIVE" } else { "STANDBY" });
        }
        if C::TWO && C::AFTER == Some(ServiceState::Running) {
            let waits = C::STRICT || replication.is_some_and(|replication| replication.promotable.is_some());
            assert_eq!(self.machine.waits_for_a_standby(&instance.id), waits, "{text}");
        }
        assert!(self.machine.databases(&instance.id).contains(&("orders".to_owned(), "clerk".to_owned())));
        self.check_inside(store, &instance.id, C::INSIDE_AFTER).await;
        let endpoint = self.machine.endpoint(&self.cluster.id).expect("an endpoint");
        let leads = (C::AFTER == Some(ServiceState::Running)).then(|| instance.id.clone());
        assert_eq!(endpoint.primary, leads, "{text}");
        assert!(endpoint.tls.is_some());
        let row = look.endpoint_of(&self.cluster.id).await.expect("read").expect("there");
        let alone = if C::TWO { 0 } else { count };
        assert_eq!((row.instances.len(), endpoint.instances.len()), (count - alone, count - alone));
        assert_eq!(row.addresses().collect::<BTreeSet<_>>().len(), 1 + count - alone, "each has its own: {row:?}");
        for one in instances.iter().filter(|_| C::TWO) {
            let leads = (C::AFTER == Some(ServiceState::Running)).then(|| one.id.clone());
            let wish = InstanceEndpointWish {
                listen: SocketAddrV4::new(row.address_of(&one.id, false).expect("it has one"), row.port),
                instance: leads,
            };
            assert!(endpoint.instances.contains(&wish), "{wish:?}: {endpoint:?}");
        }
        assert_eq!(row.public, C::offered().map(|offered| SocketAddrV4::new(offered.address, *offered.ports.start())));
        assert_eq!(endpoint.public, row.public.map(|public| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, public.port())));
    }
    async fn check_cleaned_up(&self, store: &Store) {
        let mut look = store.look().await.expect("a look");
        let cluster = look.cluster(&self.cluster.id).await.expect("read").expect("there");
        assert_eq!(cluster.state, C::BEFORE.unwrap_or(ServiceState::Failed), "{cluster:?}");
        if let Some(instance) = look.instances_of(&self.cluster.id).await.expect("read").first() {
            match C::INSIDE {
                Inside::Nothing | Inside::DatabaseToBeMade => self.check_inside(store, &instance.id, Inside::Nothing).await,
                Inside::CredentialToBeMade => self.check_inside(store, &instance.id, Inside::WithoutAReader).await,
                _ => self.check_inside(store, &instance.id, Inside::Both).await,
            }
        }
        assert_eq!(look.secret(&SecretId::from_bits(SECRET)).await.expect("read"), None, "secrets end with their operation");
    }
}

macro_rules! cases {
    ($($name:ident $case:ident: $operation:expr => $kind:ty, $request:expr, $before:expr, $after:expr $(, $key:ident: $value:expr)*;)*) => {$(
        struct $case;
        impl Case for $case {
            type Operation = $kind;
            const BEFORE: Option<ServiceState> = $before;
            const AFTER: Option<ServiceState> = $after;
            fn operation() -> $kind {
                $operation
            }
            fn request() -> <$kind as Operation>::Request {
                $request
            }
            $(cases!(@$key $value);)*
        }
        moorage_durable::harness!($name, Bench<$case>);
    )*};
    (@inside $value:expr) => {
        const INSIDE: Inside = $value.0;
        const INSIDE_AFTER: Inside = $value.1;
    };
    (@strict $value:expr) => {
        const STRICT: bool = $value;
    };
    (@two $value:expr) => {
        const TWO: bool = $value;
    };
    (@on $value:expr) => {
        fn request_on(instances: &[Instance], replication: Option<&Replication>) -> <Self::Operation as Operation>::Request {
            $value(instances, replication.expect("it has two instances"))
        }
    };
    (@wish $value:expr) => {
        fn wish() -> Option<Wish> {
            Some($value)
        }
    };
    (@offered $value:expr) => {
        fn offered() -> Option<PublicAddresses> {
            Some($value)
        }
    };
    (@beforehand $value:expr) => {
        fn beforehand(machine: &Machine) {
            $value(machine);
        }
    };
}

cases! {
    provision_ Provision: provision::Provision => provision::Provision,
        provision::Request { verifier: Some(SecretId::from_bits(SECRET)) }, None, Some(ServiceState::Running);
    start_ Start: start::Start => start::Start, start::Request {}, Some(ServiceState::Stopped), Some(ServiceState::Running);
    stop_ Stop: stop::Stop => stop::Stop, stop::Request {}, Some(ServiceState::Running), Some(ServiceState::Stopped), wish: Wish::Stop;
    restart_ Restart: restart::Restart => restart::Restart, restart::Request {}, Some(ServiceState::Running), Some(ServiceState::Running);
    recover_ Recover: recover::Recover => recover::Recover, recover::Request { reason: None }, Some(ServiceState::Running), Some(ServiceState::Running),
        beforehand: Machine::reboot;
    terminate_ Terminate: terminate::Terminate => terminate::Terminate, terminate::Request {}, Some(ServiceState::Running), None,
        wish: Wish::Gone;
    set_allow_list_ SetAllowList: set_allow_list::SetAllowList => set_allow_list::SetAllowList,
        set_allow_list::Request { allow_list: vec!["192.0.2.0/24".into()] }, Some(ServiceState::Running), Some(ServiceState::Running);
    set_maintenance_ SetMaintenance: set_maintenance::SetMaintenance => set_maintenance::SetMaintenance,
        set_maintenance::Request { window: None }, Some(ServiceState::Stopped), Some(ServiceState::Stopped);
    set_owner_password_ SetOwnerPassword: set_owner_password::SetOwnerPassword => set_owner_password::SetOwnerPassword,
        set_owner_password::Request { verifier: Some(SecretId::from_bits(SECRET)) }, Some(ServiceState::Running), Some(ServiceState::Running);
    synchronize_state_ SynchronizeState: synchronize_state::SynchronizeState => synchronize_state::SynchronizeState,
        synchronize_state::Request {}, Some(ServiceState::Running), Some(ServiceState::Running);
    synchronize_state_while_stopped SynchronizeStateWhileStopped: synchronize_state::SynchronizeState => synchronize_state::SynchronizeState,
        synchronize_state::Request {}, Some(ServiceState::Stopped), Some(ServiceState::Stopped);
    synchronize_parameters_ SynchronizeParameters: synchronize_parameters::SynchronizeParameters => synchronize_parameters::SynchronizeParameters,
        synchronize_parameters::Request {}, Some(ServiceState::Running), Some(ServiceState::Running);
    renew_certificate_ RenewCertificate: renew_certificate::RenewCertificate => renew_certificate::RenewCertificate,
        renew_certificate::Request {}, Some(ServiceState::Running), Some(ServiceState::Running);
    renew_certificate_while_stopped RenewCertificateWhileStopped: renew_certificate::RenewCertificate => renew_certificate::RenewCertificate,
        renew_certificate::Request {}, Some(ServiceState::Stopped), Some(ServiceState::Stopped);
    provision_two ProvisionTwo: provision::Provision => provision::Provision,
        provision::Request { verifier: Some(SecretId::from_bits(SECRET)) }, None, Some(ServiceState::Running), two: true;
    stop_two StopTwo: stop::Stop => stop::Stop, stop::Request {}, Some(ServiceState::Running), Some(ServiceState::Stopped), two: true,
        wish: Wish::Stop;
    recover_two RecoverTwo: recover::Recover => recover::Recover, recover::Request { reason: None }, Some(ServiceState::Running),
        Some(ServiceState::Running), two: true, beforehand: Machine::kill_primaries;
    terminate_two TerminateTwo: terminate::Terminate => terminate::Terminate, terminate::Request {}, Some(ServiceState::Running), None,
        two: true, wish: Wish::Gone;
    failover_ Failover: failover::Failover => failover::Failover, failover_request(takeover(&[], None)), Some(ServiceState::Running),
        Some(ServiceState::Running), two: true, on: failover_on, beforehand: Machine::kill_primaries;
    rolling_restart_ RollingRestart: rolling_restart::RollingRestart => rolling_restart::RollingRestart, rolling_restart::Request {},
        Some(ServiceState::Running), Some(ServiceState::Running), two: true;
    switchover_ Switchover: switchover::Switchover => switchover::Switchover, switchover_request(takeover(&[], None)),
        Some(ServiceState::Running), Some(ServiceState::Running), two: true, on: switchover_on;
    rejoin_ Rejoin: rejoin::Rejoin => rejoin::Rejoin, rejoin::Request { reason: "it died".into(), hangs: false },
        Some(ServiceState::Running), Some(ServiceState::Running), two: true, beforehand: Machine::kill_standbys;
    rejoin_of_one_that_hangs RejoinOfOneThatHangs: rejoin::Rejoin => rejoin::Rejoin,
        rejoin::Request { reason: "it hangs".into(), hangs: true }, Some(ServiceState::Running), Some(ServiceState::Running), two: true;
    provision_strict ProvisionStrict: provision::Provision => provision::Provision,
        provision::Request { verifier: Some(SecretId::from_bits(SECRET)) }, None, Some(ServiceState::Running), two: true, strict: true;
    recover_strict RecoverStrict: recover::Recover => recover::Recover, recover::Request { reason: None }, Some(ServiceState::Running),
        Some(ServiceState::Running), two: true, strict: true, beforehand: Machine::kill_primaries;
    failover_strict FailoverStrict: failover::Failover => failover::Failover, failover_request(takeover(&[], None)),
        Some(ServiceState::Running), Some(ServiceState::Running), two: true, strict: true, on: failover_on,
        beforehand: Machine::kill_primaries;
    rolling_restart_strict RollingRestartStrict: rolling_restart::RollingRestart => rolling_restart::RollingRestart,
        rolling_restart::Request {}, Some(ServiceState::Running), Some(ServiceState::Running), two: true, strict: true;
    rejoin_strict RejoinStrict: rejoin::Rejoin => rejoin::Rejoin, rejoin::Request { reason: "it died".into(), hangs: false },
        Some(ServiceState::Running), Some(ServiceState::Running), two: true, strict: true, beforehand: Machine::kill_standbys;
    database_create_ CreateDatabase: database_create::CreateDatabase => database_create::CreateDatabase,
        database_create::Request { database: database() }, Some(ServiceState::Running), Some(ServiceState::Running),
        inside: (Inside::DatabaseToBeMade, Inside::Both);
    database_create_in_a_cluster_of_two CreateDatabaseOfTwo: database_create::CreateDatabase => database_create::CreateDatabase,
        database_create::Request { database: database() }, Some(ServiceState::Running), Some(ServiceState::Running), two: true,
        inside: (Inside::DatabaseToBeMade, Inside::Both);
    database_quarantine_ QuarantineDatabase: database_quarantine::QuarantineDatabase => database_quarantine::QuarantineDatabase,
        database_quarantine::Request { database: database() }, Some(ServiceState::Running), Some(ServiceState::Running),
        inside: (Inside::OtherPasswords, Inside::OtherPasswords);
    database_delete_ DeleteDatabase: database_delete::DeleteDatabase => database_delete::DeleteDatabase,
        database_delete::Request { database: database() }, Some(ServiceState::Running), Some(ServiceState::Running),
        inside: (Inside::Both, Inside::Nothing);
    credential_create_ CreateCredential: credential_create::CreateCredential => credential_create::CreateCredential,
        credential_create::Request { credential: reader() }, Some(ServiceState::Running), Some(ServiceState::Running),
        inside: (Inside::CredentialToBeMade, Inside::Both);
    credential_reset_password_ ResetPassword: credential_reset_password::ResetPassword => credential_reset_password::ResetPassword,
        credential_reset_password::Request { credential: reader() }, Some(ServiceState::Running), Some(ServiceState::Running),
        inside: (Inside::AnotherForTheReader, Inside::AnotherForTheReader);
    credential_delete_ DeleteCredential: credential_delete::DeleteCredential => credential_delete::DeleteCredential,
        credential_delete::Request { credential: reader() }, Some(ServiceState::Running), Some(ServiceState::Running),
        inside: (Inside::Both, Inside::WithoutAReader);
    provision_with_a_public_address ProvisionOffered: provision::Provision => provision::Provision,
        provision::Request { verifier: Some(SecretId::from_bits(SECRET)) }, None, Some(ServiceState::Running), offered: offered();
    set_public_address_ SetPublicAddress: set_public_address::SetPublicAddress => set_public_address::SetPublicAddress,
        set_public_address::Request {}, Some(ServiceState::Running), Some(ServiceState::Running), offered: offered();
    set_public_address_while_stopped SetPublicAddressWhileStopped: set_public_address::SetPublicAddress =>
        set_public_address::SetPublicAddress,
        set_public_address::Request {}, Some(ServiceState::Stopped), Some(ServiceState::Stopped), offered: offered();
    withdraw_a_public_address WithdrawPublicAddress: set_public_address::SetPublicAddress => set_public_address::SetPublicAddress,
        set_public_address::Request {}, Some(ServiceState::Running), Some(ServiceState::Running);
}

fn takeover(instances: &[Instance], to: Option<Promotable>) -> Takeover {
    Takeover {
        from: instances.first().map_or(InstanceId::from_bits(0), |instance| instance.id.clone()),
        to: to.unwrap_or(Promotable { instance: InstanceId::from_bits(0), incarnation: 0 }),
    }
}

fn failover_request(takeover: Takeover) -> failover::Request {
    failover::Request { reason: "The primary was killed by signal 9.".into(), takeover, struck_at: None, last_position: None }
}

fn failover_on(instances: &[Instance], replication: &Replication) -> failover::Request {
    failover_request(takeover(instances, replication.promotable.clone()))
}

fn switchover_request(takeover: Takeover) -> switchover::Request {
    switchover::Request { reason: "Somebody asked for it.".into(), takeover, grace_seconds: 2, force: false }
}

fn switchover_on(instances: &[Instance], replication: &Replication) -> switchover::Request {
    switchover_request(takeover(instances, replication.promotable.clone()))
}

fn offered() -> PublicAddresses {
    PublicAddresses { address: Ipv4Addr::new(192, 0, 2, 10), ports: 20_000..=20_999, listen: Ipv4Addr::UNSPECIFIED }
}

#[test]
fn a_renewed_certificate_is_another_one_and_nothing_else_changes() {
    in_fast_time(async {
        let store = TestStore::open().await;
        let clock = FastClock::begin();
        let bench = Bench::<RenewCertificate>::prepare(store.store(), clock).await;
        let before = bench.machine.endpoint(&bench.cluster.id).expect("an endpoint");
        let listening = bench.machine.inventory();
        // A gateway that is just restarting is waited for.
        bench.machine.fail_call("ensure_endpoint", 1, Failure::Passing);
        bench.run(store.store(), clock, RenewCertificate::operation(), RenewCertificate::request(), None).await;
        let after = bench.machine.endpoint(&bench.cluster.id).expect("an endpoint");
        let (before, after) = (before.tls.expect("a certificate"), after.tls.expect("a certificate"));
        assert!(before.certificate != after.certificate && before.key != after.key);
        assert_eq!(bench.machine.inventory(), listening);
    });
}

#[test]
fn a_public_address_that_cannot_be_listened_at_fails_no_operation() {
    in_fast_time(async {
        let store = TestStore::open().await;
        let clock = FastClock::begin();
        let bench = Bench::<ProvisionOffered>::prepare(store.store(), clock).await;
        bench.machine.occupy(Ipv4Addr::UNSPECIFIED);
        let made = bench.ending(store.store(), clock, provision::Provision, ProvisionOffered::request(), None).await;
        assert_eq!(made.status, OperationStatus::Succeeded, "{made:?}");
        let narrower = set_allow_list::Request { allow_list: vec!["192.0.2.0/24".into()] };
        bench.run(store.store(), clock, set_allow_list::SetAllowList, narrower, None).await;
        let endpoint = bench.machine.endpoint(&bench.cluster.id).expect("an endpoint");
        assert!(endpoint.primary.is_some() && endpoint.allow.len() == 1, "it is served at its own address");
    });
}

#[test]
fn a_public_address_that_is_not_offered_any_more_is_withdrawn() {
    in_fast_time(async {
        let store = TestStore::open().await;
        let clock = FastClock::begin();
        let bench = Bench::<WithdrawPublicAddress>::prepare(store.store(), clock).await;
        let row = store.store().look().await.expect("a look").endpoint_of(&bench.cluster.id).await.expect("read").expect("there");
        let public = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 10), 20_000);
        let had = Write::Endpoint(bench.cluster.host.clone(), Endpoint { public: Some(public), ..row });
        let mut uow = store.store().begin().await.expect("begun");
        uow.apply(&had, clock.now()).await.expect("written");
        uow.commit().await.expect("committed");
        bench.run(store.store(), clock, set_public_address::SetPublicAddress, set_public_address::Request {}, None).await;
        bench.check_succeeded(store.store()).await;
    });
}

/// A creation on a machine that was tampered with: how it ended, and what is on the machine then.
fn creation(tamper: impl Fn(&Machine)) -> (OperationRow, String, Machine) {
    in_fast_time(async {
        let store = TestStore::open().await;
        let clock = FastClock::begin();
        let bench = Bench::<Provision>::prepare(store.store(), clock).await;
        tamper(&bench.machine);
        let row = bench.ending(store.store(), clock, provision::Provision, Provision::request(), None).await;
        match row.status {
            OperationStatus::Succeeded => bench.check_succeeded(store.store()).await,
            OperationStatus::Failed => bench.check_cleaned_up(store.store()).await,
            _ => panic!("{row:?}"),
        }
        (row, bench.machine.inventory(), bench.machine)
    })
}

const CALLS: [&str; 6] = ["ensure_volume", "ensure_process", "ensure_endpoint", "installations", "connect", "ensure_database_with_owner"];

#[test]
fn a_creation_survives_passing_failures_and_lost_answers_of_every_call() {
    for verb in CALLS {
        for failure in [Failure::Passing, Failure::AnswerLost] {
            let (row, _, _) = creation(|machine| (1..=2).for_each(|nth| machine.fail_call(verb, nth, failure)));
            assert_eq!(row.status, OperationStatus::Succeeded, "{verb} {failure:?}: {row:?}");
        }
    }
}

#[test]
fn a_creation_that_fails_for_good_leaves_nothing_but_its_row() {
    for verb in CALLS {
        let (row, left, _) = creation(|machine| machine.fail_every_call(verb, Some(Failure::ForGood)));
        assert_eq!(row.status, OperationStatus::Failed, "{verb}: {row:?}");
        assert!(row.problem.expect("a reason").message.contains(verb));
        assert_eq!(left, "", "{verb}");
    }
}

#[test]
fn an_engine_that_cannot_start_ends_a_creation_with_the_engines_own_words() {
    let (row, left, _) = creation(|machine| machine.engines_cannot_start(Some("FATAL: could not map anonymous shared memory")));
    let problem = row.problem.expect("a reason");
    assert_eq!(problem.code, moorage_domain::ProblemCode::EngineStartFailed);
    assert!(problem.detail.expect("its words").contains("could not map anonymous shared memory"));
    assert_eq!(left, "");
}

#[test]
fn an_engine_that_never_answers_ends_a_creation() {
    let (row, left, _) = creation(|machine| machine.engines_are_silent(true));
    assert_eq!(row.problem.expect("a reason").code, moorage_domain::ProblemCode::EngineStartFailed);
    assert_eq!(left, "");
}

/// An operation on a prepared cluster whose machine was tampered with: how it ended or where it stopped.
fn disturbed<C: Case>(tamper: impl Fn(&Machine, &Cluster)) -> (OperationRow, ServiceState, Machine) {
    in_fast_time(async {
        let store = TestStore::open().await;
        let clock = FastClock::begin();
        let bench = Bench::<C>::prepare(store.store(), clock).await;
        tamper(&bench.machine, &bench.cluster);
        let row = bench.ending(store.store(), clock, C::operation(), C::request(), C::wish()).await;
        let cluster = store.store().look().await.expect("a look").cluster(&bench.cluster.id).await.expect("read");
        (row, cluster.map_or(ServiceState::Terminated, |cluster| cluster.state), bench.machine)
    })
}

#[test]
fn a_switchover_waits_for_transactions_and_is_called_off_or_forced_when_they_do_not_end() {
    for force in [false, true] {
        in_fast_time(async {
            let store = TestStore::open().await;
            let clock = FastClock::begin();
            let bench = Bench::<Switchover>::prepare(store.store(), clock).await;
            bench.machine.set_sessions(&bench.cluster.id, 3);
            let mut look = store.store().look().await.expect("a look");
            let before = look.replication_of(&bench.cluster.id).await.expect("read").expect("there");
            drop(look);
            let takeover = Takeover { from: before.primary.clone(), to: before.promotable.clone().expect("somebody") };
            let request = switchover::Request { force, ..switchover_request(takeover) };
            let row = bench.ending(store.store(), clock, switchover::Switchover, request, None).await;
            let after = store.store().look().await.expect("a look").replication_of(&bench.cluster.id).await.expect("read").expect("there");
            let endpoint = bench.machine.endpoint(&bench.cluster.id).expect("an endpoint");
            assert_eq!((endpoint.hold, endpoint.primary.as_ref()), (false, Some(&after.primary)), "users are let in again");
            if force {
                assert_eq!(row.status, OperationStatus::Succeeded, "{row:?}");
                assert_ne!(after.primary, before.primary);
            } else {
                assert_eq!(row.status, OperationStatus::Failed, "{row:?}");
                assert_eq!(row.problem.expect("a reason").code, moorage_domain::ProblemCode::TransactionsGoOn);
                assert_eq!(after, before);
            }
        });
    }
}

#[test]
fn an_engine_that_neither_answers_nor_logs_does_not_hold_its_cluster_for_ever() {
    let silent = |machine: &Machine, _: &Cluster| machine.engines_are_silent(true);
    for (row, state, _) in [disturbed::<Start>(silent), disturbed::<Restart>(silent), disturbed::<Recover>(silent)] {
        assert_eq!((row.status, state), (OperationStatus::NeedsOperator, ServiceState::Error), "{row:?}");
        let problem = row.problem.expect("a reason");
        assert!(problem.message.contains("neither answered nor written to its log"), "{problem:?}");
        assert!(!row.state.contains("log_end\":["), "whoever retries waits as long again: {}", row.state);
    }
}

#[test]
fn a_store_older_than_the_machine_needs_an_operator_and_nothing_is_done() {
    let later = |machine: &Machine, cluster: &Cluster| machine.has_seen_term(&cluster.id, cluster.term + 5);
    for (row, state, machine) in [disturbed::<Start>(later), disturbed::<Restart>(later), disturbed::<SetAllowList>(later)] {
        assert_eq!((row.status, state), (OperationStatus::NeedsOperator, ServiceState::Error), "{row:?}");
        assert_eq!(row.problem.expect("a reason").code, moorage_domain::ProblemCode::TermTooOld);
        assert!(machine.inventory().contains("volume"), "{}", machine.inventory());
    }
    let (row, _, machine) = disturbed::<Terminate>(later);
    assert_eq!(row.status, OperationStatus::NeedsOperator, "{row:?}");
    assert!(machine.inventory().contains("volume") && machine.inventory().contains("running"), "{}", machine.inventory());
}

#[test]
fn a_store_that_is_older_by_the_very_term_that_a_takeover_would_raise_promotes_nobody() {
    in_fast_time(async {
        let store = TestStore::open().await;
        let clock = FastClock::begin();
        let bench = Bench::<Failover>::prepare(store.store(), clock).await;
        let id = &bench.cluster.id;
        let mut look = store.store().look().await.expect("a look");
        let instances = look.instances_of(id).await.expect("read");
        let before = look.replication_of(id).await.expect("read").expect("there");
        let term = look.cluster(id).await.expect("read").expect("there").term;
        drop(look);
        bench.machine.has_seen_term(id, term + 1);
        let request = Failover::request_on(&instances, Some(&before));
        let row = bench.ending(store.store(), clock, Failover::operation(), request, None).await;
        assert_eq!(row.status, OperationStatus::NeedsOperator, "{row:?}");
        let mut look = store.store().look().await.expect("a look");
        assert_eq!(look.replication_of(id).await.expect("read").expect("there").primary, before.primary);
        assert_eq!(look.cluster(id).await.expect("read").expect("there").term, term);
    });
}

#[test]
fn what_was_decided_before_a_removal_is_refused_afterwards() {
    let (row, _, machine) = disturbed::<Terminate>(|_, _| ());
    assert_eq!(row.status, OperationStatus::Succeeded);
    assert_eq!(machine.term(&a_cluster(1).id), Some(a_cluster(1).term), "the removal told the machine its term");
}

#[test]
fn an_address_that_another_program_has_is_given_up_for_the_next() {
    let taken = "127.64.16.10".parse().expect("an address");
    let (row, _, machine) = creation(|machine| machine.occupy(taken));
    assert_eq!(row.status, OperationStatus::Succeeded, "{row:?}");
    assert_ne!(*machine.endpoint(&a_cluster(1).id).expect("an endpoint").listen.ip(), taken);
}
