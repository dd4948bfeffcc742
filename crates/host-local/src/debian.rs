//! Debian's package tools, used to read and unpack packages without installing any: nothing of the system changes.

use moorage_domain::{Problem, ProblemCode};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

const QUERY_LIMIT: Duration = Duration::from_secs(60);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(900);
/// How much of what a tool said becomes part of a problem.
const MOST_WORDS: usize = 1000;

/// A version of a package that the configured sources offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// As Debian writes it (`1:10.11.19-0+deb12u1`).
    pub debian: String,
    /// As its makers write it (`10.11.19`).
    pub upstream: String,
}

/// The tools with the package lists they read: the system's, or a fresh copy of our own.
#[derive(Clone, Debug)]
pub struct Debian {
    options: Vec<String>,
}

impl Debian {
    /// With the lists the system has, as old as they may be.
    pub fn with_system_lists() -> Self {
        Self { options: Vec::new() }
    }

    /// With lists of our own in a directory, fetched now from the sources the system is configured with.
    pub async fn with_fresh_lists(directory: &Path) -> Result<Self, Problem> {
        let (lists, cache) = (directory.join("lists"), directory.join("cache"));
        for path in [lists.join("partial"), cache.join("archives/partial")] {
            tokio::fs::create_dir_all(&path).await.map_err(|error| unusable(&path, &error))?;
        }
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        let debian =
            Self { options: vec![option("Dir::State::lists", &lists), option("Dir::Cache", &cache), String::from("Debug::NoLocking=1")] };
        debian.tool("apt-get", &["update", "-q"], None, DOWNLOAD_LIMIT).await?;
        Ok(debian)
    }

    /// Versions of a package that the sources offer, in their order; none when they do not know it.
    pub async fn offers(&self, package: &str) -> Result<Vec<Offer>, Problem> {
        Ok(read_offers(&self.tool("apt-cache", &["madison", package], None, QUERY_LIMIT).await?))
    }

    /// Library packages that these packages need, directly or through other library packages.
    pub async fn libraries_of(&self, packages: &[&str]) -> Result<BTreeSet<String>, Problem> {
        let mut arguments = vec!["depends", "--recurse", "--important"];
        arguments.extend(["--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"]);
        arguments.extend(packages);
        Ok(read_libraries(&self.tool("apt-cache", &arguments, None, QUERY_LIMIT).await?, packages))
    }

    /// Fetches a package (`NAME` or `NAME=VERSION`) into a directory; the tool checks its signature and sum.
    pub async fn download(&self, package: &str, into: &Path) -> Result<(), Problem> {
        self.tool("apt-get", &["download", "-q", package], Some(into), DOWNLOAD_LIMIT).await.map(drop)
    }

    async fn tool(&self, program: &str, arguments: &[&str], directory: Option<&Path>, limit: Duration) -> Result<String, Problem> {
        let mut command = Command::new(program);
        command.args(arguments);
        for option in &self.options {
            command.args(["-o", option]);
        }
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        run(command, program, limit).await
    }
}

/// Unpacks a package file into a directory.
pub async fn unpack(file: &Path, into: &Path) -> Result<(), Problem> {
    let mut command = Command::new("dpkg-deb");
    command.arg("--extract").arg(file).arg(into);
    run(command, "dpkg-deb", DOWNLOAD_LIMIT).await.map(drop)
}

/// Whether the package manager of the system has a package installed, for each of them.
pub async fn installed() -> Result<BTreeSet<String>, Problem> {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat", "${db:Status-Status} ${Package}\\n"]);
    let output = run(command, "dpkg-query", QUERY_LIMIT).await?;
    Ok(output.lines().filter_map(|line| line.strip_prefix("installed ")).map(String::from).collect())
}

/// Shared libraries that programs ask for and nobody has, neither the system nor the directories.
pub async fn missing_libraries(programs: &[PathBuf], library_path: &str) -> Result<BTreeSet<String>, Problem> {
    let mut missing = BTreeSet::new();
    for program in programs {
        let mut command = Command::new("ldd");
        command.arg(program).env("LD_LIBRARY_PATH", library_path);
        // Scripts are not dynamic executables; it says so with an exit code.
        if let Ok(output) = run(command, "ldd", QUERY_LIMIT).await {
            missing.extend(read_missing(&output));
        }
    }
    Ok(missing)
}

async fn run(mut command: Command, program: &str, limit: Duration) -> Result<String, Problem> {
    command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let failed = |message: String| Problem::new(ProblemCode::EngineInstallFailed, message);
    let ended = match tokio::time::timeout(limit, command.output()).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(failed(format!("{program} is not on this machine.")).hint(
                "Engines are installed with Debian's package tools. Elsewhere, unpack or build the engine yourself and name its directory in \
                 [engines] prefixes.",
            ));
        }
        Ok(Err(error)) => return Err(failed(format!("{program} could not be started.")).detail(error.to_string())),
        Err(_) => return Err(failed(format!("{program} did not end within {} seconds.", limit.as_secs())).hint("Try again later.")),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !ended.status.success() {
        let words = end_of(&format!("{}\n{}", text(&ended.stdout), text(&ended.stderr)));
        return Err(failed(format!("{program} failed.")).detail(words).hint("Check the machine's package sources and its network."));
    }
    Ok(text(&ended.stdout))
}

/// What went wrong with a directory of ours.
pub fn unusable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(ProblemCode::EngineInstallFailed, format!("{} cannot be used.", path.display()))
        .detail(error.to_string())
        .hint("Check the permissions and the free space of the data directory.")
}

fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut kept = String::new();
    for line in lines.into_iter().rev() {
        if kept.len() + line.len() + 1 > MOST_WORDS {
            break;
        }
        kept = if kept.is_empty() { String::from(line) } else { format!("{line}\n{kept}") };
    }
    kept
}

fn read_offers(madison: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for line in madison.lines() {
        let mut columns = line.split('|').map(str::trim);
        let (Some(_), Some(debian), Some(source)) = (columns.next(), columns.next(), columns.next()) else { continue };
        let without_epoch = debian.split_once(':').map_or(debian, |(_, rest)| rest);
        let upstream = without_epoch.rsplit_once('-').map_or(without_epoch, |(upstream, _)| upstream);
        let offer = Offer { debian: String::from(debian), upstream: String::from(upstream) };
        if source.ends_with("Packages") && !offers.contains(&offer) {
            offers.push(offer);
        }
    }
    offers
}

/// Follows dependencies from the packages through libraries only: what scripts and other programs of a package need is not
/// part of an engine. The compiler library of PostgreSQL is larger than the server, and its settings do without it; the C
/// library and its kin belong to the system alone.
fn read_libraries(depends: &str, packages: &[&str]) -> BTreeSet<String> {
    let is_library = |name: &str| {
        let unwanted = ["libllvm", "libc6", "libgcc", "libstdc++", "libperl", "libpython"];
        name.starts_with("lib") && !name.ends_with("-perl") && !unwanted.iter().any(|start| name.starts_with(start))
    };
    let mut needs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut package = "";
    for line in depends.lines() {
        if !line.starts_with([' ', '|', '<']) {
            package = line.trim();
        } else if let Some(name) = line.trim_start_matches([' ', '|']).strip_prefix("Depends: ").filter(|name| is_library(name)) {
            needs.entry(package).or_default().push(name.trim());
        }
    }
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = packages.to_vec();
    while let Some(package) = next.pop() {
        for name in needs.get(package).into_iter().flatten() {
            if found.insert(String::from(*name)) {
                next.push(name);
            }
        }
    }
    found
}

fn read_missing(ldd: &str) -> impl Iterator<Item = String> {
    ldd.lines()
        .filter(|line| line.trim_end().ends_with("=> not found"))
        .filter_map(|line| Some(String::from(line.split_whitespace().next()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_sources_offer() {
        let madison = "mariadb-server-core | 1:10.11.19-0+deb12u1 | http://x/debian-security bookworm-security/main amd64 Packages\n\
                       mariadb-server-core | 1:10.11.18-0+deb12u1 | http://x/debian bookworm/main amd64 Packages\n\
                       mariadb | 1:10.11.18-0+deb12u1 | http://x/debian bookworm/main Sources\nnoise\n";
        let offer = |debian: &str, upstream: &str| Offer { debian: String::from(debian), upstream: String::from(upstream) };
        assert_eq!(read_offers(madison), [offer("1:10.11.19-0+deb12u1", "10.11.19"), offer("1:10.11.18-0+deb12u1", "10.11.18")]);
        assert_eq!(read_offers(""), []);
    }

    #[test]
    fn reads_which_libraries_a_package_needs() {
        let depends = "postgresql-15\n  Depends: libicu72\n |Depends: locales\n  Depends: libllvm14\nlibicu72\n  Depends: libc6\n  \
                       Depends: libxml2\nlocales\n  Depends: libnewt0.52\nlibxml2\n  PreDepends: x\n<virtual>\ntzdata\n";
        assert_eq!(read_libraries(depends, &["postgresql-15"]).into_iter().collect::<Vec<_>>(), ["libicu72", "libxml2"]);
    }

    #[test]
    fn reads_which_libraries_are_missing() {
        let ldd = "\tlinux-vdso.so.1 (0x0)\n\tlibaio.so.1 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x0)\n";
        assert_eq!(read_missing(ldd).collect::<Vec<_>>(), ["libaio.so.1"]);
    }
}
