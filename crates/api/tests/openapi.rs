//! `/openapi.json` tells the truth: every route is in it and none that is not there, and what is answered is as it says.

#[allow(dead_code)]
mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use support::ControlPlane;

async fn document(plane: &ControlPlane) -> Value {
    let response = plane.ask("GET", "/openapi.json", None).await;
    assert_eq!(response.status(), 200);
    serde_json::from_slice(response.body()).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_described_and_nothing_else() {
    let plane = ControlPlane::start().await;
    let document = document(&plane).await;
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().expect("methods").keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let served: BTreeSet<String> = include_str!("wire/native/operations.txt")
        .lines()
        .filter_map(|line| line.rsplit_once(' ').map(|(route, _)| route.to_owned()))
        .chain(["GET /moorage/v1/ca".to_owned()])
        .collect();
    assert_eq!(described, served);
    let ids: BTreeSet<&str> = document["paths"]
        .as_object()
        .expect("paths")
        .values()
        .flat_map(|methods| methods.as_object().expect("methods").values())
        .map(|operation| operation["operationId"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids.len(), described.len(), "each has an identifier of its own");
}

/// Requests and answers of a transcript: method, path, status, body.
fn exchanges(transcript: &str) -> Vec<(String, String, u16, Value)> {
    let mut found = Vec::new();
    for block in transcript.split("\n### ") {
        let Some((request, answer)) = block.split_once("\n--- ") else { continue };
        let Some(line) =
            request.lines().find(|line| ["GET ", "POST ", "PUT ", "PATCH ", "DELETE "].iter().any(|verb| line.starts_with(verb)))
        else {
            continue;
        };
        let (method, target) = line.split_once(' ').expect("a request line");
        let status = answer[..3].parse().expect("a status");
        let body = answer.split_once("\n\n").map(|(_, body)| serde_json::from_str(body).unwrap_or_default()).unwrap_or_default();
        found.push((method.to_lowercase(), target.split('?').next().unwrap_or_default().to_owned(), status, body));
    }
    found
}

fn path_of<'a>(document: &'a Value, target: &str) -> Option<&'a str> {
    let parts: Vec<&str> = target.split('/').collect();
    let fits = |path: &&String| {
        let template: Vec<&str> = path.split('/').collect();
        template.len() == parts.len() && template.iter().zip(&parts).all(|(template, part)| template.starts_with('{') || template == part)
    };
    // A path in full letters goes before one with a parameter.
    let mut all: Vec<&String> = document["paths"].as_object()?.keys().filter(fits).collect();
    all.sort_by_key(|path| path.matches('{').count());
    all.first().map(|path| path.as_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_transcripts_show_is_as_it_is_described() {
    let plane = ControlPlane::start().await;
    let document = document(&plane).await;
    let mut compared = BTreeSet::new();
    for transcript in [include_str!("wire/native/life.http"), include_str!("wire/native/refusals.http")] {
        for (method, target, status, body) in exchanges(transcript) {
            let Some(path) = path_of(&document, &target) else { continue };
            let operation = &document["paths"][path][&method];
            if operation.is_null() {
                continue;
            }
            let schema = if status >= 400 {
                &document["components"]["schemas"]["Problem"]
            } else {
                let response = &operation["responses"][status.to_string()];
                assert!(!response.is_null(), "{method} {path} answers {status}, which is not described");
                &response["content"]["application/json"]["schema"]
            };
            if schema.is_null() {
                continue;
            }
            let validator = jsonschema::validator_for(schema).expect("a schema");
            // What a transcript hides is not compared.
            let shown = validator.iter_errors(&body).filter(|error| *error.instance != "<hidden>");
            let errors: Vec<String> = shown.map(|error| format!("{}: {error}", error.instance_path)).collect();
            assert!(errors.is_empty(), "{method} {target}: {errors:?}\n{body:#}");
            compared.insert(format!("{method} {path}"));
        }
    }
    assert!(compared.len() > 10, "{compared:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_read_the_same_without_scripts_or_a_network() {
    let plane = ControlPlane::start().await;
    let page = plane.ask("GET", "/docs", None).await;
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-security-policy"].to_str().is_ok_and(|policy| policy.starts_with("default-src 'none'")));
    let text = String::from_utf8_lossy(page.body()).into_owned();
    assert!(text.contains("/moorage/v1/clusters/{cluster}/owner-password") && text.contains("cluster-busy"), "{}", &text[..2000]);
    assert!(!text.contains("<script") && !text.contains("http://") && !text.contains("https://"));
    for code in moorage_domain::ProblemCode::ALL {
        let about = plane.ask("GET", &format!("/docs/problems/{}", code.as_str()), None).await;
        assert_eq!(about.status(), 200, "the link in the problem {} leads somewhere", code.as_str());
    }
    assert_eq!(plane.ask("GET", "/docs/problems/no-such", None).await.status(), 404);
}
