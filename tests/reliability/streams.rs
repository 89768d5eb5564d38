//! stdout and stderr that are closed, whose reader has gone, or that lead to a full disk: every command.

use super::program::*;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

pub const TESTS: [(&str, bool, fn()); 3] = [
    ("no_command_panics_when_a_stream_fails", true, every_command),
    ("a_training_goes_on_without_a_reader", true, a_training_goes_on_without_a_reader),
    ("help_and_wrong_usage_survive_failing_streams", false, help_and_usage),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stream {
    Fine,
    Closed,
    ReaderGone,
    FullDisk,
}

const FAILING: [Stream; 3] = [Stream::Closed, Stream::ReaderGone, Stream::FullDisk];

/// Runs with these streams; status and what stderr has, where it is fine.
fn run(folder: &Path, arguments: &[String], [out, err]: [Stream; 2]) -> (Option<i32>, String) {
    let closing = |stream, number: &str| if stream == Stream::Closed { format!(" {number}>&-") } else { String::new() };
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("exec \"$0\" \"$@\"{}{}", closing(out, "1"), closing(err, "2")));
    command.arg(env!("CARGO_BIN_EXE_vnet-engine")).args(arguments).current_dir(folder);
    let stdio = |stream| match stream {
        Stream::FullDisk => Stdio::from(File::options().write(true).open("/dev/full").expect("the full device")),
        Stream::ReaderGone => {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            Stdio::from(writer)
        }
        Stream::Fine | Stream::Closed => Stdio::piped(),
    };
    let output = command.stdout(stdio(out)).stderr(stdio(err)).output().expect("the program starts");
    (output.status.code(), text(&output.stderr))
}

/// Statuses of a command that succeeds: results that nobody wanted to the end are no error, those on a full disk are.
fn check(folder: &Path, arguments: &[String], streams: [Stream; 2]) {
    let (status, stderr) = run(folder, arguments, streams);
    let lost = streams[0] == Stream::FullDisk;
    assert_eq!(status, Some(i32::from(lost)), "{arguments:?} with {streams:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{arguments:?} with {streams:?}: {stderr}");
    if lost && streams[1] == Stream::Fine {
        assert!(stderr.contains("error: standard output: "), "{arguments:?}: {stderr}");
    }
}

/// How many failures a command meets, by the time that it takes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meets {
    /// Each on each stream.
    Each,
    /// Each on both streams at once.
    OnBoth,
    /// Readers that have gone, of both streams.
    Gone,
}

use Meets::{Each, Gone, OnBoth};

/// A command line per command; `OUT` is a path that does not exist yet.
const COMMANDS: [(Meets, &str); 19] = [
    (
        Each,
        "train --data data --out OUT --preset tiny --steps 1 -v --set data.patch=[16,16,16] --set network.encoder=[1,1] \
         --set network.decoder=[1]",
    ),
    (OnBoth, "train --data data --out OUT --preset tiny --dry-run --set data.patch=[16,16,16]"),
    (OnBoth, "cross-validate --data data --out OUT --folds 2 --preset tiny --dry-run --set data.patch=[16,16,16]"),
    (OnBoth, "plan --data data --out OUT --minutes 0.1"),
    (Each, "segment --model run --input data/images --output OUT --probabilities"),
    (OnBoth, "augment --data data --out OUT.png --samples 1 --set data.patch=[16,16,16]"),
    (Each, "evaluate --predictions data/labels --labels data/labels --out OUT"),
    (OnBoth, "evaluate --compare data/labels data/labels --names a,b --labels data/labels --out OUT"),
    (Each, "phantom --out OUT --cases 1 --extents 8,8,8"),
    (Gone, "demo --out OUT --steps 1"),
    (Each, "export --model run --format onnx --out OUT.onnx"),
    (Each, "import --from run/model.safetensors --out OUT.safetensors"),
    (OnBoth, "forward --model run --input image.safetensors --output OUT.safetensors"),
    (OnBoth, "info run"),
    (Each, "inspect data/images/phantom_000.nii.gz data/images/phantom_001.nii.gz"),
    (OnBoth, "bench --model run --patch 16,16,16 --steps 1 --whole"),
    (OnBoth, "devices"),
    (Gone, "doctor"),
    (Each, "completions bash"),
];

/// The tensor that `forward` takes.
fn image(folder: &Path) {
    let values: Vec<u8> = (0..512).flat_map(|i| (i as f32 * 0.01).to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, 1, 8, 8, 8], &values);
    let file = safetensors::serialize([("image", view.expect("a tensor"))], None).expect("a file");
    std::fs::write(folder.join("image.safetensors"), file).expect("written");
}

fn every_command() {
    let folder = fresh();
    let path = folder.path();
    phantoms(&path.join("data"));
    image(path);
    succeed(start(Path::new("data"), Path::new("run"), 2).current_dir(path));

    // Of the program's own list, so that none is forgotten. `man` takes a folder and has no options.
    let help = text(&succeed(program().arg("--help")).stdout);
    let list = help.split("Usage:").nth(1).and_then(|rest| rest.split("Options:").next()).expect("a list");
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: BTreeSet<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    let mut known: BTreeSet<&str> = COMMANDS.iter().filter_map(|(_, line)| line.split(' ').next()).collect();
    known.extend(["man", "help"]);
    assert_eq!(names, known);

    let commands = COMMANDS.iter().copied().chain([(Each, "man OUT")]);
    for (number, (meets, line)) in commands.enumerate() {
        let mut runs = Vec::new();
        for (kind, failing) in FAILING.into_iter().enumerate() {
            let ways = match meets {
                Gone if failing != Stream::ReaderGone => Vec::new(),
                Each => vec![[failing, Stream::Fine], [Stream::Fine, failing]],
                Gone | OnBoth => vec![[failing, failing]],
            };
            runs.extend(
                ways.into_iter().enumerate().map(|(way, streams)| (format!("out_{number}_{kind}_{way}"), streams)),
            );
        }
        // Together, since some commands work for a time and not until they are done.
        std::thread::scope(|scope| {
            for (out, streams) in runs {
                let arguments: Vec<String> = line.split_whitespace().map(|word| word.replace("OUT", &out)).collect();
                scope.spawn(move || check(path, &arguments, streams));
            }
        });
    }
}

/// Both streams into one pipe that nobody reads, as with `train -v 2>&1 | head`.
fn a_training_goes_on_without_a_reader() {
    let folder = fresh();
    let run_folder = folder.path().join("run");
    let command = start(&data(), &run_folder, 6);
    let arguments: Vec<String> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let arguments = [arguments, vec!["-v".to_owned()]].concat();
    let (status, _) = run(folder.path(), &arguments, [Stream::ReaderGone; 2]);
    assert_eq!(status, Some(0));
    assert!(checkpoint(&run_folder, 6).exists() && run_folder.join("report.html").exists());
}

fn help_and_usage() {
    let folder = fresh();
    let words = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    for failing in FAILING {
        for line in ["--help", "--version", "train --help"] {
            check(folder.path(), &words(line), [failing, Stream::Fine]);
            check(folder.path(), &words(line), [Stream::Fine, failing]);
        }
        for line in ["", "trian", "inspect", "inspect nowhere.nii"] {
            let (status, _) = run(folder.path(), &words(line), [failing; 2]);
            assert_eq!(status, Some(2), "{line:?} with {failing:?}");
        }
    }
}
