//! The command line.

use crate::answers::tells_nothing_of_the_inside;
use crate::support::{Installation, PASSWORD};

#[test]
fn the_command_line_says_what_is_wrong_and_makes_nothing() {
    let installation = Installation::start();
    let password = installation.directory.join("password");
    std::fs::write(&password, PASSWORD).expect("written");
    let password = password.to_string_lossy().into_owned();
    let before = installation.inventory();
    let create = |change: &[&str]| {
        let mut arguments = vec![
            "cluster",
            "create",
            "shop",
            "--engine",
            "postgresql",
            "--database",
            "shop",
            "--owner",
            "keeper",
            "--password-file",
            &password,
        ];
        for pair in change.chunks(2) {
            match arguments.iter().position(|argument| *argument == pair[0]) {
                Some(at) => arguments[at + 1] = pair[1],
                None => arguments.extend(pair),
            }
        }
        installation.cli(&arguments)
    };
    let short = installation.directory.join("short");
    std::fs::write(&short, "short").expect("written");
    let short = short.to_string_lossy().into_owned();
    for (change, told) in [
        (&["--engine", "oracle"][..], "oracle"),
        (&["--version", "99.1"], "99.1"),
        (&["--version", "newest"], "version"),
        (&["--database", "sh;op"], "database.name"),
        (&["--database", "postgres"], "reserved"),
        (&["--owner", "root"], "reserved"),
        (&["--owner", "moorage_admin"], "reserved"),
        (&["--owner", "pg_monitor"], "reserved"),
        (&["--port", "80"], "port"),
        (&["--port", "70000"], "70000"),
        (&["--allow", "everyone"], "everyone"),
        (&["--server-type", "db9v9m9"], "db9v9m9"),
        (&["--size-gb", "1"], "size_gb"),
        (&["--timezone", "Mars/Olympus"], "time zone"),
        (&["--character-set", "klingon"], "klingon"),
        (&["--locale", "xx_XX"], "xx_XX"),
        (&["--subnet", "nowhere"], "nowhere"),
        (&["--address", "192.0.2.1"], "192.0.2.1"),
        (&["--address", "here"], "address"),
        (&["--password-file", short.as_str()], "password"),
        (&["--password-file", "/nonexistent"], "/nonexistent"),
    ] {
        let output = create(change);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{change:?}: {said}");
        assert!(said.contains(told), "{change:?}: {said}");
        tells_nothing_of_the_inside(&said);
    }
    for (arguments, told) in [
        (&["cluster", "show", "nobody"][..], "no such cluster"),
        (&["cluster", "stop", "nobody"], "no such cluster"),
        (&["cluster", "terminate", "nobody"], "no such cluster"),
        (&["operation", "show", "nobody"], "operation"),
        (&["connect", "nobody"], "no such cluster"),
    ] {
        let output = installation.cli(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty() && said.contains(told), "{arguments:?}: {said}");
    }
    assert_eq!(installation.inventory(), before);
}
