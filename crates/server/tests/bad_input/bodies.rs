//! Bodies that are no request.

use crate::answers::{MARIADB, bearer, body, engine_version, native_error, untouched, vendor_error};
use crate::support::Installation;

#[test]
fn bodies_that_are_no_request_at_all_are_refused() {
    let installation = Installation::start();
    let good = installation.create("mariadb", "good");
    let before = installation.inventory();
    let whole = body(MARIADB, &engine_version(&installation, MARIADB)).to_string();
    let padded = format!("{{\"pad\": \"{}\", {}", "x".repeat(3 << 20), &whole[1..]);
    let deep_object = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    let many_keys = format!("{{{}\"z\": 1}}", (0..60_000).map(|n| format!("\"k{n}\": 1, ")).collect::<String>());
    let rules = format!("/v1/clusters/{}/security-group-rules", good.id);
    for (bytes, status, told) in [
        (Vec::new(), 400, "no body"),
        (b" \r\n\t".to_vec(), 400, "no body"),
        (b"null".to_vec(), 400, "not an object"),
        (b"[]".to_vec(), 400, "not an object"),
        (b"\"name\"".to_vec(), 400, "not an object"),
        (b"5".to_vec(), 400, "not an object"),
        (b"name=shop&size=5".to_vec(), 400, "not JSON"),
        (b"<cluster/>".to_vec(), 400, "not JSON"),
        (whole.as_bytes()[..whole.len() - 1].to_vec(), 400, "not JSON"),
        (format!("{whole}x").into_bytes(), 400, "not JSON"),
        (format!("\u{feff}{whole}").into_bytes(), 400, "not JSON"),
        (whole.replace("newcomer", "new\\ud800comer").into_bytes(), 400, "not JSON"),
        (vec![0xff, 0xfe, b'{', b'}'], 400, "not JSON"),
        (vec![0; 4096], 400, "not JSON"),
        ("[".repeat(500_000).into_bytes(), 400, "not JSON"),
        (deep_object.into_bytes(), 400, "not JSON"),
        (many_keys.into_bytes(), 400, "not permitted"),
        (padded.into_bytes(), 413, "larger than"),
        (vec![b'{'; 3 << 20], 413, "larger than"),
    ] {
        for path in ["/v1/clusters", &rules] {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            let headers = installation.signature(MARIADB, "POST", path);
            let reply = installation.exchange("POST", path, &headers, Some(bytes.clone()));
            let (_, text) = vendor_error(&reply, status, "ValidationError");
            assert!(text.contains(told), "{path} {shown}: {text}");
        }
        let code = if status == 413 {
            "body-too-large"
        } else if told == "not permitted" {
            "invalid-request"
        } else {
            "malformed-body"
        };
        let reply = installation.exchange("POST", "/moorage/v1/clusters", &bearer(&installation), Some(bytes));
        native_error(&reply, status, code);
    }
    // Three megabytes that never say how long they are, and a length that is a lie.
    let token = installation.bootstrap()["token"].as_str().expect("a token").to_owned();
    let head = format!("POST /v1/clusters HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n");
    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..3 {
        chunked.extend_from_slice(b"100000\r\n");
        chunked.extend_from_slice(&vec![b'['; 0x10_0000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let reply = installation.raw(&chunked);
    assert!(reply.starts_with("HTTP/1.1 413") && reply.contains("ValidationError"), "{reply}");
    let reply = installation.raw(format!("{head}Content-Length: 5\r\n\r\n{{}}   GET /v1/clusters HTTP/1.1\r\n\r\n").as_bytes());
    assert!(reply.starts_with("HTTP/1.1 400") && reply.matches("HTTP/1.1").count() == 1, "{reply}");
    let reply = installation
        .raw(format!("{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n").as_bytes());
    assert!(reply.starts_with("HTTP/1.1 400") && reply.matches("HTTP/1.1").count() == 1, "{reply}");
    untouched(&installation, &before, &[&good]);
}
