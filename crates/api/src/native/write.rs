//! Requests to commands: strict and total.

use super::ids;
use crate::kit::form::{Faults, Form, TextRule, object};
use crate::kit::query::Query;
use crate::kit::refusal::Refusal;
use moorage_app::{
    ChangeCluster, ChangeUser, ClusterSort, CreateCluster, CreateCredential, CreateDatabase, CreateGroup, CreateInstance, CreateUser,
    CreateVolume, ListClusters, ListOperations, MOST_ROWS, NewDatabase, NewDatabaseCredential, NewEnvironment, NewPlan, NewTeam,
    SwitchOver, VersionChoice,
};
use moorage_domain::allow_list::{self, MOST_ENTRIES};
use moorage_domain::cluster::{ACTIVE_STANDBY, Tag};
use moorage_domain::database::Privileges;
use moorage_domain::engine::{EngineName, Version};
use moorage_domain::operation::OperationStatus;
use moorage_domain::plan::Stage;
use moorage_domain::service_state::ServiceState;
use moorage_domain::tenant::Role;
use moorage_domain::{ClusterId, Problem};
use secrecy::SecretString;
use serde_json::Value;

const NAME: TextRule = TextRule { pattern: "^[a-zA-Z][a-zA-Z0-9-]*$", matches: name, length: 2..=63 };
const WORD: TextRule = TextRule { pattern: "^[a-zA-Z][a-zA-Z0-9_]*$", matches: word, length: 1..=63 };
const PASSWORD: TextRule = TextRule { pattern: r"^\P{C}*$ (no control characters)", matches: no_controls, length: 8..=128 };
const SHORT_TEXT: TextRule = TextRule { pattern: "^[ -~]*$", matches: printable, length: 1..=64 };
const TAG_KEY: TextRule = TextRule { pattern: r"^\P{C}*$", matches: no_controls, length: 1..=128 };
const TAG_VALUE: TextRule = TextRule { pattern: r"^\P{C}*$", matches: no_controls, length: 0..=256 };
const ENGINES: &[&str] = &["mariadb", "postgresql"];

/// The smallest type there is.
const SERVER_TYPE: &str = "db1v1m1";
const SIZE_GB: u32 = 16;
const TIMEZONE: &str = "UTC";
const ROWS: u64 = 100;
const MOST_TAGS: usize = 50;

/// Reads the body of a create request.
pub(crate) fn create_cluster(body: &[u8]) -> Result<CreateCluster, Refusal> {
    let object = object(body)?;
    let faults = Faults::default();
    let form = Form::whole(&object, &faults);
    let name = form.ruled_text("name", &NAME);
    let engine = form.choice("engine", ENGINES).and_then(EngineName::parse);
    let version = form.optional_text("version").and_then(|text| {
        let version = Version::parse(text).ok();
        if version.is_none() {
            form.invalid("version", "A version is one to four numbers separated by dots, such as 10.11.6.");
        }
        version
    });
    let database = form.form("database").and_then(database);
    let port = form.optional_number("port", 1024..=65535).and_then(|port| u16::try_from(port).ok());
    let allow = entries(&form, "allow", &faults);
    let server_type = form.optional_ruled_text("server_type", &SHORT_TEXT).unwrap_or(SERVER_TYPE);
    let size_gb = form.optional_number("size_gb", 16..=5120).unwrap_or(SIZE_GB);
    let timezone = form.optional_ruled_text("timezone", &SHORT_TEXT).unwrap_or(TIMEZONE);
    let subnet = form.optional_ruled_text("subnet", &SHORT_TEXT);
    let address = form.optional_address("address");
    let prefix = form.optional_ruled_text("instance_name_prefix", &NAME);
    let tags = tags(&form);
    let deletion_protection = form.optional_bool("deletion_protection");
    let highly_available = form.optional_bool("highly_available").unwrap_or(false);
    let instances = instances(&form, highly_available);
    let strict = form.optional_bool("strict").unwrap_or(false);
    form.close();
    faults.result()?;
    let (Some(name), Some(engine), Some(database)) = (name, engine, database) else { return Err(incomplete()) };
    Ok(CreateCluster {
        name: name.to_owned(),
        version: version.map_or(VersionChoice::Newest(engine), |version| VersionChoice::Exact(engine, version)),
        instance_name_prefix: prefix.map(str::to_owned),
        database,
        port,
        allow_list: allow,
        groups: vec![CreateGroup {
            role: if highly_available { ACTIVE_STANDBY } else { "ACTIVE" }.into(),
            server_type: server_type.to_owned(),
            volumes: vec![CreateVolume { role: "DATA".into(), size_gb, volume_type: "SSD".into() }],
            instances: match highly_available {
                true => instances,
                false => vec![CreateInstance { role: "ACTIVE".into(), service_address: address }],
            },
        }],
        subnet: subnet.map(str::to_owned),
        timezone: timezone.to_owned(),
        highly_available,
        virtual_address: address.filter(|_| highly_available),
        strict,
        maintenance: None,
        backup: None,
        tags,
        service_watch_log_collection: false,
        deletion_protection: deletion_protection.unwrap_or(false),
        allocation: None,
    })
}

/// The instances of a highly available cluster, with the addresses that are wished for them.
fn instances(form: &Form<'_>, highly_available: bool) -> Vec<CreateInstance> {
    const ROLES: [&str; 2] = ["ACTIVE", "STANDBY"];
    let items = form.optional_list("instance_addresses", ROLES.len());
    if items.is_some() && !highly_available {
        form.invalid("instance_addresses", "Only the instances of a highly available cluster have addresses of their own; use `address`.");
    }
    let wished = items.map(|items| items.addresses()).unwrap_or_default();
    let of = |(slot, role): (usize, &str)| CreateInstance { role: role.into(), service_address: wished.get(slot).copied().flatten() };
    ROLES.into_iter().enumerate().map(of).collect()
}

/// Reads the body of a change to a cluster: whether it is protected from deletion, and whether it is strict.
pub(crate) fn change_cluster(body: &[u8]) -> Result<ChangeCluster, Refusal> {
    whole(body, |form, _| {
        let change = ChangeCluster { deletion_protection: form.optional_bool("deletion_protection"), strict: form.optional_bool("strict") };
        if change == ChangeCluster::default() {
            form.invalid("deletion_protection", "There is nothing to change: give `deletion_protection`, `strict`, or both.");
        }
        Some(change)
    })
}

/// Reads the body that carries a new password of a database's owner.
pub(crate) fn owner_password(body: &[u8]) -> Result<SecretString, Refusal> {
    whole(body, |form, _| form.ruled_text("password", &PASSWORD).map(|text| SecretString::from(text.to_owned())))
}

/// Reads the body of a request for a database in a cluster.
pub(crate) fn create_database(body: &[u8]) -> Result<NewDatabase, Refusal> {
    whole(body, |form, _| {
        let name = form.ruled_text("name", &WORD).map(str::to_owned);
        Some(NewDatabase {
            user: form.optional_ruled_text("user", &WORD).map(str::to_owned),
            password: form.optional_ruled_text("password", &PASSWORD).map(|text| SecretString::from(text.to_owned())),
            character_set: form.optional_ruled_text("character_set", &SHORT_TEXT).map(str::to_owned),
            locale: form.optional_ruled_text("locale", &SHORT_TEXT).map(str::to_owned),
            allocation: None,
            name: name?,
        })
    })
}

/// Reads the body of a request for a credential of a database.
pub(crate) fn create_database_credential(body: &[u8]) -> Result<NewDatabaseCredential, Refusal> {
    whole(body, |form, _| {
        let user = form.ruled_text("user", &WORD).map(str::to_owned);
        let privileges = form.optional_choice("privileges", PRIVILEGES).and_then(Privileges::parse).unwrap_or(Privileges::Owner);
        let password = form.optional_ruled_text("password", &PASSWORD).map(|text| SecretString::from(text.to_owned()));
        Some(NewDatabaseCredential { user: user?, privileges, password })
    })
}

/// Reads the body of a request for another password; none asks for a random one.
pub(crate) fn reset_password(body: &[u8]) -> Result<Option<SecretString>, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    whole(body, |form, _| Some(form.optional_ruled_text("password", &PASSWORD).map(|text| SecretString::from(text.to_owned()))))
}

const PRIVILEGES: &[&str] = &["owner", "read-write", "read-only"];

/// Reads the body of a request for an environment.
pub(crate) fn create_environment(body: &[u8]) -> Result<NewEnvironment, Refusal> {
    whole(body, |form, _| {
        let name = form.ruled_text("name", &NOUN).map(str::to_owned);
        let stage = form.optional_choice("stage", STAGES).and_then(Stage::parse).unwrap_or(Stage::Development);
        let subnet = form.optional_ruled_text("subnet", &SHORT_TEXT).map(str::to_owned);
        Some(NewEnvironment { name: name?, stage, subnet })
    })
}

/// Reads the body of a request for a plan.
pub(crate) fn create_plan(body: &[u8]) -> Result<NewPlan, Refusal> {
    whole(body, |form, _| {
        let name = form.ruled_text("name", &NOUN).map(str::to_owned);
        let engine = form.choice("engine", ENGINES).and_then(EngineName::parse);
        let environments = names(form, "environments");
        Some(NewPlan {
            description: form.optional_ruled_text("description", &TAG_VALUE).unwrap_or_default().to_owned(),
            server_type: form.optional_ruled_text("server_type", &SHORT_TEXT).unwrap_or(SERVER_TYPE).to_owned(),
            size_gb: form.optional_number("size_gb", 16..=5120).unwrap_or(SIZE_GB),
            capacity: form.optional_number("capacity", 1..=500).unwrap_or(1),
            highly_available: form.optional_bool("highly_available").unwrap_or(false),
            environments,
            name: name?,
            engine: engine?,
        })
    })
}

/// Reads the body of a request for a team.
pub(crate) fn create_team(body: &[u8]) -> Result<NewTeam, Refusal> {
    whole(body, |form, _| {
        let name = form.ruled_text("name", &NOUN).map(str::to_owned);
        Some(NewTeam {
            email: form.optional_ruled_text("email", &TAG_VALUE).map(str::to_owned),
            administers: form.optional_bool("administers").unwrap_or(false),
            allocation_limit: form.optional_number("allocation_limit", 0..=100_000).unwrap_or(ALLOCATION_LIMIT),
            members: names(form, "members"),
            name: name?,
        })
    })
}

/// A list of names.
fn names(form: &Form<'_>, key: &'static str) -> Vec<String> {
    let items = form.optional_list(key, MOST_NAMES).map(|items| items.texts()).unwrap_or_default();
    items.into_iter().map(|(_, text)| text.to_owned()).collect()
}

const NOUN: TextRule = TextRule { pattern: r"^\P{C}*$", matches: no_controls, length: 1..=100 };
const STAGES: &[&str] = &["development", "production"];
const MOST_NAMES: usize = 100;
/// As the original has it (Globo's wire reference, section 2.3).
const ALLOCATION_LIMIT: u32 = 2;

/// Reads the body of a request for a project: its name.
pub(crate) fn create_project(body: &[u8]) -> Result<String, Refusal> {
    whole(body, |form, _| form.text("name").map(str::to_owned))
}

/// Reads the body of a request for a user.
pub(crate) fn create_user(body: &[u8]) -> Result<CreateUser, Refusal> {
    whole(body, |form, _| {
        let name = form.text("name").map(str::to_owned);
        let role = form.choice("role", ROLES).and_then(Role::parse);
        let password = form.text("password").map(|text| SecretString::from(text.to_owned()));
        let email = form.optional_text("email").map(str::to_owned);
        let project = form.optional_ruled_text("project", &SHORT_TEXT).map(str::to_owned);
        Some(CreateUser { name: name?, email, project, role: role?, password: password? })
    })
}

/// Reads the body of a change to a user.
pub(crate) fn change_user(body: &[u8]) -> Result<ChangeUser, Refusal> {
    whole(body, |form, _| {
        let role = form.optional_choice("role", ROLES).and_then(Role::parse);
        Some(ChangeUser { role, email: form.optional_text("email").map(str::to_owned), unchanged_since: None })
    })
}

/// Reads the body of a change of password: the present one, where it is one's own, and the new one.
pub(crate) fn change_password(body: &[u8]) -> Result<(Option<SecretString>, SecretString), Refusal> {
    whole(body, |form, _| {
        let current = form.optional_text("current").map(|text| SecretString::from(text.to_owned()));
        Some((current, SecretString::from(form.text("password")?.to_owned())))
    })
}

/// Reads the body of a request for a token or an access key; none asks for the usual one.
pub(crate) fn create_credential(body: &[u8]) -> Result<CreateCredential, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(CreateCredential::default());
    }
    whole(body, |form, _| {
        let seconds = form.optional_number("expires_in_seconds", 60..=315_360_000).map(u64::from);
        Some(CreateCredential { name: form.optional_text("name").map(str::to_owned), seconds })
    })
}

const ROLES: &[&str] = &["viewer", "operator", "administrator"];

/// Reads a body as one form; a value that is missing although nothing was noted makes the body incomplete.
fn whole<T>(body: &[u8], read: impl FnOnce(&Form<'_>, &Faults) -> Option<T>) -> Result<T, Refusal> {
    let object = object(body)?;
    let faults = Faults::default();
    let form = Form::whole(&object, &faults);
    let value = read(&form, &faults);
    form.close();
    faults.result()?;
    value.ok_or_else(incomplete)
}

fn incomplete() -> Refusal {
    Problem::new(moorage_domain::ProblemCode::MalformedBody, "The request's body is incomplete.").into()
}

fn database(form: Form<'_>) -> Option<CreateDatabase> {
    let name = form.ruled_text("name", &WORD);
    let owner = form.ruled_text("owner", &WORD);
    let password = form.ruled_text("password", &PASSWORD);
    let character_set = form.optional_ruled_text("character_set", &SHORT_TEXT).map(str::to_owned);
    let locale = form.optional_ruled_text("locale", &SHORT_TEXT).map(str::to_owned);
    form.close();
    Some(CreateDatabase {
        name: name?.to_owned(),
        owner: owner?.to_owned(),
        password: SecretString::from(password?.to_owned()),
        character_set,
        locale,
    })
}

fn entries(form: &Form<'_>, key: &'static str, faults: &Faults) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut seen = Vec::new();
    for (path, text) in form.optional_list(key, MOST_ENTRIES).map(|items| items.texts()).unwrap_or_default() {
        match allow_list::parse_entry(text) {
            Err(problem) => faults.add(problem.field(path)),
            Ok(network) if seen.contains(&network) => faults.invalid(path, format!("'{text}' is listed twice.")),
            Ok(network) => {
                seen.push(network);
                kept.push(text.to_owned());
            }
        }
    }
    kept
}

/// Tags as an object of texts, or as a list of key and value.
fn tags(form: &Form<'_>) -> Vec<Tag> {
    let mut tags: Vec<Tag> = Vec::new();
    match form.optional_value("tags") {
        Some(Value::Object(pairs)) => {
            for (key, value) in pairs {
                let good = (1..=128).contains(&key.chars().count()) && no_controls(key);
                match value {
                    Value::Null if good => tags.push(Tag { key: key.clone(), value: None }),
                    Value::String(text) if good && text.chars().count() <= 256 && no_controls(text) => {
                        tags.push(Tag { key: key.clone(), value: Some(text.clone()) });
                    }
                    _ => form.invalid("tags", "A tag has a key of 1 to 128 and a value of at most 256 characters."),
                }
            }
            if pairs.len() > MOST_TAGS {
                form.invalid("tags", format!("At most {MOST_TAGS} tags are allowed."));
            }
        }
        Some(_) => {
            for item in form.optional_list("tags", MOST_TAGS).map(|items| items.forms()).unwrap_or_default() {
                let key = item.ruled_text("key", &TAG_KEY).map(str::to_owned);
                let value = item.optional_ruled_text("value", &TAG_VALUE).map(str::to_owned);
                if let Some(key) = key {
                    if tags.iter().any(|tag| tag.key == key) {
                        item.invalid("key", "The key is listed twice.");
                    }
                    tags.push(Tag { key, value });
                }
                item.close();
            }
        }
        None => {}
    }
    tags
}

/// Reads the body of an allow-list change: entries to add and to remove.
pub(crate) fn change_allow_list(body: &[u8]) -> Result<(Vec<String>, Vec<String>), Refusal> {
    let object = object(body)?;
    let faults = Faults::default();
    let form = Form::whole(&object, &faults);
    let add = entries(&form, "add", &faults);
    let remove = entries(&form, "remove", &faults);
    form.close();
    faults.result()?;
    if add.is_empty() && remove.is_empty() {
        return Err(Problem::invalid("add", "There is nothing to add and nothing to remove.").into());
    }
    Ok((add, remove))
}

/// Reads the body of a switchover; none asks for the usual one.
pub(crate) fn switch_over(body: &[u8]) -> Result<SwitchOver, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(SwitchOver::default());
    }
    whole(body, |form, _| {
        let usual = SwitchOver::default();
        let grace_seconds = form.optional_number("grace_seconds", 1..=3600).unwrap_or(usual.grace_seconds);
        Some(SwitchOver { grace_seconds, force: form.optional_bool("force").unwrap_or(usual.force) })
    })
}

/// Reads the query of a cluster list.
pub(crate) fn list_clusters(query: &Query) -> Result<ListClusters, Refusal> {
    let faults = Faults::default();
    let (offset, limit) = page(query, &faults);
    let engine = query.get("engine").and_then(|text| {
        let engine = EngineName::parse(&text.to_ascii_lowercase());
        if engine.is_none() {
            faults.invalid("engine", format!("An engine is one of {}.", ENGINES.join(", ")));
        }
        engine
    });
    let state = query.get("state").and_then(|text| {
        let state = ServiceState::parse(&text.to_ascii_uppercase());
        if state.is_none() {
            let all: Vec<&str> = ServiceState::ALL.iter().map(|state| state.as_str()).collect();
            faults.invalid("state", format!("A state is one of {}.", all.join(", ")));
        }
        state
    });
    faults.result()?;
    Ok(ListClusters {
        engine,
        name: query.get("name").map(str::to_owned),
        state,
        database_name: None,
        sort: ClusterSort::Name,
        descending: false,
        offset,
        limit,
    })
}

/// Reads the query of an operation list; `cluster` is an identifier by now.
pub(crate) fn list_operations(query: &Query, cluster: Option<ClusterId>) -> Result<ListOperations, Refusal> {
    let faults = Faults::default();
    let (offset, limit) = page(query, &faults);
    let status = query.get("status").and_then(|text| {
        let status = OperationStatus::parse(text);
        if status.is_none() {
            faults.invalid("status", "A status is one of queued, running, cleaning-up, needs-operator, succeeded, failed, cancelled.");
        }
        status
    });
    faults.result()?;
    Ok(ListOperations { cluster, status, offset, limit })
}

/// Reads which page of a list is wanted: rows to skip, rows at most.
pub(crate) fn rows(query: &Query) -> Result<(u64, u64), Refusal> {
    let faults = Faults::default();
    let page = page(query, &faults);
    faults.result()?;
    Ok(page)
}

fn page(query: &Query, faults: &Faults) -> (u64, u64) {
    let offset = query.get("cursor").map_or(Ok(0), ids::offset).unwrap_or_else(|problem| {
        faults.add(problem);
        0
    });
    let limit = query.get("limit").map_or(Some(ROWS), |text| text.parse().ok().filter(|limit| (1..=MOST_ROWS).contains(limit)));
    if limit.is_none() {
        faults.invalid("limit", format!("A limit is a number from 1 to {MOST_ROWS}."));
    }
    (offset, limit.unwrap_or(ROWS))
}

/// Reads how many bytes of a log are wanted.
pub(crate) fn log_bytes(query: &Query) -> Result<u64, Problem> {
    let wanted = query.get("bytes").map_or(Some(64 << 10), |text| text.parse().ok().filter(|bytes| (1..=1 << 20).contains(bytes)));
    wanted.ok_or_else(|| Problem::invalid("bytes", "The number of bytes is from 1 to 1048576."))
}

fn name(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
fn word(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
fn printable(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
fn no_controls(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        json!({"name": "shop-1", "engine": "postgresql", "database": {"name": "shop", "owner": "keeper", "password": "correct horse"}})
    }
    fn read(body: &Value) -> Result<CreateCluster, Refusal> {
        create_cluster(body.to_string().as_bytes())
    }
    fn with(key: &str, value: Value) -> Value {
        let mut body = body();
        body[key] = value;
        body
    }

    #[test]
    fn four_facts_make_a_cluster_and_the_rest_has_defaults() {
        let command = read(&body()).expect("valid");
        assert_eq!(command.version, VersionChoice::Newest(EngineName::PostgreSql));
        assert_eq!((command.timezone.as_str(), command.port, command.subnet), ("UTC", None, None));
        assert_eq!(command.groups[0].server_type, "db1v1m1");
        assert_eq!(command.groups[0].volumes, [CreateVolume { role: "DATA".into(), size_gb: 16, volume_type: "SSD".into() }]);
    }

    #[test]
    fn everything_else_can_be_chosen() {
        let mut body = body();
        for (key, value) in [
            ("version", json!("15.6")),
            ("port", json!(5432)),
            ("allow", json!(["10.0.0.0/8"])),
            ("server_type", json!("db1v2m4")),
            ("size_gb", json!(20)),
            ("timezone", json!("Asia/Seoul")),
            ("subnet", json!("default")),
            ("address", json!("127.64.0.20")),
            ("instance_name_prefix", json!("node")),
            ("tags", json!({"team": "blue", "empty": null})),
        ] {
            body[key] = value;
        }
        let command = read(&body).expect("valid");
        assert_eq!(command.version, VersionChoice::Exact(EngineName::PostgreSql, Version::parse("15.6").expect("a version")));
        assert_eq!(command.groups[0].instances[0].service_address, Some("127.64.0.20".parse().expect("an address")));
        assert_eq!(command.tags.len(), 2);
        assert_eq!(read(&with("tags", json!([{"key": "team", "value": "blue"}]))).expect("valid").tags[0].key, "team");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (key, bad) in [
            ("name", json!("1abc")),
            ("name", json!("a")),
            ("name", json!("a_b")),
            ("engine", json!("oracle")),
            ("version", json!("newest")),
            ("database", json!({"name": "x; drop", "owner": "o", "password": "longenough"})),
            ("database", json!({"name": "x", "owner": "o", "password": "short"})),
            ("database", json!("x")),
            ("port", json!(80)),
            ("allow", json!(["everyone"])),
            ("size_gb", json!(1)),
            ("address", json!("here")),
            ("tags", json!({"": "x"})),
            ("tags", json!(5)),
            ("colour", json!("red")),
        ] {
            let refusal = read(&with(key, bad.clone())).expect_err(key);
            assert!(refusal.first.field.as_deref().is_some_and(|field| field.starts_with(key)), "{key}: {bad}: {refusal:?}");
        }
        assert_eq!(read(&json!({})).expect_err("refused").problems().count(), 3);
    }

    #[test]
    fn pages_are_bounded() {
        let query = |raw: &str| list_clusters(&Query::parse(Some(raw)));
        assert_eq!(query("").expect("valid").limit, 100);
        let next = format!("limit=5&state=running&engine=mariadb&cursor={}", ids::cursor(10));
        let list = query(&next).expect("valid");
        assert_eq!((list.offset, list.limit, list.state), (10, 5, Some(ServiceState::Running)));
        for bad in ["limit=0", "limit=1001", "limit=x", "cursor=x", "state=happy", "engine=oracle"] {
            assert!(query(bad).is_err(), "{bad}");
        }
        assert!(list_operations(&Query::parse(Some("status=needs-operator")), None).is_ok());
        assert!(list_operations(&Query::parse(Some("status=sad")), None).is_err());
        assert!(log_bytes(&Query::parse(Some("bytes=0"))).is_err() && log_bytes(&Query::parse(None)).is_ok());
    }
}
