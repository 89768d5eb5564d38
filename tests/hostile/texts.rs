//! Splits, configurations, models and checkpoints.

use std::path::Path;

use crate::files::DataSet;
use crate::{Case, dry_run};

fn with_split(root: &Path, text: &str) -> Vec<String> {
    DataSet::new(root);
    std::fs::write(root.join("data/split.json"), text).expect("written");
    dry_run(&[])
}

pub const SPLITS: &[Case] = &[
    Case { name: "empty split", make: |r| with_split(r, ""), words: &["split.json", "line 1"] },
    Case { name: "split of a number", make: |r| with_split(r, "7"), words: &["split.json", "\"train\""] },
    Case { name: "split cut", make: |r| with_split(r, "{\"train\": [\"a\""), words: &["split.json", "EOF"] },
    Case {
        name: "split of numbers",
        make: |r| with_split(r, r#"{"train": [1, 2]}"#),
        words: &["split.json", "expected a string"],
    },
    Case {
        name: "unknown part",
        make: |r| with_split(r, r#"{"train": ["a"], "trian\n": ["b"]}"#),
        words: &["split.json", "unknown field `trian"],
    },
    Case {
        name: "no train",
        make: |r| with_split(r, r#"{"test": ["a"]}"#),
        words: &["split.json", "missing field `train`"],
    },
    Case { name: "empty train", make: |r| with_split(r, r#"{"train": []}"#), words: &["split.json", "train is empty"] },
    Case {
        name: "unknown case",
        make: |r| with_split(r, r#"{"train": ["a", "../../etc/passwd"]}"#),
        words: &["split.json", "\"../../etc/passwd\"", "does not have"],
    },
    Case {
        name: "case twice",
        make: |r| with_split(r, r#"{"train": ["a"], "test": ["b", "a"]}"#),
        words: &["split.json", "\"a\" is in train and in test"],
    },
    Case {
        name: "part twice",
        make: |r| with_split(r, r#"{"train": ["a"], "test": ["b"], "train": ["b"]}"#),
        words: &["split.json", "duplicate field `train`", "line 1 column 39"],
    },
    Case {
        name: "folds twice",
        make: |r| with_split(r, r#"{"folds": [{"train": ["a"]}], "folds": []}"#),
        words: &["split.json", "duplicate field `folds`"],
    },
    Case {
        name: "split of a list",
        make: |r| with_split(r, r#"[["a"], ["b"]]"#),
        words: &["split.json", "nnU-Net's list of objects", "\"train\""],
    },
    Case { name: "no folds", make: |r| with_split(r, r#"{"folds": []}"#), words: &["fold is 0/0"] },
    Case {
        name: "folds and parts",
        make: |r| with_split(r, r#"{"folds": [{"train": ["a"]}], "train": ["b"]}"#),
        words: &["split.json", "unknown field `train`"],
    },
    Case {
        name: "100,000 brackets",
        make: |r| with_split(r, &"[".repeat(100_000)),
        words: &["split.json", "nnU-Net's list of objects", "\"train\""],
    },
    Case {
        name: "100,000 brackets in a part",
        make: |r| with_split(r, &format!("{{\"test\": {}", "[".repeat(100_000))),
        words: &["split.json", "EOF", "\"train\""],
    },
];

/// A check of a training on a table of cases.
fn with_table(root: &Path, text: &[u8]) -> Vec<String> {
    DataSet::new(root);
    std::fs::write(root.join("cases.csv"), text).expect("written");
    let mut arguments = dry_run(&[]);
    arguments[2] = "cases.csv".to_owned();
    arguments
}

pub const TABLES: &[Case] = &[
    Case { name: "empty table", make: |r| with_table(r, b""), words: &["cases.csv: is empty"] },
    Case { name: "table without rows", make: |r| with_table(r, b"image,label\r\n\r\n"), words: &["has no cases"] },
    Case { name: "table of zeros", make: |r| with_table(r, &[0; 4096]), words: &["cases.csv: line 1: column 1 is"] },
    Case { name: "table in UTF-16", make: |r| with_table(r, b"\xFF\xFEi\0m\0"), words: &["cases.csv", "not UTF-8"] },
    Case {
        name: "table in Latin-1",
        make: |r| with_table(r, b"image,label\nGr\xF6\xDFe.nii,a.nii\n"),
        words: &["cases.csv", "not UTF-8"],
    },
    Case {
        name: "table with an open quotation mark",
        make: |r| {
            with_table(r, b"image,label\n\"data/images/a.nii,data/labels/a.nii\ndata/images/b.nii,data/labels/b.nii\n")
        },
        words: &["cases.csv: line 2: column image has a control character or a line break", "quotation mark"],
    },
    Case {
        name: "table with a terminal's codes",
        make: |r| with_table(r, b"image,label\n\x1b[2Ja.nii,b.nii\n"),
        words: &["cases.csv: line 2: column image has a control character"],
    },
    Case {
        name: "table with codes in a column",
        make: |r| with_table(r, b"image,lab\x1b[2Jel\n"),
        words: &["cases.csv: line 1: column 2 is \"lab\\u{1b}[2Jel\""],
    },
    Case {
        name: "table of a million columns",
        make: |r| with_table(r, ",image".repeat(1_000_000).as_bytes()),
        words: &["cases.csv: line 1: column 1 is \"\""],
    },
    Case {
        name: "table of a million wrong rows",
        make: |r| with_table(r, format!("image,label\n{}", "a.nii,b.nii,c\n".repeat(1_000_000)).as_bytes()),
        words: &["cases.csv: line 2: 3 cells, expected 2", "line 21: ", "and 999980 more problems"],
    },
    Case {
        name: "table of five million rows",
        make: |r| with_table(r, format!("image,label\n{}", "a.nii,b.nii\n".repeat(5_000_000)).as_bytes()),
        words: &["cases.csv: more than 1000000 rows, expected at most as many"],
    },
    Case {
        name: "table of 200,000 cases that are not there",
        make: |r| {
            let rows: String = (0..200_000).map(|number| format!("{number}.nii,l\n")).collect();
            with_table(r, format!("image,label\n{rows}").as_bytes())
        },
        words: &["line 2: column image: 0.nii: there is no such file", "and 399980 more problems"],
    },
    Case {
        name: "table beyond its limit",
        make: |r| {
            let arguments = with_table(r, b"");
            let file = std::fs::File::create(r.join("cases.csv")).expect("created");
            file.set_len(1 << 40).expect("a sparse file");
            arguments
        },
        words: &["cases.csv: cannot read: 1099511627776 bytes, expected at most 67108864"],
    },
    Case {
        name: "table as a pipe",
        make: |r| {
            let arguments = with_table(r, b"");
            std::fs::remove_file(r.join("cases.csv")).expect("removed");
            let made = std::process::Command::new("mkfifo").arg(r.join("cases.csv")).status();
            assert!(made.expect("mkfifo").success());
            arguments
        },
        words: &["cases.csv: cannot read: it is a pipe or a device"],
    },
    Case {
        name: "table that climbs by a name",
        make: |r| with_table(r, b"image,label,name\ndata/images/a.nii,data/labels/a.nii,../../b\n"),
        words: &["cases.csv: line 2: the case is named \"../../b\", expected a file name"],
    },
    Case {
        name: "table with a name of a kilobyte",
        make: |r| {
            let row = format!("image,label,name\ndata/images/a.nii,data/labels/a.nii,{}\n", "n".repeat(1024));
            with_table(r, row.as_bytes())
        },
        words: &["cases.csv: line 2", "at most 200 bytes"],
    },
    Case {
        name: "table of a device",
        make: |r| with_table(r, b"image,label\n/dev/zero,/dev/zero\n"),
        words: &["cases.csv: line 2: /dev/zero: no known volume format"],
    },
];

fn with_config(root: &Path, text: &[u8]) -> Vec<String> {
    DataSet::new(root);
    std::fs::write(root.join("c.toml"), text).expect("written");
    dry_run(&["--config", "c.toml"])
}

fn with_setting(root: &Path, setting: &str) -> Vec<String> {
    DataSet::new(root);
    dry_run(&["--set", setting])
}

pub const CONFIGURATIONS: &[Case] = &[
    Case {
        name: "misspelt key",
        make: |r| with_config(r, b"[optimiser]\nlerning_rate = 0.1\n"),
        words: &["c.toml", "optimiser.lerning_rate", "did you mean optimiser.learning_rate"],
    },
    Case {
        name: "misspelt table",
        make: |r| with_config(r, b"[trainin]\nsteps = 4\n"),
        words: &["c.toml", "unknown key trainin"],
    },
    Case { name: "no TOML", make: |r| with_config(r, b"seed = 1\n[optimiser\n"), words: &["c.toml:2"] },
    Case {
        name: "key twice",
        make: |r| with_config(r, b"seed = 1\nseed = 2\n"),
        words: &["c.toml:2", "duplicate key"],
    },
    Case { name: "no text", make: |r| with_config(r, &[0xFF, 0xFE, 0, 1]), words: &["c.toml", "UTF-8"] },
    Case {
        name: "100,000 brackets in TOML",
        make: |r| with_config(r, format!("seed = {}", "[".repeat(100_000)).as_bytes()),
        words: &["c.toml:1"],
    },
    Case {
        name: "configuration of 2 MB",
        make: |r| with_config(r, &b"# \n".repeat(700_000)),
        words: &["c.toml", "more than"],
    },
    Case {
        name: "endless configuration",
        make: |r| {
            DataSet::new(r);
            dry_run(&["--config", "/dev/zero"])
        },
        words: &["/dev/zero", "more than 1048576 bytes"],
    },
    Case {
        name: "configuration that is absent",
        make: |r| {
            DataSet::new(r);
            dry_run(&["--config", "absent.toml"])
        },
        words: &["absent.toml", "No such file"],
    },
    Case {
        name: "table for a number",
        make: |r| with_config(r, b"[seed]\na = 1\n"),
        words: &["c.toml", "key seed: expected a whole number"],
    },
    Case {
        name: "number for a table",
        make: |r| with_config(r, b"training = 4\n"),
        words: &["c.toml", "key training: expected a table"],
    },
    Case {
        name: "text for a number",
        make: |r| with_config(r, b"[training]\nsteps = \"many\"\n"),
        words: &["c.toml", "training.steps", "whole number", "many"],
    },
    Case { name: "negative steps", make: |r| with_setting(r, "training.steps=-3"), words: &["training.steps", "-3"] },
    Case {
        name: "no steps",
        make: |r| with_setting(r, "training.steps=0"),
        words: &["--set", "training.steps", "at least 1"],
    },
    Case {
        name: "batch of 10^18",
        make: |r| with_setting(r, "training.batch=1000000000000000000"),
        words: &["--set", "training.batch", "1 to 64"],
    },
    Case {
        name: "seed beyond 2^63",
        make: |r| with_setting(r, "seed=99999999999999999999999"),
        words: &["--set", "seed", "whole number"],
    },
    Case {
        name: "learning rate of nan",
        make: |r| with_config(r, b"[optimiser]\nlearning_rate = nan\n"),
        words: &["c.toml", "optimiser.learning_rate", "positive", "NaN"],
    },
    Case {
        name: "learning rate of inf",
        make: |r| with_setting(r, "optimiser.learning_rate=inf"),
        words: &["--set", "optimiser.learning_rate", "inf"],
    },
    Case {
        name: "learning rate that float32 rounds to 0",
        make: |r| with_setting(r, "optimiser.learning_rate=1e-60"),
        words: &["--set", "optimiser.learning_rate", "positive"],
    },
    Case {
        name: "epsilon of 0",
        make: |r| with_setting(r, "optimiser.epsilon=0"),
        words: &["--set", "optimiser.epsilon", "positive"],
    },
    Case {
        name: "momentum of 1",
        make: |r| with_setting(r, "optimiser.momentum=1"),
        words: &["--set", "optimiser.momentum"],
    },
    Case {
        name: "power of nan",
        make: |r| with_setting(r, "schedule.power=nan"),
        words: &["--set", "schedule.power", "NaN"],
    },
    Case { name: "every 0 steps", make: |r| with_setting(r, "schedule.every=0"), words: &["--set", "schedule.every"] },
    Case {
        name: "gain of inf",
        make: |r| with_setting(r, "network.head_gain=inf"),
        words: &["--set", "network.head_gain"],
    },
    Case {
        name: "no channels",
        make: |r| with_setting(r, "network.base=0"),
        words: &["--set", "network.base", "1 to 256"],
    },
    Case {
        name: "stages of texts",
        make: |r| with_setting(r, "network.encoder=[\"a\"]"),
        words: &["--set", "network.encoder", "[\"a\"]"],
    },
    Case {
        name: "more decoders than encoders",
        make: |r| with_setting(r, "network.decoder=[1,1,1,1,1]"),
        words: &["encoder has 4 stages and decoder 5"],
    },
    Case {
        name: "patch of two",
        make: |r| with_setting(r, "data.patch=[1,2]"),
        words: &["--set", "data.patch", "\"auto\" or [x, y, z]"],
    },
    Case {
        name: "patch of 10^9",
        make: |r| with_setting(r, "data.patch=[1000000000,1,1]"),
        words: &["--set", "data.patch", "1 to 4096"],
    },
    Case {
        name: "spacing of 0 mm",
        make: |r| with_setting(r, "data.spacing=[1, 1, 0]"),
        words: &["--set", "data.spacing", "0.01 to 100"],
    },
    Case {
        name: "unknown normalisation",
        make: |r| with_setting(r, "data.normalisation=ct"),
        words: &["--set", "data.normalisation", "ct_window"],
    },
    Case {
        name: "shares of nan",
        make: |r| with_setting(r, "data.split=[nan, 0.5, 0.5]"),
        words: &["--set", "data.split", "sum 1"],
    },
    Case { name: "two shares", make: |r| with_setting(r, "data.split=[0.5, 0.5]"), words: &["--set", "data.split"] },
    Case {
        name: "window upside down",
        make: |r| with_setting(r, "data.ct_window=[3, 1, 2, 1]"),
        words: &["data.ct_window"],
    },
    Case { name: "setting without value", make: |r| with_setting(r, "training.steps"), words: &["--set", "key=value"] },
    Case {
        name: "key of 50,000 dots",
        make: |r| with_setting(r, &format!("{}=1", "a.".repeat(50_000))),
        words: &["--set", "unknown key"],
    },
];

/// Names and shapes of the parameters of the smallest network.
const SHAPES: [(&str, &[usize]); 17] = [
    ("encoder.0.conv.0.weight", &[1, 1, 5, 5, 5]),
    ("encoder.0.conv.0.bias", &[1]),
    ("encoder.0.act.0.weight", &[1]),
    ("encoder.1.down.weight", &[2, 1, 2, 2, 2]),
    ("encoder.1.down.bias", &[2]),
    ("encoder.1.down_act.weight", &[2]),
    ("encoder.1.conv.0.weight", &[2, 2, 5, 5, 5]),
    ("encoder.1.conv.0.bias", &[2]),
    ("encoder.1.act.0.weight", &[2]),
    ("decoder.0.up.weight", &[2, 1, 2, 2, 2]),
    ("decoder.0.up.bias", &[1]),
    ("decoder.0.up_act.weight", &[1]),
    ("decoder.0.conv.0.weight", &[2, 2, 5, 5, 5]),
    ("decoder.0.conv.0.bias", &[2]),
    ("decoder.0.act.0.weight", &[2]),
    ("head.weight", &[2, 2, 1, 1, 1]),
    ("head.bias", &[2]),
];

const NETWORK: &str = r#"{"in_channels": 1, "classes": 2, "base": 1, "encoder": [1, 1], "decoder": [1]}"#;

/// A safetensors file of a header and as many values of 0.5 as all shapes have.
fn safetensors(header: &str) -> Vec<u8> {
    let count: usize = SHAPES.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(0.5f32.to_le_bytes().repeat(count));
    bytes
}

/// The header of a model with this description.
fn header(description: &str) -> String {
    let mut at = 0;
    let tensors = SHAPES.map(|(name, shape)| {
        let start = at;
        at += 4 * shape.iter().product::<usize>();
        format!(r#""{name}": {{"dtype": "F32", "shape": {shape:?}, "data_offsets": [{start}, {at}]}}"#)
    });
    let description = serde_json::Value::String(description.to_owned());
    format!(r#"{{"__metadata__": {{"vnet_engine": {description}}}, {}}}"#, tensors.join(", "))
}

fn described(network: &str) -> String {
    header(&format!(r#"{{"format": 1, "network": {network}}}"#))
}

fn model(root: &Path, bytes: &[u8]) -> Vec<String> {
    std::fs::write(root.join("m.safetensors"), bytes).expect("written");
    vec!["info".into(), "m.safetensors".into()]
}

/// A model whose header has `from` replaced by `to`.
fn replaced(root: &Path, from: &str, to: &str) -> Vec<String> {
    let text = described(NETWORK);
    assert!(text.contains(from), "{from}");
    model(root, &safetensors(&text.replacen(from, to, 1)))
}

fn with_preprocessing(root: &Path, preprocessing: &str) -> Vec<String> {
    let text = format!(r#"{{"format": 1, "network": {NETWORK}, "preprocessing": {preprocessing}}}"#);
    model(root, &safetensors(&header(&text)))
}

/// A run folder whose checkpoint is this.
fn checkpoint(root: &Path, bytes: &[u8]) -> Vec<String> {
    DataSet::new(root);
    std::fs::create_dir_all(root.join("run/checkpoint")).expect("created");
    std::fs::write(root.join("run/config.toml"), "[training]\nsteps = 9\n").expect("written");
    std::fs::write(root.join("run/checkpoint/step_0000009.safetensors"), bytes).expect("written");
    ["train", "--data", "data", "--out", "run", "--resume", "--dry-run", "--quiet"].map(str::to_owned).to_vec()
}

const M: &str = "m.safetensors";

pub const MODELS: &[Case] = &[
    Case { name: "model without bytes", make: |r| model(r, b""), words: &[M, "0 bytes"] },
    Case { name: "model of seven bytes", make: |r| model(r, b"1234567"), words: &[M, "7 bytes"] },
    Case { name: "model of text", make: |r| model(r, b"this is no model at all"), words: &[M, "header is"] },
    Case {
        name: "header of 2^63 bytes",
        make: |r| model(r, &[&(1u64 << 63).to_le_bytes()[..], b"{}"].concat()),
        words: &[M, "header is 9223372036854775808 bytes long"],
    },
    Case {
        name: "header of 90 MB",
        make: |r| {
            let arguments = model(r, &90_000_000u64.to_le_bytes());
            std::fs::File::options().write(true).open(r.join(M)).and_then(|f| f.set_len(90_000_008)).expect("long");
            arguments
        },
        words: &[M, "header is 90000000 bytes long, expected at most"],
    },
    Case {
        name: "model of a terabyte",
        make: |r| {
            let arguments = model(r, &safetensors(&described(NETWORK)));
            std::fs::File::options().write(true).open(r.join(M)).and_then(|f| f.set_len(1 << 40)).expect("long");
            arguments
        },
        words: &[M, "the header promises a file of", "1099511627776 bytes"],
    },
    Case { name: "header that is no JSON", make: |r| model(r, &safetensors("{\"a\": ")), words: &[M, "EOF"] },
    Case {
        name: "model cut",
        make: |r| {
            let bytes = safetensors(&described(NETWORK));
            model(r, &bytes[..bytes.len() - 4])
        },
        words: &[M, "the header promises a file of"],
    },
    Case {
        name: "offsets that overlap",
        make: |r| replaced(r, "[500, 504]", "[496, 500]"),
        words: &[M, "safetensors"],
    },
    Case {
        name: "shape beyond 2^64",
        make: |r| replaced(r, "[1, 1, 5, 5, 5]", "[4294967296, 4294967296, 5, 5, 5]"),
        words: &[M, "safetensors"],
    },
    Case {
        name: "shape that is another",
        make: |r| replaced(r, "[1, 1, 5, 5, 5]", "[1, 1, 5, 25]"),
        words: &[M, "encoder.0.conv.0.weight", "expected F32 [1, 1, 5, 5, 5]", "found F32 [1, 1, 5, 25]"],
    },
    Case {
        name: "other type",
        make: |r| replaced(r, r#""dtype": "F32", "shape": [1]"#, r#""dtype": "I32", "shape": [1]"#),
        words: &[M, "expected F32", "I32"],
    },
    Case {
        name: "other name",
        make: |r| replaced(r, "head.bias", "haed.bias\\n"),
        words: &[M, "head.bias", "expected F32 [2]", "no such tensor"],
    },
    Case {
        name: "no description",
        make: |r| replaced(r, "vnet_engine", "other"),
        words: &[M, "vnet_engine", "missing"],
    },
    Case { name: "description of text", make: |r| model(r, &safetensors(&header("x"))), words: &[M, "expected value"] },
    Case {
        name: "format of the future",
        make: |r| model(r, &safetensors(&header(&format!(r#"{{"format": 2, "network": {NETWORK}}}"#)))),
        words: &[M, "format 2 is not known"],
    },
    Case {
        name: "network without decoder",
        make: |r| model(r, &safetensors(&described(&NETWORK.replace("[1]", "[]")))),
        words: &[M, "decoder"],
    },
    Case {
        name: "network of 2^40 channels",
        make: |r| model(r, &safetensors(&described(&NETWORK.replace("\"base\": 1", "\"base\": 1099511627776")))),
        words: &[M, "base is 1099511627776", "1 to 256"],
    },
    Case {
        name: "network of other shapes",
        make: |r| model(r, &safetensors(&described(&NETWORK.replace("\"base\": 1", "\"base\": 256")))),
        words: &[M, "expected F32 [512]", "found F32 [2]"],
    },
    Case {
        name: "parameter of NaN",
        make: |r| {
            let mut bytes = safetensors(&described(NETWORK));
            let at = bytes.len() - 4;
            bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
            model(r, &bytes)
        },
        words: &[M, "head.bias: element 1 is NaN"],
    },
    Case {
        name: "patch of 0",
        make: |r| with_preprocessing(r, r#"{"normalisation": "none", "patch": [0, 8, 8], "canonical": true}"#),
        words: &[M, "patch"],
    },
    Case {
        name: "patch of 2^50",
        make: |r| {
            with_preprocessing(r, r#"{"normalisation": "none", "patch": [1125899906842624, 8, 8], "canonical": true}"#)
        },
        words: &[M, "patch"],
    },
    Case {
        name: "preprocessing of the future",
        make: |r| {
            with_preprocessing(r, r#"{"normalisation": "none", "patch": [8, 8, 8], "canonical": true, "script": "rm"}"#)
        },
        words: &[M, "unknown field `script`"],
    },
    Case {
        name: "folder without model",
        make: |r| {
            std::fs::create_dir(r.join("run")).expect("created");
            vec!["info".into(), "run".into()]
        },
        words: &["run/model.safetensors", "No such file"],
    },
    Case {
        name: "initial model of another network",
        make: |r| {
            DataSet::new(r);
            model(r, &safetensors(&described(NETWORK)));
            dry_run(&["--init", M])
        },
        words: &[M, "decoder.0.conv.0.weight: expected F32 [8, 8, 5, 5, 5]", "found F32 [2, 2, 5, 5, 5]"],
    },
    Case { name: "checkpoint without bytes", make: |r| checkpoint(r, b""), words: &["step_0000009", "damaged"] },
    Case {
        name: "checkpoint that is a model",
        make: |r| checkpoint(r, &safetensors(&described(NETWORK))),
        words: &["step_0000009", "damaged"],
    },
    Case {
        name: "no checkpoint",
        make: |r| {
            let arguments = checkpoint(r, b"");
            std::fs::remove_file(r.join("run/checkpoint/step_0000009.safetensors")).expect("removed");
            arguments
        },
        words: &["run/checkpoint", "no checkpoint to resume from"],
    },
];
