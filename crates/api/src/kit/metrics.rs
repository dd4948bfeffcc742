//! `/metrics`: the installation in figures, as Prometheus and OpenMetrics read them.

use super::Kit;
use super::refusal::Answer;
use crate::native::auth::Credential;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, header};
use moorage_app::Metrics;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCluster {
    cluster: String,
    name: String,
    project: String,
    engine: &'static str,
    version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    cluster: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InRole {
    cluster: String,
    instance: String,
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithStatus {
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    kind: String,
    status: String,
}

/// Open to this machine where only this machine can ask; else for users of the installation's own project.
pub(crate) async fn figures(State(kit): State<Kit>, headers: HeaderMap) -> Answer {
    let anonymous = !headers.contains_key(header::AUTHORIZATION);
    let metrics = if anonymous && kit.options.open_metrics && is_from_here(&headers) {
        kit.app.metrics(None).await?
    } else {
        let actor = Credential::read(&headers)?.check(&kit).await?;
        kit.app.metrics(Some(&actor)).await?
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], render(&metrics, process())).into_response())
}

/// Whether a request that arrived on a loopback address was made there: not passed on by a proxy, and for a name that only this
/// machine answers to (a page in a browser can be made to ask under another).
fn is_from_here(headers: &HeaderMap) -> bool {
    let passed_on = ["forwarded", "x-forwarded-for", "x-forwarded-host", "via"].iter().any(|name| headers.contains_key(*name));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    !passed_on && (name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()))
}

/// This process: resident bytes and seconds of processor time.
fn process() -> Option<(i64, f64)> {
    const PAGE: i64 = 4096;
    const TICKS: f64 = 100.0;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident = statm.split(' ').nth(1)?.parse::<i64>().ok()? * PAGE;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?);
    Some((resident, (user + system) / TICKS))
}

fn render(metrics: &Metrics, process: Option<(i64, f64)>) -> String {
    let mut registry = Registry::with_prefix("moorage");
    registry.register("build", "The program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
    let up = Family::<OfCluster, Gauge>::default();
    let wanted = Family::<OfCluster, Gauge>::default();
    let state = Family::<InState, Gauge>::default();
    let restarts = Family::<OfCluster, Counter>::default();
    let used = Family::<OfCluster, Gauge>::default();
    let size = Family::<OfCluster, Gauge>::default();
    let full = Family::<OfCluster, Gauge>::default();
    let connections = Family::<OfCluster, Gauge>::default();
    let refused = Family::<OfCluster, Counter>::default();
    let held = Family::<OfCluster, Gauge>::default();
    let term = Family::<OfCluster, Gauge>::default();
    let role = Family::<InRole, Gauge>::default();
    let in_sync = Family::<OfCluster, Gauge>::default();
    let lag = Family::<OfCluster, Gauge<f64, AtomicU64>>::default();
    let failovers = Family::<OfCluster, Counter>::default();
    let switchovers = Family::<OfCluster, Counter>::default();
    for figures in &metrics.clusters {
        let row = &figures.cluster;
        let labels = OfCluster {
            cluster: row.id.to_string(),
            name: row.name.clone(),
            project: figures.project.clone(),
            engine: row.engine.as_str(),
            version: row.version.to_string(),
        };
        up.get_or_create(&labels).set(figures.up.into());
        wanted.get_or_create(&labels).set(figures.wanted.into());
        state.get_or_create(&InState { cluster: row.id.to_string(), state: row.state.as_str() }).set(1);
        restarts.get_or_create(&labels).inc_by(figures.restarts.into());
        if let Some(bytes) = figures.volume_used_bytes {
            used.get_or_create(&labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        size.get_or_create(&labels).set(i64::from(row.spec.data_size_gb()) << 30);
        full.get_or_create(&labels).set(figures.volume_full.into());
        if let Some(traffic) = figures.traffic {
            connections.get_or_create(&labels).set(traffic.connections.into());
            refused.get_or_create(&labels).inc_by(traffic.refused);
            held.get_or_create(&labels).set(traffic.held.into());
        }
        term.get_or_create(&labels).set(i64::try_from(row.term).unwrap_or(i64::MAX));
        let Some(pair) = &figures.pair else { continue };
        for (instance, known) in pair.instances.iter().zip(["primary", "standby"]) {
            role.get_or_create(&InRole { cluster: row.id.to_string(), instance: instance.clone(), role: known }).set(1);
        }
        in_sync.get_or_create(&labels).set(pair.standby_in_sync.into());
        if let Some(behind) = pair.lag {
            lag.get_or_create(&labels).set(behind.as_secs_f64());
        }
        failovers.get_or_create(&labels).inc_by(pair.failovers);
        switchovers.get_or_create(&labels).inc_by(pair.switchovers);
    }
    registry.register("cluster_up", "Whether the cluster is RUNNING", up);
    registry.register("cluster_wanted", "Whether the cluster is meant to serve", wanted);
    registry.register("cluster_state", "The state users see", state);
    registry.register("cluster_engine_restarts", "Restarts of the engine that nobody asked for", restarts);
    registry.register_with_unit("cluster_volume_used", "What its data takes on disk, looked at every minute", Unit::Bytes, used);
    registry.register_with_unit("cluster_volume_size", "The size of its data volume as wished", Unit::Bytes, size);
    registry.register("cluster_volume_full", "Whether its volume has reached its ceiling", full);
    registry.register("cluster_connections", "Open connections of users", connections);
    registry.register("cluster_refused_connections", "Connections refused because of the allow-list", refused);
    registry.register("cluster_held_connections", "Connections that wait for another primary", held);
    registry.register("cluster_term", "Grows with each failover and each switchover", term);
    registry.register("instance_role", "Which of a cluster's instances writes", role);
    registry.register("cluster_standby_in_sync", "Whether the standby has everything that was acknowledged", in_sync);
    registry.register_with_unit("cluster_standby_lag", "How far what the standby has applied is behind", Unit::Seconds, lag);
    registry.register("cluster_failovers", "How often the standby took over at once", failovers);
    registry.register("cluster_switchovers", "How often primary and standby changed places as planned", switchovers);
    let operations = Family::<WithStatus, Gauge>::default();
    // Zero is a figure too: an alert on operations that need an operator has something to compare with.
    for status in ["queued", "running", "cleaning-up", "needs-operator"] {
        let count = metrics.operations.iter().find(|(known, _)| known == status).map_or(0, |(_, count)| *count);
        operations.get_or_create(&WithStatus { status: status.to_owned() }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("operations_unfinished", "Operations that have not ended", operations);
    let ended = Family::<Ended, Counter>::default();
    for (kind, status, count) in &metrics.ended {
        ended.get_or_create(&Ended { kind: kind.clone(), status: status.clone() }).inc_by(*count);
    }
    registry.register("operations_ended", "Operations of the whole installation that have ended, by kind and how", ended);
    let gateway = Gauge::<i64>::default();
    gateway.set(metrics.gateway_up.into());
    registry.register("gateway_up", "Whether the gateway answers", gateway);
    if let Some((resident, seconds)) = process {
        let memory = Gauge::<i64>::default();
        memory.set(resident);
        registry.register_with_unit("serve_resident_memory", "Memory of this process", Unit::Bytes, memory);
        let processor = Counter::<f64, AtomicU64>::default();
        processor.inc_by(seconds);
        registry.register_with_unit("serve_cpu", "Processor time of this process", Unit::Seconds, processor);
    }
    let mut body = String::new();
    // Writing into a text cannot fail.
    let _ = text::encode(&mut body, &registry);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_there_is_said_in_figures_too() {
        let metrics = Metrics {
            clusters: Vec::new(),
            operations: vec![("running".into(), 2)],
            ended: vec![("cluster.stop".into(), "failed".into(), 3)],
            gateway_up: false,
        };
        let body = render(&metrics, Some((4096, 1.5)));
        for line in [
            "moorage_operations_ended_total{kind=\"cluster.stop\",status=\"failed\"} 3",
            "moorage_operations_unfinished{status=\"running\"} 2",
            "moorage_operations_unfinished{status=\"needs-operator\"} 0",
            "moorage_gateway_up 0",
            "moorage_serve_resident_memory_bytes 4096",
            "moorage_serve_cpu_seconds_total 1.5",
        ] {
            assert!(body.lines().any(|found| found == line), "{line}:\n{body}");
        }
        assert!(body.ends_with("# EOF\n"));
    }

    #[test]
    fn only_what_was_asked_on_this_machine_itself_is_open() {
        let headers = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().expect("a value"))).collect::<HeaderMap>()
        };
        for here in ["127.0.0.1:8440", "localhost:8440", "localhost", "[::1]:8440"] {
            assert!(is_from_here(&headers(&[("host", here)])), "{here}");
        }
        for elsewhere in [&[("host", "db.example.org")][..], &[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")], &[]] {
            assert!(!is_from_here(&headers(elsewhere)), "{elsewhere:?}");
        }
    }

    #[test]
    fn this_process_has_figures() {
        assert!(process().is_some_and(|(resident, _)| resident > 1 << 20));
    }
}
