//! The crate as others get it: what is packaged, which Rust it asks for, and an introduction that is one program.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// crates.io refuses packages above 10 MB, compressed.
const LARGEST_PACKAGE: u64 = 10_000_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn files(folder: &str) -> Vec<String> {
    let mut folders = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(root()).expect("below the root");
                found.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found
}

#[test]
fn the_package_contains_shaders_assets_and_examples_and_is_small() {
    let list = cargo(&["package", "--list", "--allow-dirty", "--offline"]);
    let packaged: Vec<&str> = list.lines().collect();
    for folder in ["shaders", "src", "examples"] {
        let files = files(folder);
        assert!(files.len() > 3, "{folder}");
        let missing: Vec<_> = files.iter().filter(|file| !packaged.contains(&file.as_str())).collect();
        assert!(missing.is_empty(), "not packaged: {missing:?}");
    }
    let size = |file: &&str| std::fs::metadata(root().join(file)).map_or(0, |metadata| metadata.len());
    let bytes: u64 = packaged.iter().map(size).sum();
    assert!((1_000_000..LARGEST_PACKAGE).contains(&bytes), "{bytes} bytes uncompressed");
}

/// Major and minor version, and the patch where there is one.
fn version(text: &str) -> Vec<u32> {
    text.split('.').map(|part| part.parse().expect("a number")).collect()
}

/// What `cargo build` needs on this platform, dependencies of tests left out.
#[test]
fn no_dependency_asks_for_a_newer_rust() {
    let host = format!("{}-", std::env::consts::ARCH);
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc runs").stdout;
    let rustc = String::from_utf8(rustc).expect("UTF-8");
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).filter(|triple| triple.starts_with(&host));
    let platform = ["--filter-platform", host.expect("a host triple")];
    let text = cargo(&["metadata", "--format-version", "1", "--offline", platform[0], platform[1]]);
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let list = |value: &serde_json::Value| value.as_array().expect("an array").clone();
    let packages: HashMap<String, serde_json::Value> =
        list(&metadata["packages"]).into_iter().map(|p| (p["id"].to_string(), p)).collect();
    let nodes: HashMap<String, serde_json::Value> =
        list(&metadata["resolve"]["nodes"]).into_iter().map(|n| (n["id"].to_string(), n)).collect();
    let own = metadata["resolve"]["root"].to_string();
    let least = version(packages[&own]["rust_version"].as_str().expect("Cargo.toml states one"));
    let (mut seen, mut waiting) = (vec![own.clone()], vec![own]);
    while let Some(id) = waiting.pop() {
        if let Some(needed) = packages[&id]["rust_version"].as_str() {
            let needed = version(needed);
            assert!(needed[..2] <= least[..2], "{id} needs Rust {needed:?}, Cargo.toml states {least:?}");
        }
        for dependency in list(&nodes[&id]["deps"]) {
            let of_tests = list(&dependency["dep_kinds"]).iter().all(|kind| kind["kind"] == "dev");
            let id = dependency["pkg"].to_string();
            if !of_tests && !seen.contains(&id) {
                seen.push(id.clone());
                waiting.push(id);
            }
        }
    }
    assert!(seen.len() > 50, "only {} packages were found", seen.len());
}

/// The lines of the first `rust` block of a text.
fn program(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| !line.starts_with("```rust")).skip(1);
    lines.take_while(|line| !line.starts_with("```")).map(str::to_owned).collect()
}

/// The guide's program is compiled as a documentation test, that of the crate's documentation runs: they are one.
#[test]
fn the_guide_and_the_documentation_begin_with_one_program() {
    let read = |file: &str| std::fs::read_to_string(root().join(file)).expect("a file");
    let documentation: Vec<String> = read("src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned())
        .collect();
    let shown = |lines: Vec<String>| lines.into_iter().filter(|line| !line.starts_with("# ")).collect::<Vec<_>>();
    let (guide, documentation) = (program(&read("docs/guide/library.md")), shown(program(&documentation.join("\n"))));
    assert!((15..=32).contains(&guide.len()), "{} lines", guide.len());
    assert_eq!(guide, documentation);
}
