//! The program in a process of its own.

use std::path::Path;
use std::process::{Command, Output};

pub fn program(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vnet-engine"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program starts")
}

/// Runs, expects exit status 2 and one error on stderr, which holds every one of `words`.
pub fn refused(folder: &Path, arguments: &[&str], words: &[&str]) {
    let output = program(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    let errors: Vec<&str> = text.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?}: {word:?} is not in {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}
