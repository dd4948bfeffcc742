//! The fakes keep the contracts of the real things, so that what passes with them means something.

use async_trait::async_trait;
use moorage_domain::HostId;
use moorage_domain::InstanceId;
use moorage_domain::engine::{EngineName, Installation};
use moorage_domain::layout::{JobStep, Place, ProcessLayout, TemplateSpec};
use moorage_engine::contract::{self as engine_contract, Runner};
use moorage_host::contract::{self as host_contract, Subject};
use moorage_host::{Host, JobState, JobWish, StopState, VolumeState};
use moorage_testkit::{FakeEngine, FakeHost, FastClock, Machine, in_fast_time};
use std::sync::Arc;
use std::time::Duration;

fn host() -> (Machine, FakeHost) {
    let machine = Machine::new(Arc::new(FastClock::begin()));
    (machine.clone(), FakeHost::new(HostId::from_bits(1), machine))
}

#[test]
fn the_fake_host_keeps_the_contract_of_hosts() {
    in_fast_time(async {
        let (machine, host) = host();
        let layout = |place: &Place| host_contract::script_engine(place, "");
        host_contract::all_with_deaths(&host, host_contract::small_template("contract"), layout, |pid| machine.kill(pid)).await;
    });
}

/// The bench of the engines' suite on a fake machine.
struct Bench {
    machine: Machine,
    host: FakeHost,
    engine: EngineName,
    subject: Subject,
}

impl Bench {
    fn new(machine: &Machine, host: &FakeHost, engine: EngineName) -> Self {
        Self { machine: machine.clone(), host: host.clone(), engine, subject: Subject::new(host) }
    }
}

#[async_trait]
impl Runner for Bench {
    fn installation(&self) -> Installation {
        let version = if self.engine == EngineName::MariaDb { "10.11.19" } else { "15.20" };
        let version = moorage_domain::engine::Version::parse(version).expect("a version");
        Installation { engine: self.engine, version, prefix: format!("/fake/{}", self.engine).into(), system: false }
    }
    fn administrator(&self) -> String {
        self.host.administrator()
    }
    fn instance(&self) -> InstanceId {
        self.subject.instance.clone()
    }
    async fn work(&mut self, steps: &[JobStep]) {
        let Subject { instance, cluster, uid } = self.subject.clone();
        let name = format!("{steps:?}");
        let wish = JobWish { instance, cluster, name, steps: steps.to_vec(), uid, term: 1 };
        while self.host.ensure_job(&wish).await.expect("a job") != JobState::Done {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    async fn place(&mut self, template: &TemplateSpec) -> Place {
        let wish = self.subject.volume(template);
        while !matches!(self.host.ensure_volume(&wish).await.expect("a volume"), VolumeState::Ready { .. }) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.host.place(&self.subject.instance)
    }
    async fn start(&mut self, layout: &ProcessLayout) {
        let subject = &self.subject;
        self.host.ensure_process(&subject.process(layout.clone(), 1)).await.expect("a start");
    }
    async fn stop(&mut self) -> bool {
        let subject = &self.subject;
        while self.host.ensure_stopped(&subject.instance, &subject.cluster, 1).await.expect("a stop") != StopState::Stopped {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
    async fn crash(&mut self) {
        let subject = &self.subject;
        self.host.fence(&subject.instance, &subject.cluster, 1).await.expect("a fence");
    }
    async fn pause(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
    }
    async fn log(&mut self) -> String {
        self.machine.inventory()
    }
}

#[test]
fn the_fake_engines_keep_the_contract_of_engines() {
    for name in EngineName::ALL {
        in_fast_time(async move {
            let (machine, host) = host();
            machine.engines_start_in(Duration::from_millis(300));
            machine.engines_stop_in(Duration::from_millis(200));
            let engine = FakeEngine::new(name, machine.clone());
            engine_contract::all(&engine, &mut Bench::new(&machine, &host, name)).await;
            let (mut first, mut second) = (Bench::new(&machine, &host, name), Bench::new(&machine, &host, name));
            engine_contract::replication::all(&engine, &mut first, &mut second).await;
        });
    }
}

#[test]
fn an_engine_that_cannot_start_is_given_up_with_its_last_words() {
    in_fast_time(async {
        let (machine, host) = host();
        machine.engines_cannot_start(Some("FATAL: no such directory"));
        let subject = Subject::new(&host).with_volume(&host, &host_contract::small_template("t")).await;
        let layout = host_contract::script_engine(&host.place(&subject.instance), "");
        host.ensure_process(&subject.process(layout, 1)).await.expect("a start");
        host_contract::until("it is given up", async || {
            matches!(host.process(&subject.instance).await, Ok(moorage_domain::instance::ProcessState::GaveUp { last }) if last.last_words.contains("FATAL"))
        })
        .await;
    });
}
