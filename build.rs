//! Records the commit that the program is built from; `unknown` outside a repository.

use std::process::Command;

fn main() {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let commit = output
        .ok()
        .filter(|o| o.status.success())
        .map_or_else(|| "unknown".to_owned(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    println!("cargo::rustc-env=VNET_ENGINE_COMMIT={commit}");
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=src");
}
