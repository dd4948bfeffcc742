//! The package graph as `cargo metadata` reports it.

use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// How a package uses another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// In what is shipped, or in what builds it.
    Normal,
    /// In tests only.
    Test,
}

/// A package of this workspace.
#[derive(Debug, Default)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its SPDX licence expression.
    pub licence: Option<String>,
    /// Path of its manifest from the root.
    pub manifest: String,
    /// What its manifest names.
    pub uses: Vec<(String, Use)>,
}

/// The workspace's members and everything they reach.
#[derive(Debug, Default)]
pub struct Packages {
    /// Members by name.
    pub members: Vec<Member>,
    /// Per package name the names it is built with, tests aside. Two versions of one package count as one.
    pub graph: BTreeMap<String, BTreeSet<String>>,
}

impl Packages {
    /// Asks cargo.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let target = "x86_64-unknown-linux-gnu";
        let output = Command::new(cargo)
            .current_dir(root)
            .args(["metadata", "--format-version", "1", "--filter-platform", target])
            .output()
            .context("cannot run cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let metadata = serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata says")?;
        Self::of(&metadata, root).context("cargo metadata does not have the expected form")
    }

    fn of(metadata: &Value, root: &Path) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let workspace: BTreeSet<&str> = metadata["workspace_members"].as_array()?.iter().filter_map(Value::as_str).collect();
        let mut names = BTreeMap::new();
        let mut packages = Packages::default();
        for package in metadata["packages"].as_array()? {
            names.insert(package["id"].as_str()?, text(&package["name"])?);
            if !workspace.contains(package["id"].as_str()?) {
                continue;
            }
            let manifest = Path::new(package["manifest_path"].as_str()?);
            let mut member = Member {
                name: text(&package["name"])?,
                licence: text(&package["license"]),
                manifest: manifest.strip_prefix(root).unwrap_or(manifest).to_string_lossy().into_owned(),
                uses: Vec::new(),
            };
            for used in package["dependencies"].as_array()? {
                let how = if used["kind"].as_str() == Some("dev") { Use::Test } else { Use::Normal };
                member.uses.push((text(&used["name"])?, how));
            }
            packages.members.push(member);
        }
        for node in metadata["resolve"]["nodes"].as_array()? {
            let from = names.get(node["id"].as_str()?)?.clone();
            let reached = packages.graph.entry(from).or_default();
            for used in node["deps"].as_array()? {
                let shipped = used["dep_kinds"].as_array()?.iter().any(|kind| kind["kind"].as_str() != Some("dev"));
                if shipped {
                    reached.insert(names.get(used["pkg"].as_str()?)?.clone());
                }
            }
        }
        Some(packages)
    }

    /// The way from one package to another through what is shipped, if there is one.
    pub fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut edge = vec![from];
        while let Some(at) = edge.pop() {
            if at == to {
                let mut way = vec![at.to_owned()];
                let mut last = at;
                while let Some(before) = came_from.get(last) {
                    way.push((*before).to_owned());
                    last = before;
                }
                way.reverse();
                return Some(way);
            }
            for next in self.graph.get(at).into_iter().flatten() {
                if next != from && !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, at);
                    edge.push(next);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cargo_reports_is_understood() {
        let metadata = json!({
            "workspace_members": ["a 1"],
            "packages": [
                {"id": "a 1", "name": "a", "license": "MIT", "manifest_path": "/r/crates/a/Cargo.toml",
                 "dependencies": [{"name": "b", "kind": null}, {"name": "c", "kind": "dev"}]},
                {"id": "b 1", "name": "b", "license": null, "manifest_path": "/x", "dependencies": []},
                {"id": "c 1", "name": "c", "license": null, "manifest_path": "/x", "dependencies": []}
            ],
            "resolve": {"nodes": [
                {"id": "a 1", "deps": [{"pkg": "b 1", "dep_kinds": [{"kind": null}]}, {"pkg": "c 1", "dep_kinds": [{"kind": "dev"}]}]},
                {"id": "b 1", "deps": []}, {"id": "c 1", "deps": []}
            ]}
        });
        let packages = Packages::of(&metadata, Path::new("/r")).expect("understood");
        assert_eq!(packages.members[0].manifest, "crates/a/Cargo.toml");
        assert_eq!(packages.members[0].uses, [("b".to_owned(), Use::Normal), ("c".to_owned(), Use::Test)]);
        assert_eq!(packages.way("a", "b"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(packages.way("a", "c"), None);
    }
}
