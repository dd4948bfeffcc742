//! What the runner does with steps that fail, wait, panic or cannot be read, and how it shares work and lets go of it.

use crate::toy::{Defect, MakeThing, World, submit};
use moorage_domain::operation::{OperationStatus, OperationView};
use moorage_domain::service_state::ServiceState;
use moorage_domain::{OperationId, ProblemCode};
use moorage_durable::{Clock, Registry, Runner, Settings};
use moorage_store::{Clusters, NewOperation, Operations, Store};
use moorage_testkit::{FastClock, TestStore, a_cluster, in_fast_time};
use std::sync::Arc;
use std::time::Duration;

struct Bench {
    store: TestStore,
    clock: FastClock,
    world: World,
    runner: Option<Runner>,
}

impl Bench {
    async fn with(defect: Defect) -> Self {
        let store = TestStore::open().await;
        store.insert(&a_cluster(1)).await;
        let mut bench = Self { store, clock: FastClock::begin(), world: World::default(), runner: None };
        bench.start(defect).await;
        bench
    }
    async fn start(&mut self, defect: Defect) {
        self.runner = None;
        self.runner = Some(self.another(defect, Settings::sole(a_cluster(1).host)).await);
    }
    async fn another(&self, defect: Defect, settings: Settings) -> Runner {
        let registry = Registry::new().with(MakeThing(defect));
        let world = Arc::new(self.world.clone());
        Runner::start(self.store().clone(), world, registry, Arc::new(self.clock), settings).await.expect("a runner")
    }
    fn store(&self) -> &Store {
        self.store.store()
    }
    fn wake(&self) {
        self.runner.as_ref().expect("a runner").wake();
    }
    async fn submit(&self, number: u128) -> OperationId {
        let id = submit(self.store(), &a_cluster(1), number, self.clock.now()).await;
        self.wake();
        id
    }
    async fn view(&self, id: &OperationId) -> OperationView {
        let mut look = self.store().look().await.expect("a look");
        look.operation_view(&a_cluster(1).project, id).await.expect("a view").expect("the operation")
    }
    async fn until(&self, id: &OperationId, what: &str, so: impl Fn(&OperationView) -> bool) -> OperationView {
        let began = self.clock.now();
        loop {
            let view = self.view(id).await;
            if so(&view) {
                return view;
            }
            assert!(self.clock.now().since(began) < Duration::from_secs(1800), "waited in vain until {what}: {view:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    async fn until_status(&self, id: &OperationId, status: OperationStatus) -> OperationView {
        self.until(id, status.as_str(), |view| view.status == status).await
    }
    async fn state(&self) -> ServiceState {
        let mut look = self.store().look().await.expect("a look");
        look.cluster(&a_cluster(1).id).await.expect("a cluster").expect("the cluster").state
    }
    async fn decide(&self, id: &OperationId, verb: &str) {
        let mut uow = self.store().begin().await.expect("a unit of work");
        let now = self.clock.now();
        let decided = match verb {
            "retry" => uow.retry_step(id, now).await,
            "resume" => uow.resume(id, now).await,
            "roll back" => uow.roll_back(id, now).await,
            _ => uow.abandon(id, now).await,
        };
        assert!(decided.expect("a decision"), "it waits for an operator");
        uow.commit().await.expect("a commit");
        self.wake();
    }
}

fn kinds(view: &OperationView) -> Vec<&str> {
    view.events.iter().map(|event| event.kind.as_str()).collect()
}

#[test]
fn an_operation_walks_its_road_and_leaves_a_timeline() {
    in_fast_time(async {
        let bench = Bench::with(Defect::None).await;
        let id = bench.submit(1).await;
        assert_ne!(bench.state().await, ServiceState::Running, "right after a submission it is on its way");
        let view = bench.until_status(&id, OperationStatus::Succeeded).await;
        assert_eq!(kinds(&view), ["started", "step-done", "note", "step-done", "step-done", "note", "step-done", "ended"], "{view:#?}");
        assert!(view.problem.is_none() && view.finished_at.is_some());
    });
}

#[test]
fn a_step_that_stumbles_is_tried_again_and_says_why() {
    in_fast_time(async {
        let bench = Bench::with(Defect::Stumbles).await;
        let id = bench.submit(1).await;
        let view = bench.until_status(&id, OperationStatus::Succeeded).await;
        let retries: Vec<_> = view.events.iter().filter(|event| event.kind == "retrying").collect();
        assert_eq!(retries.len(), 1, "the same words are said once: {view:#?}");
        assert_eq!(retries[0].detail, "The paint was spilt.");
    });
}

#[test]
fn patience_ends_and_then_it_cleans_up() {
    in_fast_time(async {
        let bench = Bench::with(Defect::LosesPatience).await;
        let id = bench.submit(1).await;
        let waiting = bench.until(&id, "it waits", |view| view.waiting_for.is_some()).await;
        assert_eq!(waiting.waiting_for.as_deref(), Some("The shop is closed."));
        let view = bench.until_status(&id, OperationStatus::Failed).await;
        assert_eq!(view.problem.as_ref().expect("a reason").message, "The shop is closed.");
        assert!(bench.world.open().things.is_empty());
        assert_eq!(bench.state().await, ServiceState::Failed);
        assert!(kinds(&view).contains(&"overdue"), "after its deadline it was said to be late: {view:#?}");
    });
}

#[test]
fn a_panic_is_tried_again_and_then_shown_to_an_operator_who_abandons_it() {
    in_fast_time(async {
        let bench = Bench::with(Defect::Panics).await;
        let id = bench.submit(1).await;
        let view = bench.until_status(&id, OperationStatus::NeedsOperator).await;
        assert_eq!(view.problem.expect("a reason").code, ProblemCode::Internal);
        assert_eq!(bench.state().await, ServiceState::Error);
        bench.decide(&id, "abandon").await;
        let view = bench.until_status(&id, OperationStatus::Failed).await;
        assert!(view.finished_at.is_some());
        bench.submit(2).await;
    });
}

#[test]
fn an_operator_may_retry_resume_or_roll_back() {
    in_fast_time(async {
        for (verb, expected, things) in [
            ("retry", OperationStatus::Succeeded, vec![1]),
            ("resume", OperationStatus::Succeeded, vec![0]),
            ("roll back", OperationStatus::Failed, vec![]),
        ] {
            let bench = Bench::with(Defect::CallsOperator).await;
            let id = bench.submit(1).await;
            let view = bench.until_status(&id, OperationStatus::NeedsOperator).await;
            assert_eq!(view.problem.expect("a reason").message, "Somebody has to choose the colour.");
            bench.decide(&id, verb).await;
            let view = bench.until_status(&id, expected).await;
            assert_eq!(view.problem.is_some(), expected == OperationStatus::Failed, "{verb}: {view:#?}");
            assert_eq!(bench.world.open().things.values().copied().collect::<Vec<_>>(), things, "{verb}: {view:#?}");
        }
    });
}

#[test]
fn a_clean_up_that_fails_calls_an_operator_and_keeps_the_first_reason() {
    in_fast_time(async {
        let mut bench = Bench::with(Defect::CannotCleanUp).await;
        let id = bench.submit(1).await;
        let view = bench.until_status(&id, OperationStatus::NeedsOperator).await;
        assert_eq!(view.problem.expect("a reason").message, "No brush.");
        assert!(view.waiting_for.expect("what is in the way").contains("The bin is full."));
        bench.start(Defect::None).await;
        bench.decide(&id, "retry").await;
        let view = bench.until_status(&id, OperationStatus::Failed).await;
        assert_eq!(view.problem.expect("a reason").message, "No brush.");
        assert!(bench.world.open().things.is_empty());
    });
}

#[test]
fn a_nudge_ends_a_long_wait() {
    in_fast_time(async {
        let bench = Bench::with(Defect::WaitsForLong).await;
        let id = bench.submit(1).await;
        bench.until(&id, "it waits", |view| view.waiting_for.as_deref() == Some("Waits for the painter.")).await;
        let before = bench.clock.now();
        let mut uow = bench.store().begin().await.expect("a unit of work");
        uow.nudge(&a_cluster(1).id, before).await.expect("a nudge");
        uow.commit().await.expect("a commit");
        bench.wake();
        bench.until_status(&id, OperationStatus::Succeeded).await;
        assert!(bench.clock.now().since(before) < Duration::from_secs(600));
    });
}

#[test]
fn what_this_build_cannot_read_waits_for_an_operator() {
    in_fast_time(async {
        let bench = Bench::with(Defect::None).await;
        let mut ids = Vec::new();
        for (number, kind, request) in [(1, "thing.unknown", "{}"), (2, "thing.make", "{}")] {
            let cluster = a_cluster(number + 10);
            bench.store.insert(&cluster).await;
            let id = OperationId::from_bits(u128::from(number));
            let request: serde_json::Value = serde_json::from_str(request).expect("JSON");
            let mut uow = bench.store().begin().await.expect("a unit of work");
            uow.submit(&NewOperation::new(&id, kind, &cluster, &request, "somebody", bench.clock.now())).await.expect("a submission");
            uow.commit().await.expect("a commit");
            ids.push(id);
        }
        bench.wake();
        for id in &ids {
            let view = bench.until_status(id, OperationStatus::NeedsOperator).await;
            assert_eq!(view.problem.expect("a reason").code, ProblemCode::OperationUnreadable);
        }
        let id = bench.submit(3).await;
        bench.until_status(&id, OperationStatus::Succeeded).await;
    });
}

#[test]
fn a_state_that_cannot_be_read_waits_for_an_operator() {
    in_fast_time(async {
        let mut bench = Bench::with(Defect::WaitsForLong).await;
        let id = bench.submit(1).await;
        bench.until(&id, "it waits", |view| view.waiting_for.as_deref() == Some("Waits for the painter.")).await;
        bench.runner = None;
        let mut uow = bench.store().begin().await.expect("a unit of work");
        uow.rewrite_state(&id, "{\"tries\":\"many\"}").await.expect("a rewrite");
        uow.nudge(&a_cluster(1).id, bench.clock.now()).await.expect("a nudge");
        uow.commit().await.expect("a commit");
        bench.start(Defect::None).await;
        let view = bench.until_status(&id, OperationStatus::NeedsOperator).await;
        assert_eq!(view.problem.expect("a reason").code, ProblemCode::OperationUnreadable);
    });
}

#[test]
fn ten_run_side_by_side_and_two_inside_one_cluster_one_after_the_other() {
    in_fast_time(async {
        let bench = Bench::with(Defect::None).await;
        let mut ids = Vec::new();
        for number in 20..30 {
            let cluster = a_cluster(number);
            bench.store.insert(&cluster).await;
            ids.push(submit(bench.store(), &cluster, u128::from(number), bench.clock.now()).await);
        }
        let cluster = a_cluster(20);
        let request = crate::toy::Request { colour: "blue".into() };
        let (first, second) = (OperationId::from_bits(98), OperationId::from_bits(99));
        let mut uow = bench.store().begin().await.expect("a unit of work");
        for (id, begins) in [(&first, true), (&second, false)] {
            let new = NewOperation::new(id, "thing.make", &cluster, &request, "somebody", bench.clock.now());
            assert_eq!(uow.submit_inside(&new).await.expect("a submission"), begins);
        }
        uow.commit().await.expect("a commit");
        bench.wake();
        for id in ids.iter().chain([&first, &second]) {
            bench.until_status(id, OperationStatus::Succeeded).await;
        }
        let (first, second) = (bench.view(&first).await, bench.view(&second).await);
        let began = second.events.iter().find(|event| event.kind == "started").expect("a start").at;
        assert!(Some(began) >= first.finished_at, "{first:#?} {second:#?}");
    });
}

#[test]
fn several_processes_share_work_and_a_dead_ones_claims_run_out() {
    in_fast_time(async {
        let mut bench = Bench::with(Defect::None).await;
        bench.runner = None;
        let settings = || Settings { lease: Duration::from_secs(20), ..Settings::one_of_several(a_cluster(1).host) };
        let dead = bench.another(Defect::WaitsForLong, settings()).await;
        let id = submit(bench.store(), &a_cluster(1), 1, bench.clock.now()).await;
        dead.wake();
        bench.until(&id, "it has begun", |view| view.step != moorage_store::NOT_BEGUN).await;
        drop(dead);
        let (one, other) = (bench.another(Defect::None, settings()).await, bench.another(Defect::None, settings()).await);
        let mut uow = bench.store().begin().await.expect("a unit of work");
        uow.nudge(&a_cluster(1).id, bench.clock.now()).await.expect("a nudge");
        uow.commit().await.expect("a commit");
        one.wake();
        let mut ids = vec![id];
        for number in 40..60 {
            let cluster = a_cluster(number);
            bench.store.insert(&cluster).await;
            ids.push(submit(bench.store(), &cluster, u128::from(number), bench.clock.now()).await);
            other.wake();
            one.wake();
        }
        for id in &ids {
            let view = bench.until_status(id, OperationStatus::Succeeded).await;
            assert_eq!(view.events.iter().filter(|event| event.kind == "ended").count(), 1);
        }
        one.shutdown(Duration::from_secs(10)).await;
        other.shutdown(Duration::from_secs(10)).await;
    });
}

#[test]
fn a_drained_runner_leaves_the_rest_to_the_next_one() {
    in_fast_time(async {
        let mut bench = Bench::with(Defect::None).await;
        let id = bench.submit(1).await;
        bench.until(&id, "the paint dries", |view| view.step == "let-dry").await;
        bench.runner.take().expect("a runner").shutdown(Duration::from_secs(10)).await;
        let left = bench.view(&id).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(bench.view(&id).await, left, "nobody touches it");
        bench.start(Defect::None).await;
        bench.until_status(&id, OperationStatus::Succeeded).await;
    });
}

#[test]
fn an_operation_can_be_called_off_while_it_waits() {
    in_fast_time(async {
        let bench = Bench::with(Defect::WaitsForLong).await;
        let id = bench.submit(1).await;
        bench.until(&id, "it waits", |view| view.waiting_for.as_deref() == Some("Waits for the painter.")).await;
        let mut uow = bench.store().begin().await.expect("a unit of work");
        assert!(uow.request_cancel(&id, "A test asked.", bench.clock.now()).await.expect("a request"));
        uow.commit().await.expect("a commit");
        bench.wake();
        let view = bench.until_status(&id, OperationStatus::Cancelled).await;
        assert_eq!(view.problem.expect("a reason").code, ProblemCode::OperationCancelled);
        assert!(bench.world.open().things.is_empty());
    });
}
