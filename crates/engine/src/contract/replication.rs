//! What every engine promises of two instances, one of which follows the other.

use super::{Runner, connect, database, instance};
use crate::{Engine, EngineSession};
use moorage_domain::layout::{InstanceSpec, Place, ProcessLayout, ReplicationPassword, ReplicationSpec};
use std::time::Duration;

const PASSWORD: &str = "f00d'\\ \"51";
const PAUSE: Duration = Duration::from_millis(5);
const MOST_PAUSES: u32 = 6_000;

/// One of the two.
struct Node<'a> {
    runner: &'a mut dyn Runner,
    place: Place,
    spec: InstanceSpec,
}

impl<'a> Node<'a> {
    async fn new(engine: &dyn Engine, runner: &'a mut dyn Runner) -> Self {
        let mut spec = instance(engine, runner.installation(), runner.administrator());
        spec.instance = runner.instance();
        let place = runner.place(&engine.template(&spec.installation, &spec.administrator)).await;
        Self { runner, place, spec }
    }
    fn meet(&mut self, peer: &InstanceSpec, place: &Place, number: u32) {
        self.spec.number = number;
        self.spec.replication = Some(ReplicationSpec {
            becomes_primary: number == 1,
            peer: peer.instance.clone(),
            peer_place: place.clone(),
            password: ReplicationPassword(PASSWORD.into()),
        });
    }
    fn begins_as(&mut self, primary: bool) {
        if let Some(replication) = &mut self.spec.replication {
            replication.becomes_primary = primary;
        }
    }
    fn layout(&self, engine: &dyn Engine) -> ProcessLayout {
        engine.layout(&self.spec, &self.place)
    }
    async fn start(&mut self, engine: &dyn Engine) -> Box<dyn EngineSession> {
        let layout = self.layout(engine);
        self.runner.start(&layout).await;
        self.session(engine).await
    }
    async fn session(&mut self, engine: &dyn Engine) -> Box<dyn EngineSession> {
        let layout = self.layout(engine);
        connect(engine, self.runner, &self.spec, &layout).await
    }
    async fn databases(&mut self, engine: &dyn Engine) -> Vec<String> {
        self.session(engine).await.observe().await.expect("an observation").databases
    }
}

async fn write(engine: &dyn Engine, session: &mut dyn EngineSession, name: &str) -> Result<(), crate::EngineError> {
    let verifier = engine.verifier("First-Pa55", [3; 16]).expect("a verifier");
    session.ensure_database_with_owner(&database(engine, name, "clerk"), &verifier).await
}

/// Waits until the second follows the first, has everything, and is waited for.
async fn join(engine: &dyn Engine, first: &mut Node<'_>, second: &mut Node<'_>) {
    let (mut writes, mut follows) = (first.session(engine).await, second.session(engine).await);
    let mut required = false;
    for _ in 0..MOST_PAUSES {
        follows.follow(&first.place, &ReplicationPassword(PASSWORD.into())).await.expect("it follows");
        let before = writes.acknowledgement(&second.spec.instance).await.expect("what the primary says");
        let position = writes.position().await.expect("a position");
        let has = follows.has(&position).await.expect("what the standby says");
        match (before.required, before.given && has) {
            (true, true) => return,
            (false, _) if has => {
                assert!(!required, "what is required stays required");
                writes.require_acknowledgement(&second.spec.instance).await.expect("it is required");
                required = true;
            }
            _ => {}
        }
        second.runner.pause(PAUSE).await;
    }
    panic!("the standby did not get in sync:\n{}\n{}", first.runner.log().await, second.runner.log().await);
}

async fn until_it_has(engine: &dyn Engine, node: &mut Node<'_>, wanted: &[&str]) {
    for _ in 0..MOST_PAUSES {
        if node.databases(engine).await == wanted {
            return;
        }
        node.runner.pause(PAUSE).await;
    }
    panic!("{wanted:?} did not arrive: {:?}\n{}", node.databases(engine).await, node.runner.log().await);
}

/// Runs the whole suite on two benches of one version.
pub async fn all(engine: &dyn Engine, first: &mut dyn Runner, second: &mut dyn Runner) {
    let (mut first, mut second) = (Node::new(engine, first).await, Node::new(engine, second).await);
    let (one, other) = ((first.spec.clone(), first.place.clone()), (second.spec.clone(), second.place.clone()));
    first.meet(&other.0, &other.1, 1);
    second.meet(&one.0, &one.1, 2);
    assert!(first.layout(engine).has_peers);
    assert!(!format!("{:?}{:?}", first.spec, first.layout(engine)).contains(PASSWORD), "a password is not shown");

    let mut primary = first.start(engine).await;
    assert!(!primary.observe().await.expect("an observation").writable, "nobody writes by being started");
    for _ in 0..2 {
        primary.promote(None).await.expect("may be repeated");
    }
    assert!(primary.observe().await.expect("an observation").writable);
    for _ in 0..2 {
        let verifier = engine.verifier(PASSWORD, [5; 16]).expect("a verifier");
        primary.ensure_replication_account(&verifier).await.expect("may be repeated");
    }
    write(engine, primary.as_mut(), "orders").await.expect("written");

    if !engine.new_standby_is_complete() {
        second.runner.work(&engine.copy(&second.spec, &second.place)).await;
    }
    drop(second.start(engine).await);
    join(engine, &mut first, &mut second).await;
    write(engine, primary.as_mut(), "sales").await.expect("written and acknowledged");
    let mut follows = second.session(engine).await;
    let before = follows.progress().await.expect("how far it is");
    write(engine, primary.as_mut(), "sales").await.expect("may be repeated");
    for _ in 0..MOST_PAUSES {
        if follows.progress().await.expect("how far it is") != before {
            break;
        }
        second.runner.pause(PAUSE).await;
    }
    assert_ne!(follows.progress().await.expect("how far it is"), before, "it got on");
    drop(follows);
    until_it_has(engine, &mut second, &["orders", "sales"]).await;
    let soon = Duration::from_secs(5);
    assert!(second.session(engine).await.applies_within(soon).await.expect("whether it does"), "it has applied everything");
    assert!(primary.follow(&second.place, &ReplicationPassword(PASSWORD.into())).await.is_err(), "a primary does not follow");

    a_commit_waits_for_a_standby_that_is_gone(engine, &mut first, &mut second).await;
    second.begins_as(false);
    drop(second.start(engine).await);
    join(engine, &mut first, &mut second).await;

    write(engine, first.session(engine).await.as_mut(), "stock").await.expect("written and acknowledged");
    first.runner.crash().await;
    let mut successor = second.session(engine).await;
    successor.promote(None).await.expect("it takes over");
    let has = successor.observe().await.expect("an observation");
    assert!(has.writable && has.databases == ["orders", "sales", "stock", "waited"], "{has:?}");
    write(engine, successor.as_mut(), "after").await.expect("nobody is waited for");

    first.begins_as(false);
    first.runner.work(&engine.rewind(&first.spec, &first.place)).await;
    drop(first.start(engine).await);
    join(engine, &mut second, &mut first).await;
    until_it_has(engine, &mut first, &["after", "orders", "sales", "stock", "waited"]).await;

    // Made anew while the other one writes.
    assert!(first.runner.stop().await);
    successor.release_commits().await.expect("released");
    write(engine, successor.as_mut(), "missed").await.expect("nobody is waited for");
    first.runner.work(&engine.copy(&first.spec, &first.place)).await;
    drop(first.start(engine).await);
    join(engine, &mut second, &mut first).await;
    until_it_has(engine, &mut first, &["after", "missed", "orders", "sales", "stock", "waited"]).await;

    a_commit_waits_from_the_first_one_on(engine, &mut second, &mut first).await;
    assert!(first.runner.stop().await && second.runner.stop().await);
}

/// The one that writes is gone; the other one takes over, and writes nothing that the former one does not get.
async fn a_commit_waits_from_the_first_one_on(engine: &dyn Engine, former: &mut Node<'_>, next: &mut Node<'_>) {
    former.runner.crash().await;
    let (mut successor, mut waits) = (next.session(engine).await, next.session(engine).await);
    for _ in 0..2 {
        successor.promote(Some(&former.spec.instance)).await.expect("it takes over");
    }
    let commit = write(engine, waits.as_mut(), "strict");
    tokio::pin!(commit);
    let waited = tokio::time::timeout(Duration::from_millis(700), &mut commit).await;
    former.begins_as(false);
    former.runner.work(&engine.rewind(&former.spec, &former.place)).await;
    drop(former.start(engine).await);
    join(engine, next, former).await;
    match waited {
        Err(_still_waiting) => commit.await.expect("both have it"),
        // Whoever cannot wait says so.
        Ok(said) => assert!(said.is_err_and(|error| error.passing), "a commit that nobody else has was acknowledged"),
    }
    until_it_has(engine, former, &["after", "missed", "orders", "sales", "stock", "strict", "waited"]).await;
}

async fn a_commit_waits_for_a_standby_that_is_gone(engine: &dyn Engine, first: &mut Node<'_>, second: &mut Node<'_>) {
    second.runner.crash().await;
    let (mut waits, mut releases) = (first.session(engine).await, first.session(engine).await);
    let waited = {
        let commit = write(engine, waits.as_mut(), "waited");
        tokio::pin!(commit);
        match tokio::time::timeout(Duration::from_millis(700), &mut commit).await {
            // It waits until it is released.
            Err(_still_waiting) => {
                releases.release_commits().await.expect("released");
                commit.await
            }
            // Whoever cannot wait says so.
            Ok(said) => {
                assert!(said.is_err_and(|error| error.passing), "a commit that nobody has was acknowledged");
                releases.release_commits().await.expect("released");
                Ok(())
            }
        }
    };
    waited.expect("what was released is acknowledged");
}
