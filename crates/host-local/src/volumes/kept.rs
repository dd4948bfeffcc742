//! How the volumes of a data directory are kept, remembered from start to start: the next one goes on with the same driver at
//! the same place, also without a configuration file, and never silently with another.

use super::drivers::{self, Driver};
use crate::files::{self, Durability};
use crate::problems::Doing;
use moorage_domain::{InstanceId, Problem, ProblemCode};
use moorage_host::HostResult;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;

/// Where instances, templates and spares are, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StorageFile {
    version: u32,
    path: PathBuf,
    driver: String,
}

/// The directories under a storage path, and who may look into them.
const DIRECTORIES: [(&str, u32); 4] = [("instances", 0o711), ("templates", 0o700), ("spares", 0o700), ("work", 0o711)];

fn mark(data: &Path) -> PathBuf {
    data.join("storage.json")
}

fn remembered(data: &Path) -> HostResult<Option<StorageFile>> {
    files::read_json(&mark(data)).doing("read how volumes are kept")
}

/// Where volumes are kept: where it was asked for, else where they were, else in the data directory.
pub(crate) fn path(wanted: Option<&Path>, data: &Path) -> HostResult<PathBuf> {
    Ok(match wanted {
        Some(wanted) => wanted.to_owned(),
        None => remembered(data)?.map_or_else(|| data.to_owned(), |before| before.path),
    })
}

fn has_instances(storage: &Path) -> HostResult<bool> {
    let names = files::names(&storage.join("instances")).doing("list the instances")?;
    Ok(names.iter().any(|name| InstanceId::parse(name).is_ok()))
}

fn changed(key: &str, before: &str, hint: &str) -> moorage_host::HostError {
    let message = format!("`{key}` in [storage] cannot change while there are databases: theirs was {before}.");
    Problem::new(ProblemCode::ConfigInvalid, message).hint(hint.to_owned()).into()
}

/// Prepares the directories and finds the driver; refuses another path or another kind of driver while there are instances.
pub(crate) fn find(wanted: Option<&str>, storage: &Path, data: &Path) -> HostResult<Box<dyn Driver>> {
    let before = remembered(data)?;
    if let Some(before) = &before
        && before.path != storage
        && has_instances(&before.path)?
    {
        return Err(changed("path", &before.path.display().to_string(), "Take the key back to what it was, or delete them first."));
    }
    for (name, mode) in DIRECTORIES {
        files::ensure_directory(&storage.join(name), mode, None).doing("prepare the directories of volumes")?;
    }
    let instances = has_instances(storage)?;
    // What there was before anybody remembered was plain directories.
    let known = match &before {
        Some(before) if before.path == storage => Some(before.driver.clone()),
        _ => instances.then(|| String::from("directory")),
    };
    let driver = drivers::find(wanted, known.as_deref().filter(|_| instances || wanted.is_none()), storage)?;
    if let Some(known) = known.filter(|known| !drivers::are_alike(known, driver.name())) {
        if instances {
            return Err(changed("driver", &known, "Take the key back to what it was, or delete them first."));
        }
        for directory in ["templates", "spares", "work"].map(|name| storage.join(name)) {
            for name in files::names(&directory).doing("list the templates")? {
                let path = directory.join(name);
                drivers::remove(&path).doing("remove what another driver had prepared")?;
            }
        }
    }
    let now = StorageFile { version: VERSION, path: storage.to_owned(), driver: driver.name().to_owned() };
    if before.as_ref() != Some(&now) {
        files::replace_json(&mark(data), &now, 0o600, Durability::Durable).doing("remember how volumes are kept")?;
    }
    Ok(driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_path_nor_driver_changes_under_databases() {
        let room = tempfile::tempdir().expect("a directory");
        let (data, other) = (room.path().join("data"), room.path().join("other"));
        std::fs::create_dir(&data).expect("made");
        std::fs::create_dir(&other).expect("made");
        find(Some("directory"), &data, &data).expect("found");
        find(Some("directory"), &other, &data).expect("nothing is there yet");
        assert_eq!(path(None, &data).expect("remembered"), other);
        std::fs::create_dir(other.join("instances").join(InstanceId::from_bits(1).as_str())).expect("made");
        assert!(find(None, &other, &data).is_ok());
        let error = find(None, &data, &data).err().expect("refused");
        assert!(error.problem.message.contains("`path`"), "{}", error.problem);
        std::fs::write(mark(&data), format!(r#"{{"version":1,"path":"{}","driver":"image"}}"#, other.display())).expect("written");
        let error = find(Some("directory"), &other, &data).err().expect("refused");
        assert!(error.problem.message.contains("`driver`"), "{}", error.problem);
    }
}
