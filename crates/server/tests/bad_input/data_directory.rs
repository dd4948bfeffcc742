//! Data directories that cannot be served.

use crate::support::{self, Installation};
use std::process::Command;

/// `serve` with these arguments; what it said, after it refused.
fn refuses_to_serve(arguments: &[&str]) -> String {
    let output = Command::new("timeout").arg("20").arg(support::PROGRAM).arg("serve").args(arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    for inside in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!said.contains(inside), "{said}");
    }
    said
}

#[test]
fn a_directory_that_cannot_be_served_is_refused_with_the_reason_and_left_alone() {
    let mut installation = Installation::start();
    let good = installation.create("postgresql", "good");
    let directory = installation.directory.to_string_lossy().into_owned();

    // Somebody else serves it.
    let said = refuses_to_serve(&["--listen", "127.0.0.1:0", "--data-dir", &directory]);
    assert!(said.contains(&format!("process {}", installation.server_pid())) && said.contains("--data-dir"), "{said}");
    assert_eq!(installation.native("GET", "/moorage/v1/clusters", None).0, 200);

    // The port is taken by the first one.
    let taken = installation.bootstrap()["base_url"].as_str().expect("a URL").trim_start_matches("http://").to_owned();
    let second = tempfile::tempdir().expect("a directory");
    open(second.path());
    let second = second.path().to_string_lossy().into_owned();
    let said = refuses_to_serve(&["--listen", &taken, "--data-dir", &second]);
    assert!(said.contains(&taken) && said.contains("--listen"), "{said}");

    // A newer program wrote its store.
    installation.end_server();
    let store = installation.directory.join("store.db");
    change_store(&store, "INSERT INTO schema_version (version) VALUES (4711)");
    let said = refuses_to_serve(&["--listen", "127.0.0.1:0", "--data-dir", &directory]);
    assert!(said.contains("4711") && said.contains("newer program"), "{said}");
    assert_eq!(good.sql("SELECT 1"), Ok("1".into()), "a refused server takes nothing down");
    change_store(&store, "DELETE FROM schema_version WHERE version = 4711");

    // A store that is none any more: said at once, and not after trying for half a minute.
    let kept = std::fs::read(&store).expect("a store");
    std::fs::write(&store, "garbage".repeat(2000)).expect("written");
    let begun = std::time::Instant::now();
    let said = refuses_to_serve(&["--listen", "127.0.0.1:0", "--data-dir", &directory]);
    assert!(said.contains("store.db is damaged") && said.contains("moorage store rebuild"), "{said}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    std::fs::write(&store, kept).expect("written");
    assert_eq!(good.sql("SELECT 1"), Ok("1".into()), "a refused server takes nothing down");

    // A key that opens nothing.
    let key = installation.directory.join("master.key");
    let kept = std::fs::read(&key).expect("a key");
    std::fs::write(&key, "not a key").expect("written");
    let said = refuses_to_serve(&["--listen", "127.0.0.1:0", "--data-dir", &directory]);
    assert!(said.contains("master key"), "{said}");
    std::fs::write(&key, kept).expect("written");
    installation.serve();
    assert_eq!(installation.running(&good.id).sql("SELECT 1"), Ok("1".into()));

    // Places nothing can be written to.
    let file = std::path::Path::new(&second).join("file");
    std::fs::write(&file, "").expect("written");
    for place in [
        format!("{second}/file"),
        format!("{second}/file/below"),
        "/proc/moorage".to_owned(),
        "/sys/moorage".to_owned(),
        "/dev/null".to_owned(),
    ] {
        let said = refuses_to_serve(&["--listen", "127.0.0.1:0", "--data-dir", &place]);
        assert!(said.contains("cannot be used") && said.contains(&place), "{said}");
    }

    // Configuration that is none.
    for (text, told) in [
        ("listen = ", "line 1"),
        ("[server]\nlissten = 'x'", "lissten"),
        ("[network]\nsubnets = [{id = 'a', cidr = '10.0.0.0/99'}]", "cidr"),
        ("[limits]\nconnections = -5", "connections"),
    ] {
        std::fs::write(&file, text).expect("written");
        let said = refuses_to_serve(&["--listen", "127.0.0.1:0", "--config", &file.to_string_lossy(), "--data-dir", &second]);
        assert!(said.contains(told), "{said}");
    }
    // A store that would be ignored.
    let output = Command::new(support::PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", &second])
        .env("MOORAGE_DATABASE_URL", "postgres://somewhere/else")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("MOORAGE_DATABASE_URL") && !said.contains("somewhere"), "{said}");
    for address in ["127.0.0.1", "nowhere:1", "127.0.0.1:99999", ""] {
        let said = refuses_to_serve(&["--listen", address, "--data-dir", &second]);
        assert!(said.contains("is not an address and port") || address.is_empty(), "{said}");
    }
}

/// What only a newer program or somebody's hands do to a store.
fn change_store(store: &std::path::Path, sql: &'static str) {
    use sqlx::{ConnectOptions, Connection};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(store).connect().await.expect("the store opens");
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("it is changed");
        connection.close().await.expect("closed");
    });
}

/// Lets other accounts pass through.
fn open(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("opened");
}
