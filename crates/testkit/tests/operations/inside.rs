//! What is inside the cluster that an operation runs on, in the store and in the engine.

use crate::bench::{Bench, Case};
use moorage_domain::database::{Credential, Database, Privileges, Stage};
use moorage_domain::{CredentialId, DatabaseId, InstanceId};
use moorage_durable::Clock;
use moorage_durable::harness::FastClock;
use moorage_operations::database_create;
use moorage_secrets::ExposeSecret;
use moorage_store::{CredentialChange, Databases, Store, Write};
use std::time::Duration;

/// A database besides the first one, and its two credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
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

pub fn database() -> DatabaseId {
    DatabaseId::from_bits(DATABASE)
}

pub fn reader() -> CredentialId {
    CredentialId::from_bits(READER)
}

impl<C: Case> Bench<C> {
    fn seal(&self, id: &CredentialId, password: &str) -> String {
        self.master_key.seal(password.as_bytes(), &Credential::password_context(id)).expect("sealed")
    }

    /// Brings about what is inside the cluster beforehand.
    pub async fn furnish(&self, store: &Store, clock: FastClock) {
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
    pub async fn check_inside(&self, store: &Store, instance: &InstanceId, expected: Inside) {
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
}
