//! The programs of the operating system that drivers use: there are no safe calls for what they do.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Stdio};

/// Where they are, whatever the environment of the server says.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs one to its end; its own words are in the error.
pub(super) fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> io::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(io::ErrorKind::Unsupported, format!("the program {program} is not installed")),
        _ => error,
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let kind = if words.contains("No space left on device") { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
    Err(io::Error::new(kind, format!("{program} failed: {words}")))
}
