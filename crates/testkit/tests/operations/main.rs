//! Every operation there is goes through the whole bench, on the fakes.

mod bench;
mod disturbed;
mod inside;

use bench::{Bench, Case, SECRET};
use inside::{Inside, database, reader};
use moorage_domain::cluster::Wish;
use moorage_domain::instance::Instance;
use moorage_domain::public_address::PublicAddresses;
use moorage_domain::replication::{Promotable, Replication};
use moorage_domain::service_state::ServiceState;
use moorage_domain::{InstanceId, SecretId};
use moorage_durable::Operation;
use moorage_operations::takeover::Takeover;
use moorage_operations::{
    credential_create, credential_delete, credential_reset_password, database_create, database_delete, database_quarantine, failover,
    provision, recover, rejoin, renew_certificate, restart, rolling_restart, set_allow_list, set_maintenance, set_owner_password,
    set_public_address, start, stop, switchover, synchronize_parameters, synchronize_state, terminate,
};
use moorage_testkit::Machine;
use std::net::Ipv4Addr;

macro_rules! cases {
    ($($name:ident $case:ident: $operation:expr => $kind:ty, $request:expr, $before:expr, $after:expr $(, $key:ident: $value:expr)*;)*) => {$(
        struct $case;
        impl Case for $case {
            type Operation = $kind;
            const BEFORE: Option<ServiceState> = $before;
            const AFTER: Option<ServiceState> = $after;
            fn operation() -> $kind {
                $operation
            }
            fn request() -> <$kind as Operation>::Request {
                $request
            }
            $(cases!(@$key $value);)*
        }
        moorage_durable::harness!($name, Bench<$case>);
    )*};
    (@inside $value:expr) => {
        const INSIDE: Inside = $value.0;
        const INSIDE_AFTER: Inside = $value.1;
    };
    (@strict $value:expr) => {
        const STRICT: bool = $value;
    };
    (@two $value:expr) => {
        const TWO: bool = $value;
    };
    (@on $value:expr) => {
        fn request_on(instances: &[Instance], replication: Option<&Replication>) -> <Self::Operation as Operation>::Request {
            $value(instances, replication.expect("it has two instances"))
        }
    };
    (@wish $value:expr) => {
        fn wish() -> Option<Wish> {
            Some($value)
        }
    };
    (@offered $value:expr) => {
        fn offered() -> Option<PublicAddresses> {
            Some($value)
        }
    };
    (@beforehand $value:expr) => {
        fn beforehand(machine: &Machine) {
            $value(machine);
        }
    };
}

cases! {
    provision_ Provision: provision::Provision => provision::Provision,
        provision::Request { verifier: Some(SecretId::from_bits(SECRET)) }, None, Some(ServiceState::Running);
    start_ Start: start::Start => start::Start, start::Request {}, Some(ServiceState::Stopped), Some(ServiceState::Running);
    stop_ Stop: stop::Stop => stop::Stop, stop::Request {}, Some(ServiceState::Running), Some(ServiceState::Stopped), wish: Wish::Stop;
    restart_ Restart: restart::Restart => restart::Restart, restart::Request {}, Some(ServiceState::Running), Some(ServiceState::Running);
    recover_ Recover: recover::Recover => recover::Recover, recover::Request { reason: None }, Some(ServiceState::Running), Some(ServiceState::Running),
        beforehand: Machine::reboot;
    terminate_ Terminate: terminate::Terminate => terminate::Terminate, terminate::Request {}, Some(ServiceState::Running), None,
        wish: Wish::Gone;
    set_allow_list_ SetAllowList: set_allow_list::SetAllowList => set_allow_list::SetAllowList,
        set_allow_list::Request { allow_list: vec!["192.0.2.0/24".into()] }, Some(ServiceState::Running), Some(ServiceState::Running);
    set_maintenance_ SetMaintenance: set_maintenance::SetMaintenance => set_maintenance::SetMaintenance,
        set_maintenance::Request { window: None }, Some(ServiceState::Stopped), Some(ServiceState::Stopped);
    set_owner_password_ SetOwnerPassword: set_owner_password::SetOwnerPassword => set_owner_password::SetOwnerPassword,
        set_owner_password::Request { verifier: Some(SecretId::from_bits(SECRET)) }, Some(ServiceState::Running), Some(ServiceState::Running);
    synchronize_state_ SynchronizeState: synchronize_state::SynchronizeState => synchronize_state::SynchronizeState,
        synchronize_state::Request {}, Some(ServiceState::Running), Some(ServiceState::Running);
    synchronize_state_while_stopped SynchronizeStateWhileStopped: synchronize_state::SynchronizeState => synchronize_state::SynchronizeState,
        synchronize_state::Request {}, Some(ServiceState::Stopped), Some(ServiceState::Stopped);
    synchronize_parameters_ SynchronizeParameters: synchronize_parameters::SynchronizeParameters => synchronize_parameters::SynchronizeParameters,
        synchronize_parameters::Request {}, Some(ServiceState::Running), Some(ServiceState::Running);
    renew_certificate_ RenewCertificate: renew_certificate::RenewCertificate => renew_certificate::RenewCertificate,
        renew_certificate::Request {}, Some(ServiceState::Running), Some(ServiceState::Running);
    renew_certificate_while_stopped RenewCertificateWhileStopped: renew_certificate::RenewCertificate => renew_certificate::RenewCertificate,
        renew_certificate::Request {}, Some(ServiceState::Stopped), Some(ServiceState::Stopped);
    provision_two ProvisionTwo: provision::Provision => provision::Provision,
        provision::Request { verifier: Some(SecretId::from_bits(SECRET)) }, None, Some(ServiceState::Running), two: true;
    stop_two StopTwo: stop::Stop => stop::Stop, stop::Request {}, Some(ServiceState::Running), Some(ServiceState::Stopped), two: true,
        wish: Wish::Stop;
    recover_two RecoverTwo: recover::Recover => recover::Recover, recover::Request { reason: None }, Some(ServiceState::Running),
        Some(ServiceState::Running), two: true, beforehand: Machine::kill_primaries;
    terminate_two TerminateTwo: terminate::Terminate => terminate::Terminate, terminate::Request {}, Some(ServiceState::Running), None,
        two: true, wish: Wish::Gone;
    failover_ Failover: failover::Failover => failover::Failover, failover_request(takeover(&[], None)), Some(ServiceState::Running),
        Some(ServiceState::Running), two: true, on: failover_on, beforehand: Machine::kill_primaries;
    rolling_restart_ RollingRestart: rolling_restart::RollingRestart => rolling_restart::RollingRestart, rolling_restart::Request {},
        Some(ServiceState::Running), Some(ServiceState::Running), two: true;
    switchover_ Switchover: switchover::Switchover => switchover::Switchover, switchover_request(takeover(&[], None)),
        Some(ServiceState::Running), Some(ServiceState::Running), two: true, on: switchover_on;
    rejoin_ Rejoin: rejoin::Rejoin => rejoin::Rejoin, rejoin::Request { reason: "it died".into(), hangs: false },
        Some(ServiceState::Running), Some(ServiceState::Running), two: true, beforehand: Machine::kill_standbys;
    rejoin_of_one_that_hangs RejoinOfOneThatHangs: rejoin::Rejoin => rejoin::Rejoin,
        rejoin::Request { reason: "it hangs".into(), hangs: true }, Some(ServiceState::Running), Some(ServiceState::Running), two: true;
    provision_strict ProvisionStrict: provision::Provision => provision::Provision,
        provision::Request { verifier: Some(SecretId::from_bits(SECRET)) }, None, Some(ServiceState::Running), two: true, strict: true;
    recover_strict RecoverStrict: recover::Recover => recover::Recover, recover::Request { reason: None }, Some(ServiceState::Running),
        Some(ServiceState::Running), two: true, strict: true, beforehand: Machine::kill_primaries;
    failover_strict FailoverStrict: failover::Failover => failover::Failover, failover_request(takeover(&[], None)),
        Some(ServiceState::Running), Some(ServiceState::Running), two: true, strict: true, on: failover_on,
        beforehand: Machine::kill_primaries;
    rolling_restart_strict RollingRestartStrict: rolling_restart::RollingRestart => rolling_restart::RollingRestart,
        rolling_restart::Request {}, Some(ServiceState::Running), Some(ServiceState::Running), two: true, strict: true;
    rejoin_strict RejoinStrict: rejoin::Rejoin => rejoin::Rejoin, rejoin::Request { reason: "it died".into(), hangs: false },
        Some(ServiceState::Running), Some(ServiceState::Running), two: true, strict: true, beforehand: Machine::kill_standbys;
    database_create_ CreateDatabase: database_create::CreateDatabase => database_create::CreateDatabase,
        database_create::Request { database: database() }, Some(ServiceState::Running), Some(ServiceState::Running),
        inside: (Inside::DatabaseToBeMade, Inside::Both);
    database_create_in_a_cluster_of_two CreateDatabaseOfTwo: database_create::CreateDatabase => database_create::CreateDatabase,
        database_create::Request { database: database() }, Some(ServiceState::Running), Some(ServiceState::Running), two: true,
        inside: (Inside::DatabaseToBeMade, Inside::Both);
    database_quarantine_ QuarantineDatabase: database_quarantine::QuarantineDatabase => database_quarantine::QuarantineDatabase,
        database_quarantine::Request { database: database() }, Some(ServiceState::Running), Some(ServiceState::Running),
        inside: (Inside::OtherPasswords, Inside::OtherPasswords);
    database_delete_ DeleteDatabase: database_delete::DeleteDatabase => database_delete::DeleteDatabase,
        database_delete::Request { database: database() }, Some(ServiceState::Running), Some(ServiceState::Running),
        inside: (Inside::Both, Inside::Nothing);
    credential_create_ CreateCredential: credential_create::CreateCredential => credential_create::CreateCredential,
        credential_create::Request { credential: reader() }, Some(ServiceState::Running), Some(ServiceState::Running),
        inside: (Inside::CredentialToBeMade, Inside::Both);
    credential_reset_password_ ResetPassword: credential_reset_password::ResetPassword => credential_reset_password::ResetPassword,
        credential_reset_password::Request { credential: reader() }, Some(ServiceState::Running), Some(ServiceState::Running),
        inside: (Inside::AnotherForTheReader, Inside::AnotherForTheReader);
    credential_delete_ DeleteCredential: credential_delete::DeleteCredential => credential_delete::DeleteCredential,
        credential_delete::Request { credential: reader() }, Some(ServiceState::Running), Some(ServiceState::Running),
        inside: (Inside::Both, Inside::WithoutAReader);
    provision_with_a_public_address ProvisionOffered: provision::Provision => provision::Provision,
        provision::Request { verifier: Some(SecretId::from_bits(SECRET)) }, None, Some(ServiceState::Running), offered: offered();
    set_public_address_ SetPublicAddress: set_public_address::SetPublicAddress => set_public_address::SetPublicAddress,
        set_public_address::Request {}, Some(ServiceState::Running), Some(ServiceState::Running), offered: offered();
    set_public_address_while_stopped SetPublicAddressWhileStopped: set_public_address::SetPublicAddress =>
        set_public_address::SetPublicAddress,
        set_public_address::Request {}, Some(ServiceState::Stopped), Some(ServiceState::Stopped), offered: offered();
    withdraw_a_public_address WithdrawPublicAddress: set_public_address::SetPublicAddress => set_public_address::SetPublicAddress,
        set_public_address::Request {}, Some(ServiceState::Running), Some(ServiceState::Running);
}

fn takeover(instances: &[Instance], to: Option<Promotable>) -> Takeover {
    Takeover {
        from: instances.first().map_or(InstanceId::from_bits(0), |instance| instance.id.clone()),
        to: to.unwrap_or(Promotable { instance: InstanceId::from_bits(0), incarnation: 0 }),
    }
}

fn failover_request(takeover: Takeover) -> failover::Request {
    failover::Request { reason: "The primary was killed by signal 9.".into(), takeover, struck_at: None, last_position: None }
}

fn failover_on(instances: &[Instance], replication: &Replication) -> failover::Request {
    failover_request(takeover(instances, replication.promotable.clone()))
}

fn switchover_request(takeover: Takeover) -> switchover::Request {
    switchover::Request { reason: "Somebody asked for it.".into(), takeover, grace_seconds: 2, force: false }
}

fn switchover_on(instances: &[Instance], replication: &Replication) -> switchover::Request {
    switchover_request(takeover(instances, replication.promotable.clone()))
}

fn offered() -> PublicAddresses {
    PublicAddresses { address: Ipv4Addr::new(192, 0, 2, 10), ports: 20_000..=20_999, listen: Ipv4Addr::UNSPECIFIED }
}
