//! Databases that are asked for by a plan: whose they are, where they go, how they leave.

use crate::authentication::at_least;
use crate::catalogue::Numbered;
use crate::command::{
    AllocationWish, ChangeAllocation, ClusterRef, CreateCluster, CreateDatabase, CreateGroup, CreateInstance, CreateVolume, NewAllocation,
    NewDatabase, NewDatabaseCredential, Removal, VersionChoice,
};
use crate::view::{AllocatedView, Begun};
use crate::{App, CredentialRef, MOST_ROWS, fresh, now, problem};
use moorage_domain::allocation::{Allocated, Allocation, FormerDatabase, Sight, slug};
use moorage_domain::cluster::{ACTIVE_STANDBY, Cluster};
use moorage_domain::database::{Credential, Privileges};
use moorage_domain::engine::EngineName;
use moorage_domain::parameters::is_reserved_database;
use moorage_domain::plan::{Environment, Plan, Stage, Team};
use moorage_domain::service_state::ServiceState;
use moorage_domain::tenant::{Actor, Role};
use moorage_domain::{ApplicationId, ClusterId, CredentialId, DatabaseId, EnvironmentId, PlanId, Problem, ProblemCode, TeamId};
use moorage_secrets::credential_password;
use moorage_store::{
    AllocationFilter, AllocationSort, Allocations, Clusters as _, CredentialChange, Databases, Plans, Rows, UnitOfWork, Write,
};
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Characters of a name at most: the longest name every engine takes, with room for `u_` before it.
const LONGEST_NAME: usize = 60;
/// What is not there, and what is another tenant's, in the original's words.
const NO_SUCH_THING: &str = "Invalid hyperlink - object does not exist.";
/// A second removal within this time is taken for the first one sent twice, which has cost people their data.
const SENT_TWICE: Duration = Duration::from_secs(10);

/// How long a shared cluster that is just being made is waited for, and how often it is looked at: one is made in a second or two.
const BEING_MADE: Duration = Duration::from_secs(6);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What of a shared cluster is no reason to refuse a database, which another cluster can have.
const SOMEWHERE_ELSE: [ProblemCode; 4] =
    [ProblemCode::WrongState, ProblemCode::NoCapacity, ProblemCode::ClusterBusy, ProblemCode::NotEnoughSpace];

/// Whose turn it is to choose a cluster for a database of a plan in an environment.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<(PlanId, EnvironmentId), Turn>>);

type Turn = Arc<tokio::sync::Mutex<()>>;

impl Turns {
    fn of(&self, plan: &PlanId, environment: &EnvironmentId) -> Turn {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((plan.clone(), environment.clone())).or_default().clone()
    }
}

/// Databases that somebody may see, a page of them.
#[derive(Debug)]
pub struct AllocatedPage {
    /// The page.
    pub rows: Vec<AllocatedView>,
    /// How many there are on all pages.
    pub total: u64,
}

fn not_found() -> Problem {
    Problem::new(ProblemCode::DatabaseNotFound, "There is no such database.").hint("List the databases to see which there are.")
}

impl App {
    /// Which databases somebody may see: those who administer the project or are in a team that looks after all of them see all; others
    /// those of their teams that are not in quarantine.
    pub(crate) async fn sight(&self, rows: &mut impl Rows, actor: &Actor) -> Result<Sight, Problem> {
        let all = actor.role == Role::Administrator
            || rows.teams_of(&actor.user).await.map_err(problem::store)?.iter().any(|team| team.administers);
        Ok(Sight { project: actor.project.clone(), member: (!all).then(|| actor.user.clone()) })
    }

    /// Whether somebody looks after all databases of the project, those in quarantine included.
    pub async fn looks_after_all(&self, actor: &Actor) -> Result<bool, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        Ok(self.sight(&mut look, actor).await?.member.is_none())
    }

    /// A page of the databases the caller may see.
    pub async fn allocations(
        &self,
        actor: &Actor,
        filter: &AllocationFilter,
        (sort, descending): (AllocationSort, bool),
        offset: u64,
        limit: u64,
    ) -> Result<AllocatedPage, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let sight = self.sight(&mut look, actor).await?;
        let found = look.allocations(&sight, filter, sort, descending, offset, limit.min(MOST_ROWS)).await;
        let (found, total) = found.map_err(problem::store)?;
        let (mut rows, mut common) = (Vec::with_capacity(found.len()), InCommon::default());
        for allocated in found {
            rows.push(with_numbers(&mut look, allocated, &mut common).await?);
        }
        Ok(AllocatedPage { rows, total })
    }

    /// One database, if the caller may see it.
    pub async fn allocated(&self, actor: &Actor, id: &DatabaseId) -> Result<AllocatedView, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let found = self.see(&mut look, actor, id).await?;
        with_numbers(&mut look, found, &mut InCommon::default()).await
    }

    async fn see(&self, rows: &mut impl Rows, actor: &Actor, id: &DatabaseId) -> Result<Allocated, Problem> {
        let found = rows.allocated(id).await.map_err(problem::store)?.filter(|found| found.allocation.project == actor.project);
        let found = found.ok_or_else(not_found)?;
        let Some(user) = self.sight(rows, actor).await?.member else { return Ok(found) };
        let teams = rows.teams_of(&user).await.map_err(problem::store)?;
        let is_theirs = found.allocation.team.as_ref().is_some_and(|of| teams.iter().any(|team| team.id == *of));
        if is_theirs && found.database.quarantine.is_none() { Ok(found) } else { Err(not_found()) }
    }

    /// Accepts a database of a plan: on a cluster of its own, or on one that the plan's databases share.
    pub async fn allocate(&self, actor: &Actor, wanted: NewAllocation) -> Result<Begun, Problem> {
        at_least(actor, Role::Operator)?;
        let name = slug(&wanted.name)
            .ok_or_else(|| Problem::invalid("name", "Nothing is left of the name but letters and digits, and there are none."))?;
        if name.len() > LONGEST_NAME {
            return Err(Problem::invalid("name", "Database name too long").hint(format!("It has at most {LONGEST_NAME} characters.")));
        }
        if is_reserved_database(&name) {
            return Err(Problem::invalid("name", format!("{name} is a reserved database name")).hint("Choose another name."));
        }
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let (plan, environment) = plan_in_environment(&mut look, actor, &wanted).await?;
        check_name_is_free(&mut look, actor, &name, &environment).await?;
        check_application(&mut look, actor, wanted.application.as_ref()).await?;
        let team = self.choose_team(&mut look, actor, wanted.team.as_ref()).await?;
        let wish = AllocationWish {
            plan: plan.clone(),
            environment: environment.clone(),
            team,
            application: wanted.application,
            description: wanted.description,
            protected: wanted.protected,
            password: credential_password().map_err(|error| problem::internal(&error))?,
        };
        let wanted_user = format!("u_{name}");
        drop(look);
        if plan.capacity > 1 {
            return self.allocate_shared(actor, &name, wanted_user, wish).await;
        }
        self.allocate_own(actor, &name, wanted_user, wish).await
    }

    /// A database with a cluster of its own, or the first of those that share one.
    async fn allocate_own(&self, actor: &Actor, name: &str, user: String, wish: AllocationWish) -> Result<Begun, Problem> {
        let (plan, environment) = (wish.plan.clone(), wish.environment.clone());
        let accepted = self.create_cluster(actor, cluster_of(&plan, &environment, name, user, wish)).await?;
        let database = DatabaseId::first_of(&accepted.cluster);
        let credential = Some(CredentialId::first_of(&accepted.cluster));
        Ok(Begun { cluster: accepted.cluster, database, credential, operation: accepted.operation })
    }

    /// A database on a cluster that its plan's databases share: on one that has room, on one that is just being made, or on a new one.
    async fn allocate_shared(&self, actor: &Actor, name: &str, wanted_user: String, wish: AllocationWish) -> Result<Begun, Problem> {
        let until = Instant::now() + BEING_MADE;
        let still_being_made = || {
            Problem::new(ProblemCode::ClusterBusy, format!("A cluster for the plan '{}' is still being made.", wish.plan.name))
                .hint("Ask again in a moment.")
        };
        let turns = self.sharing.of(&wish.plan.id, &wish.environment.id);
        loop {
            // Who chooses and who makes one take turns, so that many who come at once share one.
            let turn = tokio::time::timeout_at(until, turns.lock()).await.map_err(|_| still_being_made())?;
            let mut look = self.parts.store.look().await.map_err(problem::store)?;
            let shared = look.shared_clusters(&wish.plan.id, &wish.environment.id).await.map_err(problem::store)?;
            let mut being_made = false;
            for (cluster, _) in shared.into_iter().filter(|(_, used)| *used < u64::from(wish.plan.capacity)) {
                let state = look.cluster(&cluster).await.map_err(problem::store)?.map(|cluster| cluster.state);
                if state == Some(ServiceState::Creating) {
                    being_made = true;
                    continue;
                }
                // Accounts of all databases of a cluster have different names.
                let mut user = wanted_user.clone();
                if look.credential_named(&cluster, &wanted_user).await.map_err(problem::store)?.is_some() {
                    user = format!("{user}_{}", &DatabaseId::from_bits(fresh()).as_str()[26..]);
                }
                let database = NewDatabase {
                    name: name.to_owned(),
                    user: Some(user),
                    password: Some(wish.password.clone()),
                    character_set: None,
                    locale: None,
                    allocation: Some(wish.clone()),
                };
                match self.create_database(actor, &ClusterRef::any(cluster.as_str()), database).await {
                    // Full or out of service by now.
                    Err(problem) if SOMEWHERE_ELSE.contains(&problem.code) && problem.field.as_deref() != Some("team") => {}
                    other => return other,
                }
            }
            drop(look);
            if !being_made {
                return self.allocate_own(actor, name, wanted_user, wish).await;
            }
            drop(turn);
            if Instant::now() > until {
                return Err(still_being_made());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The team a new database belongs to: one the caller is in, or any for those who look after all; the only one where none is named.
    async fn choose_team(&self, rows: &mut impl Rows, actor: &Actor, wanted: Option<&TeamId>) -> Result<Option<Team>, Problem> {
        let own = rows.teams_of(&actor.user).await.map_err(problem::store)?;
        let all = self.sight(rows, actor).await?.member.is_none();
        match wanted {
            Some(wanted) => {
                let candidates = if all { rows.teams(&actor.project).await.map_err(problem::store)? } else { own };
                let found = candidates.into_iter().find(|team| team.id == *wanted);
                found.map(Some).ok_or_else(|| {
                    Problem::invalid("team", format!("You are not in that team, {}.", actor.user_name)).hint("Name a team you are in.")
                })
            }
            None if own.len() == 1 => Ok(own.into_iter().next()),
            None if all => Ok(None),
            None if own.is_empty() => Err(Problem::new(ProblemCode::Forbidden, "You are in no team, and databases belong to teams.")
                .hint("Ask an administrator to put you into one.")),
            None => Err(Problem::invalid("team", "This field is required.").hint("You are in several teams: name one.")),
        }
    }

    /// Within the transaction that makes a database: it is one of a plan from then on, if its name is free and its team may have one more.
    pub(crate) async fn record_allocation(
        &self,
        uow: &mut UnitOfWork,
        actor: &Actor,
        (database, name): (&DatabaseId, &str),
        wish: &AllocationWish,
    ) -> Result<(), Problem> {
        check_name_is_free(uow, actor, name, &wish.environment).await?;
        if let Some(team) = &wish.team
            && team.allocation_limit > 0
            && uow.allocated_to(&team.id, &wish.environment.id).await.map_err(problem::store)? >= u64::from(team.allocation_limit)
        {
            let words =
                format!("The database alocation limit of {} has been exceeded for the selected team: {}", team.allocation_limit, team.name);
            return Err(Problem::new(ProblemCode::NoCapacity, words)
                .hint("Remove a database, or have the team's limit raised.")
                .field("team"));
        }
        let allocation = Allocation {
            database: database.clone(),
            project: actor.project.clone(),
            plan: wish.plan.id.clone(),
            environment: wish.environment.id.clone(),
            team: wish.team.as_ref().map(|team| team.id.clone()),
            application: wish.application.clone(),
            description: wish.description.clone(),
            protected: wish.protected,
        };
        uow.insert_allocation(&allocation, name).await.map_err(problem::store)
    }

    /// Changes whose a database is, what it is for, its description.
    pub async fn change_allocation(&self, actor: &Actor, id: &DatabaseId, change: ChangeAllocation) -> Result<AllocatedView, Problem> {
        at_least(actor, Role::Operator)?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let mut allocation = self.see(&mut uow, actor, id).await?.allocation;
        if let Some(team) = &change.team {
            allocation.team = self.choose_team(&mut uow, actor, Some(team)).await?.map(|team| team.id);
        }
        if let Some(application) = change.application {
            check_application(&mut uow, actor, application.as_ref()).await?;
            allocation.application = application;
        }
        if let Some(description) = change.description {
            allocation.description = description;
        }
        allocation.protected = change.protected.unwrap_or(allocation.protected);
        uow.change_allocation(&allocation).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)?;
        self.allocated(actor, id).await
    }

    /// Removes a database: the first time into quarantine, the second time for good, by those who look after all. A second time right
    /// after the first has to be meant.
    pub async fn remove_allocated(&self, actor: &Actor, id: &DatabaseId, removal: Removal) -> Result<Begun, Problem> {
        at_least(actor, Role::Operator)?;
        let found = self.allocated(actor, id).await?.allocated;
        let cluster = ClusterRef::any(found.database.cluster.as_str());
        if found.allocation.protected && !removal.protected_too {
            return Err(Problem::new(ProblemCode::DeletionProtected, format!("'{}' is protected from deletion.", found.database.name))
                .hint("Switch its protection off first, if it really is to go."));
        }
        let Some(quarantine) = &found.database.quarantine else {
            return self.quarantine(actor, &cluster, found.database.id.as_str(), removal.protected_too).await;
        };
        if !removal.purge && now().since(quarantine.since) < SENT_TWICE {
            return Err(Problem::new(
                ProblemCode::DatabaseInQuarantine,
                format!("'{}' has been in quarantine for a few seconds only; nothing was removed.", found.database.name),
            )
            .hint("To remove it with its data for good, ask again in a moment, or with ?purge=true."));
        }
        self.purge(actor, &found).await
    }

    /// Removes a database in quarantine with its data: with its cluster, where it has one of its own.
    async fn purge(&self, actor: &Actor, found: &Allocated) -> Result<Begun, Problem> {
        let cluster = ClusterRef::any(found.database.cluster.as_str());
        let shared = {
            let mut look = self.parts.store.look().await.map_err(problem::store)?;
            look.is_shared(&found.database.cluster).await.map_err(problem::store)?
        };
        if shared {
            return self.delete_database(actor, &cluster, found.database.id.as_str()).await;
        }
        let others = self.databases(actor, &cluster, 0, 2).await?.len() > 1;
        if others {
            return Err(Problem::new(
                ProblemCode::WrongState,
                format!("Other databases were made in the cluster of '{}'.", found.database.name),
            )
            .hint("Delete those first; the cluster goes with the database it was made for."));
        }
        let accepted = self.terminate_cluster(actor, &cluster).await?;
        Ok(Begun { cluster: accepted.cluster, database: found.database.id.clone(), credential: None, operation: accepted.operation })
    }

    /// Takes a database out of quarantine.
    pub async fn restore_allocated(&self, actor: &Actor, id: &DatabaseId) -> Result<AllocatedView, Problem> {
        let found = self.allocated(actor, id).await?.allocated;
        self.restore_database(actor, &ClusterRef::any(found.database.cluster.as_str()), found.database.id.as_str()).await?;
        self.allocated(actor, id).await
    }

    /// Former databases of the caller's project, the last removed first, for those who look after all.
    pub async fn former_databases(&self, actor: &Actor, offset: u64, limit: u64) -> Result<(Vec<FormerDatabase>, u64), Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        if self.sight(&mut look, actor).await?.member.is_some() {
            return Ok((Vec::new(), 0));
        }
        look.former_databases(&actor.project, offset, limit.min(MOST_ROWS)).await.map_err(problem::store)
    }

    /// One of them.
    pub async fn former_database(&self, actor: &Actor, id: &DatabaseId) -> Result<FormerDatabase, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let all = self.sight(&mut look, actor).await?.member.is_none();
        let found = look.former_database(id.as_str()).await.map_err(problem::store)?;
        found.filter(|former| all && former.project == actor.project).ok_or_else(not_found)
    }

    /// A page of the credentials of the databases the caller may see, each with its number and that of its database.
    pub async fn allocated_credentials(
        &self,
        actor: &Actor,
        offset: u64,
        limit: u64,
    ) -> Result<(Vec<(u64, Credential, u64)>, u64), Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let sight = self.sight(&mut look, actor).await?;
        let (found, total) = look.visible_credentials(&sight, offset, limit.min(MOST_ROWS)).await.map_err(problem::store)?;
        let mut rows = Vec::with_capacity(found.len());
        for credential in found {
            let number = Numbered::Credential.of(&mut look, credential.id.as_str()).await?;
            let database = Numbered::Database.of(&mut look, credential.database.as_str()).await?;
            rows.push((number, credential, database));
        }
        Ok((rows, total))
    }

    /// A credential with its database, if the caller may see that.
    async fn see_credential(&self, rows: &mut impl Rows, actor: &Actor, id: &CredentialId) -> Result<(Credential, Allocated), Problem> {
        let unknown = || Problem::new(ProblemCode::CredentialNotFound, "There is no such credential.");
        let credential = rows.credential(id).await.map_err(problem::store)?.ok_or_else(unknown)?;
        let found = self.see(rows, actor, &credential.database).await.map_err(|_| unknown())?;
        Ok((credential, found))
    }

    /// A credential, the number of its database, and its password, which those who may change it are shown.
    pub async fn allocated_credential(&self, actor: &Actor, id: &CredentialId) -> Result<(Credential, u64, Option<SecretString>), Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let (credential, _) = self.see_credential(&mut look, actor, id).await?;
        let number = Numbered::Database.of(&mut look, credential.database.as_str()).await?;
        let sealed = credential.sealed_password.as_ref().filter(|_| actor.role >= Role::Operator);
        let opened = sealed.map(|sealed| self.parts.master_key.open_text(sealed, &Credential::password_context(&credential.id)));
        let password = opened.transpose().map_err(|error| problem::internal(&error))?;
        Ok((credential, number, password))
    }

    /// Accepts one more credential of a database the caller may see.
    pub async fn create_allocated_credential(&self, actor: &Actor, database: &DatabaseId, user: String) -> Result<Begun, Problem> {
        let found = self.allocated(actor, database).await?.allocated;
        let password = credential_password().map_err(|error| problem::internal(&error))?;
        let wanted = NewDatabaseCredential { user, privileges: Privileges::Owner, password: Some(password) };
        let cluster = ClusterRef::any(found.database.cluster.as_str());
        self.create_database_credential(actor, &cluster, found.database.id.as_str(), wanted).await
    }

    /// Gives a credential of a database the caller may see another password.
    pub async fn reset_allocated_credential(&self, actor: &Actor, id: &CredentialId) -> Result<Begun, Problem> {
        let password = credential_password().map_err(|error| problem::internal(&error))?;
        let (credential, found) = {
            let mut look = self.parts.store.look().await.map_err(problem::store)?;
            self.see_credential(&mut look, actor, id).await?
        };
        let cluster = ClusterRef::any(found.database.cluster.as_str());
        let wanted = CredentialRef { cluster: &cluster, database: found.database.id.as_str(), credential: credential.id.as_str() };
        self.reset_credential(actor, wanted, Some(password)).await
    }

    /// Removes a credential of a database the caller may see.
    pub async fn remove_allocated_credential(&self, actor: &Actor, id: &CredentialId) -> Result<Begun, Problem> {
        let (credential, found) = {
            let mut look = self.parts.store.look().await.map_err(problem::store)?;
            self.see_credential(&mut look, actor, id).await?
        };
        let cluster = ClusterRef::any(found.database.cluster.as_str());
        let wanted = CredentialRef { cluster: &cluster, database: found.database.id.as_str(), credential: credential.id.as_str() };
        self.delete_database_credential(actor, wanted).await
    }

    /// Within the transaction that makes a cluster: its first database is one of a plan from then on.
    pub(crate) async fn allocate_first(
        &self,
        uow: &mut UnitOfWork,
        actor: &Actor,
        cluster: &Cluster,
        wish: &AllocationWish,
    ) -> Result<(), Problem> {
        let (database, credential) = (DatabaseId::first_of(&cluster.id), CredentialId::first_of(&cluster.id));
        self.record_allocation(uow, actor, (&database, &cluster.spec.database.name), wish).await?;
        Numbered::Database.give(uow, database.as_str()).await?;
        Numbered::Credential.give(uow, credential.as_str()).await?;
        let sealed = self.seal_password(&credential, &wish.password)?;
        for change in [CredentialChange::NextPassword(Some(sealed)), CredentialChange::PasswordTaken] {
            uow.apply(&Write::Credential(credential.clone(), change), now()).await.map_err(problem::store)?;
        }
        if wish.plan.capacity > 1 {
            uow.share_cluster(&cluster.id, &wish.plan.id, &wish.environment.id).await.map_err(problem::store)?;
        }
        Ok(())
    }
}

/// What the databases of a page have in common, so that it is looked up once.
#[derive(Default)]
struct InCommon {
    numbers: HashMap<(Numbered, String), u64>,
    total_bytes: HashMap<ClusterId, Option<u64>>,
}

impl InCommon {
    async fn number(&mut self, rows: &mut impl Rows, kind: Numbered, id: &str) -> Result<u64, Problem> {
        if let Some(number) = self.numbers.get(&(kind, id.to_owned())) {
            return Ok(*number);
        }
        let number = kind.of(rows, id).await?;
        self.numbers.insert((kind, id.to_owned()), number);
        Ok(number)
    }
    async fn total_bytes(&mut self, rows: &mut impl Rows, cluster: &ClusterId) -> Result<Option<u64>, Problem> {
        if let Some(total) = self.total_bytes.get(cluster) {
            return Ok(*total);
        }
        let found = rows.cluster(cluster).await.map_err(problem::store)?;
        let total = found.map(|found| u64::from(found.spec.data_size_gb()) << 30);
        self.total_bytes.insert(cluster.clone(), total);
        Ok(total)
    }
}

/// A database with the numbers of all that belongs to it.
async fn with_numbers(rows: &mut impl Rows, allocated: Allocated, common: &mut InCommon) -> Result<AllocatedView, Problem> {
    let mut credentials = Vec::with_capacity(allocated.credentials.len());
    for credential in &allocated.credentials {
        credentials.push(Numbered::Credential.of(rows, credential.id.as_str()).await?);
    }
    let allocation = &allocated.allocation;
    let team = match &allocation.team {
        Some(team) => Some(common.number(rows, Numbered::Team, team.as_str()).await?),
        None => None,
    };
    let application = match &allocation.application {
        Some(application) => Some(common.number(rows, Numbered::Application, application.as_str()).await?),
        None => None,
    };
    Ok(AllocatedView {
        number: Numbered::Database.of(rows, allocated.database.id.as_str()).await?,
        credentials,
        plan: common.number(rows, Numbered::Plan, allocation.plan.as_str()).await?,
        environment: common.number(rows, Numbered::Environment, allocation.environment.as_str()).await?,
        team,
        application,
        total_bytes: common.total_bytes(rows, &allocated.database.cluster).await?,
        allocated,
    })
}

/// The plan that was asked for, if it is offered in the environment that was asked for.
async fn plan_in_environment(rows: &mut impl Rows, actor: &Actor, wanted: &NewAllocation) -> Result<(Plan, Environment), Problem> {
    let plans = rows.plans(&actor.project).await.map_err(problem::store)?;
    let plan = plans.into_iter().find(|plan| plan.id == wanted.plan).ok_or_else(|| Problem::invalid("plan", NO_SUCH_THING))?;
    let environments = rows.environments(&actor.project).await.map_err(problem::store)?;
    let environment = environments.into_iter().find(|environment| environment.id == wanted.environment);
    let environment = environment.ok_or_else(|| Problem::invalid("environment", NO_SUCH_THING))?;
    if !plan.active {
        return Err(Problem::invalid("plan", format!("The plan '{}' is not offered any more.", plan.name)));
    }
    if !plan.environments.contains(&environment.id) {
        return Err(Problem::invalid("plan", "Invalid plan for selected environment.").hint("See where plans are offered."));
    }
    Ok((plan, environment))
}

/// What databases are for is the project's own.
async fn check_application(rows: &mut impl Rows, actor: &Actor, wanted: Option<&ApplicationId>) -> Result<(), Problem> {
    let Some(wanted) = wanted else { return Ok(()) };
    let known = rows.applications(&actor.project).await.map_err(problem::store)?;
    match known.iter().any(|application| application.id == *wanted) {
        true => Ok(()),
        false => Err(Problem::invalid("project", NO_SUCH_THING)),
    }
}

/// A name is used once in an environment, once among those for development, and what is used in production only there and, once, by those who
/// develop (Globo's wire reference, section 2.3).
async fn check_name_is_free(rows: &mut impl Rows, actor: &Actor, name: &str, environment: &Environment) -> Result<(), Problem> {
    let another = |code, words: String| Problem::new(code, words).hint("Choose another name.").field("name");
    let taken = |words| another(ProblemCode::NameTaken, words);
    let environments = rows.environments(&actor.project).await.map_err(problem::store)?;
    for other in rows.allocations_named(&actor.project, name).await.map_err(problem::store)? {
        let place = environments.iter().find(|known| known.id == other.allocation.environment);
        let Some(place) = place else { continue };
        if place.id == environment.id && other.database.quarantine.is_some() {
            return Err(another(ProblemCode::NameInQuarantine, format!("A database '{name}' already exists, and is in quarantine.")));
        }
        if place.id == environment.id || place.stage == environment.stage {
            return Err(taken(format!("Name {name} is alredy been used in the {} environment: it already exists.", place.name)));
        }
        if place.stage == Stage::Production && environment.stage != Stage::Development {
            return Err(taken(format!("{name} already exists in production!")));
        }
    }
    Ok(())
}

/// A cluster for one database of a plan, or for the first of those that share it.
fn cluster_of(plan: &Plan, environment: &Environment, name: &str, user: String, wish: AllocationWish) -> CreateCluster {
    let id = DatabaseId::from_bits(fresh());
    let tail = &id.as_str()[24..];
    let called = if plan.capacity > 1 { &plan.name } else { name };
    let plain: String = called.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let instances: &[&str] = if plan.highly_available { &["ACTIVE", "STANDBY"] } else { &["ACTIVE"] };
    CreateCluster {
        name: format!("db-{plain}-{tail}"),
        version: VersionChoice::Newest(plan.engine),
        instance_name_prefix: None,
        database: CreateDatabase {
            name: name.to_owned(),
            owner: user,
            password: wish.password.clone(),
            // What the seed's clients expect of a database nobody said anything about: all of Unicode.
            character_set: (plan.engine == EngineName::MariaDb).then(|| "utf8mb4".to_owned()),
            locale: None,
        },
        port: None,
        allow_list: Vec::new(),
        groups: vec![CreateGroup {
            role: if plan.highly_available { ACTIVE_STANDBY } else { "ACTIVE" }.into(),
            server_type: plan.server_type.clone(),
            volumes: vec![CreateVolume { role: "DATA".into(), size_gb: plan.size_gb, volume_type: "SSD".into() }],
            instances: instances.iter().map(|role| CreateInstance { role: (*role).into(), service_address: None }).collect(),
        }],
        subnet: environment.subnet.clone(),
        timezone: "UTC".into(),
        highly_available: plan.highly_available,
        virtual_address: None,
        strict: false,
        maintenance: None,
        backup: None,
        tags: Vec::new(),
        service_watch_log_collection: false,
        deletion_protection: false,
        allocation: Some(wish),
    }
}
