//! The highest term this host has seen of each cluster, kept durably: lower ones are refused, whoever sends them.

use crate::files::{self, Durability, replace_json};
use crate::problems::{Doing, failed};
use crate::shim::protocol::now;
use moorage_domain::{ClusterId, Problem, ProblemCode, Timestamp};
use moorage_host::HostResult;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const VERSION: u32 = 1;
/// How long the term of a removed cluster is remembered: a late twin of an operation does not live that long.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TermFile {
    version: u32,
    term: u64,
    /// When the last thing of the cluster was removed from this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<Timestamp>,
}

/// All terms of one host.
pub(crate) struct Terms {
    directory: PathBuf,
    known: Mutex<BTreeMap<ClusterId, TermFile>>,
}

impl Terms {
    /// Reads what is remembered; a file that cannot be understood is an error, never a zero.
    pub fn open(directory: PathBuf) -> HostResult<Self> {
        files::ensure_directory(&directory, 0o700, None).doing("make the directory of terms")?;
        let mut known = BTreeMap::new();
        for name in files::names(&directory).doing("list the terms")? {
            let Ok(cluster) = ClusterId::parse(&name) else { continue };
            let file = directory.join(&name);
            let bytes = std::fs::read(&file).doing("read a term")?;
            let term: TermFile = serde_json::from_slice(&bytes)
                .map_err(|error| failed(&format!("understand the term file {}", file.display()), io::Error::other(error)))?;
            if term.gone.is_some_and(|gone| now().since(gone) > REMEMBERED) {
                files::remove(&file).doing("forget a removed cluster's term")?;
                continue;
            }
            known.insert(cluster, term);
        }
        Ok(Self { directory, known: Mutex::new(known) })
    }

    /// Refuses a term lower than the highest one; remembers a higher one before it returns.
    pub fn raise(&self, cluster: &ClusterId, term: u64) -> HostResult<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(cluster) {
            Some(seen) if term < seen.term => {
                let message = format!("This was decided in term {term}, but the cluster is already in term {}.", seen.term);
                return Err(Problem::new(ProblemCode::TermTooOld, message)
                    .hint("Somebody decided anew meanwhile; look at the cluster again.")
                    .into());
            }
            Some(seen) if term == seen.term && seen.gone.is_none() => return Ok(()),
            _ => {}
        }
        let file = TermFile { version: VERSION, term, gone: None };
        replace_json(&self.directory.join(cluster.as_str()), &file, 0o600, Durability::Durable).doing("remember a term")?;
        known.insert(cluster.clone(), file);
        Ok(())
    }

    /// Nothing of the cluster is left here. Its term is remembered for a while, to refuse late twins, but not listed.
    pub fn retire(&self, cluster: &ClusterId) -> HostResult<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = known.get_mut(cluster) else { return Ok(()) };
        let file = TermFile { gone: Some(now()), ..seen.clone() };
        replace_json(&self.directory.join(cluster.as_str()), &file, 0o600, Durability::Whole).doing("retire a term")?;
        *seen = file;
        Ok(())
    }

    /// The terms of clusters that have something here.
    pub fn all(&self) -> BTreeMap<ClusterId, u64> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|(_, term)| term.gone.is_none()).map(|(cluster, term)| (cluster.clone(), term.term)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_term_is_refused_also_by_a_later_process_and_after_removal() {
        let room = tempfile::tempdir().expect("a directory");
        let cluster = ClusterId::from_bits(1);
        let directory = room.path().join("terms");
        Terms::open(directory.clone()).and_then(|terms| terms.raise(&cluster, 5)).expect("raised");
        let terms = Terms::open(directory.clone()).expect("opened again");
        assert_eq!(terms.raise(&cluster, 4).expect_err("refused").problem.code, ProblemCode::TermTooOld);
        terms.raise(&cluster, 5).expect("the same again");
        assert_eq!(terms.all(), BTreeMap::from([(cluster.clone(), 5)]));
        terms.retire(&cluster).expect("retired");
        let terms = Terms::open(directory.clone()).expect("opened again");
        assert!(terms.all().is_empty());
        assert_eq!(terms.raise(&cluster, 4).expect_err("refused").problem.code, ProblemCode::TermTooOld);
        std::fs::write(directory.join(cluster.as_str()), "").expect("torn");
        assert!(Terms::open(directory).is_err(), "a torn term is not a zero");
    }
}
