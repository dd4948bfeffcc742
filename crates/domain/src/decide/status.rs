//! The state of a cluster, computed from its wish, the operation that holds it and the last observations.

use crate::cluster::Wish;
use crate::instance::{Observed, ProcessState};
use crate::operation::OperationStatus;
use crate::service_state::ServiceState;

/// An operation that has not ended, as far as the status is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its kind (`cluster.provision`).
    pub kind: String,
    /// Where it stands.
    pub status: OperationStatus,
    /// Who asked for it.
    pub requested_by: String,
}

/// What the status is computed from.
#[derive(Clone, Debug)]
pub struct StatusInput<'a> {
    /// What the cluster is meant to be doing.
    pub wish: Wish,
    /// The operation that holds it, if one does.
    pub holder: Option<Holder>,
    /// Whether its creation failed for good.
    pub creation_failed: Option<&'a str>,
    /// Observations of its instances; of two, of the one that writes.
    pub instances: &'a [Observed],
    /// Why nobody may take the place of the one that writes, where somebody should.
    pub unprotected: Option<&'a str>,
    /// Its commits wait as long as that is so.
    pub strict: bool,
}

/// State and, where the state is not plain, one sentence that says why.
pub fn decide(input: &StatusInput<'_>) -> (ServiceState, Option<String>) {
    if let Some(holder) = &input.holder {
        if holder.status == OperationStatus::NeedsOperator {
            return (ServiceState::Error, Some(format!("{} needs an operator.", holder.kind)));
        }
        // The primary serves all the while.
        if holder.kind != "cluster.rejoin" {
            return (while_running(&holder.kind), None);
        }
    }
    if let Some(why) = input.creation_failed {
        return (ServiceState::Failed, Some(why.to_owned()));
    }
    match input.wish {
        Wish::Gone => (ServiceState::Terminated, None),
        Wish::Stop => (ServiceState::Stopped, None),
        Wish::Run => match (serving(input.instances), input.unprotected) {
            ((ServiceState::Running, None), Some(why)) if input.strict => {
                let words = format!("No standby is in sync, and commits wait for one, for the cluster is strict. {why}");
                (ServiceState::Running, Some(words))
            }
            ((ServiceState::Running, None), Some(why)) => (ServiceState::Running, Some(format!("No standby is in sync. {why}"))),
            (served, _) => served,
        },
    }
}

/// The state users see while an operation of this kind is on its way.
pub fn while_running(kind: &str) -> ServiceState {
    match kind {
        "cluster.provision" => ServiceState::Creating,
        "cluster.start" | "cluster.recover" => ServiceState::Starting,
        "cluster.stop" => ServiceState::Stopping,
        "cluster.restart" | "cluster.rolling-restart" | "cluster.failover" | "cluster.switchover" => ServiceState::Restarting,
        "cluster.terminate" => ServiceState::Terminating,
        "cluster.synchronize-state" | "cluster.synchronize-parameters" => ServiceState::Synchronizing,
        _ => ServiceState::Editing,
    }
}

const VOLUME_FULL: &str = "The volume is full: the engine refuses new data until some is deleted. Volumes cannot be enlarged yet.";

/// The state of one of several instances of a cluster that serves.
pub fn of_instance(seen: &Observed) -> ServiceState {
    // Users are led to the one that writes; the other is well without that.
    serving(&[Observed { published: true, ..seen.clone() }]).0
}

fn serving(instances: &[Observed]) -> (ServiceState, Option<String>) {
    let mut worst = (ServiceState::Running, None);
    for seen in instances {
        match &seen.process {
            ProcessState::Running { last_exit, .. } => {
                if seen.recovering() {
                    let before = last_exit.as_ref().map_or_else(String::new, |exit| format!(" after it died ({})", exit.describe()));
                    worst = (ServiceState::Restarting, Some(format!("The engine is starting up{before}.")));
                } else if !seen.answering && seen.silent_since.is_some() {
                    worst = (ServiceState::Error, Some("The engine runs but does not answer.".to_owned()));
                } else if !seen.published {
                    worst = (ServiceState::Error, Some("The engine runs but its endpoint does not lead to it.".to_owned()));
                } else if seen.volume_full && worst.1.is_none() {
                    worst.1 = Some(VOLUME_FULL.to_owned());
                }
            }
            ProcessState::GaveUp { last } => {
                return (
                    ServiceState::Error,
                    Some(format!("The engine keeps failing ({}) and is not restarted any more.", last.describe())),
                );
            }
            ProcessState::BackingOff { last, .. } => {
                worst = (ServiceState::Restarting, Some(format!("The engine died ({}) and is about to be restarted.", last.describe())))
            }
            ProcessState::Stopped | ProcessState::Absent => {
                worst = (ServiceState::Error, Some("The engine does not run although it should.".to_owned()))
            }
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::instance::ProcessExit;

    fn input<'a>(wish: Wish, holder: Option<(&str, OperationStatus)>, instances: &'a [Observed]) -> StatusInput<'a> {
        StatusInput {
            wish,
            holder: holder.map(|(kind, status)| Holder { kind: kind.into(), status, requested_by: "ann".into() }),
            creation_failed: None,
            instances,
            unprotected: None,
            strict: false,
        }
    }
    fn running() -> Observed {
        let process = ProcessState::Running { pid: 1, incarnation: 1, since: Timestamp(0), last_exit: None };
        Observed { process, answering: true, answered: Some(1), published: true, ..Observed::default() }
    }

    #[test]
    fn a_standby_is_well_though_nobody_is_led_to_it_and_shown_when_it_is_not() {
        assert_eq!(of_instance(&Observed { published: false, ..running() }), ServiceState::Running);
        let (at, last_words) = (Timestamp(0), String::new());
        let last = ProcessExit { at, code: None, signal: Some(9), out_of_memory: false, volume_full: false, last_words };
        assert_eq!(of_instance(&Observed { process: ProcessState::GaveUp { last }, ..running() }), ServiceState::Error);
    }

    #[test]
    fn an_operation_on_its_way_never_shows_running() {
        let seen = [running()];
        for kind in [
            "cluster.provision",
            "cluster.start",
            "cluster.stop",
            "cluster.restart",
            "cluster.terminate",
            "cluster.set-allow-list",
            "anything",
        ] {
            for status in [OperationStatus::Queued, OperationStatus::Running, OperationStatus::CleaningUp, OperationStatus::NeedsOperator] {
                assert_ne!(decide(&input(Wish::Run, Some((kind, status)), &seen)).0, ServiceState::Running, "{kind}");
            }
        }
    }

    #[test]
    fn a_crash_loop_ends_visibly_with_its_reason() {
        let exit = ProcessExit {
            at: Timestamp(0),
            code: None,
            signal: Some(9),
            out_of_memory: true,
            volume_full: false,
            last_words: String::new(),
        };
        let (state, why) =
            decide(&input(Wish::Run, None, &[Observed { process: ProcessState::GaveUp { last: exit }, ..Observed::default() }]));
        assert_eq!(state, ServiceState::Error);
        assert!(why.expect("a reason").contains("out of memory"));
    }

    #[test]
    fn a_failed_creation_stays_failed_and_stopped_is_not_an_error() {
        let mut failed = input(Wish::Run, None, &[]);
        failed.creation_failed = Some("no space");
        assert_eq!(decide(&failed), (ServiceState::Failed, Some("no space".into())));
        assert_eq!(
            decide(&input(Wish::Stop, None, &[Observed { process: ProcessState::Stopped, ..Observed::default() }])).0,
            ServiceState::Stopped
        );
        assert_eq!(decide(&input(Wish::Run, None, &[running()])).0, ServiceState::Running);
    }

    #[test]
    fn a_full_volume_is_said_and_its_engine_still_runs() {
        let (state, why) = decide(&input(Wish::Run, None, &[Observed { volume_full: true, ..running() }]));
        assert_eq!(state, ServiceState::Running);
        assert!(why.expect("said").starts_with("The volume is full"));
    }

    #[test]
    fn an_engine_that_recovers_or_is_not_reachable_does_not_show_running() {
        let recovering = Observed { answered: None, answering: false, ..running() };
        assert_eq!(decide(&input(Wish::Run, None, &[recovering])).0, ServiceState::Restarting);
        let closed = Observed { published: false, ..running() };
        assert_eq!(decide(&input(Wish::Run, None, &[closed])).0, ServiceState::Error);
        let busy = Observed { answering: false, ..running() };
        assert_eq!(decide(&input(Wish::Run, None, &[busy])).0, ServiceState::Running, "too many connections is life");
    }
}
