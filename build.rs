//! Lists the shaders, and records the commit that the program is built from; `unknown` outside a repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=src");
    record_commit();
    println!("cargo::rerun-if-changed=shaders");
    let table = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("shaders.rs");
    fs::write(table, tables()).expect("the build's folder can be written");
}

fn record_commit() {
    let commit = git(&["describe", "--always", "--dirty"]);
    println!("cargo::rustc-env=VNET_ENGINE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    // A worktree has its HEAD elsewhere, a package has none. Cargo would run this again each time for a file that is not there.
    if let Some(head) = git(&["rev-parse", "--git-path", "HEAD"]) {
        println!("cargo::rerun-if-changed={head}");
    }
}

/// What git prints; `None` outside a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Rust's text of the tables of `src/kernel/source.rs`: every `shaders/**/*.wgsl`, those in folders named `common` for `#import`.
/// Names are sorted, and unique whatever the folder.
fn tables() -> String {
    let mut shaders = BTreeMap::new();
    let mut common = BTreeMap::new();
    for path in wgsl_files(Path::new("shaders")) {
        let table = if path.parent().is_some_and(|p| p.ends_with("common")) { &mut common } else { &mut shaders };
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a shader's name is UTF-8").to_owned();
        if let Some(other) = table.insert(name, path.clone()) {
            panic!("{} and {} have one name", path.display(), other.display());
        }
    }
    let documentation = "/// Every shader of this crate: name (of the file and its entry point) and unexpanded source.";
    format!(
        "{documentation}\npub {}\n/// Files for `#import`.\n{}",
        table("SHADERS", &shaders),
        table("COMMON", &common)
    )
}

fn table(name: &str, files: &BTreeMap<String, PathBuf>) -> String {
    let mut text = format!("const {name}: &[(&str, &str)] = &[\n");
    for (shader, path) in files {
        let path = path.to_str().expect("a shader's path is UTF-8").replace('\\', "/");
        text += &format!("    (\"{shader}\", include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/{path}\"))),\n");
    }
    text + "];\n"
}

fn wgsl_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of shaders").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"));
    files.chain(folders.iter().flat_map(|folder| wgsl_files(folder))).collect()
}
