//! Turning causes into problems: the cause is logged here, once, and users get the public part.

use moorage_domain::{Problem, ProblemCode};
use moorage_host::HostError;
use moorage_store::StoreError;

/// Public problem of a store failure.
pub(crate) fn store(error: StoreError) -> Problem {
    match &error {
        StoreError::Taken { what: "cluster_name" } => {
            Problem::new(ProblemCode::NameTaken, "A cluster of that name already exists.").hint("Choose another name.").field("name")
        }
        StoreError::Taken { what: "account_name" } => {
            Problem::new(ProblemCode::NameTaken, "A user of that name already exists.").hint("Choose another name.").field("name")
        }
        StoreError::Taken { what: "project_name" } => {
            Problem::new(ProblemCode::NameTaken, "A project of that name already exists.").hint("Choose another name.").field("name")
        }
        StoreError::Taken { what: "allocation_name" } => {
            Problem::new(ProblemCode::NameTaken, "A database of that name already exists in the environment.")
                .hint("Choose another name.")
                .field("name")
        }
        StoreError::Taken { what: what @ ("environment_name" | "plan_name" | "team_name" | "application_name") } => {
            let noun = what.trim_end_matches("_name");
            let noun = if noun == "application" || noun == "environment" { format!("An {noun}") } else { format!("A {noun}") };
            Problem::new(ProblemCode::NameTaken, format!("{noun} of that name already exists.")).hint("Choose another name.").field("name")
        }
        StoreError::Taken { what: "database_name" } => {
            Problem::new(ProblemCode::NameTaken, "A database of that name already exists in the cluster.")
                .hint("Choose another name.")
                .field("name")
        }
        StoreError::Taken { what: "credential_user_name" } => {
            Problem::new(ProblemCode::NameTaken, "An account of that name already exists in the cluster.")
                .hint("Accounts of all databases of a cluster have different names. Choose another one.")
                .field("user")
        }
        StoreError::TooNew { found, known } => {
            Problem::new(ProblemCode::StoreTooNew, format!("The store has schema version {found}, this program knows {known}."))
                .hint("Start the newer program that wrote it.")
        }
        StoreError::Unavailable { .. } => {
            tracing::warn!(cause = chain(&error), "the store does not answer");
            Problem::new(ProblemCode::StoreUnavailable, "The store of the control plane does not answer at the moment.")
                .hint("Try again in a minute, and look first whether the change was made. Databases keep serving meanwhile.")
        }
        StoreError::Full { .. } => {
            tracing::error!(%error, "the disk under the store is full");
            Problem::new(ProblemCode::NotEnoughSpace, "The disk of the control plane is full; nothing was changed.")
                .hint("Free space on the file system of the data directory, then try again. Databases keep serving meanwhile.")
        }
        _ => internal(&error),
    }
}

/// Our fault: the whole chain goes to the log.
pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(cause = chain(error), "a request failed inside");
    Problem::internal()
}

/// Public problem of a host failure.
pub(crate) fn host(error: HostError) -> Problem {
    if let Some(cause) = &error.cause {
        tracing::warn!(problem = %error.problem, %cause, "the host failed");
    }
    error.problem
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        chain.push_str(": ");
        chain.push_str(&inner.to_string());
        cause = inner.source();
    }
    chain
}
