//! What tsuru asks, in its own form, over real engines.

use crate::support::{Installation, log_in};
use crate::{ask, with_shared_plans};
use serde_json::Value;
use std::process::Command;

/// As tsuru sends it: a form as the body, also of a DELETE; status and body.
fn tsuru(installation: &Installation, method: &str, path: &str, form: &[(&str, &str)]) -> (u16, String) {
    let base = installation.bootstrap()["base_url"].as_str().expect("a base URL").to_owned();
    let mut curl = Command::new("curl");
    curl.args(["-s", "-u", "admin:123456", "-H", "Accept: application/json", "-X", method, "-w", "\n%{http_code}"]);
    for (key, value) in form {
        curl.args(["--data-urlencode", &format!("{key}={value}")]);
    }
    let output = curl.arg(format!("{base}/laboratory/tsuru/resources{path}")).output().expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a status"), body.to_owned())
}

#[test]
fn an_application_of_tsuru_gets_a_database_uses_it_and_gives_it_back() {
    let installation = Installation::start();
    let plans = with_shared_plans(&installation);
    let (status, body) = tsuru(&installation, "GET", "/plans", &[]);
    let offered: Value = serde_json::from_str(&body).expect("JSON");
    let names: Vec<&str> = offered.as_array().expect("plans").iter().filter_map(|plan| plan["name"].as_str()).collect();
    assert_eq!((status, names), (200, vec!["small-laboratory", "shared-mariadb-laboratory", "shared-postgresql-laboratory"]));
    for ((engine, _), prefix) in plans.iter().zip(["DBAAS_MYSQL", "DBAAS_POSTGRESQL"]) {
        let name = format!("blog_{engine}");
        let (plan, path) = (format!("shared-{engine}-laboratory"), format!("/{name}"));
        let wanted =
            [("name", name.as_str()), ("plan", &plan), ("team", "my team"), ("user", "admin@admin.com"), ("description", "a blog & more")];
        assert_eq!(tsuru(&installation, "POST", "", &wanted), (201, String::new()));
        let (status, said) = tsuru(&installation, "POST", "", &wanted);
        assert_eq!((status, said), (400, format!("\"[DBaaS Error] {name} already exists in env laboratory!\"")));
        assert_eq!(tsuru(&installation, "GET", &format!("{path}/status"), &[]).0, 204);
        let (status, info) = tsuru(&installation, "GET", &path, &[]);
        assert!(status == 200 && info.contains("a blog & more") && info.contains("\"label\":\"Plan\""), "{info}");

        let application = [("app-name", "blog"), ("app-host", "blog.example.org"), ("app-hosts", "blog.example.org")];
        let (status, variables) = tsuru(&installation, "POST", &format!("{path}/bind-app"), &application);
        let variables: Value = serde_json::from_str(&variables).expect("JSON");
        assert_eq!((status, variables.as_object().map(serde_json::Map::len)), (201, Some(5)), "{variables}");
        let variable = |what: &str| variables[format!("{prefix}_{what}")].as_str().unwrap_or_else(|| panic!("{what}: {variables}"));
        let (user, password, host, port) = (variable("USER"), variable("PASSWORD"), variable("HOSTS"), variable("PORT"));
        let scheme = if *engine == "mariadb" { "mysql" } else { "postgresql" };
        assert_eq!(variable("ENDPOINT"), format!("{scheme}://{user}:{password}@{host}:{port}/{name}"));
        assert_eq!(log_in(engine, host, port.parse().expect("a port"), &name, user, password), Ok("1".into()));
        let unit = [("app-name", "blog"), ("unit-host", "10.1.2.3"), ("app-hosts", "blog.example.org")];
        assert_eq!(tsuru(&installation, "POST", &format!("{path}/bind"), &unit), (201, "null".into()));
        assert_eq!(tsuru(&installation, "DELETE", &format!("{path}/bind"), &unit).0, 204);
        assert_eq!(tsuru(&installation, "DELETE", &format!("{path}/bind-app"), &application).0, 204);
        let change = [("description", "another"), ("team", "my team"), ("plan", &plan)];
        assert_eq!(tsuru(&installation, "PUT", &path, &change).0, 204);
        let (status, said) = tsuru(&installation, "PUT", &path, &[("plan", "small-laboratory")]);
        assert!(status == 400 && said.contains("cannot be changed"), "{said}");

        // What tsuru made only tsuru removes, which is into quarantine.
        let (_, list) = ask(&installation, "GET", &format!("/api/database/?name={name}"), None);
        let link = list["database"][0]["_links"]["self"].as_str().expect("a link").to_owned();
        let link = &link[link.find("/api/").expect("a path")..];
        assert_eq!(ask(&installation, "DELETE", link, None).0, 409);
        assert_eq!(tsuru(&installation, "DELETE", &path, &[("user", "admin@admin.com")]).0, 204);
        assert!(log_in(engine, host, port.parse().expect("a port"), &name, user, password).is_err());
        let (_, shown) = ask(&installation, "GET", link, None);
        assert!(shown["quarantine_dt"].is_string() && shown["is_protected"] == false, "{shown}");
        for (method, below) in [("GET", ""), ("GET", "/status"), ("POST", "/bind-app"), ("DELETE", "")] {
            assert_eq!(tsuru(&installation, method, &format!("{path}{below}"), &[]).0, 404, "{method} {below}");
        }
        assert_eq!(ask(&installation, "DELETE", &format!("{link}?purge=true"), None).0, 204);
    }
    for (missing, words) in [
        ("description", "Param description must be provided."),
        ("plan", "Param plan must be provided."),
        ("user", "Param user must be provided."),
        ("name", "Param name must be provided."),
        ("team", "Param team must be provided."),
    ] {
        let wanted = [("name", "x1"), ("plan", "small-laboratory"), ("team", "my team"), ("user", "admin"), ("description", "x")];
        let wanted: Vec<(&str, &str)> = wanted.into_iter().filter(|(key, _)| *key != missing).collect();
        assert_eq!(tsuru(&installation, "POST", "", &wanted), (400, format!("\"[DBaaS Error] {words}\"")));
    }
    for (key, value, words) in [
        ("plan", "none", "Plan <none> was not found"),
        ("user", "nobody", "User <nobody> was not found"),
        ("team", "none", "Team <none> was not found"),
        ("name", "1x", "Your database name must match /^[a-z][a-z0-9_]+$/ ."),
        ("name", "plans", "plans is a reserved database name"),
        ("name", "mysql", "mysql is a reserved database name. Choose another name."),
    ] {
        let wanted = [("name", "x1"), ("plan", "small-laboratory"), ("team", "my team"), ("user", "admin"), ("description", "x")];
        let wanted: Vec<(&str, &str)> =
            wanted.into_iter().map(|(known, given)| (known, if known == key { value } else { given })).collect();
        assert_eq!(tsuru(&installation, "POST", "", &wanted), (400, format!("\"[DBaaS Error] {words}\"")));
    }
}
