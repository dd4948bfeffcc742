//! Words and calls that have no place in the source, and names that say nothing.

use super::Finding;
use super::tree::{Tree, is_test_path, production};

/// Where a word is looked for.
enum Scope {
    /// Every text file.
    Everywhere,
    /// Rust outside tests, below this directory.
    Code(&'static str),
    /// All Rust, tests too.
    Rust,
}

struct Banned {
    word: &'static str,
    scope: Scope,
    except: &'static [&'static str],
    reason: &'static str,
}

const fn everywhere(word: &'static str, reason: &'static str) -> Banned {
    Banned { word, scope: Scope::Everywhere, except: &[], reason }
}
const fn code(under: &'static str, word: &'static str, reason: &'static str) -> Banned {
    Banned { word, scope: Scope::Code(under), except: &[], reason }
}

const LATER: &str = "finish it, or write it down where work is planned";
const MACHINE: &str = "a path of one person's machine";
const PURE: &str = "the domain is handed time, files and randomness; it never fetches them";
const NO_RUNTIME: &str = "the shim outlives everything and stays small: no tokio in it";
const EITHER_ENGINE: &str = "a host does not know which engine it runs; the engine describes what is needed";

// Written in two parts so that this file does not contain what it looks for.
const BANNED: &[Banned] = &[
    everywhere(concat!("TO", "DO"), LATER),
    everywhere(concat!("FIX", "ME"), LATER),
    everywhere(concat!("to", "do!("), LATER),
    everywhere(concat!("unimple", "mented!("), LATER),
    everywhere(concat!("/ho", "me/"), MACHINE),
    everywhere(concat!("/ro", "ot/"), MACHINE),
    everywhere(concat!("/wo", "rk/"), MACHINE),
    everywhere(concat!("/Us", "ers/"), MACHINE),
    Banned {
        word: concat!("#[ig", "nore"),
        scope: Scope::Rust,
        except: &[],
        reason: "a test that never runs proves nothing; make it fast or remove it",
    },
    Banned {
        word: "thread::sleep(",
        scope: Scope::Code("crates/"),
        except: &["crates/host-local/src/"],
        reason: "stops a runtime thread; use tokio::time::sleep, or wait for the event itself",
    },
    code("crates/domain/src/", "SystemTime::now", PURE),
    code("crates/domain/src/", "Instant::now", PURE),
    code("crates/domain/src/", "Timestamp::now", PURE),
    code("crates/domain/src/", "std::fs", PURE),
    code("crates/domain/src/", "std::env", PURE),
    code("crates/domain/src/", "std::thread", PURE),
    code("crates/domain/src/", "std::process", PURE),
    code("crates/host-local/src/shim/", "tokio::", NO_RUNTIME),
    code("crates/host/src/", "EngineName::MariaDb", EITHER_ENGINE),
    code("crates/host/src/", "EngineName::PostgreSql", EITHER_ENGINE),
    code("crates/host-local/src/", "EngineName::MariaDb", EITHER_ENGINE),
    code("crates/host-local/src/", "EngineName::PostgreSql", EITHER_ENGINE),
];

/// File and directory names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "managers", "misc"];

/// Looks for all of them.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files("", "") {
        for part in path.split('/') {
            let stem = part.split('.').next().unwrap_or(part);
            if EMPTY_NAMES.contains(&stem) {
                findings.push(Finding::error(path, format!("'{stem}' says nothing; name it by what it is about")));
            }
        }
        // Generated, and full of other people's words.
        if path == "Cargo.lock" {
            continue;
        }
        for banned in BANNED.iter().filter(|banned| !banned.except.iter().any(|except| path.starts_with(except))) {
            let lines: Box<dyn Iterator<Item = (usize, &str)>> = match banned.scope {
                Scope::Everywhere => Box::new(text.lines().enumerate().map(|(index, line)| (index + 1, line))),
                Scope::Rust if path.ends_with(".rs") => Box::new(text.lines().enumerate().map(|(index, line)| (index + 1, line))),
                Scope::Code(under) if path.starts_with(under) && path.ends_with(".rs") && !is_test_path(path) => Box::new(production(text)),
                _ => continue,
            };
            for (number, _) in lines.filter(|(_, line)| has_word(line, banned.word)) {
                findings.push(Finding::error(format!("{path}:{number}"), format!("'{}': {}", banned.word, banned.reason)));
            }
        }
    }
    findings
}

/// Whether a line has the word, not merely letters of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let whole_word = word.chars().all(letter);
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let path_inside = word.starts_with('/') && before.is_some_and(|c| letter(c) || c == '.');
        !path_inside && !(whole_word && (before.is_some_and(letter) || after.is_some_and(letter)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn unfinished_work_is_found_and_longer_words_are_not() {
        assert_eq!(found("crates/a/src/lib.rs", concat!("// TO", "DO: later")), 1);
        assert_eq!(found("docs/a.md", concat!("FIX", "ME")), 1);
        assert_eq!(found("crates/a/src/lib.rs", concat!("    to", "do!()")), 1);
        assert_eq!(found("crates/a/src/lib.rs", concat!("const AUTO", "DOCUMENT: u8 = 1;")), 0);
    }

    #[test]
    fn paths_of_a_machine_are_found_and_longer_paths_are_not() {
        assert_eq!(found("docs/a.md", concat!("see /ro", "ot/x")), 1);
        assert_eq!(found("docs/a.md", concat!("target/clean-machine/ro", "ot/x")), 0);
    }

    #[test]
    fn a_test_that_never_runs_is_found() {
        assert_eq!(found("crates/a/tests/b.rs", concat!("#[ig", "nore = \"slow\"]")), 1);
    }

    #[test]
    fn sleeping_threads_are_found_outside_tests_and_the_local_host() {
        assert_eq!(found("crates/app/src/lib.rs", "std::thread::sleep(x);"), 1);
        assert_eq!(found("crates/host-local/src/shim/mod.rs", "std::thread::sleep(x);"), 0);
        assert_eq!(found("crates/app/tests/a.rs", "std::thread::sleep(x);"), 0);
    }

    #[test]
    fn an_impure_domain_a_shim_with_a_runtime_and_a_host_that_knows_engines_are_found() {
        assert_eq!(found("crates/domain/src/time.rs", "let now = Instant::now();"), 1);
        assert_eq!(found("crates/host-local/src/shim/mod.rs", "tokio::spawn(x);"), 1);
        assert_eq!(found("crates/host-local/src/volume.rs", "if engine == EngineName::MariaDb {"), 1);
        assert_eq!(found("crates/host-local/src/volume.rs", "\n#[cfg(test)]\nmod tests {\n    EngineName::MariaDb\n}\n"), 0);
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        assert_eq!(found("crates/app/src/utils.rs", ""), 1);
        assert_eq!(found("crates/app/src/common/mod.rs", ""), 1);
        assert_eq!(found("crates/app/src/commonwealth.rs", ""), 0);
    }
}
