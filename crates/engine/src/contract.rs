//! What every engine promises, as one suite: the real ones run it against real servers, a fake must pass it too.

use crate::{Engine, EngineSession};
use async_trait::async_trait;
use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::database::{AccountName, AccountSpec, Privileges};
use moorage_domain::decide::health::Probe;
use moorage_domain::engine::Installation;
use moorage_domain::layout::{InstanceSpec, JobStep, Place, ProcessLayout, TemplateSpec};
use moorage_domain::secret::Verifier;
use moorage_domain::{ClusterId, InstanceId};
use std::time::Duration;

pub mod local;
pub mod replication;

/// The bench a suite runs on: makes volumes from templates and runs one process. It panics when it cannot.
#[async_trait]
pub trait Runner: Send {
    /// The version under test.
    fn installation(&self) -> Installation;
    /// The account that administers it.
    fn administrator(&self) -> String;
    /// The instance that runs on it.
    fn instance(&self) -> InstanceId;
    /// Runs the steps of a job on its volume.
    async fn work(&mut self, steps: &[JobStep]);
    /// An instance's place, its volume made from the template and personalised.
    async fn place(&mut self, template: &TemplateSpec) -> Place;
    /// Starts the process.
    async fn start(&mut self, layout: &ProcessLayout);
    /// Asks the process to stop, waits for its end, and says whether it came within the grace.
    async fn stop(&mut self) -> bool;
    /// Ends the process as a crash would, with all that belongs to it.
    async fn crash(&mut self);
    /// Waits a moment.
    async fn pause(&mut self, time: Duration);
    /// The log of the process so far.
    async fn log(&mut self) -> String;
}

/// An instance of the version under test, as small as they come.
pub fn instance(engine: &dyn Engine, installation: Installation, administrator: String) -> InstanceSpec {
    InstanceSpec {
        cluster: ClusterId::from_bits(1),
        instance: InstanceId::from_bits(2),
        installation,
        number: 1,
        memory_bytes: 1 << 30,
        cpu: 1,
        timezone: String::from("Asia/Seoul"),
        character_set: String::from(engine.default_character_set()),
        locale: engine.default_locale().map(String::from),
        administrator,
        most_connections: 20,
        replication: None,
    }
}

/// A first database in the engine's defaults.
pub fn database(engine: &dyn Engine, name: &str, owner: &str) -> DatabaseSpec {
    DatabaseSpec {
        name: String::from(name),
        owner: String::from(owner),
        character_set: String::from(engine.default_character_set()),
        locale: engine.default_locale().map(String::from),
    }
}

/// Runs the whole suite.
pub async fn all(engine: &dyn Engine, runner: &mut dyn Runner) {
    let spec = instance(engine, runner.installation(), runner.administrator());
    descriptions_are_complete(engine, &spec);
    databases_are_checked_by_field(engine);
    verifiers_do_not_show_the_password(engine);

    let template = engine.template(&spec.installation, &spec.administrator);
    templates_are_well_formed(engine, &spec, &template);
    let place = runner.place(&template).await;
    let layout = engine.layout(&spec, &place);
    layouts_are_well_formed(engine, &spec, &place, &layout);

    assert_eq!(probe(engine, &spec, &layout).await, Probe::Silent, "nothing answers before the start");
    let refused = engine.connect(&layout.socket, &spec.administrator).await.err().expect("nothing to connect to before the start");
    assert!(refused.passing, "not started yet is passing: {refused:?}");

    runner.start(&layout).await;
    let mut session = connect(engine, runner, &spec, &layout).await;
    assert_eq!(probe(engine, &spec, &layout).await, Probe::Answered);
    databases_are_made_once(engine, session.as_mut(), &spec).await;
    databases_and_accounts_come_and_go(engine, session.as_mut()).await;
    parameters_are_what_is_applied(session.as_mut()).await;
    drop(session);

    assert!(runner.stop().await, "a clean stop takes less than the grace of its plan:\n{}", runner.log().await);
    assert_eq!(probe(engine, &spec, &layout).await, Probe::Silent, "nothing answers after the stop");

    runner.start(&layout).await;
    still_there(connect(engine, runner, &spec, &layout).await.as_mut(), "after a clean stop").await;
    runner.crash().await;
    assert_eq!(probe(engine, &spec, &layout).await, Probe::Silent, "nothing answers after a crash");
    runner.start(&layout).await;
    still_there(connect(engine, runner, &spec, &layout).await.as_mut(), "after a crash").await;
    assert!(runner.stop().await, "a clean stop after a recovery takes less than the grace of its plan");
}

/// Connects as soon as the engine answers; fails the test when that takes a minute.
pub async fn connect(engine: &dyn Engine, runner: &mut dyn Runner, spec: &InstanceSpec, layout: &ProcessLayout) -> Box<dyn EngineSession> {
    let pause = Duration::from_millis(5);
    for _ in 0..12_000 {
        match engine.connect(&layout.socket, &spec.administrator).await {
            Ok(session) => return session,
            Err(error) if error.passing => runner.pause(pause).await,
            Err(error) => panic!("the engine refused its administrator: {error:?}\n{}", runner.log().await),
        }
    }
    panic!("the engine did not answer within a minute:\n{}", runner.log().await)
}

async fn probe(engine: &dyn Engine, spec: &InstanceSpec, layout: &ProcessLayout) -> Probe {
    engine.probe(&layout.socket, &spec.administrator, Duration::from_secs(5)).await
}

fn descriptions_are_complete(engine: &dyn Engine, spec: &InstanceSpec) {
    let version = &spec.installation.version;
    assert_eq!(spec.installation.engine, engine.name());
    assert!(engine.supported().contains(&version.major(engine.name()).as_str()), "{version} is supported");
    assert!(engine.packages(version).first().is_some_and(|package| package.versioned), "the first package carries the version");
    for major in engine.supported() {
        assert!(engine.server_binary(&spec.installation.prefix, major).starts_with(&spec.installation.prefix));
    }
    assert_eq!(engine.read_version("no version at all"), None);
    assert!(!engine.client_program().is_empty());
    let facts = engine.facts(version);
    let names: std::collections::BTreeSet<_> = facts.iter().map(|fact| fact.name).collect();
    assert!(!facts.is_empty() && names.len() == facts.len(), "facts have names of their own");
    assert!(engine.default_port() >= 1024);
}

fn databases_are_checked_by_field(engine: &dyn Engine) {
    let good = database(engine, "orders", "clerk");
    engine.check_database(&good).expect("the defaults are allowed");
    let field = |change: &dyn Fn(&mut DatabaseSpec)| {
        let mut bad = good.clone();
        change(&mut bad);
        engine.check_database(&bad).err().and_then(|problem| problem.field)
    };
    for name in ["", "mysql", "POSTGRES", "moorage_x", "a\0b", &"x".repeat(300)] {
        assert_eq!(field(&|bad| bad.name = String::from(name)).as_deref(), Some("database.name"), "{name:?}");
    }
    for owner in ["", "root", "Moorage_Admin", "a\nb", &"x".repeat(300)] {
        assert_eq!(field(&|bad| bad.owner = String::from(owner)).as_deref(), Some("database.owner"), "{owner:?}");
    }
    for character_set in ["", "no-such-set", "utf8'; --"] {
        assert_eq!(
            field(&|bad| bad.character_set = String::from(character_set)).as_deref(),
            Some("database.character_set"),
            "{character_set:?}"
        );
    }
    assert_eq!(field(&|bad| bad.locale = Some(String::from("no_SUCH"))).as_deref(), Some("database.locale"));
}

fn verifiers_do_not_show_the_password(engine: &dyn Engine) {
    let Verifier(text) = engine.verifier("Corr3ct-Horse", [7; 16]).expect("a verifier");
    assert!(!text.contains("Corr3ct-Horse"));
    assert_eq!(engine.verifier("Corr3ct-Horse", [7; 16]).expect("a verifier").0, text, "the same input gives the same verifier");
    assert_ne!(engine.verifier("Corr3ct-Horsf", [7; 16]).expect("a verifier").0, text);
    assert!(engine.verifier("", [7; 16]).is_err());
}

fn templates_are_well_formed(engine: &dyn Engine, spec: &InstanceSpec, template: &TemplateSpec) {
    assert_eq!(*template, engine.template(&spec.installation, &spec.administrator), "the same wish gives the same template");
    assert!(template.key.starts_with(engine.name().as_str()) && template.key.contains(&spec.installation.version.to_string()));
    assert!(!template.make.is_empty());
    for administrator in ["root", "some.body", "DOMAIN\\some body", "누구"] {
        let key = engine.template(&spec.installation, administrator).key;
        assert!(key.len() <= 200 && key.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)), "{key}");
    }
    for step in template.make.iter().chain(&template.personalise) {
        match step {
            JobStep::Run { argv, limit, .. } => assert!(!argv.is_empty() && *limit > Duration::ZERO),
            JobStep::Write { path, .. } | JobStep::Randomise { path, .. } => {
                assert!(path.starts_with("{volume}/") || path.starts_with("{scratch}/"), "{path}");
            }
        }
    }
}

fn layouts_are_well_formed(engine: &dyn Engine, spec: &InstanceSpec, place: &Place, layout: &ProcessLayout) {
    assert_eq!(*layout, engine.layout(spec, place), "the same wish gives the same layout");
    assert!(std::path::Path::new(&layout.argv[0]).starts_with(&spec.installation.prefix));
    assert_eq!(layout.socket.parent(), Some(place.run.as_path()));
    assert!(layout.socket.as_os_str().len() <= 107, "{}", layout.socket.display());
    assert_eq!(layout.log.parent(), Some(place.logs.as_path()));
    assert_eq!(layout.working_directory, place.volume);
    assert!(layout.stop.signal > 0 && layout.stop.grace >= Duration::from_secs(10));
    for file in &layout.files {
        assert!(!file.name.contains('/') && !file.name.starts_with('.'), "{}", file.name);
    }
}

async fn parameters_are_what_is_applied(session: &mut dyn EngineSession) {
    let parameters = session.parameters().await.expect("parameters");
    let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let sorted = names.windows(2).all(|pair| pair[0].to_ascii_lowercase() < pair[1].to_ascii_lowercase());
    assert!(sorted, "by name, each once: {names:?}");
    let connections = parameters.iter().find(|parameter| parameter.name == "max_connections").expect("every engine has it");
    assert!(!connections.modifiable && connections.applied_value.is_some() && connections.allowed_values.is_some(), "{connections:?}");
    assert!(parameters.iter().any(|parameter| parameter.modifiable), "some are the user's");
}

async fn databases_are_made_once(engine: &dyn Engine, session: &mut dyn EngineSession, spec: &InstanceSpec) {
    let before = session.observe().await.expect("an observation");
    assert!(before.writable && before.databases.is_empty(), "{before:?}");
    assert_eq!(before.version, spec.installation.version.to_string());

    let wanted = database(engine, "orders", "clerk");
    let verifier = |password: &str| engine.verifier(password, [3; 16]).expect("a verifier");
    for password in ["First-Pa55", "First-Pa55", "Second-Pa55"] {
        session.ensure_database_with_owner(&wanted, &verifier(password)).await.expect("may be repeated");
    }
    still_there(session, "after it was made").await;

    for password in ["Third-Pa55", "Third-Pa55"] {
        session.ensure_password("clerk", &verifier(password)).await.expect("may be repeated");
    }
    still_there(session, "after the owner got another password").await;
    assert!(session.ensure_password("nobody-knows", &verifier("x")).await.is_err(), "an account that is not there");
    let clear = Verifier(String::from("a password in clear"));
    assert!(session.ensure_password("clerk", &clear).await.is_err(), "a password in clear is never stored");

    let reserved = database(engine, "orders", "root");
    assert!(session.ensure_database_with_owner(&reserved, &verifier("x")).await.is_err(), "a reserved owner is refused here too");
    let clear = Verifier(String::from("a password in clear"));
    assert!(session.ensure_database_with_owner(&wanted, &clear).await.is_err(), "a password in clear is never stored");
    still_there(session, "after refusals").await;
}

async fn databases_and_accounts_come_and_go(engine: &dyn Engine, session: &mut dyn EngineSession) {
    let verifier = |password: &str| engine.verifier(password, [5; 16]).expect("a verifier");
    let account = |name: &str, database: &str, privileges| AccountSpec { name: name.into(), database: database.into(), privileges };
    for odd in ["stock", "st\"o'c`k \\_%"] {
        let wanted = database(engine, odd, "keeper");
        let names = ["keeper", "writer", "it's a \"reader\""];
        let accounts = Privileges::ALL.iter().zip(names).map(|(privileges, name)| account(name, odd, *privileges)).collect::<Vec<_>>();
        for _ in 0..2 {
            session.ensure_database(&wanted).await.expect("may be repeated");
            for account in &accounts {
                session.ensure_account(account, &verifier("First-Pa55")).await.expect("may be repeated");
            }
        }
        assert_eq!(session.observe().await.expect("an observation").databases, ["orders", odd]);
        assert_eq!(session.account_name("writer").await.expect("asked"), AccountName::Account);
        assert_eq!(session.account_name("nobody-knows").await.expect("asked"), AccountName::Free);
        let mut sizes = session.database_sizes().await.expect("sizes");
        sizes.sort();
        assert_eq!(sizes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["orders", odd]);
        for account in &accounts {
            session.ensure_password(&account.name, &verifier("Second-Pa55")).await.expect("another password");
            session.end_sessions(&account.name).await.expect("nobody is connected");
            session.replace_password(&account.name, &verifier("Third-Pa55")).await.expect("another password");
        }
        let own: Vec<String> = accounts.iter().map(|account| account.name.clone()).collect();
        session.prepare_databases().await.expect("some are ready");
        session.shut_out_others(odd, &own).await.expect("nobody else is in");
        session.shut_out_others("no_such_database", &own).await.expect("what is gone keeps nobody out");
        for _ in 0..2 {
            for account in &accounts {
                session.ensure_account_absent(account).await.expect("may be repeated");
                assert_eq!(session.account_name(&account.name).await.expect("asked"), AccountName::Free);
            }
            session.ensure_database_absent(odd).await.expect("may be repeated");
        }
        still_there(session, "after another one went").await;
    }
    // The first database gets more accounts, and they go again.
    let more = account("second-clerk", "orders", Privileges::Owner);
    session.ensure_account(&more, &verifier("First-Pa55")).await.expect("another owner");
    session.ensure_account_absent(&more).await.expect("gone");
    assert_eq!(session.account_name("clerk").await.expect("asked"), AccountName::Account);

    assert!(session.ensure_account(&account("x", "nowhere", Privileges::Owner), &verifier("x")).await.is_err(), "no such database");
    assert!(session.ensure_account(&account("root", "orders", Privileges::Owner), &verifier("x")).await.is_err(), "a reserved name");
    let clear = Verifier(String::from("a password in clear"));
    assert!(session.ensure_account(&account("x", "orders", Privileges::Owner), &clear).await.is_err(), "never stored");
    for reserved in ["mysql", "postgres"] {
        assert!(session.ensure_database_absent(reserved).await.is_err(), "the engine's own");
    }
    for reserved in ["root", "moorage_admin", "postgres"] {
        assert!(session.ensure_account_absent(&account(reserved, "orders", Privileges::Owner)).await.is_err(), "the engine's own");
        assert!(session.end_sessions(reserved).await.is_err(), "the engine's own");
    }
}

async fn still_there(session: &mut dyn EngineSession, when: &str) {
    assert_eq!(session.observe().await.expect("an observation").databases, ["orders"], "{when}");
}
