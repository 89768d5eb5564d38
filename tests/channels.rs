//! Images of several channels, in the layouts that users have, from the folder to the segmentation.

mod support;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::program::{program, refused};
use vnet_engine::data::io::{Header, read_label_map, write_label_map, write_volume};
use vnet_engine::data::{Dataset, DatasetOptions, Fit, Grid, ImageFiles, LabelMap, Normalisation, PerChannel};
use vnet_engine::data::{Preparation, Volume, prepare_image, prepare_pair};
use vnet_engine::gpu::{Gpu, GpuOptions};
use vnet_engine::infer::{Preprocessing, Segmenter};
use vnet_engine::nn::Model;

const EXTENTS: [usize; 3] = [24, 24, 16];

/// A random number of 0 to 1 of a counter (splitmix64).
fn noise(counter: u64) -> f32 {
    let mut z = counter.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
}

/// The two channels and the label of a case. A bright ball lies at a random place in each channel; the organ is that of the
/// second. Neither channel says anything of the ball of the other.
fn case(number: u64) -> ([Volume; 2], LabelMap) {
    let grid = Grid {
        extents: EXTENTS,
        spacing: [1.5, 1.5, 2.0],
        affine: [[-1.5, 0.0, 0.0, 9.0], [0.0, 1.5, 0.0, -3.0], [0.0, 0.0, 2.0, 1.0]],
    };
    let centre = |channel: u64| -> [f32; 3] {
        std::array::from_fn(|axis| {
            5.0 + noise(100 * number + 10 * channel + axis as u64) * (EXTENTS[axis] as f32 - 11.0)
        })
    };
    let inside = |channel: u64, at: usize| {
        let position = [at % EXTENTS[0], at / EXTENTS[0] % EXTENTS[1], at / (EXTENTS[0] * EXTENTS[1])];
        let distance = |(p, c): (usize, f32)| (p as f32 - c).powi(2);
        position.into_iter().zip(centre(channel)).map(distance).sum::<f32>() < 13.0
    };
    let volume = |channel: u64| {
        let value = |at: usize| {
            let signal = if inside(channel, at) { 90.0 } else { 20.0 };
            (signal + 30.0 * noise((number * 2 + channel) * 1_000_003 + at as u64)).round()
        };
        Volume { grid: grid.clone(), voxels: (0..grid.voxel_count()).map(value).collect() }
    };
    let labels = (0..grid.voxel_count()).map(|at| u16::from(inside(1, at))).collect();
    ([volume(0), volume(1)], LabelMap { grid: grid.clone(), voxels: labels })
}

fn write_case(label: &Path, number: u64, images: impl FnOnce([Volume; 2])) {
    let (channels, map) = case(number);
    write_label_map(label, &map, &Header::for_grid(&map.grid)).expect("written");
    images(channels);
}

/// Both channels in one NIfTI file, one after the other: the file of the first, with a fourth axis.
fn write_4d(path: &Path, [first, second]: &[Volume; 2]) {
    let plain = path.with_extension("first.nii");
    write_volume(&plain, first).expect("written");
    let mut bytes = std::fs::read(&plain).expect("read");
    std::fs::remove_file(&plain).expect("removed");
    // The number of axes, and the extent of the fourth (NIfTI-1, little endian).
    (bytes[40], bytes[48]) = (4, 2);
    bytes.extend(second.voxels.iter().flat_map(|value| value.to_le_bytes()));
    let mut packed = GzEncoder::new(std::fs::File::create(path).expect("made"), Compression::fast());
    packed.write_all(&bytes).and_then(|()| packed.finish().map(drop)).expect("written");
}

fn folders(root: &Path, names: &[&str]) -> Vec<PathBuf> {
    let made = |name: &&str| {
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    };
    names.iter().map(made).collect()
}

/// The layouts of `cases` cases under `root`, each in a folder of its name.
fn write_layouts(root: &Path, cases: u64) {
    let plain = folders(root, &["plain/images", "plain/labels"]);
    let decathlon = folders(root, &["decathlon/imagesTr", "decathlon/labelsTr"]);
    let nnunet = folders(root, &["Dataset007_Balls/imagesTr", "Dataset007_Balls/labelsTr"]);
    for number in 0..cases {
        let name = format!("ball_{number}");
        let file = format!("{name}.nii.gz");
        write_case(&plain[1].join(&file), number, |channels| write_4d(&plain[0].join(&file), &channels));
        write_case(&decathlon[1].join(&file), number, |channels| write_4d(&decathlon[0].join(&file), &channels));
        write_case(&nnunet[1].join(&file), number, |channels| {
            for (channel, volume) in channels.iter().enumerate() {
                write_volume(&nnunet[0].join(format!("{name}_{channel:04}.nii.gz")), volume).expect("written");
            }
        });
        let brats = &folders(root, &[&format!("brats/{name}")])[0];
        write_case(&brats.join(format!("{name}_seg.nii.gz")), number, |channels| {
            for (sequence, volume) in ["t1", "t2"].iter().zip(&channels) {
                write_volume(&brats.join(format!("{name}_{sequence}.nii.gz")), volume).expect("written");
            }
        });
    }
    let json = r#"{"modality": {"0": "T1", "1": "T2"}, "labels": {"0": "background", "1": "ball"}}"#;
    std::fs::write(root.join("decathlon/dataset.json"), json).expect("written");
    let json = r#"{"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "ball": 1}, "numTraining": 4,
                   "file_ending": ".nii.gz", "overwrite_image_reader_writer": "SimpleITKIO"}"#;
    std::fs::write(root.join("Dataset007_Balls/dataset.json"), json).expect("written");
}

const BRATS: [&str; 4] = [
    "--set",
    r#"data.channel_files=["{case}/{case}_t1", "{case}/{case}_t2.nii.gz"]"#,
    "--set",
    "data.label_file={case}/{case}_seg",
];

fn train(root: &Path, data: &str, out: &str, more: &[&str]) -> String {
    let fixed = ["train", "--data", data, "--out", out, "--preset", "tiny", "--seed", "5"];
    let output = program(root, &[&fixed[..], more].concat());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    Model::read(&root.join(out).join("model.safetensors")).expect("a model").fingerprint()
}

#[test]
fn the_same_data_trains_the_same_network_in_every_layout() {
    if gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    write_layouts(root, 4);
    let quick = ["--steps", "3", "--set", "augmentation.enabled=true"];
    let plain = train(root, "plain", "run-plain", &quick);
    assert_eq!(train(root, "decathlon", "run-decathlon", &quick), plain);
    assert_eq!(train(root, "Dataset007_Balls", "run-nnunet", &quick), plain);
    assert_eq!(train(root, "brats", "run-brats", &[&quick[..], &BRATS].concat()), plain);
    let model = Model::read(&root.join("run-nnunet/model.safetensors")).expect("a model");
    assert_eq!(model.network.in_channels, 2);
    let preprocessing = Preprocessing::of(&model).expect("one");
    assert_eq!(preprocessing.channel_names, ["T1", "T2"]);
    assert_eq!(preprocessing.channel_files, ["{case}_0000", "{case}_0001"]);

    // Each model segments each layout, and writes files named after the cases.
    let mut found = Vec::new();
    for (model, input, case) in [
        ("run-plain", "plain/images", "ball_1"),
        ("run-nnunet", "Dataset007_Balls/imagesTr", "ball_1"),
        ("run-plain", "Dataset007_Balls/imagesTr", "ball_1"),
        ("run-nnunet", "decathlon/imagesTr", "ball_1"),
        ("run-brats", "brats", "ball_1"),
    ] {
        let out = format!("out-{}", found.len());
        let output = program(root, &["segment", "--model", model, "--input", input, "--output", &out]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        found.push(read_label_map(&root.join(&out).join(format!("{case}.nii.gz"))).expect("written"));
        assert_eq!(found.last(), found.first(), "{model} {input}");
        assert_eq!(std::fs::read_dir(root.join(&out)).expect("listed").count(), 4);
    }
    // One case: a file of it, or its folder.
    for (model, input, output) in [
        ("run-nnunet", "Dataset007_Balls/imagesTr/ball_1_0000.nii.gz", "one.nii.gz"),
        ("run-brats", "brats/ball_1/ball_1_t2.nii.gz", "two.nii.gz"),
    ] {
        let made = program(root, &["segment", "--model", model, "--input", input, "--output", output]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        assert_eq!(read_label_map(&root.join(output)).expect("written"), found[0]);
    }
    let made = program(root, &["segment", "--model", "run-brats", "--input", "brats/ball_1", "--output", "single"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(read_label_map(&root.join("single/ball_1.nii.gz")).expect("written"), found[0]);
}

#[test]
fn an_organ_of_the_second_channel_is_learnt_from_it_alone() {
    if gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    write_layouts(root, 12);
    let first = folders(root, &["first/images", "first/labels"]);
    for number in 0..12 {
        let file = format!("ball_{number}.nii.gz");
        write_case(&first[1].join(&file), number, |[volume, _]| {
            write_volume(&first[0].join(&file), &volume).expect("written");
        });
    }
    let more = ["--steps", "120", "--set", "training.validate_every=0", "--set", "data.patch=[24, 24, 16]"];
    let dice = |data: &str, out: &str| {
        train(root, data, out, &more);
        let log = std::fs::read_to_string(root.join(out).join("log.jsonl")).expect("a log");
        let of_test = |line: &str| serde_json::from_str::<Value>(line).ok()?.get("mean_dice")?.as_f64();
        log.lines().filter(|line| line.contains("\"test\"")).find_map(of_test).expect("a score of the test cases")
    };
    let (both, one) = (dice("plain", "both"), dice("first", "one"));
    assert!(both > 0.8 && one < 0.3, "{both} with both channels, {one} with the first alone");
}

fn gpu() -> Option<Arc<Gpu>> {
    let gpu = Gpu::open(&GpuOptions::default());
    assert!(gpu.is_ok() || std::env::var_os("VNET_REQUIRE_GPU").is_none(), "{gpu:?}");
    gpu.ok().map(Arc::new)
}

#[test]
fn channels_in_memory_are_segmented_as_those_of_files() {
    let Some(gpu) = gpu() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    write_layouts(root, 3);
    train(root, "plain", "run", &["--steps", "2"]);
    let model = Model::read(&root.join("run/model.safetensors")).expect("a model");
    let preprocessing = Preprocessing::of(&model).expect("one");
    let mut segmenter = Segmenter::new(&gpu, vec![model], &preprocessing).expect("it fits");
    let (channels, _) = case(2);
    let found = segmenter.segment_channels(channels.to_vec()).expect("segmented").labels;
    let output = program(root, &["segment", "--model", "run", "--input", "plain/images", "--output", "out"]);
    assert!(output.status.success());
    assert_eq!(read_label_map(&root.join("out/ball_2.nii.gz")).expect("written").voxels, found.voxels);
    let [first, _] = channels;
    let error = segmenter.segment_volume(first).expect_err("one channel").to_string();
    assert!(error.contains("1 channel, expected 2 channels"), "{error}");
}

#[test]
fn channels_are_prepared_each_for_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("image.nii.gz");
    let (channels, _) = case(0);
    write_4d(&path, &channels);
    let two = |normalisation| Preparation {
        channels: 2,
        normalisation,
        patch: [4; 3],
        ..Preparation::native(Normalisation::None)
    };
    let files = ImageFiles::from(path);
    let same = PerChannel::from(Normalisation::ZScoreAll);
    let (both, header) = prepare_image(&files, &two(same), Fit::Whole).expect("two channels");
    assert_eq!((both.channels, header.shape.as_slice()), (2, &EXTENTS[..]));
    for (channel, volume) in channels.iter().enumerate() {
        let of_channel: Vec<f32> = both.image.iter().skip(channel).step_by(2).copied().collect();
        let mean = of_channel.iter().sum::<f32>() / of_channel.len() as f32;
        assert!(mean.abs() < 1e-4, "{mean}");
        let mut expected = volume.voxels.clone();
        Normalisation::ZScoreAll.apply(&mut expected, None);
        assert_eq!(of_channel, expected);
    }
    let each = PerChannel::each(vec![Normalisation::None, Normalisation::ZScoreAll]);
    let (mixed, _) = prepare_image(&files, &two(each), Fit::Whole).expect("two channels");
    assert_eq!(mixed.image.iter().step_by(2).copied().collect::<Vec<_>>(), channels[0].voxels);
    let one = Preparation { channels: 1, ..two(Normalisation::None.into()) };
    let error = prepare_image(&files, &one, Fit::Whole).expect_err("two channels").to_string();
    assert!(error.ends_with("image.nii.gz: 2 channels, expected 1 channel"), "{error}");
}

#[test]
fn channels_on_another_grid_are_resampled_on_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    write_layouts(root, 3);
    let shifted = root.join("Dataset007_Balls/imagesTr/ball_1_0001.nii.gz");
    let (channels, _) = case(1);
    let mut other = channels[1].clone();
    // Half a voxel along x.
    other.grid.affine[0][3] += 0.75;
    write_volume(&shifted, &other).expect("written");
    let dry = ["train", "--data", "Dataset007_Balls", "--out", "run", "--preset", "tiny", "--dry-run"];
    refused(root, &dry, &["ball_1_0001.nii.gz", "ball_1_0000.nii.gz", "data.align = true"]);
    let output = program(root, &[&dry[..], &["--set", "data.align=true"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let options = DatasetOptions { align: true, ..DatasetOptions::default() };
    let dataset = Dataset::open_as(&root.join("Dataset007_Balls"), options).expect("a data set");
    let preparation =
        Preparation { channels: 2, align: true, patch: [4; 3], ..Preparation::native(Normalisation::None) };
    let prepared = prepare_pair(&dataset.cases[1], &preparation, Fit::Whole).expect("aligned");
    // The second channel's voxel i lies half a voxel to the negative side of the first one's: x falls along i.
    let row: Vec<f32> = prepared.image.iter().skip(1).step_by(2).take(EXTENTS[0]).copied().collect();
    let source = &other.voxels[..EXTENTS[0]];
    for x in 1..EXTENTS[0] - 1 {
        let expected = (source[x] + source[x + 1]) / 2.0;
        assert!((row[x] - expected).abs() < 1e-3, "{x}: {} instead of {expected}", row[x]);
    }
}

#[test]
fn mistakes_in_channels_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    write_layouts(root, 3);
    let dry = |data: &'static str| ["train", "--data", data, "--out", "run", "--preset", "tiny", "--dry-run"];
    std::fs::remove_file(root.join("Dataset007_Balls/imagesTr/ball_2_0001.nii.gz")).expect("removed");
    refused(root, &dry("Dataset007_Balls"), &["imagesTr: no volume {case}_0001 for ball_2"]);
    let (channels, _) = case(1);
    write_volume(&root.join("plain/images/ball_1.nii.gz"), &channels[0]).expect("written");
    refused(root, &dry("plain"), &["ball_1.nii.gz: 1 channel, expected 2 channels as", "ball_0.nii.gz says"]);
    write_volume(&root.join("decathlon/imagesTr/ball_1.nii.gz"), &channels[0]).expect("written");
    refused(root, &dry("decathlon"), &["ball_1.nii.gz: 1 channel, expected 2 channels as", "dataset.json says"]);
    let three = [&dry("brats")[..], &BRATS[..], &["--set", r#"data.normalisation=["none", "none", "none"]"#]].concat();
    refused(root, &three, &["data.normalisation", "each of the data's 2 channels, found 3"]);
    let wrong = ["--set", r#"data.channel_files=["{case}/../a"]"#];
    refused(
        root,
        &[&dry("brats")[..], &wrong].concat(),
        &["data.channel_files", "within the folder, each with {case}"],
    );
    refused(root, &dry("."), &["holds several data sets (Dataset007_Balls, decathlon), expected one of them"]);
}
