//! The fakes keep the contracts of the real things, so that what passes with them means something.

use async_trait::async_trait;
use moorage_domain::HostId;
use moorage_domain::engine::{EngineName, Installation};
use moorage_domain::layout::{Place, ProcessLayout, TemplateSpec};
use moorage_engine::contract::{self as engine_contract, Runner};
use moorage_host::contract::{self as host_contract, Subject};
use moorage_host::{Host, StopState, VolumeState};
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
    subject: Option<Subject>,
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
    async fn place(&mut self, template: &TemplateSpec) -> Place {
        let subject = Subject::new(&self.host);
        let wish = subject.volume(template);
        while !matches!(self.host.ensure_volume(&wish).await.expect("a volume"), VolumeState::Ready { .. }) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let place = self.host.place(&subject.instance);
        self.subject = Some(subject);
        place
    }
    async fn start(&mut self, layout: &ProcessLayout) {
        let subject = self.subject.as_ref().expect("a subject");
        self.host.ensure_process(&subject.process(layout.clone(), 1)).await.expect("a start");
    }
    async fn stop(&mut self) -> bool {
        let subject = self.subject.as_ref().expect("a subject");
        while self.host.ensure_stopped(&subject.instance, &subject.cluster, 1).await.expect("a stop") != StopState::Stopped {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
    async fn crash(&mut self) {
        let subject = self.subject.as_ref().expect("a subject");
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
            engine_contract::all(&engine, &mut Bench { machine, host, engine: name, subject: None }).await;
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
