//! Takes the pages about problems and operations into the program, so that what is named anywhere can be read without a network.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    let mut code = String::new();
    for (constant, about, directory) in [
        ("PROBLEM_PAGES", "Pages about problems, by code.", "../../docs/problems"),
        ("OPERATION_PAGES", "Pages about operations, by kind.", "../../docs/operations"),
    ] {
        take(&mut code, constant, about, directory);
    }
    let out = std::env::var("OUT_DIR").expect("cargo says where to write");
    std::fs::write(Path::new(&out).join("pages.rs"), code).expect("written");
}

fn take(code: &mut String, constant: &str, about: &str, directory: &str) {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    let pages = Path::new(&root).join(directory);
    println!("cargo::rerun-if-changed={}", pages.display());
    let mut names: Vec<_> = std::fs::read_dir(&pages)
        .expect("the pages are there")
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    names.sort();
    writeln!(code, "/// {about}\npub(crate) const {constant}: &[(&str, &str)] = &[").expect("a string takes all");
    for name in names {
        let path = pages.join(format!("{name}.md")).canonicalize().expect("the page is there");
        writeln!(code, "    ({name:?}, include_str!({:?})),", path.display().to_string()).expect("a string takes all");
    }
    code.push_str("];\n");
}
