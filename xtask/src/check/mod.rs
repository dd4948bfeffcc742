//! The house rules, executed. A rule is a pure function of the source tree and the package graph, so that each can be
//! shown a bad example.

mod dependencies;
mod manifests;
mod packages;
mod pages;
mod sizes;
mod tree;
mod words;

use anyhow::Context;
use packages::Packages;
use std::path::Path;
use std::process::ExitCode;
use tree::Tree;

/// Something a rule has to say about the source.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Where: a path, perhaps with a line.
    place: String,
    /// What is wrong and what to do instead.
    sentence: String,
    /// Only reported, does not fail the check.
    warning: bool,
}

impl Finding {
    fn error(place: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { place: place.into(), sentence: sentence.into(), warning: false }
    }
    fn warning(place: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { place: place.into(), sentence: sentence.into(), warning: true }
    }
}

type Rule = (&'static str, fn(&Tree, &Packages) -> Vec<Finding>);

const RULES: &[Rule] = &[
    ("rooms depend only on the rooms they may", |_, packages| dependencies::rooms(packages)),
    ("heavy libraries stay in their rooms", |_, packages| dependencies::libraries(packages)),
    ("the domain stays pure", |_, packages| dependencies::purity(packages)),
    ("packages carry the licence and the shared lints", |tree, packages| manifests::check(tree, packages)),
    ("every problem code has a page, and every page a code", |tree, _| pages::problems(tree)),
    ("every operation has a page, and every page an operation", |tree, _| pages::operations(tree)),
    ("decisions are numbered without gaps", |tree, _| pages::decisions(tree)),
    ("links in the documents lead somewhere", |tree, _| pages::links(tree)),
    ("files stay readable in one sitting", |tree, _| sizes::check(tree)),
    ("words and calls that have no place here are absent", |tree, _| words::check(tree)),
];

/// Runs every rule on the checkout.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub fn run() -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent directory")?;
    let tree = Tree::read(root)?;
    let packages = Packages::read(root)?;
    let mut errors = 0;
    for (sentence, rule) in RULES {
        let findings = rule(&tree, &packages);
        let failed = findings.iter().filter(|finding| !finding.warning).count();
        errors += failed;
        println!("{}  {sentence}", if failed == 0 { "ok    " } else { "FAILED" });
        for finding in findings {
            println!("        {}{}: {}", if finding.warning { "(warning) " } else { "" }, finding.place, finding.sentence);
        }
    }
    println!("{} rules, {errors} violations", RULES.len());
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
