//! The forms of a page: what can be sent from it, with what there is to choose from.

use super::page::Seen;
use crate::kit::refusal::Refusal;
use http::{Method, StatusCode};
use moorage_app::{AllocationFilter, AllocationSort};
use moorage_domain::tenant::{Actor, Role};
use serde_json::{Map, Value, json};

/// Databases to choose from at most; whoever has more goes to the database's own page.
const MOST_CHOICES: u64 = 100;

/// How a field is filled in.
pub(super) enum Kind {
    /// Not at all.
    Fixed,
    /// With a line of text.
    Line,
    /// With just these words, to be sure.
    Same(String),
    /// With a text of several lines.
    Text,
    /// With JSON.
    Raw,
    /// By a choice among values and what they are called.
    Choice(Vec<(String, String)>),
}

/// A field of a form.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) kind: Kind,
    pub(super) value: String,
    pub(super) required: bool,
    pub(super) faults: Vec<String>,
}

/// A form.
pub(super) struct Form {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) about: &'static str,
    pub(super) action: String,
    pub(super) method: &'static str,
    pub(super) fields: Vec<Field>,
    pub(super) button: &'static str,
    pub(super) dangerous: bool,
}

impl Form {
    fn new(id: &'static str, title: &'static str, action: String, button: &'static str) -> Self {
        Self { id, title, about: "", action, method: "POST", fields: Vec::new(), button, dangerous: false }
    }
    fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }
    fn by(self, method: &'static str) -> Self {
        Self { method, dangerous: method == "DELETE", ..self }
    }
    fn field(mut self, name: &'static str, label: &'static str, kind: Kind, required: bool) -> Self {
        self.fields.push(Field { name, label, kind, required, value: String::new(), faults: Vec::new() });
        self
    }
    fn fixed(mut self, name: &'static str, value: String) -> Self {
        self.fields.push(Field { name, label: "", kind: Kind::Fixed, value, required: true, faults: Vec::new() });
        self
    }
    /// With the values of a document or of what was sent, where a field has none.
    fn filled(mut self, from: &Map<String, Value>) -> Self {
        for field in self.fields.iter_mut().filter(|field| field.value.is_empty()) {
            field.value = match from.get(field.name) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Bool(truth)) => truth.to_string(),
                _ => String::new(),
            };
        }
        self
    }
    /// With what was wrong with what was sent.
    fn blamed(mut self, document: &Value) -> Self {
        for field in &mut self.fields {
            let faults = document[field.name].as_array().into_iter().flatten().filter_map(Value::as_str);
            field.faults = faults.map(str::to_owned).collect();
        }
        self
    }
}

fn truths() -> Kind {
    Kind::Choice(vec![("false".into(), "no".into()), ("true".into(), "yes".into())])
}

impl Seen<'_> {
    async fn projects(&self, actor: &Actor) -> Result<Kind, Refusal> {
        let found = self.kit.app.applications(actor).await?;
        Ok(Kind::Choice(found.into_iter().map(|(number, known)| (self.site.item("project", number), known.name)).collect()))
    }
    async fn teams(&self, actor: &Actor) -> Result<Kind, Refusal> {
        let own = if self.kit.app.looks_after_all(actor).await? { None } else { Some(actor.user_name.as_str()) };
        let found = self.kit.app.teams(actor, own).await?;
        Ok(Kind::Choice(found.into_iter().map(|(number, known)| (self.site.item("team", number), known.name)).collect()))
    }
    async fn environments(&self, actor: &Actor) -> Result<Kind, Refusal> {
        let found = self.kit.app.environments(actor).await?;
        Ok(Kind::Choice(found.into_iter().map(|(number, known)| (self.site.item("environment", number), known.name)).collect()))
    }
    async fn plans(&self, actor: &Actor) -> Result<Kind, Refusal> {
        let found = self.kit.app.plans(actor).await?.into_iter().filter(|(_, plan)| plan.active);
        let called = |plan: &moorage_domain::plan::Plan| format!("{} ({})", plan.name, plan.engine.as_str());
        Ok(Kind::Choice(found.map(|(number, plan)| (self.site.item("plan", number), called(&plan))).collect()))
    }
    async fn databases(&self, actor: &Actor) -> Result<Kind, Refusal> {
        let (filter, sort) = (AllocationFilter::default(), (AllocationSort::Name, false));
        let found = self.kit.app.allocations(actor, &filter, sort, 0, MOST_CHOICES).await?.rows;
        let usable = found.into_iter().filter(|view| view.allocated.database.quarantine.is_none());
        Ok(Kind::Choice(usable.map(|view| (self.site.item("database", view.number), view.allocated.database.name)).collect()))
    }

    /// The forms of the page, for somebody who may send them.
    pub(super) async fn forms(&self, actor: &Actor, status: StatusCode, document: &Value) -> Result<Vec<Form>, Refusal> {
        if actor.role < Role::Operator {
            return Ok(Vec::new());
        }
        let parts: Vec<&str> = self.parts.iter().map(String::as_str).collect();
        let looked = *self.method == Method::GET;
        match parts.as_slice() {
            ["database"] => {
                let form = Form::new("create", "New database", self.path(&["database"]), "Create")
                    .about("It gets a user u_<name> and a password of its own.")
                    .field("name", "Name", Kind::Line, true)
                    .field("plan", "Plan", self.plans(actor).await?, true)
                    .field("environment", "Environment", self.environments(actor).await?, true)
                    .field("project", "Project", self.projects(actor).await?, false)
                    .field("team", "Team", self.teams(actor).await?, false)
                    .field("description", "Description", Kind::Text, false);
                let example = json!({"name": "", "plan": "/api/plan/1/", "environment": "/api/environment/1/"});
                Ok(vec![form.filled(self.sent).blamed(document), self.raw("POST", &example)])
            }
            ["credential"] => {
                let form = Form::new("create", "New credential", self.path(&["credential"]), "Create")
                    .about("Its password is made for it and shown then.")
                    .field("user", "User", Kind::Line, true)
                    .field("database", "Database", self.databases(actor).await?, true);
                let example = json!({"user": "", "database": "/api/database/1/"});
                Ok(vec![form.filled(self.sent).blamed(document), self.raw("POST", &example)])
            }
            ["project"] => {
                let form = Form::new("create", "New project", self.path(&["project"]), "Create")
                    .field("name", "Name", Kind::Line, true)
                    .field("description", "Description", Kind::Text, false);
                Ok(vec![form.filled(self.sent).blamed(document), self.raw("POST", &json!({"name": ""}))])
            }
            // A refused change is shown with what was sent; after other refusals the page is looked at anew.
            ["database" | "project", _] if !looked && *self.method == Method::PUT && self.sent.contains_key("_content") => {
                Ok(vec![self.raw("PUT", &json!({}))])
            }
            ["database", number] if !looked && *self.method == Method::PUT => {
                Ok(vec![self.change_database(actor, number).await?.filled(self.sent).blamed(document)])
            }
            ["project", number] if !looked && *self.method == Method::PUT => {
                Ok(vec![self.change_project(number).filled(self.sent).blamed(document)])
            }
            _ if !looked || status != StatusCode::OK => Ok(Vec::new()),
            ["database", number] => self.of_database(actor, number, document).await,
            ["credential", number] => Ok(vec![
                Form::new("reset", "New password", self.path(&["credential", number, "reset_password"]), "Reset password")
                    .about("The password above is refused at once, and whoever uses it now is cut off."),
                Form::new("delete", "Remove", self.path(&["credential", number]), "Remove")
                    .by("DELETE")
                    .about("Whoever uses it is cut off. What it made stays its database's."),
            ]),
            ["project", number] => {
                let fields = document.as_object().cloned().unwrap_or_default();
                let raw = json!({"name": document["name"], "description": document["description"]});
                Ok(vec![
                    self.change_project(number).filled(&fields),
                    Form::new("delete", "Remove", self.path(&["project", number]), "Remove").by("DELETE"),
                    self.raw("PUT", &raw),
                ])
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn change_database(&self, actor: &Actor, number: &str) -> Result<Form, Refusal> {
        Ok(Form::new("change", "Change", self.path(&["database", number]), "Save")
            .by("PUT")
            .field("project", "Project", self.projects(actor).await?, false)
            .field("team", "Team", self.teams(actor).await?, false)
            .field("description", "Description", Kind::Text, false)
            .field("is_protected", "Protected from removal", truths(), true))
    }

    fn change_project(&self, number: &str) -> Form {
        Form::new("change", "Change", self.path(&["project", number]), "Save").by("PUT").field("name", "Name", Kind::Line, true).field(
            "description",
            "Description",
            Kind::Text,
            false,
        )
    }

    async fn of_database(&self, actor: &Actor, number: &str, document: &Value) -> Result<Vec<Form>, Refusal> {
        let fields = document.as_object().cloned().unwrap_or_default();
        let name = document["name"].as_str().unwrap_or_default().to_owned();
        let own = self.path(&["database", number]);
        if !document["quarantine_dt"].is_null() {
            return Ok(vec![
                Form::new("restore", "Take out of quarantine", self.path(&["database", number, "restore_from_quarantine"]), "Restore")
                    .about("Its data is as it was. Its credentials have the passwords they got when it was put there, and whom its owners had let in besides is out."),
                Form::new("purge", "Remove for good", format!("{own}?purge=true"), "Remove with all data")
                    .by("DELETE")
                    .about("Nothing of it is kept. Type its name to show that you mean it.")
                    .field("confirmation", "Name of the database", Kind::Same(name), true),
            ]);
        }
        let raw = json!({"project": document["project"], "team": document["team"], "description": document["description"]});
        Ok(vec![
            Form::new("credential", "New credential", self.path(&["credential"]), "Create credential")
                .about("Its password is made for it and shown then.")
                .fixed("database", self.site.item("database", number.parse().unwrap_or_default()))
                .field("user", "User", Kind::Line, true),
            self.change_database(actor, number).await?.filled(&fields),
            Form::new("delete", "Put into quarantine", own, "Put into quarantine")
                .by("DELETE")
                .about("Nobody gets in from then on. Its data and its name are kept until its time is up, and it can be taken out again."),
            self.raw("PUT", &raw),
        ])
    }

    fn raw(&self, method: &'static str, example: &Value) -> Form {
        let text = self.sent.get("_content").and_then(Value::as_str).map(str::to_owned);
        let parts: Vec<&str> = self.parts.iter().map(String::as_str).collect();
        let mut form =
            Form::new("raw", "Raw data", self.path(&parts), method).by(method).field("_content", "Body, in JSON", Kind::Raw, true);
        form.fields[0].value = text.unwrap_or_else(|| serde_json::to_string_pretty(example).unwrap_or_default());
        form
    }
}
