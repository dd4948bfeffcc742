//! Takes the pages about problems into the program, so that the link in every problem leads somewhere without a network.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    let pages = Path::new(&root).join("../../docs/problems");
    println!("cargo::rerun-if-changed={}", pages.display());
    let mut names: Vec<_> = std::fs::read_dir(&pages)
        .expect("docs/problems is there")
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    names.sort();
    let mut code = String::from("/// Pages about problems, by code.\npub(crate) const PROBLEM_PAGES: &[(&str, &str)] = &[\n");
    for name in names {
        let path = pages.join(format!("{name}.md"));
        let path = path.canonicalize().expect("the page is there");
        writeln!(code, "    ({name:?}, include_str!({:?})),", path.display().to_string()).expect("a string takes all");
    }
    code.push_str("];\n");
    let out = std::env::var("OUT_DIR").expect("cargo says where to write");
    std::fs::write(Path::new(&out).join("problem_pages.rs"), code).expect("written");
}
