//! How long a file may be.

use super::Finding;
use super::tree::{Tree, is_test_path, production};

const LONG: usize = 600;
const TOO_LONG: usize = 700;

/// Rust files without their tests: over 600 lines is reported, over 700 is an error.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files("", ".rs").filter(|(path, _)| !is_test_path(path)) {
        let lines = production(text).count();
        if lines > TOO_LONG {
            findings.push(Finding::error(path, format!("{lines} lines without tests, more than {TOO_LONG}; split it by what it is about")));
        } else if lines > LONG {
            findings.push(Finding::warning(path, format!("{lines} lines without tests, more than {LONG}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_reported_and_very_long_ones_are_errors() {
        let with_lines = |count: usize| "\n".repeat(count);
        let found = |path: &str, text: String| check(&Tree::of(&[(path, text.as_str())]));
        assert!(found("crates/a/src/lib.rs", with_lines(600)).is_empty());
        assert!(found("crates/a/src/lib.rs", with_lines(601))[0].warning);
        assert!(!found("crates/a/src/lib.rs", with_lines(701))[0].warning);
        assert!(found("crates/a/tests/all.rs", with_lines(2000)).is_empty());
        let tested = format!("fn a() {{}}\n\n#[cfg(test)]\nmod tests {{{}}}\n", with_lines(2000));
        assert!(found("crates/a/src/lib.rs", tested).is_empty(), "tests do not count");
    }
}
