//! The API over https: with the installation's own certificate, and with files that are replaced while it serves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use support::Installation;

fn curl(url: &str, ca: &Path) -> Output {
    Command::new("curl").args(["-sS", "-m", "10", "--cacert"]).arg(ca).arg(format!("{url}/healthz")).output().expect("curl runs")
}

fn base_url(installation: &Installation) -> String {
    installation.bootstrap()["base_url"].as_str().expect("a URL").to_owned()
}

/// Makes an authority and a certificate for 127.0.0.1 with the stock tool.
fn make_certificate(directory: &Path, name: &str) {
    let script = format!(
        "set -e; cd {0}; \
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN={1}-ca -keyout {1}-ca.key -out {1}-ca.pem; \
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={1} -keyout key.new -out csr; \
         printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' >ext; \
         openssl x509 -req -in csr -CA {1}-ca.pem -CAkey {1}-ca.key -CAcreateserial -days 20 -extfile ext -out cert.new; \
         mv key.new key.pem; mv cert.new cert.pem",
        directory.display(),
        name
    );
    let made = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn the_api_serves_https_with_a_certificate_of_its_own_authority() {
    let installation = Installation::start_with(&["--tls"]);
    let url = base_url(&installation);
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let ca = installation.directory.join("ca.pem");
    let answered = curl(&url, &ca);
    assert!(answered.status.success(), "{}", String::from_utf8_lossy(&answered.stderr));
    let system = curl(&url, Path::new("/etc/ssl/certs/ca-certificates.crt"));
    assert!(!system.status.success(), "nobody else vouches for it");
    // Commands on this machine trust it without being told.
    let listed = installation.cli(&["cluster", "list"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    // Who comes in clear, and who says nothing at all, holds up nobody.
    let address = url.trim_start_matches("https://");
    let silent: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(address).expect("connected")).collect();
    let mut clear = TcpStream::connect(address).expect("connected");
    clear.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
    clear.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
    let mut reply = Vec::new();
    drop(clear.read_to_end(&mut reply));
    assert!(!String::from_utf8_lossy(&reply).contains("HTTP/1.1 200"));
    assert!(curl(&url, &ca).status.success());
    drop(silent);
    // The address of who asks is in the record of actions, as over http.
    let (status, _) = installation.native("POST", "/moorage/v1/projects", Some(serde_json::json!({"name": "team"})));
    assert_eq!(status, 201);
    let (_, actions) = installation.native("GET", "/moorage/v1/actions", None);
    assert_eq!(actions["items"][0]["source"], "127.0.0.1", "{actions}");
}

#[test]
fn a_certificate_of_somebody_elses_is_served_and_what_is_wrong_with_it_is_said() {
    let room = tempfile::tempdir().expect("a directory");
    make_certificate(room.path(), "first");
    let config = room.path().join("config.toml");
    let place = room.path().display();
    let write = |text: String| std::fs::write(&config, text).expect("written");
    let name = config.to_string_lossy().into_owned();
    write(format!("[server]\ntls_cert = '{place}/cert.pem'\ntls_key = '{place}/key.pem'\n"));
    let mut installation = Installation::start_with(&["--config", &name]);
    let answered = curl(&base_url(&installation), &room.path().join("first-ca.pem"));
    assert!(answered.status.success(), "{}", String::from_utf8_lossy(&answered.stderr));
    installation.end_server();
    for (text, told) in [
        (format!("[server]\ntls_cert = '{place}/cert.pem'\n"), "only one is given"),
        (format!("[server]\ntls_cert = '{place}/cert.pem'\ntls_key = '{place}/first-ca.key'\n"), "do not belong together"),
        (format!("[server]\ntls_cert = '{place}/nothing.pem'\ntls_key = '{place}/key.pem'\n"), "nothing.pem"),
    ] {
        write(text);
        let refused = installation.cli(&["serve", "--listen", "127.0.0.1:0", "--config", &name]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(told), "{said}");
    }
}
