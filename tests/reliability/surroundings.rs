//! Folders, locales and terminals as people have them.

use super::program::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::SystemTime;

pub const TESTS: [(&str, bool, fn()); 5] = [
    ("nothing_is_written_outside_the_run_folder", true, nothing_is_written_outside),
    ("paths_may_hold_spaces_and_any_letters", true, any_path),
    ("a_home_folder_is_not_needed", true, no_home),
    ("a_locale_with_decimal_commas_changes_nothing", true, decimal_commas),
    ("without_a_terminal_progress_is_plain_lines", true, plain_lines),
];

/// Every file and folder below, with size and time of the last change.
fn tree(folder: &Path, except: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path == except {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).expect("metadata");
            found.insert(path.clone(), (metadata.len(), metadata.modified().expect("a time")));
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

#[cfg(unix)]
fn set_mode(folder: &Path, file: u32, directory: u32) {
    use std::os::unix::fs::PermissionsExt;
    for path in tree(folder, Path::new("")).into_keys().chain([folder.to_owned()]) {
        let mode = if path.is_dir() { directory } else { file };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
    }
}

/// Other systems have no such modes: there only what is written where is looked at.
#[cfg(not(unix))]
fn set_mode(_folder: &Path, _file: u32, _directory: u32) {}

fn nothing_is_written_outside() {
    let folder = fresh();
    let root = folder.path();
    for name in ["home", "temporary", "here", "runs", "driver"] {
        fs::create_dir(root.join(name)).expect("created");
    }
    phantoms(&root.join("data"));
    set_mode(&root.join("data"), 0o444, 0o555);
    let run = root.join("runs/run");
    let outside = || tree(root, &root.join("driver"));
    let mut before = outside();
    let surrounded = |command: &mut Command| {
        // The driver's cache of compiled shaders is the driver's.
        succeed(
            command
                .env("HOME", root.join("home"))
                .env("TMPDIR", root.join("temporary"))
                .env("MESA_SHADER_CACHE_DIR", root.join("driver"))
                .env_remove("XDG_CACHE_HOME")
                .current_dir(root.join("here")),
        );
    };
    surrounded(&mut start(&root.join("data"), &run, 6));
    surrounded(program().arg("info").arg(&run));
    let mut after = outside();
    let inside: Vec<PathBuf> = after.keys().filter(|p| p.starts_with(&run)).cloned().collect();
    assert!(inside.len() > 10, "{inside:?}");
    after.retain(|path, _| !path.starts_with(&run));
    // A folder's time changes with what is in it.
    before.remove(&root.join("runs"));
    after.remove(&root.join("runs"));
    assert_eq!(after, before);
    set_mode(&root.join("data"), 0o644, 0o755);
}

fn any_path() {
    let folder = fresh();
    let root = folder.path().join("Ordner mit Leerzeichen/été 'quoted' – 前立腺");
    let (data, run, out) = (root.join("données 1"), root.join("läuft #1"), root.join("Ausgabe ø"));
    phantoms(&data);
    succeed(&mut start(&data, &run, 3));
    let segment = |extra: &[&str]| {
        let mut command = program();
        command.arg("segment").arg("--model").arg(&run).arg("--input").arg(data.join("images"));
        command.arg("--output").arg(&out).args(extra);
        command
    };
    succeed(&mut segment(&[]));
    let first = out.join("phantom_000.nii.gz");
    let written = || fs::metadata(&first).and_then(|m| m.modified()).expect("a label map");
    let before = written();
    let again = segment(&[]).output().expect("the program starts");
    assert_eq!(again.status.code(), Some(2), "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("--force") && written() == before, "{}", text(&again.stderr));
    succeed(&mut segment(&["--force"]));
    assert!(written() > before);
    let mut evaluate = program();
    evaluate.arg("evaluate").arg("--predictions").arg(&out).arg("--labels").arg(data.join("labels"));
    succeed(evaluate.arg("--out").arg(root.join("Noten")));
    assert_eq!(fs::read_to_string(root.join("Noten/scores.csv")).expect("scores").lines().count(), 7);
    let message = text(&start(&data, &run, 3).output().expect("the program starts").stderr);
    assert!(message.contains("läuft #1") && message.contains("holds a run already"), "{message}");
}

/// A run in these surroundings is that of [`whole`].
fn unchanged(change: impl Fn(&mut Command)) -> String {
    let folder = fresh();
    let run = folder.path().join("run");
    let mut command = start(&data(), &run, STEPS);
    change(&mut command);
    let output = succeed(&mut command);
    assert_same_run(&run, &whole(), STEPS);
    text(&output.stderr)
}

/// What a run says without a terminal, in a locale with decimal commas and without a home folder.
static ODD: LazyLock<String> = LazyLock::new(|| {
    unchanged(|command| {
        command.env("HOME", "/nonexistent/home").env_remove("XDG_CACHE_HOME").env("TERM", "xterm-256color");
        command.env("LC_ALL", "de_DE.UTF-8").env("LC_NUMERIC", "de_DE.UTF-8").env("LANG", "de_DE.UTF-8");
    })
});

fn no_home() {
    LazyLock::force(&ODD);
    unchanged(|command| {
        command.env_remove("HOME").env_remove("XDG_CACHE_HOME");
    });
}

fn decimal_commas() {
    let message = &*ODD;
    let loss = message.split("loss ").nth(1).and_then(|t| t.split_whitespace().next()).expect("a loss");
    assert!(loss.contains('.') && loss.parse::<f64>().is_ok(), "{message}");
}

fn plain_lines() {
    let message = &*ODD;
    assert!(message.contains(&format!("step {STEPS}/{STEPS}")), "{message}");
    assert!(!message.contains('\u{1b}') && !message.contains('\r'), "{message:?}");
}
