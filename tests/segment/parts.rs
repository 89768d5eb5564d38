//! Parts of many volumes in one folder, and tables of volumes.

use super::batch::{folder, volume};
use crate::support::program::{program, refused};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const NAMES: [&str; 7] = ["a.nii.gz", "b.nii.gz", "c.mha", "d.nii.gz", "e.nii.gz", "f.nii", "g.nii.gz"];

fn segment<'a>(input: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["segment", "--model", "m.safetensors", "--input", input, "--output", output];
    fixed.iter().chain(more).copied().collect()
}

/// The files of a folder, hidden ones too.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let content = |entry: &fs::DirEntry| fs::read(entry.path()).expect("a file");
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), content(&entry))).collect()
}

pub fn parts_together_are_the_whole() {
    let folder = folder(&NAMES);
    let root = folder.path();
    let done = |arguments: &[&str]| {
        let output = program(root, arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    done(&segment("in", "whole", &[]));
    let whole = files(&root.join("whole"));
    assert_eq!(whole.keys().collect::<Vec<_>>(), NAMES.iter().collect::<Vec<_>>());

    // One after the other: each writes what the others do not, and needs neither --force nor --continue.
    let mut written = Vec::new();
    for part in ["0/3", "1/3", "2/3"] {
        let (stdout, stderr) = done(&segment("in", "out", &["--part", part]));
        assert!(stderr.contains(&format!("part {part}: ")) && stderr.contains(" of 7 volumes"), "{stderr}");
        written.push(stdout.lines().map(|line| line.replace("out/", "")).collect::<Vec<_>>());
    }
    assert_eq!(
        written,
        [vec!["a.nii.gz", "d.nii.gz", "g.nii.gz"], vec!["b.nii.gz", "e.nii.gz"], vec!["c.mha", "f.nii"]]
    );
    assert_eq!(files(&root.join("out")), whole);
    refused(
        root,
        &segment("in", "out", &["--part", "1/3"]),
        &["out/b.nii.gz: exists, as do outputs of 2 of 2 volumes"],
    );
    // A part goes on with what it lacks, and leaves what others lack alone.
    for name in ["b.nii.gz", "d.nii.gz"] {
        fs::remove_file(root.join("out").join(name)).expect("removed");
    }
    assert_eq!(done(&segment("in", "out", &["--part", "1/3", "--continue"])).0, "out/b.nii.gz\n");
    assert_eq!(done(&segment("in", "out", &["--part", "0/3", "--continue"])).0, "out/d.nii.gz\n");
    // More parts than volumes.
    assert_eq!(done(&segment("in", "none", &["--part", "7/9"])).0, "");
    for (part, words) in
        [("3/3", "i/n with i from 0 to n-1"), ("0/0", "n at most"), ("1", "i/n"), ("0/1000000", "n at most 100000")]
    {
        let output = program(root, &segment("in", "out", &["--part", part]));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(words), "{text}");
    }
    refused(
        root,
        &segment("in/a.nii.gz", "x.nii.gz", &["--part", "0/2"]),
        &["in/a.nii.gz: is one volume; --part takes"],
    );

    // At once, into a folder that none of them finds.
    let start = |part: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vnet-engine"));
        command.args(segment("in", "together", &["--part", part])).current_dir(root);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
    };
    let started = ["0/4", "1/4", "2/4", "3/4"].map(start);
    started.into_iter().for_each(|mut child| assert!(child.wait().expect("an end").success()));
    assert_eq!(files(&root.join("together")), whole);
}

pub fn a_table_names_the_volumes_and_their_outputs() {
    let folder = folder(&[]);
    let root = folder.path();
    for patient in ["p1", "p2"] {
        fs::create_dir(root.join("in").join(patient)).expect("a folder");
        volume(root, &format!("{patient}/t2.mha"));
    }
    volume(root, "plain.nii.gz");
    // Labels are not needed, nor those that are not there.
    let table =
        "name,image,split,label\np1,in/p1/t2.mha,test,none.mha\np2,in/p2/t2.mha,,\n,in/plain.nii.gz,train,none\n";
    fs::write(root.join("cases.csv"), table).expect("written");
    let output = program(root, &segment("cases.csv", "out", &["--json"]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(files(&root.join("out")).keys().collect::<Vec<_>>(), ["p1.mha", "p2.mha", "plain.nii.gz"]);
    let output = program(root, &segment("cases.csv", "out", &["--part", "1/2", "--force"]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out/p2.mha\n");
    // Without names the two are one case; an output is never an input.
    fs::write(root.join("cases.csv"), table.replace("p1,", ",").replace("p2,", ",")).expect("written");
    refused(root, &segment("cases.csv", "out", &[]), &["cases.csv: line 3: case \"t2\" is in line 2 too"]);
    let before = fs::read(root.join("in/plain.nii.gz")).expect("a file");
    fs::rename(root.join("in/p1/t2.mha"), root.join("in/p1/t2.nii.gz")).expect("renamed");
    fs::write(root.join("cases.csv"), "image,name\nin/p1/t2.nii.gz,plain\nin/plain.nii.gz,other\n").expect("written");
    refused(root, &segment("cases.csv", "in", &["--force"]), &["in/plain.nii.gz: is the input"]);
    assert_eq!(fs::read(root.join("in/plain.nii.gz")).expect("a file"), before);
}
