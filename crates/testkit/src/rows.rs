//! A store in a directory of its own, and rows to begin with.

use crate::{TestPostgreSql, temporary_directory};
use moorage_domain::cluster::{Cluster, ClusterSpec, DatabaseSpec, InstanceGroup, InstanceWish, VolumeSpec, Wish};
use moorage_domain::engine::{EngineName, Version};
use moorage_domain::service_state::ServiceState;
use moorage_domain::{ClusterId, GroupId, HostId, ProjectId, Timestamp, VolumeId};
use moorage_store::{NewCluster, Store, StoreAddress, StoreResult};
use std::path::PathBuf;

/// A store that is removed when this is dropped.
pub struct TestStore {
    store: Store,
    directory: tempfile::TempDir,
    _server: Option<TestPostgreSql>,
}

impl TestStore {
    /// A new, empty store in a file.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn open() -> Self {
        let directory = temporary_directory();
        let store = Store::open(&directory.path().join("store.db")).await.unwrap_or_else(|error| panic!("no store for a test: {error}"));
        Self { store, directory, _server: None }
    }
    /// A new, empty store on a PostgreSQL of its own.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn open_on_postgresql() -> Self {
        let server = TestPostgreSql::start();
        let store = Store::connect(&StoreAddress::PostgreSql(server.url())).await;
        let store = store.unwrap_or_else(|error| panic!("no store for a test: {error}"));
        Self { store, directory: temporary_directory(), _server: Some(server) }
    }
    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }
    /// Its file.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("store.db")
    }
    /// Inserts a project, a host and the cluster.
    ///
    /// # Panics
    /// When the store refuses them.
    pub async fn insert(&self, cluster: &Cluster) {
        insert(&self.store, cluster).await;
    }
}

/// Inserts what a cluster presupposes, and the cluster.
///
/// # Panics
/// When the store refuses them.
pub async fn insert(store: &Store, cluster: &Cluster) {
    try_insert(store, cluster).await.unwrap_or_else(|error| panic!("the store refuses a cluster: {error}"));
}

async fn try_insert(store: &Store, cluster: &Cluster) -> StoreResult<()> {
    let at = cluster.created_at;
    let mut uow = store.begin().await?;
    uow.insert_host(&cluster.host, "here", at).await?;
    uow.commit().await?;
    let mut uow = store.begin().await?;
    // Clusters of one project share it.
    match uow.insert_project(&cluster.project, "default", at).await {
        Ok(()) => uow.commit().await?,
        Err(_) => drop(uow),
    }
    let mut uow = store.begin().await?;
    uow.insert_cluster(&NewCluster { cluster }).await?;
    uow.commit().await
}

/// A plain PostgreSQL cluster with one instance; the number makes its identifiers and name its own.
///
/// # Panics
/// Never: its version is one.
pub fn a_cluster(number: u32) -> Cluster {
    let bits = u128::from(number);
    let at = Timestamp(1_715_905_397_000_000);
    Cluster {
        id: ClusterId::from_bits(0xc000 + bits),
        project: ProjectId::from_bits(0xa),
        name: format!("orders{number}"),
        engine: EngineName::PostgreSql,
        version: Version::parse("15.20").unwrap_or_else(|error| panic!("{error}")),
        wish: Wish::Run,
        term: 1,
        spec: ClusterSpec {
            instance_name_prefix: format!("orders{number}"),
            subnet: "default".into(),
            timezone: "Asia/Seoul".into(),
            allow_list: Vec::new(),
            database: DatabaseSpec {
                name: "orders".into(),
                owner: "clerk".into(),
                character_set: "UTF-8".into(),
                locale: Some("C".into()),
            },
            port: 2866,
            groups: vec![InstanceGroup {
                id: GroupId::from_bits(0x9000 + bits),
                role: "ACTIVE".into(),
                server_type: "db1v1m2".into(),
                volumes: vec![VolumeSpec {
                    id: VolumeId::from_bits(0x8000 + bits),
                    role: "OS".into(),
                    size_gb: 104,
                    volume_type: "SSD".into(),
                }],
                instances: vec![InstanceWish { role: "ACTIVE".into(), service_address: None }],
            }],
            maintenance: None,
            backup: None,
            tags: Vec::new(),
            service_watch_log_collection: false,
            deletion_protection: false,
            virtual_address: None,
            strict: false,
        },
        host: HostId::from_bits(0xb),
        state: ServiceState::Creating,
        state_reason: None,
        operation: None,
        created_at: at,
        created_by: "somebody".into(),
        modified_at: at,
        modified_by: "somebody".into(),
    }
}
