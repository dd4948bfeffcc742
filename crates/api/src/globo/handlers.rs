//! What each path does.

use super::hal::{self, Linked, Page, answer};
use super::ids;
use super::read::{self, Retention};
use super::routes::{Asked, not_found};
use super::write::Fields;
use crate::kit::Kit;
use crate::kit::refusal::{Answer, Refusal, header};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use moorage_app::{AllocatedView, AllocationFilter, AllocationSort, Begun, ChangeAllocation, ListTasks, NewAllocation, Numbered, Removal};
use moorage_domain::engine::EngineName;
use moorage_domain::operation::OperationStatus;
use moorage_domain::{ApplicationId, CredentialId, DatabaseId, EnvironmentId, PlanId, Problem, ProblemCode, TeamId};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long an answer waits for an operation; what takes longer goes on by itself, and its task says how.
const PATIENCE: Duration = Duration::from_secs(22);

/// A document's address in `Location`.
fn located(mut response: Response, at: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(at) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    response
}

/// Waits for what has begun, as long as an answer may wait: whether it has ended, and well.
pub(super) async fn settled(kit: &Kit, begun: &Begun) -> Result<bool, Refusal> {
    match kit.app.await_operation(&begun.operation, PATIENCE).await? {
        None => Ok(false),
        Some((OperationStatus::Succeeded, _)) => Ok(true),
        Some((_, Some(problem))) => Err(problem.into()),
        Some((_, None)) => Err(Problem::new(ProblemCode::OperationCancelled, "It was called off.").into()),
    }
}

impl Asked {
    /// The addresses of all kinds.
    pub(crate) fn index(&self) -> Response {
        let kinds: Map<String, Value> = ids::KINDS.iter().map(|kind| ((*kind).to_owned(), json!(self.site.list(kind)))).collect();
        answer(StatusCode::OK, &Linked::at(self.site.own(), kinds))
    }
    /// A list that is here as a whole, a page of it.
    pub(crate) fn listed(&self, key: &str, rows: Vec<Value>) -> Answer {
        let page = Page::of(&self.query)?;
        let (rows, count) = page.cut(rows);
        Ok(answer(StatusCode::OK, &hal::list(&self.site, key, rows, page, count)?))
    }
    /// One of such a list, by its number.
    pub(crate) fn one(&self, rows: Vec<Value>, number: u64) -> Answer {
        let found = rows.into_iter().find(|row| row["id"] == number).ok_or_else(not_found)?;
        Ok(answer(StatusCode::OK, &found))
    }
    async fn id_of(&self, kind: Numbered, number: u64) -> Result<Option<String>, Refusal> {
        Ok(self.kit.app.numbered(kind, number).await?)
    }
    fn retention(&self) -> Retention {
        Retention(self.kit.app.quarantine_retention())
    }
    fn database_document(&self, view: &AllocatedView) -> Linked<read::DatabaseDocument> {
        read::database(&self.site, view, self.retention(), self.now)
    }

    /// Waits for what has begun, as long as it may: the problem it ended with, or the task to follow where it goes on.
    async fn wait(&self, begun: &Begun) -> Result<Option<Response>, Refusal> {
        let wants_task = header(&self.headers, "prefer").is_some_and(|prefer| prefer.contains("respond-async"))
            || self.query.get("async").is_some_and(|wanted| wanted == "1");
        if !wants_task && settled(&self.kit, begun).await? {
            return Ok(None);
        }
        let number = self.kit.app.number(Numbered::Operation, begun.operation.as_str()).await?;
        let task = self.site.item("task", number);
        let document = json!({"task": task, "task_id": begun.operation.to_string()});
        Ok(Some(located(answer(StatusCode::ACCEPTED, &Linked::at(task.clone(), document)), &task)))
    }

    async fn filter(&self) -> Result<Option<AllocationFilter>, Refusal> {
        let mut filter = AllocationFilter { name: self.query.get("name").map(str::to_owned), ..AllocationFilter::default() };
        // What is named and not there has no databases.
        for (field, kind) in
            [("project", Numbered::Application), ("team", Numbered::Team), ("environment", Numbered::Environment), ("plan", Numbered::Plan)]
        {
            let Some(text) = self.query.get(field) else { continue };
            let Some(number) = ids::number(text) else { return Ok(None) };
            let Some(id) = self.id_of(kind, number).await? else { return Ok(None) };
            match kind {
                Numbered::Application => filter.application = ApplicationId::parse(&id).ok(),
                Numbered::Team => filter.team = TeamId::parse(&id).ok(),
                Numbered::Plan => filter.plan = PlanId::parse(&id).ok(),
                _ => filter.environment = EnvironmentId::parse(&id).ok(),
            }
        }
        if let Some(name) = self.query.get("environment__name") {
            let known = self.kit.app.environments(&self.actor).await?;
            let Some((_, found)) = known.into_iter().find(|(_, environment)| environment.name == name) else { return Ok(None) };
            filter.environment = Some(found.id);
        }
        if let Some(name) = self.query.get("team__name") {
            let known = self.kit.app.teams(&self.actor, None).await?;
            let Some((_, found)) = known.into_iter().find(|(_, team)| team.name == name) else { return Ok(None) };
            filter.team = Some(found.id);
        }
        if let Some(text) = self.query.get("engine") {
            let by_number = ids::number(text).and_then(ids::engine);
            let Some(engine) = by_number.or_else(|| EngineName::parse(text)) else { return Ok(None) };
            filter.engine = Some(engine);
        }
        Ok(Some(filter))
    }

    pub(crate) async fn list_databases(&self) -> Answer {
        let page = Page::of(&self.query)?;
        let Some(filter) = self.filter().await? else { return self.listed("database", Vec::new()) };
        let ordering = self.query.get("ordering").unwrap_or_default();
        let (descending, field) = ordering.strip_prefix('-').map_or((false, ordering), |field| (true, field));
        let sort = if field == "name" { AllocationSort::Name } else { AllocationSort::Age };
        let mut offset = page.offset();
        let (rows, count) = loop {
            let found = self.kit.app.allocations(&self.actor, &filter, (sort, descending), offset.unwrap_or(0), page.size()).await?;
            match offset {
                Some(_) => break (found.rows, found.total),
                None => offset = Some(page.offset_of(found.total)),
            }
        };
        let rows = rows.iter().map(|view| read::value(&self.database_document(view))).collect();
        Ok(answer(StatusCode::OK, &hal::list(&self.site, "database", rows, page, count)?))
    }

    async fn find_database(&self, number: u64) -> Result<AllocatedView, Refusal> {
        let id = self.id_of(Numbered::Database, number).await?.and_then(|id| DatabaseId::parse(&id).ok()).ok_or_else(not_found)?;
        Ok(self.kit.app.allocated(&self.actor, &id).await?)
    }

    pub(crate) async fn show_database(&self, number: u64) -> Answer {
        let view = self.find_database(number).await?;
        Ok(answer(StatusCode::OK, &self.database_document(&view)))
    }

    /// The identifier of what a link names; a fault where there is no such thing.
    async fn linked(
        &self,
        fields: &mut Fields,
        field: &'static str,
        kind: Numbered,
        number: Option<u64>,
    ) -> Result<Option<String>, Refusal> {
        let Some(number) = number else { return Ok(None) };
        let found = self.id_of(kind, number).await?;
        if found.is_none() {
            fields.fault(field, "Invalid hyperlink - object does not exist.");
        }
        Ok(found)
    }

    pub(crate) async fn create_database(&self) -> Answer {
        let mut fields = Fields::of(&self.content, &self.headers)?;
        let name = fields.required_text("name");
        let (plan, environment) = (fields.required_link("plan", "plan"), fields.required_link("environment", "environment"));
        let (project, team) = (fields.link("project", "project"), fields.link("team", "team"));
        let description = fields.text("description");
        let protected = fields.truth("is_protected").unwrap_or(false);
        let plan = self.linked(&mut fields, "plan", Numbered::Plan, plan).await?.and_then(|id| PlanId::parse(&id).ok());
        let environment = self.linked(&mut fields, "environment", Numbered::Environment, environment).await?;
        let environment = environment.and_then(|id| EnvironmentId::parse(&id).ok());
        let application = self.linked(&mut fields, "project", Numbered::Application, project).await?;
        let team = self.linked(&mut fields, "team", Numbered::Team, team).await?.and_then(|id| TeamId::parse(&id).ok());
        fields.close()?;
        let (Some(name), Some(plan), Some(environment)) = (name, plan, environment) else { return Err(not_found()) };
        let application = application.and_then(|id| ApplicationId::parse(&id).ok());
        let wanted = NewAllocation { name, plan, environment, team, application, description, protected };
        let begun = self.kit.app.allocate(&self.actor, wanted).await?;
        if let Some(task) = self.wait(&begun).await? {
            return Ok(task);
        }
        let view = self.kit.app.allocated(&self.actor, &begun.database).await?;
        Ok(located(answer(StatusCode::CREATED, &self.database_document(&view)), &self.site.item("database", view.number)))
    }

    pub(crate) async fn change_database(&self, number: u64) -> Answer {
        let view = self.find_database(number).await?;
        let mut fields = Fields::of(&self.content, &self.headers)?;
        let project = fields.link("project", "project");
        let team = fields.link("team", "team");
        let protected = fields.truth("is_protected");
        let description = fields.has("description").then(|| fields.text("description"));
        let application = self.linked(&mut fields, "project", Numbered::Application, project).await?;
        let team = self.linked(&mut fields, "team", Numbered::Team, team).await?.and_then(|id| TeamId::parse(&id).ok());
        let names_project = fields.has("project");
        fields.close()?;
        let application = names_project.then(|| application.and_then(|id| ApplicationId::parse(&id).ok()));
        let change = ChangeAllocation { team, application, description, protected };
        let view = self.kit.app.change_allocation(&self.actor, &view.allocated.database.id, change).await?;
        Ok(answer(StatusCode::OK, &self.database_document(&view)))
    }

    pub(crate) async fn remove_database(&self, number: u64) -> Answer {
        let view = self.find_database(number).await?;
        // A page asks for the name once more.
        if let Ok(mut fields) = Fields::of(&self.content, &self.headers)
            && fields.has("confirmation")
            && fields.text("confirmation").as_deref() != Some(&view.allocated.database.name)
        {
            return Err(Problem::invalid("confirmation", "Database name is not equal").into());
        }
        let removal = Removal { purge: self.query.get("purge").is_some_and(|purge| purge == "true"), protected_too: false };
        let begun = self.kit.app.remove_allocated(&self.actor, &view.allocated.database.id, removal).await?;
        let task = self.wait(&begun).await?;
        Ok(task.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response()))
    }

    pub(crate) async fn restore_database(&self, number: u64) -> Answer {
        let view = self.find_database(number).await?;
        let view = self.kit.app.restore_allocated(&self.actor, &view.allocated.database.id).await?;
        Ok(answer(StatusCode::OK, &self.database_document(&view)))
    }

    pub(crate) async fn list_credentials(&self) -> Answer {
        let page = Page::of(&self.query)?;
        let mut offset = page.offset();
        let (rows, count) = loop {
            let (rows, count) = self.kit.app.allocated_credentials(&self.actor, offset.unwrap_or(0), page.size()).await?;
            match offset {
                Some(_) => break (rows, count),
                None => offset = Some(page.offset_of(count)),
            }
        };
        let row = |(number, credential, database): &(u64, _, u64)| {
            read::value(&read::credential(&self.site, *number, credential, *database, None))
        };
        let rows = rows.iter().map(row).collect();
        Ok(answer(StatusCode::OK, &hal::list(&self.site, "credential", rows, page, count)?))
    }

    async fn credential_id(&self, number: u64) -> Result<CredentialId, Refusal> {
        let id = self.id_of(Numbered::Credential, number).await?;
        id.and_then(|id| CredentialId::parse(&id).ok()).ok_or_else(not_found)
    }

    pub(crate) async fn show_credential(&self, number: u64, status: StatusCode) -> Answer {
        let id = self.credential_id(number).await?;
        let (credential, database, password) = self.kit.app.allocated_credential(&self.actor, &id).await?;
        let document = read::credential(&self.site, number, &credential, database, password.as_ref());
        let response = answer(status, &document);
        Ok(if status == StatusCode::CREATED { located(response, &self.site.item("credential", number)) } else { response })
    }

    pub(crate) async fn create_credential(&self) -> Answer {
        let mut fields = Fields::of(&self.content, &self.headers)?;
        let user = fields.required_text("user");
        let database = fields.required_link("database", "database");
        let database = self.linked(&mut fields, "database", Numbered::Database, database).await?.and_then(|id| DatabaseId::parse(&id).ok());
        fields.close()?;
        let (Some(user), Some(database)) = (user, database) else { return Err(not_found()) };
        let begun = self.kit.app.create_allocated_credential(&self.actor, &database, user).await.map_err(|problem| match problem.code {
            // In the original's words, which its own clients look for.
            ProblemCode::NameTaken => {
                Problem::new(ProblemCode::NameTaken, "Credential with this User name and Database already exists.").field("__all__")
            }
            ProblemCode::DatabaseNotFound => Problem::invalid("database", "Invalid hyperlink - object does not exist."),
            _ => problem,
        })?;
        if let Some(task) = self.wait(&begun).await? {
            return Ok(task);
        }
        let id = begun.credential.ok_or_else(not_found)?;
        let number = self.kit.app.number(Numbered::Credential, id.as_str()).await?;
        self.show_credential(number, StatusCode::CREATED).await
    }

    pub(crate) async fn reset_password(&self, number: u64) -> Answer {
        let id = self.credential_id(number).await?;
        let begun = self.kit.app.reset_allocated_credential(&self.actor, &id).await?;
        match self.wait(&begun).await? {
            Some(task) => Ok(task),
            None => self.show_credential(number, StatusCode::OK).await,
        }
    }

    pub(crate) async fn remove_credential(&self, number: u64) -> Answer {
        let id = self.credential_id(number).await?;
        let begun = self.kit.app.remove_allocated_credential(&self.actor, &id).await?;
        let task = self.wait(&begun).await?;
        Ok(task.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response()))
    }

    pub(crate) async fn projects(&self) -> Result<Vec<Value>, Refusal> {
        let found = self.kit.app.applications(&self.actor).await?;
        Ok(found.iter().map(|application| read::value(&read::project(&self.site, application))).collect())
    }

    pub(crate) async fn create_project(&self) -> Answer {
        let mut fields = Fields::of(&self.content, &self.headers)?;
        let name = fields.required_text("name");
        let description = fields.text("description").unwrap_or_default();
        fields.close()?;
        let made = self.kit.app.create_application(&self.actor, &name.unwrap_or_default(), &description).await.map_err(project_taken)?;
        Ok(located(answer(StatusCode::CREATED, &read::project(&self.site, &made)), &self.site.item("project", made.0)))
    }

    async fn project_id(&self, number: u64) -> Result<ApplicationId, Refusal> {
        let id = self.id_of(Numbered::Application, number).await?;
        id.and_then(|id| ApplicationId::parse(&id).ok()).ok_or_else(not_found)
    }

    pub(crate) async fn change_project(&self, number: u64) -> Answer {
        let id = self.project_id(number).await?;
        let mut fields = Fields::of(&self.content, &self.headers)?;
        let (name, description) = (fields.text("name"), fields.text("description"));
        fields.close()?;
        let changed =
            self.kit.app.change_application(&self.actor, &id, name.as_deref(), description.as_deref()).await.map_err(project_taken)?;
        Ok(answer(StatusCode::OK, &read::project(&self.site, &changed)))
    }

    pub(crate) async fn remove_project(&self, number: u64) -> Answer {
        let id = self.project_id(number).await?;
        self.kit.app.remove_application(&self.actor, &id).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    pub(crate) async fn plans(&self) -> Result<Vec<Value>, Refusal> {
        let environments = self.kit.app.environments(&self.actor).await?;
        let by_environment = self.query.get("environment_id").map(|text| ids::number(text).unwrap_or_default());
        let by_engine = self.query.get("engine_id").map(|text| ids::number(text).unwrap_or_default());
        let active = self.query.get("active").map(|text| ["1", "true", "True"].contains(&text));
        let offered = |plan: &moorage_domain::plan::Plan, number: u64| {
            environments.iter().any(|(known, environment)| *known == number && plan.environments.contains(&environment.id))
        };
        let found = self.kit.app.plans(&self.actor).await?;
        let wanted = found.iter().filter(|(_, plan)| {
            by_environment.is_none_or(|number| offered(plan, number))
                && by_engine.is_none_or(|number| ids::engine(number) == Some(plan.engine))
                && active.is_none_or(|active| plan.active == active)
        });
        Ok(wanted.map(|plan| read::value(&read::plan(&self.site, plan, &environments))).collect())
    }

    pub(crate) async fn environments(&self) -> Result<Vec<Value>, Refusal> {
        let name = self.query.get("name");
        let found = self.kit.app.environments(&self.actor).await?;
        let wanted = found.iter().filter(|(_, environment)| name.is_none_or(|name| environment.name == name));
        Ok(wanted.map(|environment| read::value(&read::environment(&self.site, environment))).collect())
    }

    pub(crate) async fn engines(&self) -> Result<Vec<Value>, Refusal> {
        let mut found = Vec::new();
        for engine in EngineName::ALL {
            let versions = self.kit.app.engine_versions(Some(engine)).await?;
            if let Some(newest) = versions.first() {
                found.push(read::value(&read::engine(&self.site, engine, &newest.version.to_string())));
            }
        }
        Ok(found)
    }

    pub(crate) fn engine_types(&self) -> Vec<Value> {
        EngineName::ALL.into_iter().map(|engine| read::value(&read::engine_type(&self.site, engine))).collect()
    }

    pub(crate) async fn teams(&self) -> Result<Vec<Value>, Refusal> {
        let found = self.kit.app.teams(&self.actor, self.query.get("username")).await?;
        Ok(found.iter().map(|team| read::value(&read::team(&self.site, team))).collect())
    }

    pub(crate) async fn users(&self) -> Result<Vec<Value>, Refusal> {
        let found = self.kit.app.numbered_users(&self.actor).await?;
        Ok(found.iter().map(|user| read::value(&read::user(&self.site, user))).collect())
    }

    pub(crate) async fn list_tasks(&self) -> Answer {
        let page = Page::of(&self.query)?;
        let status = match self.query.get("task_status") {
            None => None,
            Some(wanted) if read::statuses(wanted).is_some() => read::statuses(wanted),
            Some(_) => return self.listed("taskhistory", Vec::new()),
        };
        let list = ListTasks {
            operation: self.query.get("task_id").map(str::to_owned),
            database_name: self.query.get("database_name").map(str::to_owned),
            status,
            offset: page.offset().unwrap_or(0),
            limit: page.size(),
        };
        let (mut rows, count) = self.kit.app.tasks(&self.actor, &list).await?;
        if page.offset().is_none() {
            rows = self.kit.app.tasks(&self.actor, &ListTasks { offset: page.offset_of(count), ..list }).await?.0;
        }
        let rows = rows.iter().map(|task| read::value(&read::task(&self.site, task))).collect();
        Ok(answer(StatusCode::OK, &hal::list(&self.site, "taskhistory", rows, page, count)?))
    }

    pub(crate) async fn show_task(&self, number: u64) -> Answer {
        let id = self.id_of(Numbered::Operation, number).await?.ok_or_else(not_found)?;
        let list = ListTasks { operation: Some(id), limit: 1, ..ListTasks::default() };
        let (rows, _) = self.kit.app.tasks(&self.actor, &list).await?;
        let task = rows.first().ok_or_else(not_found)?;
        Ok(answer(StatusCode::OK, &read::task(&self.site, task)))
    }

    pub(crate) async fn list_history(&self) -> Answer {
        let page = Page::of(&self.query)?;
        let mut offset = page.offset();
        let (rows, count) = loop {
            let (rows, count) = self.kit.app.former_databases(&self.actor, offset.unwrap_or(0), page.size()).await?;
            match offset {
                Some(_) => break (rows, count),
                None => offset = Some(page.offset_of(count)),
            }
        };
        let mut documents = Vec::new();
        for former in &rows {
            let number = self.kit.app.number(Numbered::Database, former.id.as_str()).await?;
            documents.push(read::value(&Linked::at(self.site.item("database_history", number), read::history(former, number))));
        }
        Ok(answer(StatusCode::OK, &hal::list(&self.site, "databasehistory", documents, page, count)?))
    }

    pub(crate) async fn show_history(&self, number: u64) -> Answer {
        let id = self.id_of(Numbered::Database, number).await?.and_then(|id| DatabaseId::parse(&id).ok()).ok_or_else(not_found)?;
        let former = self.kit.app.former_database(&self.actor, &id).await?;
        Ok(answer(StatusCode::OK, &Linked::at(self.site.item("database_history", number), read::history(&former, number))))
    }
}

fn project_taken(problem: Problem) -> Problem {
    match problem.code {
        ProblemCode::NameTaken => Problem::new(ProblemCode::NameTaken, "Project with this Name already exists.").field("name"),
        _ => problem,
    }
}
