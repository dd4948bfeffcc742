//! Databases inside clusters.

use crate::authentication::at_least;
use crate::catalogue::Numbered;
use crate::cluster_create::check_spec;
use crate::cluster_life::{busy, wrong_state};
use crate::clusters::find;
use crate::command::{ClusterRef, MOST_ROWS, NewDatabase};
use crate::view::{Begun, DatabaseView};
use crate::{App, fresh, now, problem};
use moorage_domain::allocation::Allocation;
use moorage_domain::cluster::{Cluster, DatabaseSpec, Wish};
use moorage_domain::database::{Credential, Database, Privileges, Quarantine, Stage};
use moorage_domain::operation::OperationStatus;
use moorage_domain::service_state::ServiceState;
use moorage_domain::tenant::{Actor, Role};
use moorage_domain::{CredentialId, DatabaseId, OperationId, Problem, ProblemCode};
use moorage_durable::Operation;
use moorage_operations::{database_create, database_delete, database_quarantine, set_owner_password};
use moorage_store::{Allocations, CredentialChange, DatabaseChange, Databases, NewOperation, Operations, Rows, UnitOfWork, Write};
use secrecy::{ExposeSecret, SecretString};

/// Databases of a cluster at most.
const MOST_DATABASES: u64 = 1000;

impl App {
    /// A cluster's databases with their credentials, by name.
    pub async fn databases(&self, actor: &Actor, cluster: &ClusterRef, offset: u64, limit: u64) -> Result<Vec<DatabaseView>, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let cluster = find(&mut look, actor, cluster).await?;
        let mut views = Vec::new();
        for database in look.databases_of(&cluster.id, offset, limit.min(MOST_ROWS)).await.map_err(problem::store)? {
            let credentials = look.credentials_of(&database.id).await.map_err(problem::store)?;
            views.push(DatabaseView { database, credentials });
        }
        Ok(views)
    }

    /// One of them.
    pub async fn database(&self, actor: &Actor, cluster: &ClusterRef, id_or_name: &str) -> Result<DatabaseView, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let cluster = find(&mut look, actor, cluster).await?;
        let database = find_database(&mut look, &cluster, id_or_name).await?;
        let credentials = look.credentials_of(&database.id).await.map_err(problem::store)?;
        Ok(DatabaseView { database, credentials })
    }

    /// Accepts a new database beside those that a cluster has, with the credential of its owner.
    pub async fn create_database(&self, actor: &Actor, cluster: &ClusterRef, wanted: NewDatabase) -> Result<Begun, Problem> {
        at_least(actor, Role::Operator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let cluster = find(&mut uow, actor, cluster).await?;
        self.check_open_to_changes(&mut uow, &cluster).await?;
        let engine = self.engine(cluster.engine)?;
        let first = &cluster.spec.database;
        let spec = DatabaseSpec {
            owner: wanted.user.unwrap_or_else(|| wanted.name.clone()),
            name: wanted.name,
            character_set: wanted.character_set.unwrap_or_else(|| first.character_set.clone()),
            locale: wanted.locale.or_else(|| first.locale.clone()),
        };
        check_spec(engine.as_ref(), &spec, &self.parts.host.administrator()).map_err(own_fields)?;
        let there = uow.databases_of(&cluster.id, 0, MOST_DATABASES).await.map_err(problem::store)?.len();
        if there as u64 >= MOST_DATABASES {
            return Err(Problem::new(ProblemCode::NotEnoughSpace, format!("A cluster has at most {MOST_DATABASES} databases."))
                .hint("Make another cluster, or delete databases that are not needed."));
        }
        let database = Database {
            id: DatabaseId::from_bits(fresh()),
            project: cluster.project.clone(),
            cluster: cluster.id.clone(),
            name: spec.name,
            character_set: spec.character_set,
            locale: spec.locale,
            first: false,
            stage: Stage::BeingMade,
            quarantine: None,
            used_bytes: None,
            created_at: now(),
            created_by: actor.user.to_string(),
        };
        let credential = self.new_credential(&database, spec.owner, Privileges::Owner, wanted.password)?;
        uow.insert_database(&database).await.map_err(problem::store)?;
        uow.insert_credential(&credential).await.map_err(problem::store)?;
        if let Some(wish) = &wanted.allocation {
            if there as u64 >= u64::from(wish.plan.capacity) {
                return Err(Problem::new(ProblemCode::NoCapacity, "The cluster has as many databases as share it at most."));
            }
            self.record_allocation(&mut uow, actor, (&database.id, &database.name), wish).await?;
            Numbered::Database.give(&mut uow, database.id.as_str()).await?;
        }
        let request = database_create::Request { database: database.id.clone() };
        let operation = self.begin_inside::<database_create::CreateDatabase>(&mut uow, &cluster, &database.id, &request, actor).await?;
        uow.commit().await.map_err(problem::store)?;
        (self.parts.wake)();
        Ok(Begun { cluster: cluster.id, database: database.id, credential: Some(credential.id), operation })
    }

    /// Lets nobody into a database any more: its credentials get passwords that nobody is told, its sessions end. Its data and its name
    /// stay.
    pub async fn quarantine_database(&self, actor: &Actor, cluster: &ClusterRef, id_or_name: &str) -> Result<Begun, Problem> {
        self.quarantine(actor, cluster, id_or_name, false).await
    }

    /// The same; a protected database may lose its protection with it, so that it is removed for good when its time has come.
    pub(crate) async fn quarantine(
        &self,
        actor: &Actor,
        cluster: &ClusterRef,
        id_or_name: &str,
        unprotect: bool,
    ) -> Result<Begun, Problem> {
        at_least(actor, Role::Operator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let cluster = find(&mut uow, actor, cluster).await?;
        self.check_not_on_its_way_out(&mut uow, &cluster).await?;
        let database = find_database(&mut uow, &cluster, id_or_name).await?;
        check_usable(&database)?;
        let credentials = uow.credentials_of(&database.id).await.map_err(problem::store)?;
        if is_under_way(&mut uow, &cluster).await? {
            check_at_rest(&credentials)?;
        }
        check_owner_is_let_alone(&mut uow, &cluster).await?;
        for credential in &credentials {
            let password = moorage_secrets::random_password().map_err(|error| problem::internal(&error))?;
            let next = CredentialChange::NextPassword(Some(self.seal_password(&credential.id, &password)?));
            uow.apply(&Write::Credential(credential.id.clone(), next), now()).await.map_err(problem::store)?;
        }
        let quarantine = Quarantine { since: now(), by: actor.user_name.clone() };
        let change = Write::Database(database.id.clone(), DatabaseChange::Quarantine(Some(quarantine)));
        uow.apply(&change, now()).await.map_err(problem::store)?;
        let allocated = if unprotect { uow.allocated(&database.id).await.map_err(problem::store)? } else { None };
        if let Some(found) = allocated {
            let unprotected = Allocation { protected: false, ..found.allocation };
            uow.change_allocation(&unprotected).await.map_err(problem::store)?;
        }
        let request = database_quarantine::Request { database: database.id.clone() };
        let operation =
            self.begin_inside::<database_quarantine::QuarantineDatabase>(&mut uow, &cluster, &database.id, &request, actor).await?;
        uow.commit().await.map_err(problem::store)?;
        (self.parts.wake)();
        Ok(Begun { cluster: cluster.id, database: database.id, credential: None, operation })
    }

    /// Takes a database out of quarantine. Its credentials keep the passwords they got then; whoever may read or reset them gets in again.
    pub async fn restore_database(&self, actor: &Actor, cluster: &ClusterRef, id_or_name: &str) -> Result<DatabaseView, Problem> {
        at_least(actor, Role::Operator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let cluster = find(&mut uow, actor, cluster).await?;
        let database = find_database(&mut uow, &cluster, id_or_name).await?;
        check_made(&database)?;
        if database.quarantine.is_none() {
            return Err(Problem::new(ProblemCode::WrongState, format!("'{}' is not in quarantine.", database.name)));
        }
        if is_under_way(&mut uow, &cluster).await? {
            check_at_rest(&uow.credentials_of(&database.id).await.map_err(problem::store)?)?;
        }
        let change = Write::Database(database.id.clone(), DatabaseChange::Quarantine(None));
        uow.apply(&change, now()).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)?;
        self.database(actor, &ClusterRef::any(cluster.id.as_str()), database.id.as_str()).await
    }

    /// Removes a database with its data and its credentials.
    pub async fn delete_database(&self, actor: &Actor, cluster: &ClusterRef, id_or_name: &str) -> Result<Begun, Problem> {
        at_least(actor, Role::Operator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let cluster = find(&mut uow, actor, cluster).await?;
        self.check_not_on_its_way_out(&mut uow, &cluster).await?;
        let database = find_database(&mut uow, &cluster, id_or_name).await?;
        if is_under_way(&mut uow, &cluster).await? {
            check_made(&database)?;
        }
        if database.first && !uow.is_shared(&cluster.id).await.map_err(problem::store)? {
            return Err(Problem::new(ProblemCode::WrongState, format!("'{}' came with its cluster and goes with it.", database.name))
                .hint("Terminate the cluster, if all of it is to go; or put the database into quarantine, so that nobody gets in."));
        }
        if cluster.spec.deletion_protection {
            return Err(Problem::new(ProblemCode::DeletionProtected, format!("'{}' is protected from deletion.", cluster.name))
                .hint("Switch its deletion protection off first, if one of its databases really is to go."));
        }
        if uow.allocated(&database.id).await.map_err(problem::store)?.is_some_and(|found| found.allocation.protected) {
            return Err(Problem::new(ProblemCode::DeletionProtected, format!("'{}' is protected from deletion.", database.name))
                .hint("Switch its protection off first, if it really is to go."));
        }
        let change = Write::Database(database.id.clone(), DatabaseChange::Stage(Stage::BeingRemoved));
        uow.apply(&change, now()).await.map_err(problem::store)?;
        let request = database_delete::Request { database: database.id.clone() };
        let operation = self.begin_inside::<database_delete::DeleteDatabase>(&mut uow, &cluster, &database.id, &request, actor).await?;
        uow.commit().await.map_err(problem::store)?;
        (self.parts.wake)();
        Ok(Begun { cluster: cluster.id, database: database.id, credential: None, operation })
    }

    /// A credential that is about to be made, with the password that its user chose or one nobody has to invent.
    pub(crate) fn new_credential(
        &self,
        database: &Database,
        user: String,
        privileges: Privileges,
        password: Option<SecretString>,
    ) -> Result<Credential, Problem> {
        let id = CredentialId::from_bits(fresh());
        let password = match password {
            Some(password) => password,
            None => moorage_secrets::random_password().map_err(|error| problem::internal(&error))?,
        };
        Ok(Credential {
            sealed_next: Some(self.seal_password(&id, &password)?),
            id,
            database: database.id.clone(),
            cluster: database.cluster.clone(),
            user,
            privileges,
            stage: Stage::BeingMade,
            sealed_password: None,
            created_at: now(),
        })
    }

    pub(crate) fn seal_password(&self, id: &CredentialId, password: &SecretString) -> Result<String, Problem> {
        let sealed = self.parts.master_key.seal(password.expose_secret().as_bytes(), &Credential::password_context(id));
        sealed.map_err(|error| problem::internal(&error))
    }

    /// Submits an operation on something inside a cluster; while another one changes something there it waits for its turn.
    pub(crate) async fn begin_inside<O: Operation>(
        &self,
        uow: &mut UnitOfWork,
        cluster: &Cluster,
        database: &DatabaseId,
        request: &O::Request,
        actor: &Actor,
    ) -> Result<OperationId, Problem> {
        let id = OperationId::from_bits(fresh());
        let new = NewOperation::new(&id, O::KIND, cluster, request, &actor.user_name, now()).about(database);
        uow.submit_inside(&new).await.map_err(problem::store)?;
        // What was asked for by a plan is known by number, and so is what is done with it.
        let numbered = Numbered::Database.of(uow, database.as_str()).await? > 0;
        if numbered {
            Numbered::Operation.give(uow, id.as_str()).await?;
        }
        for credential in uow.credentials_of(database).await.map_err(problem::store)?.iter().filter(|_| numbered) {
            if Numbered::Credential.of(uow, credential.id.as_str()).await? == 0 {
                Numbered::Credential.give(uow, credential.id.as_str()).await?;
            }
        }
        Ok(id)
    }

    /// A cluster that serves, or will again once the operation that holds it has ended.
    pub(crate) async fn check_open_to_changes(&self, uow: &mut UnitOfWork, cluster: &Cluster) -> Result<(), Problem> {
        self.check_not_on_its_way_out(uow, cluster).await?;
        if cluster.state != ServiceState::Running && (cluster.operation.is_none() || cluster.wish != Wish::Run) {
            return Err(wrong_state(cluster, &[ServiceState::Running]));
        }
        Ok(())
    }

    /// A cluster that is made and not about to go; if it does not serve, what is asked of it waits until it does.
    async fn check_not_on_its_way_out(&self, uow: &mut UnitOfWork, cluster: &Cluster) -> Result<(), Problem> {
        let going = [ServiceState::Creating, ServiceState::Failed, ServiceState::Terminating, ServiceState::Terminated];
        if cluster.wish == Wish::Gone || going.contains(&cluster.state) {
            return Err(wrong_state(cluster, &[ServiceState::Running]));
        }
        match uow.holder_of_databases(&cluster.id).await.map_err(problem::store)? {
            Some(holder) if holder.status == OperationStatus::NeedsOperator => Err(busy(&holder)),
            _ => Ok(()),
        }
    }
}

/// The cluster's database of that identifier or name.
pub(crate) async fn find_database(rows: &mut impl Rows, cluster: &Cluster, id_or_name: &str) -> Result<Database, Problem> {
    let mut found = None;
    if let Ok(id) = DatabaseId::parse(id_or_name) {
        found = rows.database(&id).await.map_err(problem::store)?.filter(|database| database.cluster == cluster.id);
    }
    if found.is_none() {
        found = rows.database_named(&cluster.id, id_or_name).await.map_err(problem::store)?;
    }
    found.ok_or_else(|| {
        Problem::new(ProblemCode::DatabaseNotFound, "There is no such database.")
            .hint("List the databases of the cluster to see which there are.")
    })
}

/// Whether something inside the cluster is just being changed. If not, what was left half way by an operation that somebody abandoned can be
/// put right.
pub(crate) async fn is_under_way(uow: &mut UnitOfWork, cluster: &Cluster) -> Result<bool, Problem> {
    Ok(uow.holder_of_databases(&cluster.id).await.map_err(problem::store)?.is_some())
}

/// Whether nobody is just giving the cluster's owner another password by another way: of two changes at once nobody could say which one the
/// engine has.
pub(crate) async fn check_owner_is_let_alone(uow: &mut UnitOfWork, cluster: &Cluster) -> Result<(), Problem> {
    match uow.holder(&cluster.id).await.map_err(problem::store)? {
        Some(holder) if holder.kind == set_owner_password::SetOwnerPassword::KIND => Err(busy(&holder)),
        _ => Ok(()),
    }
}

/// Whether it is there: neither being made nor being removed.
fn check_made(database: &Database) -> Result<(), Problem> {
    let doing = match database.stage {
        Stage::Made => return Ok(()),
        Stage::BeingMade => "is still being made",
        Stage::BeingRemoved => "is being removed",
    };
    Err(Problem::new(ProblemCode::ClusterBusy, format!("'{}' {doing}.", database.name))
        .hint("Wait until that has ended; `moorage operation list` shows it."))
}

/// Whether somebody may use it.
pub(crate) fn check_usable(database: &Database) -> Result<(), Problem> {
    check_made(database)?;
    match &database.quarantine {
        None => Ok(()),
        Some(quarantine) => Err(Problem::new(
            ProblemCode::DatabaseInQuarantine,
            format!("'{}' has been in quarantine since {}.", database.name, quarantine.since.rfc3339()),
        )
        .hint("Restore it from quarantine first.")),
    }
}

/// Whether no password is about to change: of two changes at once, nobody could say which one the engine has.
pub(crate) fn check_at_rest(credentials: &[Credential]) -> Result<(), Problem> {
    match credentials.iter().find(|credential| credential.sealed_next.is_some()) {
        None => Ok(()),
        Some(credential) => {
            Err(Problem::new(ProblemCode::ClusterBusy, format!("The password of '{}' is just being changed.", credential.user))
                .hint("Wait until that has ended; `moorage operation list` shows it."))
        }
    }
}

/// Fields as who asks for a database or a credential calls them.
pub(crate) fn own_fields(mut problem: Problem) -> Problem {
    let field = problem.field.as_deref().map(|field| match field {
        "database.name" | "database_name" => "name",
        "database.owner" | "database_user_name" => "user",
        "database.character_set" => "character_set",
        "database.locale" => "locale",
        other => other,
    });
    problem.field = field.map(str::to_owned);
    problem
}
