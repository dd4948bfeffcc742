//! Looks after a gateway that runs: one that hangs is killed, so that its shim starts another, and its log is kept short.

use crate::endpoints;
use crate::instances;
use crate::machine::Machine;
use crate::problems::{Doing, blocking};
use moorage_domain::endpoint_file::GatewayAsk;
use moorage_domain::instance::ProcessState;
use moorage_host::HostResult;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A gateway that has never answered is starting; it has so many times the patience.
const STARTING: u32 = 4;

/// What is known of the gateway that runs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hearing {
    incarnation: u32,
    answered: bool,
    silences: u32,
}

impl Hearing {
    /// Counts the silences of one incarnation; whether there were too many.
    fn silent(&mut self, most: u32) -> bool {
        self.silences += 1;
        self.silences >= if self.answered { most } else { most.saturating_mul(STARTING) }
    }
}

/// For ever.
pub(crate) async fn watch(machine: Arc<Machine>) {
    let patience = machine.options.gateway_patience;
    let mut hearing = Hearing::default();
    loop {
        let began = Instant::now();
        tokio::time::sleep(patience.ask_every).await;
        bound_log(&machine).await;
        let Some(incarnation) = running(&machine).await else {
            hearing = Hearing::default();
            continue;
        };
        if hearing.incarnation != incarnation {
            hearing = Hearing { incarnation, ..Hearing::default() };
        }
        let answer = endpoints::ask_once(&machine.control_of_gateway(), &GatewayAsk::Status, patience.answer).await;
        let Err(error) = answer else {
            hearing = Hearing { incarnation, answered: true, silences: 0 };
            continue;
        };
        // Who was paused itself has not listened.
        if began.elapsed() > 2 * (patience.ask_every + patience.answer) + Duration::from_secs(1) {
            hearing.silences = 0;
        } else if running(&machine).await == Some(incarnation) && hearing.silent(patience.silences) {
            let silences = std::mem::take(&mut hearing.silences);
            end_hung(&machine, silences, &error).await;
        }
    }
}

/// The incarnation that runs.
async fn running(machine: &Arc<Machine>) -> Option<u32> {
    let gateway = machine.shim_of_gateway();
    let observed: HostResult<_> = blocking(move || instances::observe(&gateway).doing("look after the gateway")).await;
    match observed {
        Ok(ProcessState::Running { incarnation, .. }) => Some(incarnation),
        _ => None,
    }
}

async fn end_hung(machine: &Arc<Machine>, silences: u32, last: &io::Error) {
    let reason = format!("it did not answer {silences} times in a row: {last}");
    tracing::warn!(%reason, "the gateway hangs and is killed; all connections end, and another one starts");
    let machine = Arc::clone(machine);
    let ended = blocking(move || {
        // It may be silent because the directory of its control socket is gone.
        endpoints::write_gateway_wish(&machine)?;
        instances::kill_hung(&machine.shim_of_gateway(), &reason).doing("kill a gateway that hangs")
    });
    if let Err(error) = ended.await {
        let cause = error.cause.as_ref().map(ToString::to_string);
        tracing::error!(%error, cause, "the gateway hangs and cannot be killed");
    }
}

async fn bound_log(machine: &Arc<Machine>) {
    let machine = Arc::clone(machine);
    if let Err(error) = blocking(move || endpoints::bound_log(&machine).doing("shorten the gateway's log")).await {
        tracing::warn!(%error, "the gateway's log grows");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_is_starting_has_more_time() {
        let mut known = Hearing { incarnation: 1, answered: true, silences: 0 };
        assert_eq!([known.silent(3), known.silent(3), known.silent(3)], [false, false, true]);
        let mut starting = Hearing::default();
        assert_eq!((1..=12).filter(|_| starting.silent(3)).count(), 1);
    }
}
