//! How long the machinery itself takes, on a real file with every commit on disk.

use crate::toy::World;
use async_trait::async_trait;
use moorage_domain::OperationId;
use moorage_durable::{Clock, Context, Next, OnCancel, Operation, Registry, Runner, Settings, SteadyClock, StepError, steps};
use moorage_store::{NewOperation, Operations, Store};
use moorage_testkit::{a_cluster, insert};
use std::sync::Arc;
use std::time::{Duration, Instant};

steps! {
    /// Six that do nothing.
    pub enum Step { One, Two, Three, Four, Five, Six }
}

/// Reports when its first step begins and when its last one ends.
struct SixSteps(tokio::sync::mpsc::Sender<(Step, Instant)>);

#[async_trait]
impl Operation for SixSteps {
    const KIND: &'static str = "nothing.do";
    type World = World;
    type Request = serde_json::Value;
    type State = serde_json::Map<String, serde_json::Value>;
    type Step = Step;

    fn first(&self) -> Step {
        Step::One
    }
    fn on_cancel(&self, _at: Step) -> OnCancel<Step> {
        OnCancel::FinishFirst("it does nothing")
    }
    fn on_give_up(&self, _at: Step) -> Option<Step> {
        None
    }
    async fn run(
        &self,
        step: Step,
        _request: &serde_json::Value,
        _state: &mut serde_json::Map<String, serde_json::Value>,
        _context: &mut Context<World>,
    ) -> Result<Next<Step>, StepError> {
        let _sent = self.0.try_send((step, Instant::now()));
        Ok(self.after(step).map_or(Next::Done, Next::Go))
    }
}

fn milliseconds(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    format!("median {:.2} ms, 90th percentile {:.2} ms, most {:.2} ms", at(50), at(90), at(100))
}

async fn submit(store: &Store, number: u32, bits: u128) {
    let (id, cluster) = (OperationId::from_bits(bits), a_cluster(number));
    let mut uow = store.begin().await.expect("a unit of work");
    let request = serde_json::Value::Null;
    uow.submit(&NewOperation::new(&id, SixSteps::KIND, &cluster, &request, "somebody", SteadyClock.now())).await.expect("a submission");
    uow.commit().await.expect("a commit");
}

/// The commits are what costs; how long they take is printed: `cargo test -p moorage-durable six_steps -- --nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_of_six_steps_takes_six_commits() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("store.db")).await.expect("a store");
    for number in 0..10 {
        insert(&store, &a_cluster(number)).await;
    }
    let (sender, mut seen) = tokio::sync::mpsc::channel(1000);
    let registry = Registry::new().with(SixSteps(sender));
    let settings = Settings::sole(a_cluster(1).host);
    let runner =
        Runner::start(store.clone(), Arc::new(World::default()), registry, Arc::new(SteadyClock), settings).await.expect("a runner");
    let (mut submits, mut firsts, mut wholes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..20 {
        let began = Instant::now();
        submit(&store, 1, 1000 + round).await;
        submits.push(began.elapsed());
        let submitted = Instant::now();
        runner.wake();
        loop {
            let (step, at) = seen.recv().await.expect("a step");
            if step == Step::One {
                firsts.push(at - submitted);
            }
            if step == Step::Six {
                break;
            }
        }
        free(&store, 1).await;
        wholes.push(submitted.elapsed());
        let row = store.look().await.expect("a look").operation_row(&OperationId::from_bits(1000 + round)).await;
        assert_eq!(row.expect("read").expect("there").epoch, 6, "one commit a step, and none to claim it");
    }
    eprintln!("submission:                  {}", milliseconds(submits));
    eprintln!("submission to first step:    {}", milliseconds(firsts));
    eprintln!("six steps to the end:        {}", milliseconds(wholes));
    let mut tens = Vec::new();
    for round in 0..4 {
        let began = Instant::now();
        for number in 0..10 {
            submit(&store, number, 5000 + round * 10 + u128::from(number)).await;
            runner.wake();
        }
        for number in 0..10 {
            free(&store, number).await;
        }
        tens.push(began.elapsed());
    }
    eprintln!("ten at once, with submission: {}", milliseconds(tens));
}

async fn free(store: &Store, number: u32) {
    let cluster = a_cluster(number).id;
    while store.look().await.expect("a look").holder(&cluster).await.expect("a holder").is_some() {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}
