//! Engine versions on this machine: found, installed beside each other, removed.
//!
//! A version installed by Moorage is a directory `engines/<engine>/<version>/` below the data directory that stands for `/` of
//! the unpacked packages. It appears by one rename when it is complete. Versions the system or the user installed are found
//! too and never changed.

use crate::debian::{self, Debian, Offer, unusable};
use moorage_domain::engine::{EngineName, Installation, Version};
use moorage_domain::{Problem, ProblemCode};
use rustix::fs::{FlockOperation, flock};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::process::Command;

const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// A Debian package that is part of an engine version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageWish {
    /// Its name.
    pub name: String,
    /// Its version follows the engine's.
    pub versioned: bool,
}

/// Where the server is inside a prefix, for a major version.
pub type ServerBinary = Arc<dyn Fn(&Path, &str) -> PathBuf + Send + Sync>;
/// Reads the output of `SERVER --version`.
pub type ReadVersion = Arc<dyn Fn(&str) -> Option<Version> + Send + Sync>;
/// Packages of a version, the one that carries its version number first.
pub type Packages = Arc<dyn Fn(&Version) -> Vec<PackageWish> + Send + Sync>;

/// What must be known of an engine to find and install versions of it.
#[derive(Clone)]
pub struct EngineKind {
    /// Which one.
    pub engine: EngineName,
    /// Supported major versions.
    pub majors: Vec<String>,
    /// Where the server is inside a prefix, for a major version.
    pub server_binary: ServerBinary,
    /// Reads the output of `SERVER --version`.
    pub read_version: ReadVersion,
    /// Packages of a version, the one that carries its version number first.
    pub packages: Packages,
}

/// Told what is being done, for people who wait.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// A file as it was when it was asked for its version.
type Stamp = (SystemTime, u64);

/// The engine versions of this machine.
pub struct Installations {
    kinds: Vec<EngineKind>,
    directory: PathBuf,
    prefixes: Vec<PathBuf>,
    known: Mutex<HashMap<PathBuf, (Stamp, Option<Version>)>>,
}

impl Installations {
    /// Versions in `data_dir`, in the prefixes the user names, and of the system.
    pub fn new(data_dir: &Path, prefixes: Vec<PathBuf>, kinds: Vec<EngineKind>) -> Self {
        // Package tools and engines run in directories of their own, where a relative path would mean another place.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let prefixes = prefixes.iter().map(|prefix| absolute(prefix)).collect();
        Self { kinds, directory: absolute(data_dir).join("engines"), prefixes, known: Mutex::default() }
    }

    /// Every version that can run, looked up afresh, by engine and version. Of two that are the same version, the one
    /// Moorage installed comes before one in a prefix, and that before the system's, which may change at any time.
    pub async fn find(&self) -> Vec<Installation> {
        let mut found: Vec<Installation> = Vec::new();
        for kind in &self.kinds {
            let own = versions_in(&self.directory.join(kind.engine.as_str())).into_iter().map(|(_, path)| (path, false));
            let named = self.prefixes.iter().map(|prefix| (prefix.clone(), false));
            for (prefix, system) in own.chain(named).chain([(PathBuf::from("/"), true)]) {
                for version in self.versions_at(kind, &prefix, system).await {
                    let installation = Installation { engine: kind.engine, version, prefix: prefix.clone(), system };
                    if !found.iter().any(|other| other.engine == installation.engine && other.version == installation.version) {
                        found.push(installation);
                    }
                }
            }
        }
        found.sort_by(|a, b| (a.engine, &a.version).cmp(&(b.engine, &b.version)));
        found
    }

    /// Versions of an engine that the machine's package sources offer, oldest first.
    pub async fn available(&self, engine: EngineName) -> Result<Vec<Version>, Problem> {
        let kind = self.kind(engine)?;
        let mut offers = offers(&Debian::with_system_lists(), kind).await?;
        if offers.is_empty() {
            offers = self::offers(&Debian::with_fresh_lists(&self.lists()).await?, kind).await?;
        }
        let mut versions: Vec<Version> = offers.into_iter().map(|(version, _)| version).collect();
        versions.sort();
        versions.dedup();
        Ok(versions)
    }

    /// Makes sure a version is installed: `mariadb@10.11.19`, or `mariadb@10.11` for the newest of that.
    pub async fn install(&self, label: &str, progress: Progress<'_>) -> Result<Installation, Problem> {
        let (kind, wanted) = self.read_label(label)?;
        let home = self.directory.join(kind.engine.as_str());
        make_directory(&self.directory)?;
        make_directory(&home)?;
        let _lock = lock(&self.directory)?;
        sweep(&home);
        if let Some(installation) = self.own(kind, &wanted).await {
            progress(&format!("{} is installed already", installation.label()));
            return Ok(installation);
        }

        progress(&format!("looking for {label} in the package sources"));
        let system = Debian::with_system_lists();
        let offer = newest(&offers(&system, kind).await?, &wanted);
        let first = match &offer {
            Some((version, offer)) => match self.own(kind, version).await {
                Some(installation) => {
                    progress(&format!("{} is installed already", installation.label()));
                    return Ok(installation);
                }
                None => self.unpack(kind, version, offer, &system, progress).await,
            },
            None => Err(Problem::new(ProblemCode::EngineInstallFailed, format!("The package sources do not offer {label}."))),
        };
        let failure = match first {
            Ok(installation) => return Ok(installation),
            Err(failure) => failure,
        };

        // The lists of the system may be old, or name files that the sources do not have any more.
        progress("fetching the current package lists");
        let fresh = match Debian::with_fresh_lists(&self.lists()).await {
            Ok(fresh) => fresh,
            // Then the first failure says more.
            Err(stale) => return Err(if offer.is_some() { failure } else { stale }),
        };
        let offered = offers(&fresh, kind).await?;
        let Some((version, offer)) = newest(&offered, &wanted) else {
            let names: Vec<String> = offered.iter().map(|(version, _)| format!("{}@{version}", kind.engine)).collect();
            return Err(Problem::new(ProblemCode::EngineInstallFailed, format!("The package sources do not offer {label}.")).hint(
                if names.is_empty() { String::from("They offer no version of it.") } else { format!("They offer {}.", names.join(", ")) },
            ));
        };
        match self.own(kind, &version).await {
            Some(installation) => Ok(installation),
            None => self.unpack(kind, &version, &offer, &fresh, progress).await,
        }
    }

    /// Removes a version that Moorage installed. Whether it is in use is for the caller to know.
    pub async fn remove(&self, engine: EngineName, version: &Version) -> Result<(), Problem> {
        let home = self.directory.join(engine.as_str());
        let path = home.join(version.to_string());
        let _lock = if path.is_dir() { lock(&self.directory)? } else { return Err(not_ours(engine, version)) };
        let doomed = home.join(format!(".removing-{version}"));
        sweep(&home);
        fs::rename(&path, &doomed).map_err(|error| unusable(&path, &error))?;
        tokio::fs::remove_dir_all(&doomed).await.map_err(|error| unusable(&doomed, &error))
    }

    fn kind(&self, engine: EngineName) -> Result<&EngineKind, Problem> {
        let known = self.kinds.iter().find(|kind| kind.engine == engine);
        known.ok_or_else(|| Problem::invalid("engine", format!("{} is not supported here.", engine.display())))
    }

    fn lists(&self) -> PathBuf {
        self.directory.join(".package-lists")
    }

    fn read_label(&self, label: &str) -> Result<(&EngineKind, Version), Problem> {
        let wrong = || {
            let examples: Vec<String> =
                self.kinds.iter().flat_map(|kind| kind.majors.iter().map(|major| format!("{}@{major}", kind.engine))).collect();
            Problem::invalid("version", format!("{label:?} does not name an engine version."))
                .hint(format!("For instance: {}.", examples.join(", ")))
        };
        let (name, version) = label.split_once('@').ok_or_else(wrong)?;
        let kind = self.kind(EngineName::parse(name).ok_or_else(wrong)?)?;
        let version = Version::parse(version).map_err(|_| wrong())?;
        if !kind.majors.contains(&version.major(kind.engine)) {
            return Err(Problem::invalid("version", format!("{} {version} is not supported.", kind.engine.display()))
                .hint(format!("Supported: {}.", kind.majors.join(", "))));
        }
        Ok((kind, version))
    }

    /// The version as installed by Moorage, if it is.
    async fn own(&self, kind: &EngineKind, version: &Version) -> Option<Installation> {
        let prefix = self.directory.join(kind.engine.as_str()).join(version.to_string());
        let found = self.versions_at(kind, &prefix, false).await;
        found.contains(version).then(|| Installation { engine: kind.engine, version: version.clone(), prefix, system: false })
    }

    async fn versions_at(&self, kind: &EngineKind, prefix: &Path, system: bool) -> Vec<Version> {
        let mut versions = Vec::new();
        for major in &kind.majors {
            let binary = (kind.server_binary)(prefix, major);
            if let Some(version) = self.version_of(kind, &binary, (!system).then(|| library_path(prefix))).await
                && version.major(kind.engine) == *major
                && !versions.contains(&version)
            {
                versions.push(version);
            }
        }
        versions
    }

    /// Asks a server binary for its version; remembered until the file changes.
    async fn version_of(&self, kind: &EngineKind, binary: &Path, library_path: Option<String>) -> Option<Version> {
        let metadata = fs::metadata(binary).ok().filter(fs::Metadata::is_file)?;
        let stamp = (metadata.modified().ok()?, metadata.len());
        if let Some((then, version)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(binary)
            && *then == stamp
        {
            return version.clone();
        }
        let mut command = Command::new(binary);
        command.arg("--version").env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        if let Some(path) = library_path {
            command.env("LD_LIBRARY_PATH", path);
        }
        let ended = match tokio::time::timeout(VERSION_LIMIT, command.output()).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => {
                tracing::warn!(binary = %binary.display(), %error, "an engine could not be asked for its version");
                return None;
            }
            // A busy machine: ask again the next time.
            Err(_) => return None,
        };
        let version = (kind.read_version)(&String::from_utf8_lossy(&ended.stdout));
        if version.is_none() {
            let words = String::from_utf8_lossy(&ended.stderr);
            tracing::warn!(binary = %binary.display(), words = %words.trim(), "an engine does not tell its version and is left out");
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(binary.to_path_buf(), (stamp, version.clone()));
        version
    }

    /// Fetches and unpacks the packages of a version beside the place they will have, checks that its server runs, and moves
    /// it there.
    async fn unpack(
        &self,
        kind: &EngineKind,
        version: &Version,
        offer: &Offer,
        debian: &Debian,
        progress: Progress<'_>,
    ) -> Result<Installation, Problem> {
        let home = self.directory.join(kind.engine.as_str());
        let scratch = Scratch::new(home.join(format!(".installing-{version}")))?;
        let (files, root) = (scratch.path.join("packages"), scratch.path.join("root"));
        make_directory(&files)?;
        make_directory(&root)?;

        let packages = (kind.packages)(version);
        for package in &packages {
            let wish = if package.versioned { format!("{}={}", package.name, offer.debian) } else { package.name.clone() };
            progress(&format!("fetching {wish}"));
            debian.download(&wish, &files).await?;
        }
        progress("unpacking");
        unpack_all(&files, &root).await?;
        let library_path = library_path(&root);
        let programs = programs_in(kind, version, &root);
        if !debian::missing_libraries(&programs, &library_path).await?.is_empty() {
            let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
            let mut libraries = debian.libraries_of(&names).await?;
            for name in debian::installed().await?.iter().map(String::as_str).chain(names) {
                libraries.remove(name);
            }
            for library in libraries {
                progress(&format!("fetching {library}, which this machine does not have"));
                debian.download(&library, &files).await?;
            }
            unpack_all(&files, &root).await?;
        }
        let missing = debian::missing_libraries(&programs, &library_path).await?;
        let reported = self.version_of(kind, &(kind.server_binary)(&root, &version.major(kind.engine)), Some(library_path)).await;
        if !missing.is_empty() || reported.as_ref() != Some(version) {
            let problem =
                Problem::new(ProblemCode::EngineInstallFailed, format!("The unpacked {}@{version} does not run here.", kind.engine));
            let missing: Vec<String> = missing.into_iter().collect();
            let detail = match reported {
                _ if !missing.is_empty() => format!("Missing libraries: {}.", missing.join(", ")),
                Some(other) => format!("Its server says that it is {other}."),
                None => String::from("Its server does not tell its version."),
            };
            return Err(problem.detail(detail).hint("Its packages may be made for another release of the operating system."));
        }

        for documentation in ["usr/share/doc", "usr/share/man", "usr/share/lintian", "usr/share/bug"] {
            // Nobody reads it there; what stays costs only space.
            let _ = tokio::fs::remove_dir_all(root.join(documentation)).await;
        }
        let prefix = home.join(version.to_string());
        if prefix.exists() {
            // Not usable, or it would have been found.
            tokio::fs::remove_dir_all(&prefix).await.map_err(|error| unusable(&prefix, &error))?;
        }
        settle(&root, &prefix).await?;
        let installation = Installation { engine: kind.engine, version: version.clone(), prefix, system: false };
        progress(&format!("{} is installed", installation.label()));
        tracing::info!(version = %installation.label(), "an engine version was installed");
        Ok(installation)
    }
}

/// A directory that is gone when it is not needed any more, whatever happened.
struct Scratch {
    path: PathBuf,
}
impl Scratch {
    fn new(path: PathBuf) -> Result<Self, Problem> {
        make_directory(&path)?;
        Ok(Self { path })
    }
}
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Where an unpacked version has its libraries.
pub fn library_path(prefix: &Path) -> String {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    ["usr/lib", "lib"].map(|lib| prefix.join(lib).join(&triplet).to_string_lossy().into_owned()).join(":")
}

fn not_ours(engine: EngineName, version: &Version) -> Problem {
    Problem::new(ProblemCode::EngineInstallFailed, format!("{engine}@{version} was not installed by Moorage."))
        .hint("Versions of the system are removed with its package manager.")
}

/// Directories named by a version.
fn versions_in(home: &Path) -> Vec<(Version, PathBuf)> {
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    let mut versions: Vec<_> =
        entries.filter_map(|entry| Some((Version::parse(entry.file_name().to_str()?).ok()?, entry.path()))).collect();
    versions.sort();
    versions
}

/// Removes what an interrupted installation or removal left; the lock says that none is under way.
fn sweep(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_rest = name.starts_with(".installing-") || name.starts_with(".removing-");
        if is_rest && let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "the rest of an interrupted installation could not be removed");
        }
    }
}

/// Every engine's account must be able to read what is in it.
fn make_directory(path: &Path) -> Result<(), Problem> {
    fs::create_dir_all(path).map_err(|error| unusable(path, &error))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(|error| unusable(path, &error))
}

/// One installation or removal at a time; the lock goes with the file handle.
fn lock(directory: &Path) -> Result<fs::File, Problem> {
    let path = directory.join(".lock");
    let file = fs::File::options().create(true).append(true).open(&path).map_err(|error| unusable(&path, &error))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Problem::new(ProblemCode::EngineInstallFailed, "Another installation or removal of an engine version is under way.")
            .hint("Wait until it has ended.")
    })?;
    Ok(file)
}

/// Puts a complete tree in its place, on disk before it is seen.
async fn settle(root: &Path, prefix: &Path) -> Result<(), Problem> {
    let (from, to) = (root.to_path_buf(), prefix.to_path_buf());
    let settled = tokio::task::spawn_blocking(move || {
        rustix::fs::syncfs(fs::File::open(&from)?)?;
        fs::rename(&from, &to)?;
        to.parent().map_or(Ok(()), |home| fs::File::open(home)?.sync_all())
    });
    match settled.await {
        Ok(done) => done.map_err(|error| unusable(prefix, &error)),
        Err(error) => Err(unusable(prefix, &std::io::Error::other(error))),
    }
}

async fn unpack_all(files: &Path, root: &Path) -> Result<(), Problem> {
    let entries = fs::read_dir(files).map_err(|error| unusable(files, &error))?;
    for file in entries.flatten().map(|entry| entry.path()) {
        debian::unpack(&file, root).await?;
        let _ = fs::remove_file(&file);
    }
    Ok(())
}

/// The server and every program beside it or among the usual ones.
fn programs_in(kind: &EngineKind, version: &Version, root: &Path) -> Vec<PathBuf> {
    let server = (kind.server_binary)(root, &version.major(kind.engine));
    let mut directories = vec![root.join("usr/bin"), root.join("usr/sbin")];
    directories.extend(server.parent().map(Path::to_path_buf).filter(|parent| !directories.contains(parent)));
    let entries = directories.iter().flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten());
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())).map(|entry| entry.path()).collect()
}

/// Offers of the package that carries the version number, for each supported major version.
async fn offers(debian: &Debian, kind: &EngineKind) -> Result<Vec<(Version, Offer)>, Problem> {
    let mut found = Vec::new();
    for major in &kind.majors {
        let Some(first) = Version::parse(major).ok().and_then(|version| (kind.packages)(&version).into_iter().next()) else { continue };
        for offer in debian.offers(&first.name).await? {
            if let Ok(version) = Version::parse(&offer.upstream)
                && version.major(kind.engine) == *major
            {
                found.push((version, offer));
            }
        }
    }
    Ok(found)
}

/// The newest offer that is the wanted version, or of the wanted major version.
fn newest(offers: &[(Version, Offer)], wanted: &Version) -> Option<(Version, Offer)> {
    let prefix = format!("{wanted}.");
    let fits = |version: &Version| version == wanted || version.to_string().starts_with(&prefix);
    offers.iter().filter(|(version, _)| fits(version)).max_by(|(a, _), (b, _)| a.cmp(b)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).expect("a version")
    }

    /// An engine whose server is a script that prints its version.
    fn kind() -> EngineKind {
        EngineKind {
            engine: EngineName::PostgreSql,
            majors: vec![String::from("15")],
            server_binary: Arc::new(|prefix, major| prefix.join(format!("made-up-{major}/server"))),
            read_version: Arc::new(|output| Version::parse(output.trim()).ok()),
            packages: Arc::new(|_| vec![PackageWish { name: String::from("moorage-no-such-package"), versioned: true }]),
        }
    }

    fn make_server(prefix: &Path, prints: &str) {
        let binary = prefix.join("made-up-15/server");
        fs::create_dir_all(binary.parent().expect("a directory")).expect("made");
        fs::write(&binary, format!("#!/bin/sh\necho {prints}\n")).expect("written");
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("executable");
    }

    #[tokio::test]
    async fn finds_versions_by_asking_their_servers_and_prefers_its_own() {
        let data = tempfile::tempdir().expect("a directory");
        let prefix = tempfile::tempdir().expect("a directory");
        let own = data.path().join("engines/postgresql/15.2");
        make_server(&own, "15.2");
        make_server(&data.path().join("engines/postgresql/.installing-15.9"), "15.9");
        make_server(&data.path().join("engines/postgresql/15.3"), "broken");
        make_server(prefix.path(), "15.2");
        let installations = Installations::new(data.path(), vec![prefix.path().to_path_buf()], vec![kind()]);
        let found = installations.find().await;
        assert_eq!(
            found.iter().map(|i| (i.label(), i.prefix.clone())).collect::<Vec<_>>(),
            [(String::from("postgresql@15.2"), own.clone())]
        );

        // A patched prefix is noticed.
        make_server(prefix.path(), "15.10");
        let labels: Vec<String> = installations.find().await.iter().map(Installation::label).collect();
        assert_eq!(labels, ["postgresql@15.2", "postgresql@15.10"]);

        installations.remove(EngineName::PostgreSql, &version("15.2")).await.expect("it is ours");
        assert!(!own.exists());
        let refused = installations.remove(EngineName::PostgreSql, &version("15.10")).await.expect_err("it is not ours");
        assert_eq!(refused.code, ProblemCode::EngineInstallFailed);
    }

    #[tokio::test]
    async fn refuses_what_is_no_version_or_not_supported() {
        let data = tempfile::tempdir().expect("a directory");
        let installations = Installations::new(data.path(), Vec::new(), vec![kind()]);
        for label in
            ["", "postgresql", "postgresql@", "postgresql@x", "oracle@15", "postgresql@14.1", "mariadb@10.11", "postgresql@../../etc"]
        {
            let problem = installations.install(label, &|_| {}).await.expect_err(label);
            assert_eq!(problem.code, ProblemCode::InvalidRequest, "{label}");
        }
        assert!(!data.path().join("engines").exists(), "nothing is made for a wrong wish");
    }

    #[tokio::test]
    async fn one_installation_at_a_time() {
        let data = tempfile::tempdir().expect("a directory");
        let installations = Installations::new(data.path(), Vec::new(), vec![kind()]);
        fs::create_dir_all(data.path().join("engines")).expect("made");
        let held = lock(&data.path().join("engines")).expect("free");
        let problem = installations.install("postgresql@15.1", &|_| {}).await.expect_err("it is held");
        assert!(problem.message.contains("under way"), "{problem:?}");
        drop(held);
    }

    #[test]
    fn takes_the_newest_that_fits() {
        let offer = |text: &str| (version(text), Offer { debian: format!("1:{text}-1"), upstream: String::from(text) });
        let offers = [offer("10.11.9"), offer("10.11.19"), offer("10.11.18"), offer("10.1.1")];
        let chosen = |wanted: &str| newest(&offers, &version(wanted)).map(|(version, _)| version.to_string());
        assert_eq!(chosen("10.11").as_deref(), Some("10.11.19"));
        assert_eq!(chosen("10.11.18").as_deref(), Some("10.11.18"));
        assert_eq!(chosen("10.1").as_deref(), Some("10.1.1"));
        assert_eq!(chosen("10.12"), None);
    }
}
