//! What binds on the machine a cluster is on: whoever is asked may be the server of another one.

use crate::{App, problem};
use moorage_domain::{HostId, Problem};
use moorage_host::Abilities;
use moorage_store::Projects;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what another machine's server noted is taken for what it would note now; it notes it at each start.
const KEPT: Duration = Duration::from_secs(60);

/// What binds on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforcement {
    /// What its operating system and its rights let it enforce.
    pub abilities: Abilities,
    /// Client connections at most per cluster; none where it is not known.
    pub most_connections: Option<u32>,
}

impl Enforcement {
    /// Where nothing is known nothing is promised.
    pub fn unknown() -> Self {
        let abilities = Abilities {
            tenants_isolated: false,
            network_isolated: false,
            groups_tracked: false,
            limits_enforced: false,
            volume_driver: "unknown".into(),
            volume_size_enforced: false,
            atomic_snapshots: false,
        };
        Self { abilities, most_connections: None }
    }
}

/// What the servers of other machines noted, and when it was read.
pub(crate) type Noted = Mutex<BTreeMap<HostId, (Instant, Arc<Enforcement>)>>;

impl App {
    /// Notes what binds here, for the servers of other machines.
    pub async fn note_enforcement(&self) -> Result<(), Problem> {
        let noted = serde_json::to_string(&*self.enforcement).map_err(|error| problem::internal(&error))?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        uow.set_enforcement(self.parts.host.id(), &noted).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)
    }

    /// What binds on a machine.
    pub async fn enforcement_on(&self, host: &HostId) -> Result<Arc<Enforcement>, Problem> {
        if host == self.parts.host.id() {
            return Ok(self.enforcement.clone());
        }
        let known = self.noted.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned();
        if let Some((at, known)) = known
            && at.elapsed() < KEPT
        {
            return Ok(known);
        }
        let noted = self.parts.store.look().await.map_err(problem::store)?.enforcement_on(host).await.map_err(problem::store)?;
        let noted = noted.map(|noted| serde_json::from_str(&noted)).transpose().unwrap_or_else(|error| {
            tracing::warn!(%host, %error, "what binds on another machine cannot be read; nothing is promised of it");
            None
        });
        let noted = Arc::new(noted.unwrap_or_else(Enforcement::unknown));
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone(), (Instant::now(), noted.clone()));
        Ok(noted)
    }
}
