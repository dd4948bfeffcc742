//! Documents kept beside volumes, from which a lost store can be rebuilt. Only the host's own account reads them.

use crate::files::{self, Durability};
use crate::machine::Machine;
use crate::problems::Doing;
use crate::terms::Terms;
use crate::volumes::kept;
use moorage_domain::{ClusterId, InstanceId, Problem, ProblemCode};
use moorage_host::HostResult;
use std::collections::BTreeMap;
use std::path::Path;

const FILE: &str = "manifest.json";
/// Nothing that is kept is longer.
const MOST_BYTES: u64 = 64 << 20;

pub(crate) fn keep(machine: &Machine, of: Option<&InstanceId>, text: &str) -> HostResult<()> {
    let directory = match of {
        Some(instance) => machine.instance(instance),
        None => machine.data.clone(),
    };
    if !directory.is_dir() {
        return Err(Problem::new(ProblemCode::HostFailed, "There is nothing here to keep a manifest of.").into());
    }
    files::replace(&directory.join(FILE), text.as_bytes(), 0o600, None, Durability::Durable).doing("keep a manifest")
}

pub(crate) fn all(machine: &Machine) -> HostResult<Vec<(Option<InstanceId>, String)>> {
    read_all(&machine.data, &machine.instances())
}

fn read_all(data: &Path, instances: &Path) -> HostResult<Vec<(Option<InstanceId>, String)>> {
    let mut found = Vec::new();
    found.extend(read(data)?.map(|text| (None, text)));
    for name in files::names(instances).doing("list the instances")? {
        let Ok(instance) = InstanceId::parse(&name) else { continue };
        found.extend(read(&instances.join(&name))?.map(|text| (Some(instance), text)));
    }
    Ok(found)
}

fn read(directory: &Path) -> HostResult<Option<String>> {
    let reading = "read a manifest";
    let path = directory.join(FILE);
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        found => {
            let found = found.doing(reading)?;
            if !found.is_file() || found.len() > MOST_BYTES {
                return Err(Problem::new(ProblemCode::HostFailed, format!("{} is not a manifest.", path.display())).into());
            }
        }
    }
    std::fs::read_to_string(&path).map(Some).doing(reading)
}

/// What a data directory keeps without a server or a store.
#[derive(Debug)]
pub struct Kept {
    /// Instances that have a directory.
    pub instances: Vec<InstanceId>,
    /// Manifests, the installation's own under no instance.
    pub manifests: Vec<(Option<InstanceId>, String)>,
    /// The highest term seen of each cluster that has something here.
    pub terms: BTreeMap<ClusterId, u64>,
}

impl Kept {
    /// The instances that have a directory.
    pub fn instances(data: &Path) -> HostResult<Vec<InstanceId>> {
        let names = files::names(&kept::path(None, data)?.join("instances")).doing("list the instances")?;
        Ok(names.iter().filter_map(|name| InstanceId::parse(name).ok()).collect())
    }
    /// Reads a data directory that no server uses.
    pub fn read(data: &Path) -> HostResult<Self> {
        let instances = kept::path(None, data)?.join("instances");
        Ok(Self {
            instances: Self::instances(data)?,
            manifests: read_all(data, &instances)?,
            terms: Terms::open(data.join("terms"))?.all(),
        })
    }
}
