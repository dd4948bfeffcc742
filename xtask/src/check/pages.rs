//! Pages that have to exist: for problems, operations and decisions; and links that have to lead somewhere.

use super::Finding;
use super::tree::{Tree, production};
use std::collections::BTreeSet;

const CODES: &str = "crates/domain/src/problem.rs";
const PROBLEMS: &str = "docs/problems/";
const OPERATIONS: &str = "docs/operations/";
const DECISIONS: &str = "docs/decisions/";

/// Every problem code has a page that names cause and remedy.
pub fn problems(tree: &Tree) -> Vec<Finding> {
    let codes: BTreeSet<&str> = tree.file(CODES).into_iter().flat_map(problem_codes).collect();
    if codes.is_empty() {
        return vec![Finding::error(CODES, "no problem codes were found; the rule no longer understands the file")];
    }
    both_ways(tree, &codes, PROBLEMS, &["## Cause", "## Remedy"], "problem code")
}

/// Every kind of operation has a page that names its steps and says what an operator can do.
pub fn operations(tree: &Tree) -> Vec<Finding> {
    let kinds: BTreeSet<&str> =
        tree.files("crates/operations/src/", ".rs").flat_map(|(_, text)| production(text)).filter_map(|(_, line)| kind(line)).collect();
    both_ways(tree, &kinds, OPERATIONS, &["## Steps", "## If it fails"], "operation")
}

/// Decision records are numbered 0001, 0002 and so on, each number once.
pub fn decisions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let records = tree.files(DECISIONS, ".md").filter(|(path, _)| !path.ends_with("/README.md"));
    for (index, (path, text)) in records.enumerate() {
        let expected = format!("{DECISIONS}{:04}-", index + 1);
        if !path.starts_with(&expected) {
            findings.push(Finding::error(path, format!("a gap or a number given twice: this one should begin with {expected}")));
        }
        if !text.contains("\n## Decision\n") {
            findings.push(Finding::error(path, "a record has a heading '## Decision'"));
        }
    }
    findings
}

/// Relative links of the documents lead to a file or directory of the checkout.
pub fn links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files("", ".md") {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !tree.has(&joined(directory, target)) {
                findings.push(Finding::error(path, format!("the link to '{target}' leads nowhere")));
            }
        }
    }
    findings
}

fn problem_codes(text: &str) -> Vec<&str> {
    let list = text.split_once("\ncodes! {").and_then(|(_, rest)| rest.split_once("\n}")).map_or("", |(list, _)| list);
    list.lines().filter_map(|line| line.split('"').nth(1)).collect()
}

fn kind(line: &str) -> Option<&str> {
    let (name, value) = line.trim().strip_suffix("\";")?.split_once(" = \"")?;
    (name.contains("const KIND: &") && name.ends_with("str")).then_some(value)
}

fn both_ways(tree: &Tree, names: &BTreeSet<&str>, directory: &str, headings: &[&str], what: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in names {
        let path = format!("{directory}{name}.md");
        let Some(text) = tree.file(&path) else {
            findings.push(Finding::error(path, format!("there is no page for the {what} '{name}'")));
            continue;
        };
        if !text.starts_with(&format!("# {name}\n")) {
            findings.push(Finding::error(path.as_str(), format!("the page begins with '# {name}'")));
        }
        for heading in headings.iter().filter(|heading| !text.contains(&format!("\n{heading}\n"))) {
            findings.push(Finding::error(path.as_str(), format!("the page has no '{heading}'")));
        }
    }
    for (path, _) in tree.files(directory, ".md") {
        let name = path.strip_prefix(directory).and_then(|name| name.strip_suffix(".md")).unwrap_or(path);
        if !names.contains(name) && name != "README" {
            findings.push(Finding::error(path, format!("there is no {what} '{name}'; remove the page or fix its name")));
        }
    }
    findings
}

fn joined(directory: &str, target: &str) -> String {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "macro_rules! codes {}\n\ncodes! {\n    NameTaken \"name-taken\" Conflict,\n}\n";
    const PAGE: &str = "# name-taken\n\n## Cause\n\n## Remedy\n";

    #[test]
    fn a_problem_without_page_and_a_page_without_problem_are_found() {
        assert!(problems(&Tree::of(&[(CODES, CODE), ("docs/problems/name-taken.md", PAGE)])).is_empty());
        assert_eq!(problems(&Tree::of(&[(CODES, CODE)])).len(), 1);
        let stray = ("docs/problems/gone.md", "");
        assert_eq!(problems(&Tree::of(&[(CODES, CODE), ("docs/problems/name-taken.md", PAGE), stray])).len(), 1);
        assert_eq!(problems(&Tree::of(&[(CODES, CODE), ("docs/problems/name-taken.md", "# name-taken\n\n## Cause\n")])).len(), 1);
        assert_eq!(problems(&Tree::of(&[(CODES, "enum ProblemCode {}")])).len(), 1, "a rule that sees nothing says so");
    }

    #[test]
    fn an_operation_without_page_and_a_page_without_operation_are_found() {
        let code = ("crates/operations/src/stop.rs", "impl Operation for Stop {\n    const KIND: &'static str = \"cluster.stop\";\n}\n");
        let page = ("docs/operations/cluster.stop.md", "# cluster.stop\n\n## Steps\n\n## If it fails\n");
        assert!(operations(&Tree::of(&[code, page])).is_empty());
        assert_eq!(operations(&Tree::of(&[code])).len(), 1);
        assert_eq!(operations(&Tree::of(&[page])).len(), 1);
        assert_eq!(operations(&Tree::of(&[code, ("docs/operations/cluster.stop.md", "# stop\n")])).len(), 3);
    }

    #[test]
    fn a_gap_between_decisions_is_found() {
        let record = "# 1\n\n## Decision\n";
        let first = ("docs/decisions/0001-a.md", record);
        assert!(decisions(&Tree::of(&[first, ("docs/decisions/0002-b.md", record)])).is_empty());
        assert_eq!(decisions(&Tree::of(&[first, ("docs/decisions/0003-b.md", record)])).len(), 1);
        assert_eq!(decisions(&Tree::of(&[("docs/decisions/0001-a.md", "# 1\n")])).len(), 1);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let page = ("docs/a/b.md", "See [up](../c.md#part), [out](https://example.org/x) and [here](#top).");
        assert!(links(&Tree::of(&[page, ("docs/c.md", "")])).is_empty());
        assert_eq!(links(&Tree::of(&[page])).len(), 1);
    }
}
