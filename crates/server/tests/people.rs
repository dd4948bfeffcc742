//! The life of a small team at the command line: users, tokens, passwords, protection, the record, figures.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};
use support::{Installation, PASSWORD, PROGRAM};

struct Team {
    installation: Installation,
}

impl Team {
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.installation.directory.join(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    /// A command as the installation's administrator.
    fn run(&self, arguments: &[&str]) -> Output {
        self.installation.cli(arguments)
    }

    /// The JSON of a command that works.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--output", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// What a command that fails says.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} worked: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A command as whoever has this token.
    fn run_as(&self, token: &str, arguments: &[&str]) -> Output {
        let server = self.installation.bootstrap()["base_url"].as_str().expect("a URL").to_owned();
        let mut command = Command::new(PROGRAM);
        command.args(arguments).args(["--server", &server]).env("MOORAGE_TOKEN", token).env_remove("MOORAGE_DATA_DIR");
        command.output().expect("it runs")
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_team_works_with_roles_tokens_and_a_record_of_what_it_did() {
    let team = Team { installation: Installation::start() };
    let password = team.file("ann.password", "A-long-enough-1\n").to_string_lossy().into_owned();
    let ann = team.json(&["user", "create", "ann", "--role", "operator", "--password-file", &password]);
    assert_eq!(ann["role"], "operator");
    assert!(ann.get("password").is_none(), "a password that was given is not shown");
    let made_up = team.json(&["user", "create", "vic", "--role", "viewer"]);
    assert!(made_up["password"].as_str().is_some_and(|password| password.len() >= 16), "{made_up}");
    assert!(team.refused(&["user", "create", "ann", "--role", "viewer"]).contains("already exists"));

    let token = |user: &str| team.json(&["token", "create", "--user", user, "--name", "laptop", "--days", "2"]);
    let (anns, vics) = (token("ann"), token("vic"));
    let secret = |token: &Value| token["token"].as_str().expect("a token").to_owned();
    let (ann, vic) = (secret(&anns), secret(&vics));
    let create = ["cluster", "create", "shop", "--engine", "postgresql", "--database", "shop", "--owner", "keeper", "--wait"];
    let password = team.file("owner.password", PASSWORD).to_string_lossy().into_owned();
    let create = [&create[..], &["--password-file", &password]].concat();
    let refused = team.run_as(&vic, &create);
    assert!(!refused.status.success() && said(&refused).contains("viewer"), "{}", said(&refused));
    let made = team.run_as(&ann, &create);
    assert!(made.status.success(), "{}", said(&made));
    assert!(said(&team.run_as(&vic, &["cluster", "list"])).contains("shop"));
    assert!(said(&team.run_as(&ann, &["user", "list"])).lines().count() == 2, "whoever administers nobody sees nobody else");

    // Another password for the owner: the old one is refused, the new one opens, who is connected stays.
    let cluster = team.installation.running(team.json(&["cluster", "show", "shop"])["id"].as_str().expect("an id"));
    let file = team.file("new.password", "An0ther!pass\n").to_string_lossy().into_owned();
    let changed = team.run_as(&ann, &["cluster", "password", "shop", "--password-file", &file, "--wait"]);
    assert!(changed.status.success(), "{}", said(&changed));
    assert!(cluster.sql("SELECT 1").expect_err("the old password").contains("password authentication failed"));
    assert_eq!(cluster.sql_as("keeper", "An0ther!pass", "SELECT 1", &[]), Ok("1".into()));

    // Protected, it is not terminated, whoever asks.
    let protected = team.json(&["cluster", "change", "shop", "--deletion-protection", "on"]);
    assert_eq!(protected["deletion_protection"], true);
    assert!(team.refused(&["cluster", "terminate", "shop"]).contains("protected from deletion"));
    assert_eq!(team.json(&["cluster", "change", "shop", "--deletion-protection", "off"])["deletion_protection"], false);

    // Ended tokens open nothing; the record says who did what.
    let id = anns["id"].as_str().expect("an id").to_owned();
    assert!(team.run(&["token", "remove", "--user", "ann", &id]).status.success());
    assert!(said(&team.run_as(&ann, &["cluster", "list"])).contains("credentials are not valid"));
    assert!(team.run(&["user", "remove", "vic"]).status.success());
    assert!(!team.run_as(&vic, &["cluster", "list"]).status.success());
    let record = team.json(&["audit", "list", "--user", "ann"]);
    let entry = |method: &str, path: &str| {
        let mut found = record.as_array().expect("a list").iter();
        found.any(|entry| entry["method"] == method && entry["path"] == path && entry["source"] == "127.0.0.1")
    };
    assert!(entry("POST", "/moorage/v1/clusters") && entry("PUT", "/moorage/v1/clusters/shop/owner-password"), "{record}");
    let everything = team.json(&["audit", "list", "--limit", "1000"]).to_string();
    assert!(everything.contains("deletion-protected") && !everything.contains("An0ther!pass"), "{everything}");
    assert!(said(&team.run(&["audit", "list"])).starts_with("AT"));

    // Whoever guesses at passwords is in the log, with the address it is done from.
    let guess = vec![("Authorization".to_owned(), "Basic YW5uOmd1ZXNz".to_owned())];
    assert_eq!(team.installation.exchange("GET", "/moorage/v1/users/me", &guess, None).status, 401);
    let log = std::fs::read_to_string(team.installation.directory.join("serve.log")).expect("a log");
    let line = log.lines().find(|line| line.contains("a wrong password was tried")).expect("it is told");
    assert!(line.contains("127.0.0.1") && line.contains("ann") && !line.contains("guess"), "{line}");

    // Figures for whoever watches from outside.
    let metrics = team.installation.exchange("GET", "/metrics", &[], None);
    let figures = metrics.body.as_str().expect("text");
    assert!(metrics.content_type.starts_with("application/openmetrics-text"), "{}", metrics.content_type);
    let of_shop = |name: &str| figures.lines().find(|line| line.starts_with(name) && line.contains("name=\"shop\"")).unwrap_or_default();
    assert!(of_shop("moorage_cluster_up{").ends_with(" 1"), "{figures}");
    assert!(of_shop("moorage_cluster_connections{").ends_with(" 0"), "{figures}");
    assert!(figures.contains("moorage_gateway_up 1") && figures.contains("moorage_serve_resident_memory_bytes "), "{figures}");
    let bearer = |token: &str| vec![("Authorization".to_owned(), format!("Bearer {token}"))];
    assert_eq!(team.installation.exchange("GET", "/metrics", &bearer("wrong"), None).status, 401);
}

#[test]
fn what_needs_no_server_works_without_one() {
    let run = |arguments: &[&str]| Command::new(PROGRAM).args(arguments).output().expect("it runs");
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]);
        assert!(script.status.success() && String::from_utf8_lossy(&script.stdout).contains("access-key"), "{shell}");
    }
    let help = said(&run(&["--help"]));
    assert!(help.starts_with("A self-hosted database-as-a-service") && help.contains("work without a server"), "{help}");
    let checked = run(&["config", "check"]);
    assert!(checked.status.success() && said(&checked).contains("127.0.0.1:8440"), "{}", said(&checked));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "[limits]\nconnections = 'many'\n").expect("written");
    let wrong = run(&["config", "check", &file.path().to_string_lossy()]);
    let words = said(&wrong);
    assert!(!wrong.status.success() && words.contains("connections") && words.contains("line 2"), "{words}");
}
