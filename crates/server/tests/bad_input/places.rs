//! Paths, methods, identifiers, pages, and states.

use crate::answers::{MARIADB, POSTGRESQL, bearer, native_error, signed, untouched, vendor_error};
use crate::support::{Installation, kill, processes_in};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn what_is_not_there_is_not_found_and_what_cannot_be_now_is_refused() {
    let installation = Installation::start();
    let good = installation.create("mariadb", "good");
    let own = format!("/v1/clusters/{}", good.id);
    let before = installation.inventory();
    let unknown = "0".repeat(32);
    let not_found = "Dbaas.NotFound.Cluster";
    for id in [unknown.as_str(), "x", "%00", "..%2F..%2Fetc%2Fpasswd", "%ff%fe", "good", "GOOD", "1%27%20OR%201=1", &"9".repeat(3000)] {
        let path = format!("/v1/clusters/{id}");
        for (method, path) in [
            ("GET", path.clone()),
            ("DELETE", path.clone()),
            ("POST", format!("{path}/start")),
            ("POST", format!("{path}/stop")),
            ("POST", format!("{path}/restart")),
        ] {
            vendor_error(&signed(&installation, MARIADB, method, &path, None), 404, not_found);
        }
        let rules = Some(json!({"add_ip_addresses": ["10.0.0.1"]}));
        vendor_error(&signed(&installation, MARIADB, "POST", &format!("{path}/security-group-rules"), rules), 404, not_found);
        vendor_error(
            &signed(&installation, MARIADB, "GET", &format!("/v1/requests/{id}"), None),
            400,
            "Dbaas.ValidationError.InvalidRequestId",
        );
        vendor_error(
            &signed(&installation, MARIADB, "GET", &format!("/v1/engine-versions/{id}/properties"), None),
            404,
            "Dbaas.NotFound.EngineVersion",
        );
    }
    // A request id that looks right, and one whose operation is another engine's or nobody's.
    for id in ["req-00000000-0000-0000-0000-000000000000", "req-", "req-x"] {
        vendor_error(
            &signed(&installation, MARIADB, "GET", &format!("/v1/requests/{id}"), None),
            400,
            "Dbaas.ValidationError.InvalidRequestId",
        );
    }
    // Under another engine's name the cluster is not there (decisions 20).
    for (version, path) in [(POSTGRESQL, own.clone()), (MARIADB, format!("/postgresql{own}"))] {
        for (method, path) in [("GET", path.clone()), ("DELETE", path.clone()), ("POST", format!("{path}/stop"))] {
            vendor_error(&signed(&installation, version, method, &path, None), 404, not_found);
        }
    }
    for (method, path, status, code) in [
        ("GET", "/v1", 404, "Dbaas.NotFound.Path"),
        ("GET", "/v1/", 404, "Dbaas.NotFound.Path"),
        ("GET", "/v2/clusters", 404, "Dbaas.NotFound.Path"),
        ("GET", "/mysql/v1/clusters", 404, "Dbaas.NotFound.Path"),
        ("GET", "/v1/clusters/", 404, "Dbaas.NotFound.Path"),
        ("GET", "/v1//clusters", 404, "Dbaas.NotFound.Path"),
        ("GET", "//v1/clusters", 404, "Dbaas.NotFound.Path"),
        ("GET", "/v1%2Fclusters", 404, "Dbaas.NotFound.Path"),
        ("GET", "/V1/Clusters", 404, "Dbaas.NotFound.Path"),
        ("PUT", "/v1/clusters", 405, "Dbaas.MethodNotAllowed"),
        ("PATCH", "/v1/clusters", 405, "Dbaas.MethodNotAllowed"),
        ("DELETE", "/v1/clusters", 405, "Dbaas.MethodNotAllowed"),
        ("TRACE", "/v1/clusters", 405, "Dbaas.MethodNotAllowed"),
        ("BREW", "/v1/clusters", 405, "Dbaas.MethodNotAllowed"),
        ("GET", "/v1/clusters/x/start", 405, "Dbaas.MethodNotAllowed"),
        ("POST", "/v1/requests/x", 405, "Dbaas.MethodNotAllowed"),
        ("POST", "/", 405, "Dbaas.MethodNotAllowed"),
    ] {
        let reply = signed(&installation, MARIADB, method, path, None);
        let (_, text) = vendor_error(&reply, status, code);
        assert!(text.contains(path.split('/').next_back().unwrap_or_default()), "{text}");
    }
    // Dots are not walked, slashes are not joined: a request goes where it says or nowhere.
    let token = installation.bootstrap()["token"].as_str().expect("a token").to_owned();
    for target in [
        "/x/../v1/clusters",
        "/v1/clusters/../clusters",
        "//v1/clusters",
        "/moorage/../v1/clusters",
        "/v1/./clusters",
        "/v1/clusters;x=1",
        "/v1/clusters%3Fsize=1",
    ] {
        let reply = installation
            .raw(format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(reply.starts_with("HTTP/1.1 404"), "{target}: {reply}");
    }
    // Native paths speak their own dialect.
    for (method, path, status, code) in [
        ("GET", "/moorage/v1/nothing", 404, "path-not-found"),
        ("GET", "/moorage", 404, "path-not-found"),
        ("PUT", "/moorage/v1/clusters", 405, "method-not-allowed"),
        ("GET", "/moorage/v1/clusters/nobody", 404, "cluster-not-found"),
        ("DELETE", "/moorage/v1/clusters/%00", 404, "cluster-not-found"),
        ("GET", "/moorage/v1/operations/nobody", 404, "operation-not-found"),
        ("POST", "/moorage/v1/operations/nobody/cancel", 404, "operation-not-found"),
        ("POST", "/moorage/v1/operations/nobody/abandon", 404, "operation-not-found"),
        ("GET", "/moorage/v1/clusters?limit=0", 400, "invalid-request"),
        ("GET", "/moorage/v1/clusters?limit=1001", 400, "invalid-request"),
        ("GET", "/moorage/v1/clusters?cursor=x", 400, "invalid-request"),
        ("GET", "/moorage/v1/clusters?state=happy", 400, "invalid-request"),
        ("GET", "/moorage/v1/clusters?engine=oracle", 400, "invalid-request"),
        ("GET", "/moorage/v1/operations?status=sad", 400, "invalid-request"),
    ] {
        native_error(&installation.exchange(method, path, &bearer(&installation), None), status, code);
    }
    // Pages, sorts and filters.
    for query in [
        "size=-1",
        "size=1001",
        "size=x",
        "size=1.5",
        "size=99999999999999999999999",
        "size=%2B5",
        "page=-1",
        "page=x",
        "page=2147483648",
        "page=%00",
        "sort=name",
        "sort=name:up",
        "sort=id:asc",
        "sort=name:asc,created_at:asc",
        "sort=name%3Aasc%3B%20DROP",
    ] {
        let reply = signed(&installation, MARIADB, "GET", &format!("/v1/clusters?{query}"), None);
        let (_, text) = vendor_error(&reply, 400, "ValidationError");
        assert!(text.starts_with(query.split('=').next().expect("a key")), "{query}: {text}");
    }
    let (status, far) = installation.scp(MARIADB, "GET", "/v1/clusters?page=2147483647&size=1000&sort=created_at:desc", None);
    assert_eq!((status, far["contents"].as_array().map(Vec::len)), (200, Some(0)), "{far}");
    for query in ["product_image_type=Oracle", "eos_included=perhaps"] {
        vendor_error(&signed(&installation, MARIADB, "GET", &format!("/v1/engine-versions?{query}"), None), 400, "ValidationError");
    }
    let long = format!("/v1/clusters?name={}", "x".repeat(12_000));
    assert_eq!(signed(&installation, MARIADB, "GET", &long, None).status, 200);
    let endless = format!("/v1/clusters?name={}", "x".repeat(60_000));
    let status = signed(&installation, MARIADB, "GET", &endless, None).status;
    assert!((400..500).contains(&status), "{status}");
    // Services and versions nobody speaks here.
    for version in ["mariadb 1.2", "mysql 1.1", "mariadb", "mariadb 1.1 beta", "1.1", "mariadb one"] {
        let reply = signed(&installation, version, "GET", &own, None);
        if version == "mariadb" {
            assert_eq!(reply.status, 200, "a service without a version means its newest: {}", reply.body);
        } else {
            let (_, text) = vendor_error(&reply, 400, "ValidationError");
            assert!(text.contains("Supported are"), "{text}");
        }
    }
    // Rules that change nothing or cannot be.
    let rules = format!("{own}/security-group-rules");
    for wrong in [
        json!({"add_ip_addresses": ["10.0.0.1/8"]}),
        json!({"add_ip_addresses": ["::/129"]}),
        json!({"add_ip_addresses": ["10.0.0.1", "10.0.0.1"]}),
        json!({"add_ip_addresses": "10.0.0.1"}),
        json!({"del_ip_addresses": ["10.9.9.9"]}),
        json!({"add": ["10.0.0.1"]}),
    ] {
        vendor_error(&signed(&installation, MARIADB, "POST", &rules, Some(wrong)), 400, "ValidationError");
    }
    untouched(&installation, &before, &[&good]);

    // In the wrong state.
    let wrong_state = |method: &str, path: &str| {
        let body = path.ends_with("rules").then(|| json!({"add_ip_addresses": ["10.0.0.1"]}));
        let reply = signed(&installation, MARIADB, method, path, body);
        let (_, text) = vendor_error(&reply, 400, "Dbaas.ValidationError.InvalidServiceState");
        assert!(text.starts_with("Invalid service state."), "{text}");
        text
    };
    let (start, stop, restart) = (format!("{own}/start"), format!("{own}/stop"), format!("{own}/restart"));
    assert!(wrong_state("POST", &start).contains("RUNNING"));
    untouched(&installation, &before, &[&good]);
    let ends = |accepted: &Value| {
        let request = accepted["request_id"].as_str().expect("a request").to_owned();
        installation.until(Duration::from_secs(60), "the request ends", |this| {
            let (status, state) = this.scp(MARIADB, "GET", &format!("/v1/requests/{request}"), None);
            assert_eq!(status, 200, "{state}");
            (state["state"] != "PROCESSING").then(|| state["state"].clone())
        })
    };
    let state = || installation.scp(MARIADB, "GET", &own, None).1["service_state"].clone();
    for (path, passing, then) in [(&stop, "STOPPING", "STOPPED"), (&start, "STARTING", "RUNNING"), (&restart, "RESTARTING", "RUNNING")] {
        // A paused engine does not stop before everything was tried. A start cannot be held up like that: only what is refused before
        // and after it is tried beside it.
        let paused: Vec<u32> = installation.instance_directories().iter().flat_map(|of| processes_in(&of.join("volume"))).collect();
        paused.iter().for_each(|pid| kill(*pid, 19));
        assert_eq!(paused.is_empty(), passing == "STARTING", "{paused:?}");
        let (status, accepted) = installation.scp(MARIADB, "POST", path, None);
        assert_eq!(status, 202, "{accepted}");
        if !paused.is_empty() {
            assert_eq!(state(), passing, "right after the 202");
            for other in [&stop, &restart, &rules] {
                wrong_state("POST", other);
            }
            wrong_state("DELETE", &own);
        }
        wrong_state("POST", &start);
        paused.iter().for_each(|pid| kill(*pid, 18));
        assert_eq!(ends(&accepted), "SUCCESS");
        assert_eq!(state(), then);
        if then == "STOPPED" {
            wrong_state("POST", &stop);
            wrong_state("POST", &restart);
        }
    }
    let (status, accepted) = installation.scp(MARIADB, "POST", &rules, Some(json!({"add_ip_addresses": ["127.0.0.0/8"]})));
    assert_eq!(status, 202, "{accepted}");
    let (now, request) = (state(), accepted["request_id"].as_str().expect("a request"));
    let done = || installation.scp(MARIADB, "GET", &format!("/v1/requests/{request}"), None).1["state"] == "SUCCESS";
    assert!(now == "EDITING" || done(), "{now} right after the 202");
    assert_eq!(ends(&accepted), "SUCCESS");
    assert_eq!(good.sql("SELECT 1"), Ok("1".into()));
    let (status, accepted) = installation.scp(MARIADB, "DELETE", &own, None);
    assert_eq!(status, 202, "{accepted}");
    for _ in 0..20 {
        match installation.scp(MARIADB, "GET", &own, None) {
            (404, _) => break,
            (_, shown) => assert_eq!(shown["service_state"], "TERMINATING", "right after the 202"),
        }
    }
    assert_eq!(ends(&accepted), "SUCCESS");
    vendor_error(&signed(&installation, MARIADB, "DELETE", &own, None), 404, not_found);
}
