//! Kinds, step names and fields of requests and states are a wire format: rows of older builds contain them. What disappears
//! from the recorded form needs a migration; what is new is recorded with `BLESS=1`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use moorage_domain::cluster::MaintenanceWindow;
use moorage_domain::replication::Promotable;
use moorage_domain::{CredentialId, DatabaseId, InstanceId, SecretId, Timestamp};
use moorage_durable::harness::wire_format;
use moorage_operations::takeover::Takeover;
use moorage_operations::{
    credential_create, credential_delete, credential_reset_password, database_create, database_delete, database_quarantine, failover,
    provision, recover, rejoin, renew_certificate, restart, rolling_restart, set_allow_list, set_maintenance, set_owner_password,
    set_public_address, standby, start, stop, switchover, synchronize_parameters, synchronize_state, terminate,
};

#[test]
fn operations_are_stored_as_older_builds_stored_them() {
    let engine_state = start::State { started_at: Some(Timestamp(1)), log_end: Some((7, Timestamp(1))) };
    let following = standby::State {
        rewound: true,
        needs_copy: true,
        copied: true,
        fenced: true,
        started_at: Some(Timestamp(1)),
        follows_since: Some(Timestamp(2)),
        progress: "0/42".into(),
        strict: true,
    };
    let to = Promotable { instance: InstanceId::from_bits(2), incarnation: 3 };
    let takeover = Takeover { from: InstanceId::from_bits(1), to };
    let now = [
        wire_format::<provision::Provision>(
            &provision::Request { verifier: Some(SecretId::from_bits(1)) },
            &provision::State {
                unusable: vec!["127.64.0.10".parse().expect("an address")],
                unusable_public_ports: vec![20_000],
                volume_asked_at: Some(Timestamp(1)),
                started_at: Some(Timestamp(2)),
                standby: following.clone(),
            },
        ),
        wire_format::<start::Start>(&start::Request {}, &engine_state),
        wire_format::<stop::Stop>(&stop::Request {}, &stop::State {}),
        wire_format::<restart::Restart>(&restart::Request {}, &engine_state),
        wire_format::<rolling_restart::RollingRestart>(
            &rolling_restart::Request {},
            &rolling_restart::State {
                standby: following.clone(),
                takeover: Some(takeover.clone()),
                behind_since: Some(Timestamp(4)),
                held_at: Some(Timestamp(3)),
                drained_at: Some(Timestamp(5)),
                returned_at: Some(Timestamp(4)),
            },
        ),
        wire_format::<recover::Recover>(&recover::Request { reason: Some("it died".into()) }, &engine_state),
        wire_format::<failover::Failover>(
            &failover::Request {
                reason: "it died".into(),
                takeover: takeover.clone(),
                struck_at: Some(Timestamp(5)),
                last_position: Some(("0-1-7".into(), Timestamp(6))),
            },
            &failover::State { returned_at: Some(Timestamp(1)) },
        ),
        wire_format::<switchover::Switchover>(
            &switchover::Request { reason: "it was asked for".into(), takeover, grace_seconds: 10, force: false },
            &switchover::State {
                behind_since: Some(Timestamp(4)),
                held_at: Some(Timestamp(1)),
                drained_at: Some(Timestamp(3)),
                returned_at: Some(Timestamp(2)),
            },
        ),
        wire_format::<rejoin::Rejoin>(&rejoin::Request { reason: "it died".into(), hangs: true }, &following),
        wire_format::<terminate::Terminate>(&terminate::Request {}, &terminate::State {}),
        wire_format::<set_allow_list::SetAllowList>(
            &set_allow_list::Request { allow_list: vec!["192.0.2.0/24".into()] },
            &set_allow_list::State {},
        ),
        wire_format::<synchronize_state::SynchronizeState>(&synchronize_state::Request {}, &synchronize_state::State {}),
        wire_format::<synchronize_parameters::SynchronizeParameters>(
            &synchronize_parameters::Request {},
            &synchronize_parameters::State {},
        ),
        wire_format::<set_maintenance::SetMaintenance>(
            &set_maintenance::Request {
                window: Some(MaintenanceWindow {
                    starting_day_of_week: Some("MON".into()),
                    starting_time: Some("0300".into()),
                    period_hour: Some("0.5".into()),
                }),
            },
            &set_maintenance::State {},
        ),
        wire_format::<set_owner_password::SetOwnerPassword>(
            &set_owner_password::Request { verifier: Some(SecretId::from_bits(1)) },
            &set_owner_password::State {},
        ),
        wire_format::<renew_certificate::RenewCertificate>(&renew_certificate::Request {}, &renew_certificate::State {}),
        wire_format::<set_public_address::SetPublicAddress>(
            &set_public_address::Request {},
            &set_public_address::State { unusable: vec![20_000] },
        ),
        wire_format::<database_create::CreateDatabase>(
            &database_create::Request { database: DatabaseId::from_bits(1) },
            &database_create::State {},
        ),
        wire_format::<database_quarantine::QuarantineDatabase>(
            &database_quarantine::Request { database: DatabaseId::from_bits(1) },
            &database_quarantine::State {},
        ),
        wire_format::<database_delete::DeleteDatabase>(
            &database_delete::Request { database: DatabaseId::from_bits(1) },
            &database_delete::State {},
        ),
        wire_format::<credential_create::CreateCredential>(
            &credential_create::Request { credential: CredentialId::from_bits(1) },
            &credential_create::State {},
        ),
        wire_format::<credential_reset_password::ResetPassword>(
            &credential_reset_password::Request { credential: CredentialId::from_bits(1) },
            &credential_reset_password::State {},
        ),
        wire_format::<credential_delete::DeleteCredential>(
            &credential_delete::Request { credential: CredentialId::from_bits(1) },
            &credential_delete::State {},
        ),
    ]
    .join("\n");
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire_format.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(recorded, &now).expect("recorded");
    }
    assert_eq!(now, std::fs::read_to_string(recorded).expect("a recorded form"));
}
