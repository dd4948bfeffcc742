//! One operation on fakes: what is there before, how it runs, what is there afterwards.

use crate::inside::Inside;
use async_trait::async_trait;
use moorage_domain::cluster::{ACTIVE_STANDBY, Cluster, InstanceWish, Wish};
use moorage_domain::engine::EngineName;
use moorage_domain::instance::Instance;
use moorage_domain::operation::OperationStatus;
use moorage_domain::public_address::PublicAddresses;
use moorage_domain::replication::Replication;
use moorage_domain::service_state::ServiceState;
use moorage_domain::subnet::default_for;
use moorage_domain::{ClusterId, HostId, OperationId, SecretId, Timestamp};
use moorage_durable::harness::{FastClock, Fixture};
use moorage_durable::{Clock, Operation, Runner, Settings};
use moorage_engine::Engine;
use moorage_host::InstanceEndpointWish;
use moorage_operations::{World, owner, provision, stop};
use moorage_secrets::{CertificateAuthority, MasterKey};
use moorage_store::{
    Clusters, Endpoints, Instances, NewOperation, OperationRow, Operations, Replications, Secrets, Store, Submitted, UnitOfWork, Write,
};
use moorage_testkit::{FakeEngine, FakeHost, Machine, a_cluster, insert};
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

/// What differs between the operations: what is there before, what is asked for, what is there afterwards.
pub trait Case: Send + Sync + 'static {
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

pub struct Bench<C> {
    pub machine: Machine,
    host: Arc<FakeHost>,
    pub cluster: Cluster,
    pub master_key: Arc<MasterKey>,
    authority: Arc<CertificateAuthority>,
    case: PhantomData<C>,
}

pub const SECRET: u128 = 0x5ec;

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

    fn engine(&self) -> FakeEngine {
        FakeEngine::new(EngineName::PostgreSql, self.machine.clone())
    }

    /// Runs an operation to its end, undisturbed, to bring about what the one under test presupposes.
    pub async fn run<O: Operation<World = World>>(
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
    pub async fn ending<O: Operation<World = World>>(
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
