//! Who may depend on whom. The tables are the picture of ARCHITECTURE.md in a form that can be executed.

use super::Finding;
use super::packages::{Packages, Use};

/// What the names of our packages begin with.
const OURS: &str = "moorage-";

/// For every room the rooms it may know.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("store", &["domain"]),
    ("secrets", &["domain"]),
    ("engine", &["domain"]),
    ("engine-mariadb", &["domain", "engine"]),
    ("engine-postgresql", &["domain", "engine"]),
    ("host", &["domain"]),
    ("host-local", &["domain", "host"]),
    ("durable", &["domain", "store"]),
    ("operations", &["domain", "store", "secrets", "engine", "host", "durable"]),
    ("watchers", &["domain", "store", "secrets", "engine", "host", "durable", "operations"]),
    ("app", &["domain", "store", "secrets", "engine", "host", "durable", "operations"]),
    ("api", &["domain", "app"]),
    ("cli", &["domain"]),
    ("gateway", &["domain"]),
    ("testkit", &["domain", "store", "secrets", "engine", "host", "durable", "operations", "watchers", "app"]),
    (
        "server",
        &[
            "domain",
            "store",
            "secrets",
            "engine",
            "engine-mariadb",
            "engine-postgresql",
            "host",
            "host-local",
            "durable",
            "operations",
            "watchers",
            "app",
            "gateway",
            "api",
            "cli",
        ],
    ),
];

/// Rooms that tests may use as well, whatever the room: fakes and the contract suites.
const FOR_TESTS: &[&str] = &["testkit", "secrets", "engine", "host"];

/// The only libraries the domain may use: nothing that reads a clock, opens a file or talks to a network.
const DOMAIN_LIBRARIES: &[&str] = &["serde", "serde_json", "thiserror", "ipnet", "jiff", "deunicode"];

/// What the domain must not even reach through somebody else.
const NEVER_IN_DOMAIN: &[&str] = &["tokio", "sqlx", "axum", "reqwest", "rustls", "rustix"];

/// Heavy libraries, the rooms they live in, and why. Tests may use them anywhere.
const HOMES: &[(&str, &[&str], &str)] = &[
    ("rtnetlink", &["host-local"], "who changes this machine's network is one room"),
    ("opentelemetry_sdk", &["server"], "spans leave through the composition root; everybody else says them with tracing"),
    ("anyhow", &["server", "cli", "xtask"], "libraries name their errors with thiserror"),
    ("axum", &["api", "server"], "HTTP is an adapter"),
    ("clap", &["cli", "server", "xtask"], "command lines are an adapter"),
    ("mysql_async", &["engine-mariadb", "xtask"], "only this room and the clients of a bench talk to MariaDB"),
    ("rcgen", &["secrets"], "only this room issues certificates"),
    ("reqwest", &["cli", "xtask"], "only the client commands and the benches call an HTTP API"),
    ("sqlx", &["store"], "SQL of our own is in the store"),
    ("tokio-postgres", &["engine-postgresql", "xtask"], "only this room and the clients of a bench talk to PostgreSQL"),
    ("tokio-rustls", &["gateway", "api", "server"], "TLS ends where connections arrive"),
    ("tracing-subscriber", &["server"], "the composition root decides where logs go"),
];

/// Rooms know only the rooms they may.
pub fn rooms(packages: &Packages) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in &packages.members {
        let Some(room) = member.name.strip_prefix(OURS) else { continue };
        let Some((_, may)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            findings
                .push(Finding::error(&member.manifest, format!("the room '{room}' is not in the table of rooms; decide what it may know")));
            continue;
        };
        for (used, how) in &member.uses {
            let Some(other) = used.strip_prefix(OURS) else { continue };
            let in_tests = *how == Use::Test && (FOR_TESTS.contains(&other) || room == "server" || builds_app(may, other));
            if !may.contains(&other) && !in_tests {
                let only = if *how == Use::Test { " even in tests" } else { "" };
                findings.push(Finding::error(&member.manifest, format!("{room} must not know {other}{only}; it may know {}", listed(may))));
            }
        }
    }
    findings
}

/// Heavy libraries are named only by the rooms they live in.
pub fn libraries(packages: &Packages) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in &packages.members {
        let room = member.name.strip_prefix(OURS).unwrap_or(&member.name);
        for (used, how) in &member.uses {
            let Some((_, homes, reason)) = HOMES.iter().find(|(library, ..)| library == used) else { continue };
            if *how == Use::Normal && !homes.contains(&room) {
                findings.push(Finding::error(
                    &member.manifest,
                    format!("{room} must not use {used}, which lives in {}: {reason}", listed(homes)),
                ));
            }
        }
    }
    findings
}

/// The domain uses nothing but a handful of pure libraries, and reaches nothing else through them.
pub fn purity(packages: &Packages) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = format!("{OURS}domain");
    let Some(domain) = packages.members.iter().find(|member| member.name == name) else {
        return vec![Finding::error("crates/domain", "there is no domain")];
    };
    for (used, how) in &domain.uses {
        if *how == Use::Normal && !DOMAIN_LIBRARIES.contains(&used.as_str()) {
            findings
                .push(Finding::error(&domain.manifest, format!("the domain must not use {used}; it may use {}", listed(DOMAIN_LIBRARIES))));
        }
    }
    for banned in NEVER_IN_DOMAIN {
        if let Some(way) = packages.way(&name, banned) {
            findings.push(Finding::error(&domain.manifest, format!("the domain reaches {banned}: {}", way.join(" -> "))));
        }
    }
    findings
}

/// Who stands in front of the app may put one together in tests.
fn builds_app(may: &[&str], other: &str) -> bool {
    may.contains(&"app") && ROOMS.iter().any(|(name, parts)| *name == "app" && parts.contains(&other))
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::super::packages::Member;
    use super::*;

    fn packages(members: &[(&str, &[(&str, Use)])]) -> Packages {
        let mut packages = Packages::default();
        for (name, uses) in members {
            packages.graph.insert((*name).to_owned(), uses.iter().map(|(used, _)| (*used).to_owned()).collect());
            let uses = uses.iter().map(|(used, how)| ((*used).to_owned(), *how)).collect();
            packages.members.push(Member { name: (*name).to_owned(), manifest: format!("{name}/Cargo.toml"), uses, ..Member::default() });
        }
        packages
    }

    #[test]
    fn a_room_that_knows_a_room_it_may_not_is_found() {
        let bad = rooms(&packages(&[("moorage-gateway", &[("moorage-domain", Use::Normal), ("moorage-store", Use::Normal)])]));
        assert_eq!(bad.len(), 1);
        assert!(bad[0].sentence.contains("gateway must not know store"), "{bad:?}");
        assert!(rooms(&packages(&[("moorage-gateway", &[("moorage-domain", Use::Normal)])])).is_empty());
    }

    #[test]
    fn a_room_that_is_not_in_the_table_is_found() {
        assert_eq!(rooms(&packages(&[("moorage-helpers", &[])])).len(), 1);
    }

    #[test]
    fn fakes_are_for_tests_only() {
        assert!(rooms(&packages(&[("moorage-app", &[("moorage-testkit", Use::Test)])])).is_empty());
        assert_eq!(rooms(&packages(&[("moorage-server", &[("moorage-testkit", Use::Normal)])])).len(), 1);
        assert_eq!(rooms(&packages(&[("moorage-app", &[("moorage-api", Use::Test)])])).len(), 1);
    }

    #[test]
    fn who_stands_in_front_of_the_app_may_put_one_together_in_tests_only() {
        assert!(rooms(&packages(&[("moorage-api", &[("moorage-store", Use::Test)])])).is_empty());
        assert_eq!(rooms(&packages(&[("moorage-api", &[("moorage-store", Use::Normal)])])).len(), 1);
        assert_eq!(rooms(&packages(&[("moorage-gateway", &[("moorage-store", Use::Test)])])).len(), 1);
    }

    #[test]
    fn a_heavy_library_away_from_home_is_found() {
        let bad = libraries(&packages(&[("moorage-app", &[("sqlx", Use::Normal)])]));
        assert!(bad[0].sentence.contains("app must not use sqlx"), "{bad:?}");
        assert!(libraries(&packages(&[("moorage-store", &[("sqlx", Use::Normal)]), ("moorage-cli", &[("axum", Use::Test)])])).is_empty());
    }

    #[test]
    fn a_domain_that_reaches_a_runtime_is_found_with_the_way_there() {
        let direct = purity(&packages(&[("moorage-domain", &[("uuid", Use::Normal)])]));
        assert!(direct[0].sentence.contains("must not use uuid"), "{direct:?}");
        let far = purity(&packages(&[("moorage-domain", &[("serde", Use::Normal)]), ("serde", &[("tokio", Use::Normal)])]));
        assert!(far[0].sentence.contains("moorage-domain -> serde -> tokio"), "{far:?}");
        assert!(purity(&packages(&[("moorage-domain", &[("serde", Use::Normal), ("proptest", Use::Test)])])).is_empty());
    }

    #[test]
    fn no_room_is_allowed_to_know_itself_or_a_room_that_does_not_exist() {
        for (room, may) in ROOMS {
            assert!(!may.contains(room), "{room}");
            for other in *may {
                assert!(ROOMS.iter().any(|(name, _)| name == other), "{room} may know {other}, which is not a room");
            }
        }
    }
}
