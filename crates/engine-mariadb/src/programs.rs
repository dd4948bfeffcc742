//! Where the programs and files of a MariaDB version are inside a prefix, and the environment they need to run from there.

use moorage_domain::engine::Installation;
use std::path::{Path, PathBuf};

/// The server inside a prefix, as Debian lays it out.
pub fn server(prefix: &Path) -> PathBuf {
    prefix.join("usr/sbin/mariadbd")
}

/// A path inside an installation, as text for an argument or a setting.
pub fn inside(installation: &Installation, path: &str) -> String {
    installation.prefix.join(path).to_string_lossy().into_owned()
}

/// The directories a server is told of, because those compiled in are the system's: option name and directory.
pub fn directories(installation: &Installation) -> Vec<(&'static str, String)> {
    [
        ("basedir", "usr"),
        ("lc_messages_dir", "usr/share/mysql"),
        ("character_sets_dir", "usr/share/mysql/charsets"),
        ("plugin_dir", "usr/lib/mysql/plugin"),
    ]
    .map(|(option, path)| (option, inside(installation, path)))
    .into()
}

/// The whole environment of a program of an installation: nothing of ours leaks into it, and a prefix brings its libraries.
pub fn environment(installation: &Installation) -> Vec<(String, String)> {
    let mut environment = vec![
        (String::from("PATH"), String::from("/usr/sbin:/usr/bin:/sbin:/bin")),
        (String::from("LC_ALL"), String::from("C")),
        (String::from("TZ"), String::from("UTC")),
    ];
    if !installation.system {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries = ["usr/lib", "lib"].map(|lib| inside(installation, &format!("{lib}/{triplet}")));
        environment.push((String::from("LD_LIBRARY_PATH"), libraries.join(":")));
    }
    environment
}
