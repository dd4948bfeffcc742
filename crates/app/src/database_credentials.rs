//! Credentials of databases.

use crate::authentication::at_least;
use crate::cluster_create::check_spec;
use crate::clusters::find;
use crate::command::{ClusterRef, NewDatabaseCredential};
use crate::databases::{check_at_rest, check_owner_is_let_alone, check_usable, find_database, is_under_way, own_fields};
use crate::view::Begun;
use crate::{App, now, problem};
use moorage_domain::cluster::Cluster;
use moorage_domain::database::{Credential, Database, Stage};
use moorage_domain::tenant::{Actor, Role};
use moorage_domain::{CredentialId, Problem, ProblemCode};
use moorage_operations::{credential_create, credential_delete, credential_reset_password};
use moorage_store::{CredentialChange, Databases, Rows, UnitOfWork, Write};
use secrecy::SecretString;

/// Credentials of a database at most.
const MOST_CREDENTIALS: usize = 100;

/// Which credential: of which database of which cluster, each by identifier or name.
#[derive(Clone, Copy, Debug)]
pub struct CredentialRef<'a> {
    /// The cluster.
    pub cluster: &'a ClusterRef,
    /// The database.
    pub database: &'a str,
    /// The credential, or its account's name.
    pub credential: &'a str,
}

impl App {
    /// One credential.
    pub async fn database_credential(&self, actor: &Actor, wanted: CredentialRef<'_>) -> Result<Credential, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        Ok(find_credential(&mut look, actor, wanted).await?.2)
    }

    /// The password of a credential, for those who may change it anyway.
    pub async fn credential_password(&self, actor: &Actor, wanted: CredentialRef<'_>) -> Result<(Credential, SecretString), Problem> {
        at_least(actor, Role::Operator)?;
        let (_, database, credential) = {
            let mut look = self.parts.store.look().await.map_err(problem::store)?;
            find_credential(&mut look, actor, wanted).await?
        };
        // What nobody was told is for those who administer.
        if database.quarantine.is_some() && actor.role != Role::Administrator {
            check_usable(&database)?;
        }
        let sealed = credential.sealed_password.as_ref().ok_or_else(|| {
            let problem = Problem::new(ProblemCode::WrongState, format!("The password of '{}' is not known here.", credential.user));
            match credential.stage {
                Stage::BeingMade => problem.detail("The credential is still being made.").hint("Wait until that has ended."),
                _ => problem
                    .detail("Whoever made the cluster chose it, and it was kept nowhere.")
                    .hint("Reset it, and everybody who uses it is told the new one."),
            }
        })?;
        let opened = self.parts.master_key.open_text(sealed, &Credential::password_context(&credential.id));
        let password = opened.map_err(|error| problem::internal(&error))?;
        Ok((credential, password))
    }

    /// Accepts one more credential of a database.
    pub async fn create_database_credential(
        &self,
        actor: &Actor,
        cluster: &ClusterRef,
        database: &str,
        wanted: NewDatabaseCredential,
    ) -> Result<Begun, Problem> {
        at_least(actor, Role::Operator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let cluster = find(&mut uow, actor, cluster).await?;
        self.check_open_to_changes(&mut uow, &cluster).await?;
        let database = find_database(&mut uow, &cluster, database).await?;
        check_usable(&database)?;
        let engine = self.engine(cluster.engine)?;
        check_spec(engine.as_ref(), &database.spec(&wanted.user), &self.parts.host.administrator()).map_err(own_fields)?;
        if uow.credentials_of(&database.id).await.map_err(problem::store)?.len() >= MOST_CREDENTIALS {
            return Err(Problem::invalid("user", format!("A database has at most {MOST_CREDENTIALS} credentials.")));
        }
        let credential = self.new_credential(&database, wanted.user, wanted.privileges, wanted.password)?;
        uow.insert_credential(&credential).await.map_err(problem::store)?;
        let request = credential_create::Request { credential: credential.id.clone() };
        let operation = self.begin_inside::<credential_create::CreateCredential>(&mut uow, &cluster, &database.id, &request, actor).await?;
        self.begun(uow, cluster, database, credential.id, operation).await
    }

    /// Gives a credential another password: the former one is refused from then on, and its sessions end.
    pub async fn reset_credential(
        &self,
        actor: &Actor,
        wanted: CredentialRef<'_>,
        password: Option<SecretString>,
    ) -> Result<Begun, Problem> {
        at_least(actor, Role::Operator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let (cluster, database, credential) = find_credential(&mut uow, actor, wanted).await?;
        self.check_open_to_changes(&mut uow, &cluster).await?;
        check_usable(&database)?;
        if is_under_way(&mut uow, &cluster).await? {
            check_at_rest(std::slice::from_ref(&credential))?;
        }
        check_owner_is_let_alone(&mut uow, &cluster).await?;
        let password = match password {
            Some(password) => password,
            None => moorage_secrets::random_password().map_err(|error| problem::internal(&error))?,
        };
        let next = CredentialChange::NextPassword(Some(self.seal_password(&credential.id, &password)?));
        uow.apply(&Write::Credential(credential.id.clone(), next), now()).await.map_err(problem::store)?;
        let request = credential_reset_password::Request { credential: credential.id.clone() };
        let operation =
            self.begin_inside::<credential_reset_password::ResetPassword>(&mut uow, &cluster, &database.id, &request, actor).await?;
        self.begun(uow, cluster, database, credential.id, operation).await
    }

    /// Removes a credential; its sessions end, and what it made stays its database's.
    pub async fn delete_database_credential(&self, actor: &Actor, wanted: CredentialRef<'_>) -> Result<Begun, Problem> {
        at_least(actor, Role::Operator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let (cluster, database, credential) = find_credential(&mut uow, actor, wanted).await?;
        self.check_open_to_changes(&mut uow, &cluster).await?;
        check_usable(&database)?;
        let change = Write::Credential(credential.id.clone(), CredentialChange::Stage(Stage::BeingRemoved));
        uow.apply(&change, now()).await.map_err(problem::store)?;
        let request = credential_delete::Request { credential: credential.id.clone() };
        let operation = self.begin_inside::<credential_delete::DeleteCredential>(&mut uow, &cluster, &database.id, &request, actor).await?;
        self.begun(uow, cluster, database, credential.id, operation).await
    }

    async fn begun(
        &self,
        uow: UnitOfWork,
        cluster: Cluster,
        database: Database,
        credential: CredentialId,
        operation: moorage_domain::OperationId,
    ) -> Result<Begun, Problem> {
        uow.commit().await.map_err(problem::store)?;
        (self.parts.wake)();
        Ok(Begun { cluster: cluster.id, database: database.id, credential: Some(credential), operation })
    }
}

async fn find_credential(
    rows: &mut impl Rows,
    actor: &Actor,
    wanted: CredentialRef<'_>,
) -> Result<(Cluster, Database, Credential), Problem> {
    let cluster = find(rows, actor, wanted.cluster).await?;
    let database = find_database(rows, &cluster, wanted.database).await?;
    let mut found = None;
    if let Ok(id) = CredentialId::parse(wanted.credential) {
        found = rows.credential(&id).await.map_err(problem::store)?;
    }
    if found.is_none() {
        found = rows.credential_named(&cluster.id, wanted.credential).await.map_err(problem::store)?;
    }
    let credential = found.filter(|credential| credential.database == database.id).ok_or_else(|| {
        Problem::new(ProblemCode::CredentialNotFound, "There is no such credential.").hint("Show the database to see which it has.")
    })?;
    Ok((cluster, database, credential))
}
