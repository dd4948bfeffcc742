//! What every package's manifest has to say.

use super::Finding;
use super::packages::Packages;
use super::tree::Tree;

const LICENCE: &str = "Apache-2.0";

/// The licence field is there in every package, the text of the licence too, and the workspace's lints are switched on.
pub fn check(tree: &Tree, packages: &Packages) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !tree.file("LICENSE").is_some_and(|text| text.contains("Apache License") && text.contains("Version 2.0")) {
        findings.push(Finding::error("LICENSE", "the text of the Apache License 2.0 is missing"));
    }
    for member in &packages.members {
        if member.licence.as_deref() != Some(LICENCE) {
            findings.push(Finding::error(&member.manifest, format!("write 'license.workspace = true' ({LICENCE})")));
        }
        let manifest = tree.file(&member.manifest).and_then(|text| text.parse::<toml::Table>().ok());
        let lints = manifest.as_ref().and_then(|table| table.get("lints")?.get("workspace")?.as_bool());
        if lints != Some(true) {
            findings.push(Finding::error(&member.manifest, "write '[lints] workspace = true': the house rules bind every package"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::packages::Member;
    use super::*;

    fn packages(licence: Option<&str>) -> Packages {
        let member = Member { licence: licence.map(str::to_owned), manifest: "crates/a/Cargo.toml".into(), ..Member::default() };
        Packages { members: vec![member], ..Packages::default() }
    }

    #[test]
    fn a_package_without_licence_or_lints_is_found() {
        let good = Tree::of(&[("LICENSE", "Apache License\nVersion 2.0"), ("crates/a/Cargo.toml", "[lints]\nworkspace = true\n")]);
        assert!(check(&good, &packages(Some("Apache-2.0"))).is_empty());
        assert_eq!(check(&good, &packages(None)).len(), 1);
        assert_eq!(check(&good, &packages(Some("GPL-3.0"))).len(), 1);
        let bad = Tree::of(&[("crates/a/Cargo.toml", "[package]\nname = 'a'\n")]);
        assert_eq!(check(&bad, &packages(Some("Apache-2.0"))).len(), 2);
    }
}
