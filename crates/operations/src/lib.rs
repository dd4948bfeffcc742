//! One file, one operation, readable from top to bottom.
//!
//! What every step relies on: it reads the world first, chooses names one step before it uses them, only ensures, and
//! leaves one commit behind. Step names and state fields are a wire format: add, never rename.

mod accounts;
pub mod credential_create;
pub mod credential_delete;
pub mod credential_reset_password;
pub mod database_create;
pub mod database_delete;
pub mod database_quarantine;
pub mod failover;
pub mod manifest;
pub mod owner;
pub mod provision;
pub mod recover;
pub mod rejoin;
pub mod renew_certificate;
mod replication;
pub mod restart;
pub mod rolling_restart;
pub mod serving;
pub mod set_allow_list;
pub mod set_maintenance;
pub mod set_owner_password;
pub mod set_public_address;
pub mod standby;
pub mod start;
pub mod stop;
pub mod switchover;
pub mod synchronize_parameters;
pub mod synchronize_state;
pub mod takeover;
pub mod terminate;
pub mod watcher_board;
pub mod world;

pub use watcher_board::{WatcherBoard, WatcherStatus};
pub use world::World;

use moorage_durable::{OnCancel, Operation, Registry, StepName};

/// Whether an operation of this kind may be ended where it is, because users wait for their database: what it changes is small and can be
/// asked for again. What changes the endpoint gives way only to what raises the term and writes the endpoint anew: it would be refused
/// by the host where it arrives late, and would leave behind what nobody recorded otherwise.
pub fn gives_way(kind: &str, to_a_new_term: bool) -> bool {
    let endpoints =
        [set_allow_list::SetAllowList::KIND, set_public_address::SetPublicAddress::KIND, renew_certificate::RenewCertificate::KIND];
    let others = [
        set_maintenance::SetMaintenance::KIND,
        set_owner_password::SetOwnerPassword::KIND,
        synchronize_state::SynchronizeState::KIND,
        synchronize_parameters::SynchronizeParameters::KIND,
    ];
    others.contains(&kind) || (to_a_new_term && endpoints.contains(&kind))
}

/// Whether a step of an operation of this kind writes the cluster's specification as it has read it.
pub fn writes_specification(kind: &str) -> bool {
    [set_allow_list::SetAllowList::KIND, set_maintenance::SetMaintenance::KIND].contains(&kind)
}

/// Whether an operation of this kind changes the primary as planned; at this step, whether it can still be called off.
pub fn calls_itself_off(kind: &str, step: &str) -> Option<bool> {
    fn can<O: Operation>(operation: &O, step: &str) -> bool {
        let at = O::Step::parse(step).unwrap_or(operation.first());
        matches!(operation.on_cancel(at), OnCancel::CleanUpFrom(_))
    }
    match kind {
        switchover::Switchover::KIND => Some(can(&switchover::Switchover, step)),
        rolling_restart::RollingRestart::KIND => Some(can(&rolling_restart::RollingRestart, step)),
        _ => None,
    }
}

/// Every operation there is.
pub fn all() -> Registry<World> {
    Registry::new()
        .with(provision::Provision)
        .with(start::Start)
        .with(stop::Stop)
        .with(restart::Restart)
        .with(rolling_restart::RollingRestart)
        .with(recover::Recover)
        .with(failover::Failover)
        .with(switchover::Switchover)
        .with(rejoin::Rejoin)
        .with(terminate::Terminate)
        .with(set_allow_list::SetAllowList)
        .with(set_maintenance::SetMaintenance)
        .with(set_owner_password::SetOwnerPassword)
        .with(synchronize_state::SynchronizeState)
        .with(synchronize_parameters::SynchronizeParameters)
        .with(renew_certificate::RenewCertificate)
        .with(set_public_address::SetPublicAddress)
        .with(database_create::CreateDatabase)
        .with(database_quarantine::QuarantineDatabase)
        .with(database_delete::DeleteDatabase)
        .with(credential_create::CreateCredential)
        .with(credential_reset_password::ResetPassword)
        .with(credential_delete::DeleteCredential)
}
