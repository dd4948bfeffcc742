//! The Globo family and tsuru: who may do what, bodies in every form, pages for people.

#[allow(dead_code)]
mod support;

use axum::body::Body;
use http::{Request, Response};
use moorage_domain::tenant::Role;
use moorage_domain::{ProjectId, TokenId, UserId};
use moorage_secrets::token_digest;
use moorage_store::{NewAccount, NewCredential};
use serde_json::{Value, json};
use support::{ControlPlane, FOREIGN_TOKEN, HOST, OPERATORS_TOKEN, TOKEN, VIEWERS_TOKEN, now};

/// Each line: method, path, and what comes back for each of [`CALLERS`] about a database of the red team.
const TABLE: &str = include_str!("wire/globo/operations.txt");

/// Somebody of another team, somebody of a team that looks after all databases.
const OUTSIDERS_TOKEN: &str = "token-of-an-outsider";
const KEEPERS_TOKEN: &str = "token-of-a-keeper";
/// Nobody, another team, and of the red team a viewer and an operator; those who look after all; administrators.
const CALLERS: [(&str, Option<&str>); 6] = [
    ("anonymous", None),
    ("foreign team", Some(OUTSIDERS_TOKEN)),
    ("viewer", Some(VIEWERS_TOKEN)),
    ("regular", Some(OPERATORS_TOKEN)),
    ("dba", Some(KEEPERS_TOKEN)),
    ("superuser", Some(TOKEN)),
];

fn body(response: &Response<Vec<u8>>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_default()
}

async fn send(plane: &ControlPlane, method: &str, target: &str, token: Option<&str>, kind: &str, content: &str) -> Response<Vec<u8>> {
    let mut request = Request::builder().method(method).uri(target).header("host", HOST);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if !kind.is_empty() {
        request = request.header("content-type", kind);
    }
    plane.send(request.body(Body::from(content.to_owned())).expect("a request")).await
}

async fn json(plane: &ControlPlane, method: &str, target: &str, token: Option<&str>, content: Value) -> (u16, Value) {
    let response = send(plane, method, target, token, "application/json", &content.to_string()).await;
    (response.status().as_u16(), body(&response))
}

/// People of the first tenant who are not there otherwise.
async fn more_people(plane: &ControlPlane) {
    let mut uow = plane.store().begin().await.expect("a unit of work");
    for (bits, name, token) in [(5, "outsider", OUTSIDERS_TOKEN), (6, "keeper", KEEPERS_TOKEN)] {
        let (project, user, email) = (ProjectId::from_bits(0xa), UserId::from_bits(bits), format!("{name}@moorage.test"));
        let role = Role::Operator;
        let account = NewAccount { id: &user, project: &project, name, email: &email, password_hash: "", role };
        uow.insert_account(&account, now()).await.expect("an account");
        let credential = NewCredential { account: &user, name: None, expires_at: None };
        uow.insert_token(&credential, &TokenId::from_bits(bits), &token_digest(token), now()).await.expect("a token");
    }
    uow.commit().await.expect("committed");
}

/// A plan that several databases share a cluster by, teams, and a database of the red team for each caller: `db_1`, `db_2` and so on.
async fn furnished() -> ControlPlane {
    let mut plane = ControlPlane::start().await;
    plane.let_operations_run().await;
    more_people(&plane).await;
    for (path, wanted) in [
        ("environments", json!({"name": "laboratory"})),
        ("plans", json!({"name": "small", "engine": "mariadb", "capacity": 50, "environments": ["laboratory"]})),
        ("teams", json!({"name": "red", "members": ["runner", "looker"], "allocation_limit": 0})),
        ("teams", json!({"name": "blue", "members": ["outsider"], "allocation_limit": 0})),
        ("teams", json!({"name": "keepers", "members": ["keeper"], "administers": true})),
    ] {
        let (status, made) = json(&plane, "POST", &format!("/moorage/v1/{path}"), Some(TOKEN), wanted).await;
        assert_eq!(status, 201, "{made}");
    }
    for number in 1..=CALLERS.len() {
        let (status, made) = json(&plane, "POST", "/api/database/", Some(OPERATORS_TOKEN), database(&format!("db_{number}"))).await;
        assert_eq!(status, 201, "{made}");
        let (status, made) = json(&plane, "POST", "/api/project/", Some(TOKEN), json!({"name": format!("project {number}")})).await;
        assert_eq!(status, 201, "{made}");
    }
    plane
}

fn database(name: &str) -> Value {
    json!({"name": name, "plan": "/api/plan/1/", "environment": "/api/environment/1/", "team": "/api/team/1/"})
}

/// A body that is well-formed, for what takes one.
fn sensible(method: &str, path: &str, number: usize) -> Value {
    match (method, path) {
        ("POST", "/api/database/") => database(&format!("new_{number}")),
        ("PUT" | "PATCH", "/api/database/{id}/") => json!({"description": "changed"}),
        ("POST", "/api/credential/") => json!({"user": format!("reader_{number}"), "database": format!("/api/database/{number}/")}),
        ("POST", "/api/project/") => json!({"name": format!("new {number}")}),
        ("PUT" | "PATCH", "/api/project/{id}/") => json!({"description": "changed"}),
        ("POST", "/{environment}/tsuru/resources") => json!({
            "name": format!("new_{number}"), "plan": "small-laboratory", "team": "red", "user": "runner@moorage.test", "description": "new"
        }),
        _ => json!({}),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_for_those_whose_databases_they_are() {
    for line in TABLE.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [method, path, expected @ ..] = words.as_slice() else { panic!("{line}") };
        assert_eq!(expected.len(), CALLERS.len(), "{line}");
        let plane = furnished().await;
        // Of some kinds there is one only, or two.
        let few = ["/api/plan/", "/api/environment/", "/api/engine", "/api/team/", "/api/user/"].iter().any(|kind| path.starts_with(kind));
        for (index, ((caller, token), expected)) in CALLERS.iter().zip(expected).enumerate() {
            let number = index + 1;
            // One of a kind is there only once or twice.
            let few =
                ["/api/plan/", "/api/environment/", "/api/engine", "/api/team/", "/api/user/"].iter().any(|kind| path.starts_with(kind));
            let id = if few { 1 } else { number };
            let target =
                path.replace("{id}", &id.to_string()).replace("{environment}", "laboratory").replace("{name}", &format!("db_{number}"));
            let (status, said) = json(&plane, method, &target, *token, sensible(method, path, number)).await;
            assert_eq!(status.to_string(), **expected, "{method} {path} as {caller}: {said}");
        }
        let elsewhere = path.replace("{id}", if few { "1" } else { "4" }).replace("{environment}", "laboratory").replace("{name}", "db_4");
        if path.contains("{id}") || path.contains("{environment}") {
            let (status, said) = json(&plane, method, &elsewhere, Some(FOREIGN_TOKEN), sensible(method, path, 4)).await;
            let everybodys = path.starts_with("/api/engine");
            // What it names is not there for that tenant, or the place is not.
            assert_eq!([400, 403, 404].contains(&status), !everybodys, "{method} {path} of another tenant: {status} {said}");
        }
    }
}

#[test]
fn every_route_is_in_that_table() {
    let mut served: Vec<String> = include_str!("../src/globo/routes.rs")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.strip_suffix("\"),")?.split_once("\", \""))
        .filter(|(_, path)| path.starts_with("/api/"))
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    assert!(served.len() > 30);
    let tsuru = include_str!("../src/globo/tsuru/routes.rs").replace(".route(\n            \"", ".route(\"");
    for route in tsuru.split(".route(\"").skip(1) {
        let (path, handlers) = route.split_once('"').expect("a path");
        for method in ["get", "post", "put", "delete"] {
            if handlers.contains(&format!(" {method}(")) || handlers.contains(&format!(".{method}(")) {
                served.push(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let listed = TABLE.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    let (mut listed, mut served): (Vec<_>, Vec<_>) = (listed.collect(), served);
    listed.sort();
    served.sort();
    assert_eq!(listed, served);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_quarantine_is_there_only_for_those_who_look_after_all() {
    let plane = furnished().await;
    assert_eq!(json(&plane, "DELETE", "/api/database/1/", Some(OPERATORS_TOKEN), json!({})).await.0, 204);
    let rows = [
        ("GET", "/api/database/1/", 404, 200),
        ("PUT", "/api/database/1/", 404, 200),
        ("GET", "/api/credential/1/", 404, 200),
        ("POST", "/api/credential/1/reset_password/", 404, 409),
        ("DELETE", "/api/credential/1/", 404, 409),
        ("GET", "/api/database_history/1/", 404, 404),
        ("GET", "/laboratory/tsuru/resources/db_1", 404, 404),
        ("POST", "/laboratory/tsuru/resources/db_1/bind-app", 404, 404),
        ("DELETE", "/laboratory/tsuru/resources/db_1", 404, 404),
        // Right after the first time it is taken for the first one sent twice.
        ("DELETE", "/api/database/1/", 404, 409),
    ];
    for (method, path, regular, dba) in rows {
        for (token, expected) in [(OUTSIDERS_TOKEN, 404), (OPERATORS_TOKEN, regular), (KEEPERS_TOKEN, dba)] {
            let (status, said) = json(&plane, method, path, Some(token), json!({})).await;
            assert_eq!(status, expected, "{method} {path} with {token}: {said}");
        }
    }
    for (token, count) in [(OUTSIDERS_TOKEN, 0), (OPERATORS_TOKEN, 5), (KEEPERS_TOKEN, 6), (TOKEN, 6)] {
        let (_, list) = json(&plane, "GET", "/api/database/", Some(token), json!({})).await;
        assert_eq!(list["_links"]["count"], count, "{token}");
    }
    // Its name is still taken, and that is said.
    let (status, said) = json(&plane, "POST", "/api/database/", Some(OPERATORS_TOKEN), database("db_1")).await;
    assert!(status == 400 && said["name"][0].as_str().is_some_and(|words| words.contains("quarantine")), "{said}");
    let path = "/api/database/1/restore_from_quarantine/";
    assert_eq!(json(&plane, "POST", path, Some(OPERATORS_TOKEN), json!({})).await.0, 404);
    assert_eq!(json(&plane, "POST", path, Some(KEEPERS_TOKEN), json!({})).await.0, 200);
    assert_eq!(json(&plane, "GET", "/api/database/1/", Some(OPERATORS_TOKEN), json!({})).await.0, 200);
    assert_eq!(json(&plane, "DELETE", "/api/database/1/", Some(KEEPERS_TOKEN), json!({})).await.0, 204);
    assert_eq!(json(&plane, "DELETE", "/api/database/1/?purge=true", Some(OPERATORS_TOKEN), json!({})).await.0, 404);
    assert_eq!(json(&plane, "DELETE", "/api/database/1/?purge=true", Some(KEEPERS_TOKEN), json!({})).await.0, 204);
    for (token, expected) in [(OUTSIDERS_TOKEN, 404), (OPERATORS_TOKEN, 404), (KEEPERS_TOKEN, 200), (TOKEN, 200), (FOREIGN_TOKEN, 404)] {
        assert_eq!(json(&plane, "GET", "/api/database_history/1/", Some(token), json!({})).await.0, expected, "{token}");
    }
    assert_eq!(json(&plane, "POST", "/api/database/", Some(OPERATORS_TOKEN), database("db_1")).await.0, 201, "its name is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_may_come_in_every_form_the_original_takes() {
    let plane = furnished().await;
    let form = "name=by+form&plan=%2Fapi%2Fplan%2F1%2F&environment=/api/environment/1/&team=/api/team/1/";
    let parts = "--edge\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nby parts\r\n\
                 --edge\r\nContent-Disposition: form-data; name=\"plan\"\r\n\r\n/api/plan/1/\r\n\
                 --edge\r\nContent-Disposition: form-data; name=\"environment\"\r\n\r\n/api/environment/1/\r\n\
                 --edge\r\nContent-Disposition: form-data; name=\"team\"\r\n\r\n/api/team/1/\r\n--edge--\r\n";
    for (kind, content, name) in
        [("application/x-www-form-urlencoded", form, "by_form"), ("multipart/form-data; boundary=edge", parts, "by_parts")]
    {
        let response = send(&plane, "POST", "/api/database/", Some(OPERATORS_TOKEN), kind, content).await;
        assert_eq!((response.status().as_u16(), &body(&response)["name"]), (201, &json!(name)), "{:?}", body(&response));
    }
    for (kind, content, status) in [
        ("multipart/form-data", parts, 400),
        ("multipart/form-data; boundary=another", parts, 400),
        ("multipart/form-data; boundary=edge", &parts[..60], 400),
        ("text/plain", "name=x", 415),
        ("application/xml", "<x/>", 415),
        ("application/json", "{\"name\": ", 400),
    ] {
        let response = send(&plane, "POST", "/api/database/", Some(OPERATORS_TOKEN), kind, content).await;
        assert_eq!(response.status(), status, "{kind}: {}", body(&response));
        assert!(body(&response)["detail"].is_string(), "{kind}: {}", body(&response));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_of_users_is_stored_and_shown_as_it_came() {
    let plane = furnished().await;
    let evil = "'; DROP TABLE allocation; -- <script>alert(1)</script> \" ${x} {{7*7}} \u{202e}";
    let (status, made) = json(&plane, "POST", "/api/project/", Some(TOKEN), json!({"name": &evil[..40], "description": evil})).await;
    assert_eq!((status, &made["description"]), (201, &json!(evil)), "{made}");
    let mut wanted = database("'; DROP TABLE x; --");
    wanted["description"] = json!(evil);
    wanted["project"] = made["_links"]["self"].clone();
    let (status, made) = json(&plane, "POST", "/api/database/", Some(OPERATORS_TOKEN), wanted).await;
    assert_eq!((status, &made["name"], &made["description"]), (201, &json!("drop_table_x"), &json!(evil)), "{made}");
    for user in ["'; --", "<b>", "a b", "u`x", "é"] {
        // Engines take any name that is quoted, and so do we.
        let wanted = json!({"user": user, "database": made["_links"]["self"]});
        let (status, said) = json(&plane, "POST", "/api/credential/", Some(OPERATORS_TOKEN), wanted).await;
        assert_eq!((status, &said["user"]), (201, &json!(user)), "{said}");
    }
    for query in ["name=%27%20OR%201=1%20--", "project=%27", "team__name=%3Cscript%3E", "ordering=%27;--", "page_size=%27"] {
        let (status, said) = json(&plane, "GET", &format!("/api/database/?{query}"), Some(OPERATORS_TOKEN), json!({})).await;
        assert_eq!(status, 200, "{query}: {said}");
    }
    let request = Request::builder().uri(made["_links"]["self"].as_str().expect("a link")).header("host", HOST);
    let request = request.header("authorization", format!("Bearer {TOKEN}")).header("accept", "text/html").body(Body::empty());
    let page = plane.send(request.expect("a request")).await;
    let text = String::from_utf8(page.body().clone()).expect("text");
    assert!(text.contains("&lt;script&gt;") && !text.contains("<script"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_has_as_many_databases_as_it_may() {
    let plane = furnished().await;
    let (_, made) =
        json(&plane, "POST", "/moorage/v1/teams", Some(TOKEN), json!({"name": "small", "members": ["runner"], "allocation_limit": 1}))
            .await;
    assert_eq!(made["name"], "small", "{made}");
    let wanted = |name: &str| {
        let mut wanted = database(name);
        wanted["team"] = json!("/api/team/4/");
        wanted
    };
    assert_eq!(json(&plane, "POST", "/api/database/", Some(OPERATORS_TOKEN), wanted("first")).await.0, 201);
    let (status, said) = json(&plane, "POST", "/api/database/", Some(OPERATORS_TOKEN), wanted("second")).await;
    assert_eq!(status, 400);
    let words = "The database alocation limit of 1 has been exceeded for the selected team: small";
    assert_eq!(said["team"][0], words, "{said}");
    let (status, said) = json(
        &plane,
        "POST",
        "/laboratory/tsuru/resources",
        Some(OPERATORS_TOKEN),
        json!({"name": "second", "plan": "small-laboratory", "team": "small", "user": "runner@moorage.test", "description": "x"}),
    )
    .await;
    assert!(status == 400 && said.as_str().is_some_and(|said| said.contains(words)), "{said}");
    // Nobody gives a database to a team he is not in, nor takes one there.
    let (status, said) = json(&plane, "POST", "/api/database/", Some(OUTSIDERS_TOKEN), database("theirs")).await;
    assert!(status == 400 && said["team"].is_array(), "{said}");
    let (status, said) = json(&plane, "PUT", "/api/database/1/", Some(OPERATORS_TOKEN), json!({"team": "/api/team/2/"})).await;
    assert!(status == 400 && said["team"].is_array(), "{said}");
    // Who is in several teams says which one is meant.
    let (status, said) = json(
        &plane,
        "POST",
        "/api/database/",
        Some(OPERATORS_TOKEN),
        json!({"name": "x", "plan": "/api/plan/1/", "environment": "/api/environment/1/"}),
    )
    .await;
    assert!(status == 400 && said["team"][0] == "This field is required.", "{said}");
}

/// A request as a browser sends it; status, `Location`, cookie and page.
async fn browse(plane: &ControlPlane, method: &str, target: &str, cookie: &str, form: &[(&str, &str)]) -> (u16, String, String, String) {
    let mut request = Request::builder().method(method).uri(target).header("host", HOST).header("accept", "text/html,*/*;q=0.8");
    if !cookie.is_empty() {
        request = request.header("cookie", cookie);
    }
    if method == "POST" {
        request = request.header("content-type", "application/x-www-form-urlencoded").header("origin", format!("http://{HOST}"));
    }
    let encoded = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let form: Vec<String> = form.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value))).collect();
    let response = plane.send(request.body(Body::from(form.join("&"))).expect("a request")).await;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let cookie = header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    if header("content-type").contains("html") {
        assert!(
            header("content-security-policy").contains("default-src 'none'")
                && header("content-security-policy").contains("frame-ancestors")
        );
    }
    (response.status().as_u16(), header("location"), cookie, String::from_utf8(response.body().clone()).expect("text"))
}

/// What a page's forms carry to show that they are its own.
fn proof(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"csrfmiddlewaretoken\" value=\"").expect("a form");
    rest.split('"').next().expect("a value").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_lets_a_browser_in_and_only_forms_of_its_own_pages_change_anything() {
    let mut plane = ControlPlane::start().await;
    plane.let_operations_run().await;
    assert_eq!(json(&plane, "POST", "/moorage/v1/sample-data", Some(TOKEN), json!({})).await.0, 204);
    let (status, _, _, page) = browse(&plane, "GET", "/api/database/?page=1", "", &[]).await;
    assert!(status == 401 && page.contains("name=\"next\" value=\"/api/database/?page=1\""), "{page}");
    let login = |password: &'static str| [("username", "admin"), ("password", password), ("next", "/api/database/")];
    let (status, _, _, page) = browse(&plane, "POST", "/api-auth/login/", "", &login("wrong")).await;
    assert!(status == 401 && page.contains("Invalid username/password"), "{page}");
    let (status, to, cookie, _) = browse(&plane, "POST", "/api-auth/login/", "", &login("123456")).await;
    assert_eq!((status, to.as_str()), (303, "/api/database/"));
    let (status, _, _, page) = browse(&plane, "GET", &to, &cookie, &[]).await;
    assert!(status == 200 && page.contains("id=\"create\"") && page.contains("admin"), "{page}");
    let proof = proof(&page);

    let wanted = [("name", "by page"), ("plan", "/api/plan/1/"), ("environment", "/api/environment/1/")];
    for forged in [vec![], vec![("csrfmiddlewaretoken", "0")], vec![("_method", "DELETE")]] {
        let form: Vec<_> = wanted.iter().copied().chain(forged).collect();
        assert_eq!(browse(&plane, "POST", "/api/database/", &cookie, &form).await.0, 403, "{form:?}");
    }
    let with_proof = |form: &[(&'static str, &'static str)]| {
        form.iter().map(|(key, value)| (*key, *value)).chain([("csrfmiddlewaretoken", proof.as_str())]).collect::<Vec<(&str, &str)>>()
    };
    let (status, to, _, page) = browse(&plane, "POST", "/api/database/", &cookie, &with_proof(&wanted)).await;
    assert_eq!((status, to.as_str()), (303, "/api/database/1/?done=created"), "{page}");
    let (status, _, _, page) = browse(&plane, "GET", &to, &cookie, &[]).await;
    assert!(
        status == 200 && page.contains("It was created.") && page.contains("id=\"delete\"") && page.contains("/api/credential/1/"),
        "{page}"
    );
    assert!(!page.contains("done=created"), "its own address is the document's: {page}");
    let (status, _, _, page) = browse(&plane, "POST", "/api/database/", &cookie, &with_proof(&[("name", "<b>")])).await;
    assert!(
        status == 400 && page.contains("This field is required.") && page.contains("value=\"&#60;b&#62;\"") && !page.contains("<b>\""),
        "{page}"
    );
    let put = [("_method", "PUT"), ("description", "changed"), ("is_protected", "true")];
    assert_eq!(browse(&plane, "POST", "/api/database/1/", &cookie, &with_proof(&put)).await.1, "/api/database/1/?done=changed");
    let (status, _, _, page) = browse(&plane, "POST", "/api/database/1/", &cookie, &with_proof(&[("_method", "DELETE")])).await;
    assert!(status == 409 && page.contains("is protected from deletion"), "{page}");
    let raw = [("_method", "PUT"), ("_content", "{\"is_protected\": false}")];
    assert_eq!(browse(&plane, "POST", "/api/database/1/", &cookie, &with_proof(&raw)).await.0, 303);
    let gone = browse(&plane, "POST", "/api/database/1/", &cookie, &with_proof(&[("_method", "DELETE")])).await;
    assert_eq!((gone.0, gone.1.as_str()), (303, "/api/database/?done=quarantined"), "{}", gone.3);
    let (_, _, _, page) = browse(&plane, "GET", "/api/database/1/", &cookie, &[]).await;
    assert!(page.contains("id=\"restore\"") && page.contains("pattern=\"by_page\""), "{page}");
    let (status, _, _, page) = browse(&plane, "GET", "/api/nothing/", &cookie, &[]).await;
    assert!(status == 404 && page.contains("Not found"), "{page}");
    let (status, _, _, page) = browse(&plane, "POST", "/api/plan/", &cookie, &with_proof(&[])).await;
    assert!(status == 405 && page.contains("not allowed"), "{page}");

    // Who has the browser's password from somewhere else is not asked by other sites either.
    for (origin, expected) in [("https://elsewhere.example", 403), ("http://moorage.test:8440", 201)] {
        let request = Request::builder().method("POST").uri("/api/project/").header("host", HOST).header("origin", origin);
        let request = request.header("authorization", "Basic YWRtaW46MTIzNDU2").header("content-type", "application/x-www-form-urlencoded");
        let response = plane.send(request.body(Body::from("name=forged")).expect("a request")).await;
        assert_eq!(response.status(), expected, "{origin}: {}", body(&response));
    }
    let (_, actions) = json(&plane, "GET", "/moorage/v1/actions", Some(TOKEN), json!({})).await;
    let methods: Vec<&str> = actions["items"].as_array().expect("rows").iter().filter_map(|row| row["method"].as_str()).collect();
    assert!(methods.contains(&"DELETE") && methods.contains(&"PUT"), "what a form meant is on record: {actions}");

    assert_eq!(browse(&plane, "POST", "/api-auth/logout/", &cookie, &[]).await.0, 403);
    assert_eq!(browse(&plane, "POST", "/api-auth/logout/", &cookie, &with_proof(&[])).await.1, "/api-auth/login/");
    let (status, _, _, page) = browse(&plane, "GET", "/api/database/", &cookie, &[]).await;
    assert!(status == 401 && page.contains("Your session has ended."), "{page}");
}
