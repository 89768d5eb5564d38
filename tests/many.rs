//! Many cases: tables in place of folders, and folders of symbolic links.
#![cfg(unix)]

#[path = "support/program.rs"]
mod program;

use program::{program, refused};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::data::{Dataset, Split, images_only};

const SHARES: [f64; 3] = [0.5, 0.25, 0.25];

/// Eight phantoms in `set/`, and a table of them that names nothing but their files.
fn phantoms() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = PhantomSettings { cases: 8, seed: 2, extents: [12, 10, 8], spacing: [8.0; 3] };
    write_dataset(&folder.path().join("set"), &settings, |_| ()).expect("written");
    let rows: Vec<String> = names().iter().rev().map(|name| row(name, "")).collect();
    table(folder.path(), &rows);
    folder
}

fn names() -> Vec<String> {
    (0..8).map(|number| format!("phantom_{number:03}")).collect()
}

fn row(name: &str, split: &str) -> String {
    format!("set/images/{name}.nii.gz,set/labels/{name}.nii.gz,{split}\n")
}

/// Writes `cases.csv` with the columns of [`row`].
fn table(folder: &Path, rows: &[String]) -> PathBuf {
    let path = folder.join("cases.csv");
    fs::write(&path, format!("image,label,split\n{}", rows.concat())).expect("written");
    path
}

/// A check of a training on a table or a folder.
fn dry_run(data: &str, more: &[&str]) -> Vec<String> {
    let fixed =
        ["train", "--data", data, "--out", "run", "--preset", "tiny", "--dry-run", "--set", "data.patch=[8,8,8]"];
    fixed.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn a_table_is_the_data_set_of_its_files() {
    let folder = phantoms();
    let by_folder = Dataset::open(&folder.path().join("set")).expect("a data set");
    let by_table = Dataset::open(&folder.path().join("cases.csv")).expect("a data set");
    assert_eq!((by_table.cases.clone(), by_table.parts), (by_folder.cases.clone(), None));
    assert_eq!(by_table.dir, folder.path());
    // Absolute paths are the same files.
    let text = fs::read_to_string(folder.path().join("cases.csv")).expect("read");
    let set = folder.path().join("set").display().to_string();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let absolute = elsewhere.path().join("Cases.CSV");
    fs::write(&absolute, text.replace("set/", &format!("{set}/"))).expect("written");
    assert_eq!(Dataset::open(&absolute).expect("a data set").cases, by_folder.cases);
    // The names of the classes are those of a dataset.json beside the table.
    fs::write(elsewhere.path().join("dataset.json"), r#"{"labels": {"background": 0, "gland": 1}}"#).expect("written");
    let declared = Dataset::open(&absolute).expect("a data set").classes.expect("declared");
    assert_eq!(declared.describe(), "0 (background), 1 (gland)");
}

#[test]
fn words_of_a_table_make_the_split_and_leave_the_test_out_of_folds() {
    let folder = phantoms();
    let split = |words: [&str; 8]| {
        let rows: Vec<String> = names().iter().zip(words).map(|(name, word)| row(name, word)).collect();
        let dataset = Dataset::open(&table(folder.path(), &rows)).expect("a data set");
        let parts = dataset.parts.clone().expect("parts");
        let split = parts.split(&dataset.names(), 7, SHARES).expect("a split");
        (split, parts.fold(&dataset.names(), 7, 1, 3).expect("a fold"))
    };
    let (whole, fold) = split(["train", "train", "test", "train", "validation", "train", "TEST", "train"]);
    assert_eq!(
        (whole.test.clone(), whole.validation),
        (vec!["phantom_002".into(), "phantom_006".into()], vec!["phantom_004".into()])
    );
    assert_eq!((fold.test, fold.validation.len(), fold.train.len()), (whole.test, 2, 4));
    let (rest, _) = split(["", "", "test", "", "", "", "", ""]);
    assert_eq!((rest.test.len(), rest.validation.len(), rest.train.len()), (1, 2, 5));
}

#[test]
fn a_dry_run_says_what_is_wrong_with_a_table_by_line_and_column() {
    let folder = phantoms();
    let root = folder.path();
    let refuse = |text: &str, expected: &[&str]| {
        fs::write(root.join("cases.csv"), text).expect("written");
        refused(root, &words(&dry_run("cases.csv", &[])), expected);
    };
    let first = row("phantom_000", "");
    refuse("image,mask\na,b\n", &["cases.csv: line 1: column 2 is \"mask\"", "is label meant?"]);
    refuse(
        &format!("image,label,split\n{first}set/images/none.nii.gz,set/labels,val\n"),
        &["cases.csv: line 3: column split is \"val\"", "is validation meant?"],
    );
    refuse(
        &format!("image,label,split\n{first}set/images/none.nii.gz,set/labels/nothing.nii.gz,\n"),
        &[
            "error: 2 problems",
            "cases.csv: line 3: column image: set/images/none.nii.gz: there is no such file",
            "cases.csv: line 3: column label: set/labels/nothing.nii.gz: there is no such file",
        ],
    );
    refuse(
        "image,label\nset/images/phantom_001.nii.gz,\n",
        &["cases.csv: line 2: case \"phantom_001\" has no label, expected one"],
    );
    refuse("image,label\nset/dataset.txt,x\n", &["set/dataset.txt: there is no such file"]);
    fs::write(root.join("set/notes.txt"), "x").expect("written");
    refuse(
        "image,label\nset/notes.txt,x\n",
        &["line 2: set/notes.txt: no known volume format; expected a file name that ends in"],
    );
    refuse("\u{feff}image;label\r\na;b\r\n", &["separated by commas, not by semicolons"]);
    fs::write(root.join("cases.csv"), [0xFF, 0xFE, b'i', 0, b'm', 0]).expect("written");
    refused(root, &words(&dry_run("cases.csv", &[])), &["cases.csv: cannot read: not UTF-8 text"]);
    refused(root, &words(&dry_run("none.csv", &[])), &["none.csv: cannot read: No such file"]);
    refused(
        root,
        &words(&dry_run("set/notes.txt", &[])),
        &["set/notes.txt: is a file, expected a folder", "ends in .csv"],
    );
    // Problems of the files, as of folders.
    table(root, &[first, row("phantom_003", "")]);
    fs::write(root.join("set/labels/phantom_003.nii.gz"), "no header").expect("written");
    refused(root, &words(&dry_run("cases.csv", &[])), &["set/labels/phantom_003.nii.gz: is text that begins"]);
    // A split that leaves nothing to train on.
    table(root, &[row("phantom_000", "test"), row("phantom_001", "validation")]);
    refused(root, &words(&dry_run("cases.csv", &[])), &["cases.csv: no case is for train"]);
    refused(root, &words(&dry_run("cases.csv", &["--fold", "0/2"])), &["fold is 0/2"]);
}

#[test]
fn a_dry_run_describes_the_training_of_a_table() {
    if vnet_engine::gpu::adapters().is_empty() {
        assert!(std::env::var_os("VNET_REQUIRE_GPU").is_none(), "no adapter");
        return;
    }
    let folder = phantoms();
    let rows: Vec<String> =
        names().iter().enumerate().map(|(n, name)| row(name, if n < 3 { "test" } else { "" })).collect();
    table(folder.path(), &rows);
    let said = |more: &[&str]| {
        let output = program(folder.path(), &words(&dry_run("cases.csv", more)));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = said(&[]);
    assert!(text.contains("8 cases, 2 classes: 4 train, 1 validate, 3 test"), "{text}");
    let text = said(&["--fold", "4/5"]);
    assert!(text.contains("4 train, 1 validate, 3 test"), "{text}");
    assert!(!folder.path().join("run").exists(), "a dry run writes nothing");
}

#[test]
fn evaluation_takes_the_labels_of_a_table() {
    let folder = phantoms();
    let root = folder.path();
    fs::create_dir(root.join("predictions")).expect("a folder");
    for name in &names()[..3] {
        let file = format!("{name}.nii.gz");
        fs::copy(root.join("set/labels").join(&file), root.join("predictions").join(&file)).expect("copied");
    }
    let arguments = ["evaluate", "--predictions", "predictions", "--labels", "cases.csv", "--out", "scores"];
    refused(root, &arguments, &["predictions: no prediction for phantom_003, phantom_004"]);
    let more = ["--partial", "--images", "cases.csv"];
    let output = program(root, &[&arguments[..], &more].concat());
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("predictions: 3 of 8 labels are scored, no prediction for phantom_003"), "{stderr}");
    assert!(stdout.contains("phantom_002") && stdout.contains("1.000"), "{stdout}");
    assert!(root.join("scores/overlays/best_phantom_000.png").exists());
    fs::write(root.join("cases.csv"), "image\nset/images/phantom_000.nii.gz\n").expect("written");
    refused(root, &arguments, &["cases.csv: names no label"]);
    // Images are not needed without pictures.
    fs::write(root.join("cases.csv"), "image,label\nnone/phantom_000.nii.gz,set/labels/phantom_000.nii.gz\n")
        .expect("written");
    refused(
        root,
        &arguments,
        &["cases.csv: no label for phantom_001, phantom_002; expected a file of the same name for every"],
    );
}

/// As git-annex, DVC and nnU-Net's users have them.
#[test]
fn links_are_the_files_that_they_point_to() {
    let folder = phantoms();
    let root = folder.path();
    let set = root.join("set").canonicalize().expect("a folder");
    let linked = root.join("linked");
    for kind in ["images", "labels"] {
        fs::create_dir_all(linked.join(kind)).expect("a folder");
        for name in names() {
            let file = format!("{name}.nii.gz");
            // Content by another name, as a cache has it, and one link through another.
            fs::rename(set.join(kind).join(&file), set.join(kind).join(format!("{name}-{kind}"))).expect("renamed");
            symlink(format!("{name}-{kind}"), set.join(kind).join(&file)).expect("a link");
            symlink(Path::new("../../set").join(kind).join(&file), linked.join(kind).join(&file)).expect("a link");
        }
    }
    let of_links = Dataset::open(&linked).expect("a data set");
    assert_eq!(of_links.names(), names());
    assert_eq!(of_links.check().expect("sound").count(), 2);
    // Folders that are links, and the data set too.
    let folders = root.join("folders");
    fs::create_dir(&folders).expect("a folder");
    symlink(linked.join("images"), folders.join("imagesTr")).expect("a link");
    symlink("../linked/labels", folders.join("labelsTr")).expect("a link");
    symlink("folders", root.join("all")).expect("a link");
    let all = Dataset::open(&root.join("all")).expect("a data set");
    assert_eq!((all.names(), all.check().expect("sound").count()), (names(), 2));
    assert_eq!(images_only(&root.join("all/imagesTr")).expect("images").len(), 8);
    let of = |dataset: &Dataset| Split::from_seed(&dataset.names(), 1, SHARES).expect("a split");
    assert_eq!(of(&all), of(&of_links));

    // Links to nothing: of a volume, of what is no volume, and in a table.
    fs::remove_file(set.join("images/phantom_005-images")).expect("removed");
    refused(
        root,
        &words(&dry_run("linked", &[])),
        &["linked/images/phantom_005.nii.gz: is a link to ../../set/images/phantom_005.nii.gz, where there is nothing"],
    );
    fs::write(
        root.join("cases.csv"),
        "image,label\nlinked/images/phantom_005.nii.gz,linked/labels/phantom_005.nii.gz\n",
    )
    .expect("written");
    refused(
        root,
        &words(&dry_run("cases.csv", &[])),
        &["cases.csv: line 2: column image: linked/images/phantom_005.nii.gz: is a link to", "where there is nothing"],
    );
    fs::remove_file(linked.join("labels/phantom_001.nii.gz")).expect("removed");
    symlink("nowhere", linked.join("labels/phantom_001")).expect("a link");
    refused(
        root,
        &words(&dry_run("linked", &[])),
        &["no label for phantom_001; phantom_001: passed over, a link to nothing"],
    );
}
