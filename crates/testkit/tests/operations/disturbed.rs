//! What operations do when machines, engines and gateways get in their way.

use crate::bench::{Bench, Case};
use crate::{
    Failover, Provision, ProvisionOffered, Recover, RenewCertificate, Restart, SetAllowList, Start, Switchover, Terminate,
    WithdrawPublicAddress, switchover_request,
};
use moorage_domain::cluster::Cluster;
use moorage_domain::instance::Endpoint;
use moorage_domain::operation::OperationStatus;
use moorage_domain::service_state::ServiceState;
use moorage_durable::Clock;
use moorage_durable::harness::{FastClock, Fixture};
use moorage_operations::takeover::Takeover;
use moorage_operations::{provision, set_allow_list, set_public_address, switchover};
use moorage_store::{Clusters, Endpoints, Instances, OperationRow, Replications, Write};
use moorage_testkit::{Failure, Machine, TestStore, a_cluster, in_fast_time};
use std::net::{Ipv4Addr, SocketAddrV4};

#[test]
fn a_renewed_certificate_is_another_one_and_nothing_else_changes() {
    in_fast_time(async {
        let store = TestStore::open().await;
        let clock = FastClock::begin();
        let bench = Bench::<RenewCertificate>::prepare(store.store(), clock).await;
        let before = bench.machine.endpoint(&bench.cluster.id).expect("an endpoint");
        let listening = bench.machine.inventory();
        // A gateway that is just restarting is waited for.
        bench.machine.fail_call("ensure_endpoint", 1, Failure::Passing);
        bench.run(store.store(), clock, RenewCertificate::operation(), RenewCertificate::request(), None).await;
        let after = bench.machine.endpoint(&bench.cluster.id).expect("an endpoint");
        let (before, after) = (before.tls.expect("a certificate"), after.tls.expect("a certificate"));
        assert!(before.certificate != after.certificate && before.key != after.key);
        assert_eq!(bench.machine.inventory(), listening);
    });
}

#[test]
fn a_public_address_that_cannot_be_listened_at_fails_no_operation() {
    in_fast_time(async {
        let store = TestStore::open().await;
        let clock = FastClock::begin();
        let bench = Bench::<ProvisionOffered>::prepare(store.store(), clock).await;
        bench.machine.occupy(Ipv4Addr::UNSPECIFIED);
        let made = bench.ending(store.store(), clock, provision::Provision, ProvisionOffered::request(), None).await;
        assert_eq!(made.status, OperationStatus::Succeeded, "{made:?}");
        let narrower = set_allow_list::Request { allow_list: vec!["192.0.2.0/24".into()] };
        bench.run(store.store(), clock, set_allow_list::SetAllowList, narrower, None).await;
        let endpoint = bench.machine.endpoint(&bench.cluster.id).expect("an endpoint");
        assert!(endpoint.primary.is_some() && endpoint.allow.len() == 1, "it is served at its own address");
    });
}

#[test]
fn a_public_address_that_is_not_offered_any_more_is_withdrawn() {
    in_fast_time(async {
        let store = TestStore::open().await;
        let clock = FastClock::begin();
        let bench = Bench::<WithdrawPublicAddress>::prepare(store.store(), clock).await;
        let row = store.store().look().await.expect("a look").endpoint_of(&bench.cluster.id).await.expect("read").expect("there");
        let public = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 10), 20_000);
        let had = Write::Endpoint(bench.cluster.host.clone(), Endpoint { public: Some(public), ..row });
        let mut uow = store.store().begin().await.expect("begun");
        uow.apply(&had, clock.now()).await.expect("written");
        uow.commit().await.expect("committed");
        bench.run(store.store(), clock, set_public_address::SetPublicAddress, set_public_address::Request {}, None).await;
        bench.check_succeeded(store.store()).await;
    });
}

/// A creation on a machine that was tampered with: how it ended, and what is on the machine then.
fn creation(tamper: impl Fn(&Machine)) -> (OperationRow, String, Machine) {
    in_fast_time(async {
        let store = TestStore::open().await;
        let clock = FastClock::begin();
        let bench = Bench::<Provision>::prepare(store.store(), clock).await;
        tamper(&bench.machine);
        let row = bench.ending(store.store(), clock, provision::Provision, Provision::request(), None).await;
        match row.status {
            OperationStatus::Succeeded => bench.check_succeeded(store.store()).await,
            OperationStatus::Failed => bench.check_cleaned_up(store.store()).await,
            _ => panic!("{row:?}"),
        }
        (row, bench.machine.inventory(), bench.machine)
    })
}

const CALLS: [&str; 6] = ["ensure_volume", "ensure_process", "ensure_endpoint", "installations", "connect", "ensure_database_with_owner"];

#[test]
fn a_creation_survives_passing_failures_and_lost_answers_of_every_call() {
    for verb in CALLS {
        for failure in [Failure::Passing, Failure::AnswerLost] {
            let (row, _, _) = creation(|machine| (1..=2).for_each(|nth| machine.fail_call(verb, nth, failure)));
            assert_eq!(row.status, OperationStatus::Succeeded, "{verb} {failure:?}: {row:?}");
        }
    }
}

#[test]
fn a_creation_that_fails_for_good_leaves_nothing_but_its_row() {
    for verb in CALLS {
        let (row, left, _) = creation(|machine| machine.fail_every_call(verb, Some(Failure::ForGood)));
        assert_eq!(row.status, OperationStatus::Failed, "{verb}: {row:?}");
        assert!(row.problem.expect("a reason").message.contains(verb));
        assert_eq!(left, "", "{verb}");
    }
}

#[test]
fn an_engine_that_cannot_start_ends_a_creation_with_the_engines_own_words() {
    let (row, left, _) = creation(|machine| machine.engines_cannot_start(Some("FATAL: could not map anonymous shared memory")));
    let problem = row.problem.expect("a reason");
    assert_eq!(problem.code, moorage_domain::ProblemCode::EngineStartFailed);
    assert!(problem.detail.expect("its words").contains("could not map anonymous shared memory"));
    assert_eq!(left, "");
}

#[test]
fn an_engine_that_never_answers_ends_a_creation() {
    let (row, left, _) = creation(|machine| machine.engines_are_silent(true));
    assert_eq!(row.problem.expect("a reason").code, moorage_domain::ProblemCode::EngineStartFailed);
    assert_eq!(left, "");
}

/// An operation on a prepared cluster whose machine was tampered with: how it ended or where it stopped.
fn disturbed<C: Case>(tamper: impl Fn(&Machine, &Cluster)) -> (OperationRow, ServiceState, Machine) {
    in_fast_time(async {
        let store = TestStore::open().await;
        let clock = FastClock::begin();
        let bench = Bench::<C>::prepare(store.store(), clock).await;
        tamper(&bench.machine, &bench.cluster);
        let row = bench.ending(store.store(), clock, C::operation(), C::request(), C::wish()).await;
        let cluster = store.store().look().await.expect("a look").cluster(&bench.cluster.id).await.expect("read");
        (row, cluster.map_or(ServiceState::Terminated, |cluster| cluster.state), bench.machine)
    })
}

#[test]
fn a_switchover_waits_for_transactions_and_is_called_off_or_forced_when_they_do_not_end() {
    for force in [false, true] {
        in_fast_time(async {
            let store = TestStore::open().await;
            let clock = FastClock::begin();
            let bench = Bench::<Switchover>::prepare(store.store(), clock).await;
            bench.machine.set_sessions(&bench.cluster.id, 3);
            let mut look = store.store().look().await.expect("a look");
            let before = look.replication_of(&bench.cluster.id).await.expect("read").expect("there");
            drop(look);
            let takeover = Takeover { from: before.primary.clone(), to: before.promotable.clone().expect("somebody") };
            let request = switchover::Request { force, ..switchover_request(takeover) };
            let row = bench.ending(store.store(), clock, switchover::Switchover, request, None).await;
            let after = store.store().look().await.expect("a look").replication_of(&bench.cluster.id).await.expect("read").expect("there");
            let endpoint = bench.machine.endpoint(&bench.cluster.id).expect("an endpoint");
            assert_eq!((endpoint.hold, endpoint.primary.as_ref()), (false, Some(&after.primary)), "users are let in again");
            if force {
                assert_eq!(row.status, OperationStatus::Succeeded, "{row:?}");
                assert_ne!(after.primary, before.primary);
            } else {
                assert_eq!(row.status, OperationStatus::Failed, "{row:?}");
                assert_eq!(row.problem.expect("a reason").code, moorage_domain::ProblemCode::TransactionsGoOn);
                assert_eq!(after, before);
            }
        });
    }
}

#[test]
fn an_engine_that_neither_answers_nor_logs_does_not_hold_its_cluster_for_ever() {
    let silent = |machine: &Machine, _: &Cluster| machine.engines_are_silent(true);
    for (row, state, _) in [disturbed::<Start>(silent), disturbed::<Restart>(silent), disturbed::<Recover>(silent)] {
        assert_eq!((row.status, state), (OperationStatus::NeedsOperator, ServiceState::Error), "{row:?}");
        let problem = row.problem.expect("a reason");
        assert!(problem.message.contains("neither answered nor written to its log"), "{problem:?}");
        assert!(!row.state.contains("log_end\":["), "whoever retries waits as long again: {}", row.state);
    }
}

#[test]
fn a_store_older_than_the_machine_needs_an_operator_and_nothing_is_done() {
    let later = |machine: &Machine, cluster: &Cluster| machine.has_seen_term(&cluster.id, cluster.term + 5);
    for (row, state, machine) in [disturbed::<Start>(later), disturbed::<Restart>(later), disturbed::<SetAllowList>(later)] {
        assert_eq!((row.status, state), (OperationStatus::NeedsOperator, ServiceState::Error), "{row:?}");
        assert_eq!(row.problem.expect("a reason").code, moorage_domain::ProblemCode::TermTooOld);
        assert!(machine.inventory().contains("volume"), "{}", machine.inventory());
    }
    let (row, _, machine) = disturbed::<Terminate>(later);
    assert_eq!(row.status, OperationStatus::NeedsOperator, "{row:?}");
    assert!(machine.inventory().contains("volume") && machine.inventory().contains("running"), "{}", machine.inventory());
}

#[test]
fn a_store_that_is_older_by_the_very_term_that_a_takeover_would_raise_promotes_nobody() {
    in_fast_time(async {
        let store = TestStore::open().await;
        let clock = FastClock::begin();
        let bench = Bench::<Failover>::prepare(store.store(), clock).await;
        let id = &bench.cluster.id;
        let mut look = store.store().look().await.expect("a look");
        let instances = look.instances_of(id).await.expect("read");
        let before = look.replication_of(id).await.expect("read").expect("there");
        let term = look.cluster(id).await.expect("read").expect("there").term;
        drop(look);
        bench.machine.has_seen_term(id, term + 1);
        let request = Failover::request_on(&instances, Some(&before));
        let row = bench.ending(store.store(), clock, Failover::operation(), request, None).await;
        assert_eq!(row.status, OperationStatus::NeedsOperator, "{row:?}");
        let mut look = store.store().look().await.expect("a look");
        assert_eq!(look.replication_of(id).await.expect("read").expect("there").primary, before.primary);
        assert_eq!(look.cluster(id).await.expect("read").expect("there").term, term);
    });
}

#[test]
fn what_was_decided_before_a_removal_is_refused_afterwards() {
    let (row, _, machine) = disturbed::<Terminate>(|_, _| ());
    assert_eq!(row.status, OperationStatus::Succeeded);
    assert_eq!(machine.term(&a_cluster(1).id), Some(a_cluster(1).term), "the removal told the machine its term");
}

#[test]
fn an_address_that_another_program_has_is_given_up_for_the_next() {
    let taken = "127.64.16.10".parse().expect("an address");
    let (row, _, machine) = creation(|machine| machine.occupy(taken));
    assert_eq!(row.status, OperationStatus::Succeeded, "{row:?}");
    assert_ne!(*machine.endpoint(&a_cluster(1).id).expect("an endpoint").listen.ip(), taken);
}
