//! Many volumes, some of them broken, killed again and again: the short form of tools/many_cases.py.

use super::program::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use vnet_engine::data::io::write_volume;
use vnet_engine::data::{Grid, Volume};

pub const TESTS: [(&str, bool, fn()); 1] =
    [("a_segmentation_of_many_volumes_is_killed_and_ends_with_the_same_bytes", true, killed)];

const VOLUMES: usize = 40;
/// Volumes that are no volumes.
const BROKEN: [usize; 3] = [5, 17, 39];
const KILLS: usize = 3;

fn name(number: usize) -> String {
    format!("case_{number:02}.nii.gz")
}

fn write_volumes(folder: &Path) {
    fs::create_dir(folder).expect("a folder");
    let grid = Grid::axis_aligned([18, 17, 9], [3.0, 3.5, 4.0]);
    for number in 0..VOLUMES {
        let voxels = (0..grid.voxel_count()).map(|v| ((v * 7919 + number * 131) % 1013) as f32 - 300.0).collect();
        write_volume(&folder.join(name(number)), &Volume { grid: grid.clone(), voxels }).expect("written");
    }
    for (way, number) in BROKEN.into_iter().enumerate() {
        let path = folder.join(name(number));
        let whole = fs::read(&path).expect("a file");
        let wrong = [&whole[..whole.len() / 2], b"no header", &whole[..0]][way];
        fs::write(&path, wrong).expect("written");
    }
}

fn segment(input: &Path, output: &Path) -> Command {
    let mut command = program();
    command.arg("segment").arg("--model").arg(whole()).arg("--input").arg(input).arg("--output").arg(output);
    command.arg("--continue");
    command
}

/// The results of a folder, and its other files.
fn files(folder: &Path) -> (BTreeMap<String, Vec<u8>>, Vec<String>) {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let (hidden, results): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| named(path).starts_with('.'));
    let content = |path: PathBuf| (named(&path), fs::read(&path).expect("a file"));
    (results.into_iter().map(content).collect(), hidden.iter().map(|path| named(path)).collect())
}

fn named(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Runs to the end, which names the broken volumes and no others.
fn finish(input: &Path, output: &Path) {
    let found = segment(input, output).output().expect("the program starts");
    let message = text(&found.stderr);
    let end = message.split("error: ").nth(1).unwrap_or_default();
    assert_eq!(found.status.code(), Some(1), "{message}");
    let heading = end.lines().next().expect("a line");
    assert_eq!(heading, format!("{} of {VOLUMES} volumes failed", BROKEN.len()));
    let of_broken = |line: &str| BROKEN.iter().any(|number| line.contains(&name(*number)));
    assert!(end.lines().count() == 1 + BROKEN.len() && end.lines().skip(1).all(of_broken), "{message}");
    assert!(BROKEN.iter().all(|number| end.contains(&name(*number))), "{message}");
}

fn killed() {
    let folder = fresh();
    let [input, expected, output] = ["in", "expected", "out"].map(|name| folder.path().join(name));
    write_volumes(&input);
    finish(&input, &expected);
    let (whole, hidden) = files(&expected);
    assert_eq!((whole.len(), hidden), (VOLUMES - BROKEN.len(), Vec::new()));
    for kill in 1..=KILLS {
        let mut child =
            segment(&input, &output).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
        let patience = Instant::now();
        // Killed when about so many outputs are there.
        while files(&output).0.len() < kill * whole.len() / (KILLS + 1) {
            assert!(patience.elapsed() < Duration::from_secs(600), "no outputs");
            assert!(child.try_wait().expect("a state").is_none(), "it ended before it was killed");
            std::thread::sleep(Duration::from_millis(kill as u64));
        }
        child.kill().expect("killed");
        child.wait().expect("an end");
        let (results, _) = files(&output);
        assert!(results.iter().all(|(name, content)| whole[name] == *content), "half a result after kill {kill}");
    }
    // What a process leaves that is killed while it writes.
    let missing = whole.keys().find(|name| !output.join(name).exists()).expect("something is left to do");
    let hash = blake3::hash(missing.as_bytes()).to_hex();
    fs::write(output.join(format!(".vnet-engine-{}-x1y2z3.part", &hash[..16])), "half").expect("written");
    let others = ".vnet-engine-0123456789abcdef-x1y2z3.part";
    fs::write(output.join(others), "of another process").expect("written");
    finish(&input, &output);
    let (results, hidden) = files(&output);
    assert!(results == whole, "the outputs are those of a run that was never killed");
    assert_eq!(hidden, [others], "what other processes write stays");
}
