//! Who asks, and when.

use crate::answers::{MARIADB, body, engine_version, native_error, replaced, vendor_error};
use crate::support::{self, Installation};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

#[test]
fn whoever_is_not_known_gets_nowhere() {
    let installation = Installation::start();
    let before = installation.inventory();
    let create = body(MARIADB, &engine_version(&installation, MARIADB)).to_string().into_bytes();
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis()).expect("a time");
    let path = "/v1/clusters";
    let good = installation.signature(MARIADB, "POST", path);
    let other_method = installation.signature(MARIADB, "GET", path);
    let other_path = installation.signature(MARIADB, "POST", "/v1/clusters/1/stop");
    let old = installation.signature_at(now - 16 * 60 * 1000, MARIADB, "POST", path);
    let early = installation.signature_at(now + 16 * 60 * 1000, MARIADB, "POST", path);
    let seconds = installation.signature_at(now / 1000, MARIADB, "POST", path);
    let signature = good.iter().find(|(name, _)| name == "Scp-Signature").map(|(_, value)| value.clone()).expect("a signature");
    let cut = &signature[..signature.len() - 1];
    for (what, headers, told) in [
        ("no credentials", vec![], "credentials"),
        ("no signature", replaced(&good, "Scp-Signature", None), "Scp-Signature"),
        ("a blank signature", replaced(&good, "Scp-Signature", Some("")), "Scp-Signature"),
        ("a wrong signature", replaced(&good, "Scp-Signature", Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")), "not valid"),
        ("a shortened signature", replaced(&good, "Scp-Signature", Some(cut)), "not valid"),
        ("a signature of another method", other_method, "not valid"),
        ("a signature of another path", other_path, "not valid"),
        ("a signature over another client type", replaced(&good, "Scp-ClientType", Some("Other")), "not valid"),
        ("a signature over another account", replaced(&good, "Scp-AccountId", Some("someone")), "not valid"),
        ("an unknown access key", replaced(&good, "Scp-AccessKey", Some("AKUNKNOWNUNKNOWNUNKN")), "not valid"),
        ("an access key with odd characters", replaced(&good, "Scp-AccessKey", Some("' OR 1=1 --")), "not valid"),
        ("no access key", replaced(&good, "Scp-AccessKey", None), "Scp-AccessKey"),
        ("no timestamp", replaced(&good, "Scp-Timestamp", None), "Scp-Timestamp"),
        ("another timestamp", replaced(&good, "Scp-Timestamp", Some(&(now + 1).to_string())), "not valid"),
        ("a timestamp that is none", replaced(&good, "Scp-Timestamp", Some("yesterday")), "milliseconds"),
        ("an old timestamp", old, "old"),
        ("a timestamp of the future", early, "in the future"),
        ("a timestamp in seconds", seconds, "milliseconds"),
        ("an unknown token", vec![("Authorization".into(), "Bearer nobody".into())], "not valid"),
        ("basic credentials", vec![("Authorization".into(), "Basic bW9vcmFnZTp4".into())], "credentials"),
    ] {
        let reply = installation.exchange("POST", path, &headers, Some(create.clone()));
        let (_, text) = vendor_error(&reply, 401, "Dbaas.Unauthorized.AuthNFailed");
        assert!(text.contains(told), "{what}: {text}");
    }
    for (headers, told) in [
        (vec![], "credentials"),
        (vec![("Authorization".to_owned(), "Bearer nobody".to_owned())], "not valid"),
        (vec![("Authorization".to_owned(), "Bearer".to_owned())], "Authorization"),
        (vec![("Authorization".to_owned(), "Basic bW9vcmFnZTp4".to_owned())], "not valid"),
        (vec![("Authorization".to_owned(), "Basic %%%".to_owned())], "Authorization header"),
        (vec![("Authorization".to_owned(), "Digest x".to_owned())], "Authorization"),
        (good, "credentials"),
    ] {
        for (method, path) in [("POST", "/moorage/v1/clusters"), ("GET", "/moorage/v1/clusters"), ("POST", "/moorage/v1/tokens")] {
            let reply = installation.exchange(method, path, &headers, Some(b"{}".to_vec()));
            let text = native_error(&reply, 401, "unauthenticated");
            assert!(text.contains(told), "{headers:?}: {text}");
        }
    }
    let output = Command::new(support::PROGRAM)
        .args(["cluster", "list", "--server", installation.bootstrap()["base_url"].as_str().expect("a URL")])
        .env("MOORAGE_TOKEN", "nobody")
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("not valid") && output.stdout.is_empty(), "{said}");
    assert_eq!(installation.inventory(), before);
}
