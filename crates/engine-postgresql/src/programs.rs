//! Where the programs of a PostgreSQL version are inside a prefix, and the environment they need to run from there.

use moorage_domain::engine::{EngineName, Installation};
use std::path::{Path, PathBuf};

/// The directory of a major version's programs inside a prefix, as Debian lays it out.
pub fn directory(prefix: &Path, major: &str) -> PathBuf {
    prefix.join("usr/lib/postgresql").join(major).join("bin")
}

/// One program of an installation, as text for an argument list.
pub fn program(installation: &Installation, name: &str) -> String {
    let major = installation.version.major(EngineName::PostgreSql);
    directory(&installation.prefix, &major).join(name).to_string_lossy().into_owned()
}

/// The whole environment of a program of an installation: nothing of ours leaks into it, and a prefix brings its libraries.
/// The programs find their share and library directories by themselves, relative to where they are.
pub fn environment(installation: &Installation) -> Vec<(String, String)> {
    let mut environment = vec![
        (String::from("PATH"), String::from("/usr/sbin:/usr/bin:/sbin:/bin")),
        (String::from("LC_ALL"), String::from("C")),
        (String::from("TZ"), String::from("UTC")),
    ];
    if !installation.system {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let directories = ["usr/lib", "lib"].map(|lib| installation.prefix.join(lib).join(&triplet).to_string_lossy().into_owned());
        environment.push((String::from("LD_LIBRARY_PATH"), directories.join(":")));
    }
    environment
}
