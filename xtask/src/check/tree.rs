//! The source tree as the rules see it: paths and text.

use anyhow::Context;
use std::collections::BTreeMap;
use std::path::Path;

/// Every text file of the checkout by its path from the root.
pub struct Tree {
    files: BTreeMap<String, String>,
}

/// Directories that hold no source.
const NOT_SOURCE: &[&str] = &["target", ".git", "moorage-data", "node_modules", ".venv"];

impl Tree {
    /// Reads a checkout; what is not UTF-8 is left out.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            let doing = || format!("cannot list {}", directory.display());
            for entry in std::fs::read_dir(&directory).with_context(doing)? {
                let entry = entry.with_context(doing)?;
                let kind = entry.file_type().with_context(doing)?;
                if kind.is_dir() {
                    if !NOT_SOURCE.iter().any(|name| entry.file_name() == *name) {
                        directories.push(entry.path());
                    }
                } else if kind.is_file()
                    && let Ok(bytes) = std::fs::read(entry.path())
                    && let Ok(text) = String::from_utf8(bytes)
                {
                    let path = entry.path();
                    let path = path.strip_prefix(root).unwrap_or(&path);
                    files.insert(path.to_string_lossy().into_owned(), text);
                }
            }
        }
        Ok(Self { files })
    }

    /// A tree made up for a test.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
    }

    /// Files below a directory (`""` for all) that end like this.
    pub fn files<'a>(&'a self, under: &'a str, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.starts_with(under) && path.ends_with(ending))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text of one file.
    pub fn file(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether there is such a file or directory.
    pub fn has(&self, path: &str) -> bool {
        let directory = format!("{}/", path.trim_end_matches('/'));
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&directory))
    }
}

/// Whether a path holds nothing but tests, contract suites and the operations' harness among them.
pub fn is_test_path(path: &str) -> bool {
    path.split('/').any(|part| {
        let stem = part.strip_suffix(".rs").unwrap_or(part);
        ["tests", "benches", "contract", "harness"].contains(&stem) || stem.ends_with("_tests")
    })
}

/// A Rust file's lines up to its trailing test module.
pub fn production(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("\n#[cfg(test)]\nmod ").map_or(text.len(), |at| at + 1);
    text[..end].lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_modules_and_test_files_are_told_apart_from_the_rest() {
        let lines: Vec<_> = production("fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n").map(|(_, line)| line).collect();
        assert_eq!(lines, ["fn a() {}", ""]);
        assert!(is_test_path("crates/a/tests/b.rs") && is_test_path("crates/a/src/x/tests.rs"));
        assert!(is_test_path("crates/engine/src/contract/local.rs") && is_test_path("crates/engine/src/contract.rs"));
        assert!(!is_test_path("crates/testkit/src/lib.rs"));
    }

    #[test]
    fn directories_are_found_by_what_is_in_them() {
        let tree = Tree::of(&[("docs/a/b.md", "")]);
        assert!(tree.has("docs/a") && tree.has("docs/a/") && tree.has("docs/a/b.md") && !tree.has("docs/a/b"));
    }
}
