//! Files from strangers, through the program: whatever is wrong with them, the exit status is 2, one line names the file
//! and the reason, and neither memory nor time is spent on promises. Every case makes its files itself.
#![cfg(unix)]

#[path = "hostile/cache.rs"]
mod cache;
#[path = "hostile/child.rs"]
mod child;
#[path = "volumes/crafted.rs"]
#[allow(dead_code, reason = "shared with the tests of volumes, which use all of it")]
mod crafted;
#[path = "volumes/enhanced.rs"]
#[allow(dead_code, reason = "shared with the tests of volumes, which use all of it")]
mod enhanced;
#[path = "hostile/files.rs"]
mod files;
#[path = "hostile/found.rs"]
mod found;
#[path = "hostile/inputs.rs"]
mod inputs;
#[path = "hostile/nrrd.rs"]
mod nrrd;
#[path = "volumes/slices.rs"]
#[allow(dead_code, reason = "shared with the tests of volumes, which use all of it")]
mod slices;
#[path = "hostile/texts.rs"]
mod texts;

use std::path::Path;

use child::{MOST_MEMORY, MOST_TIME, Outcome, run, run_with};
use files::{DataSet, PutInto, changed, header, image, label, typed};

/// A wrong input: its name, what makes it in a folder and returns the arguments, and what the message must hold.
pub struct Case {
    /// What is wrong.
    pub name: &'static str,
    /// Makes the files in a folder and returns the arguments.
    pub make: fn(&Path) -> Vec<String>,
    /// Parts of the message.
    pub words: &'static [&'static str],
}

/// The arguments of a check of the data set in `data`; headers that state no place, as most do here, are no error.
pub fn dry_run(more: &[&str]) -> Vec<String> {
    let fixed = ["train", "--data", "data", "--out", "run", "--preset", "tiny", "--dry-run", "--quiet"];
    fixed.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

/// What is not as it must be.
fn wrong(outcome: &Outcome, words: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    if outcome.code != Some(2) {
        wrong.push(format!("exit status {:?}, expected 2", outcome.code));
    }
    // One line, or a heading and a line for each problem.
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let heading = format!("error: {} problems", lines.len().saturating_sub(1));
    let one = lines.len() == 1 && lines[0].starts_with("error: ");
    if !one && lines.first().is_none_or(|first| *first != heading) {
        wrong.push(format!("{} lines, expected one that begins with error", lines.len()));
    }
    wrong
        .extend(words.iter().filter(|word| !outcome.stderr.contains(*word)).map(|word| format!("{word:?} is missing")));
    if outcome.peak >= MOST_MEMORY {
        wrong.push(format!("{} MiB of memory", outcome.peak >> 20));
    }
    if outcome.time >= MOST_TIME {
        wrong.push(format!("{:?} of time", outcome.time));
    }
    wrong
}

/// Runs all cases and reports all that fail.
fn run_all(cases: &[Case]) {
    let mut failures = Vec::new();
    let (mut peak, mut time) = (0, std::time::Duration::ZERO);
    for case in cases {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments = (case.make)(folder.path());
        let outcome = run(folder.path(), &arguments);
        (peak, time) = (peak.max(outcome.peak), time.max(outcome.time));
        let wrong = wrong(&outcome, case.words);
        if !wrong.is_empty() {
            failures.push(format!("{}: {}\n    {}", case.name, wrong.join(", "), outcome.stderr.trim()));
        }
    }
    println!("{} inputs, at most {} MiB and {time:?} of the processor each", cases.len(), peak >> 20);
    assert!(failures.is_empty(), "{} of {} inputs\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn nifti_files() {
    run_all(inputs::NIFTI);
}

#[test]
fn metaimage_files() {
    run_all(inputs::METAIMAGE);
}

#[test]
fn nrrd_files() {
    run_all(nrrd::NRRD);
}

#[test]
fn dicom_series() {
    run_all(inputs::DICOM);
}

#[test]
fn label_maps() {
    run_all(inputs::LABELS);
}

#[test]
fn folders() {
    run_all(inputs::FOLDERS);
}

#[test]
fn splits() {
    run_all(texts::SPLITS);
}

#[test]
fn tables() {
    run_all(texts::TABLES);
}

#[test]
fn configurations() {
    run_all(texts::CONFIGURATIONS);
}

#[test]
fn models_and_checkpoints() {
    run_all(texts::MODELS);
}

#[test]
fn the_corpus_is_large() {
    let groups = [
        inputs::NIFTI,
        inputs::METAIMAGE,
        nrrd::NRRD,
        inputs::DICOM,
        inputs::LABELS,
        inputs::FOLDERS,
        texts::SPLITS,
        texts::TABLES,
        texts::CONFIGURATIONS,
        texts::MODELS,
    ];
    let names: std::collections::BTreeSet<_> = groups.iter().flat_map(|group| group.iter().map(|c| c.name)).collect();
    assert_eq!(names.len(), groups.iter().map(|group| group.len()).sum::<usize>(), "names are used once");
    assert!(names.len() >= 100, "{}", names.len());
}

/// Seven wrong files of a thousand cases, and a wrong configuration: all are named, and nothing else.
#[test]
fn all_problems_of_a_thousand_cases_are_listed_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = DataSet::new(folder.path());
    for number in 0..1000 {
        image().put_into(&set.image(&format!("case{number:03}.nii")));
        label().put_into(&set.label(&format!("case{number:03}.nii")));
    }
    header().put_into(&set.image("case007.nii"));
    header().dim(&[3, 32_000, 32_000, 32_000, 1, 1, 1, 1]).put_into(&set.image("case123.nii"));
    std::fs::remove_file(set.image("case200.nii")).expect("removed");
    std::os::unix::fs::symlink("case200.nii", set.image("case200.nii")).expect("a link to itself");
    let mut huge = typed(8, 32);
    huge.bytes.extend((0..crafted::VOXELS).flat_map(|_| 1_000_000_000i32.to_le_bytes()));
    huge.put_into(&set.label("case456.nii"));
    changed(label(), 344, b"\0\0\0\0").put_into(&set.label("case999.nii"));
    std::fs::remove_file(set.label("case500.nii")).expect("removed");
    image().put_into(&set.image("lonely.nii"));
    let outcome = run(folder.path(), &dry_run(&["--set", "training.batch=0"]));
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!((outcome.code, lines.len()), (Some(2), 8), "{}", outcome.stderr);
    for (line, words) in lines.iter().zip([
        ["error: 7 problems", ""],
        ["training.batch", "1 to 64"],
        ["no label for case500, lonely", ""],
        ["case007.nii", "cut short"],
        ["case123.nii", "32000 x 32000 x 32000 voxels"],
        ["case200.nii", "symbolic links"],
        ["case456.nii", "1000000000"],
        ["case999.nii", "ANALYZE"],
    ]) {
        assert!(words.iter().all(|word| line.contains(word)), "{line}, expected {words:?}");
    }
    assert!(outcome.peak < MOST_MEMORY, "{} MiB", outcome.peak >> 20);
    assert!(!folder.path().join("run").exists(), "a dry run writes nothing");
}

/// Where all is well, the plan is printed and nothing written.
#[test]
fn a_sound_training_is_described() {
    if vnet_engine::gpu::adapters().is_empty() {
        assert!(std::env::var_os("VNET_REQUIRE_GPU").is_none(), "no adapter");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    DataSet::new(folder.path());
    let outcome = run_with(folder.path(), &dry_run(&["--set", "data.patch=[8,8,8]"]), true);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for word in ["2 cases, 2 classes: 1 train, 1 validate, 0 test", "patch     8 x 8 x 8", "memory", "105 voxels"] {
        assert!(outcome.stdout.contains(word), "{word:?} is not in {}", outcome.stdout);
    }
    assert!(!folder.path().join("run").exists(), "a dry run writes nothing");
}
