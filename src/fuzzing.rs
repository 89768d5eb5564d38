//! The readers of files from strangers, from bytes: entries for `fuzz/`, which runs them millions of times, and for the
//! tests of what it found. Whatever the bytes, they return. Only with the feature `fuzzing`.

use crate::data::description::classes_of_text;
use crate::data::inspect::inspection_of;
use crate::data::io::format::sample_names;
use crate::data::io::input::Input;
use crate::data::io::{header_of, read_channels, read_labels, read_voxels};
use crate::data::{Classes, Fit, Manifest, Normalisation, Preparation, Prepared, Split, TargetSpacing};
use crate::infer::Preprocessing;
use crate::nn::Model;
use crate::train::{Config, Preset, Setting};
use std::path::Path;

/// Voxels of volumes that list their files, at most: the same bytes stand for each of thousands.
const LISTED: usize = 1 << 24;

/// Voxels of volumes that are prepared for a network, at most: larger ones take their time.
const PREPARED: usize = 1 << 12;

/// A volume in every format and under each of its names. Where a volume has several files, each has these bytes.
pub fn volume(bytes: &[u8]) {
    sample_names().iter().for_each(|name| read(name, bytes));
}

fn read(name: &str, bytes: &[u8]) {
    let input = Input::memory(Path::new(name), bytes);
    let header = match header_of(input) {
        Ok(header) => header,
        Err(error) => {
            let text = error.to_string();
            return assert!(text.starts_with(name) && !text.contains('\n'), "{text}");
        }
    };
    let voxels = header.shape.iter().fold(1usize, |product, &extent| product.saturating_mul(extent));
    if voxels > LISTED && (name.ends_with(".nrrd") || name.ends_with(".nhdr")) {
        return;
    }
    if let Ok(inspection) = inspection_of(input) {
        serde_json::to_string(&inspection).expect("an inspection is always JSON");
    }
    if let Ok(channels) = read_channels(input, &header) {
        assert_eq!(Ok(channels.len()), header.channels(input.path).map_err(|error| error.to_string()));
        let [first, ..] = &channels[..] else { panic!("an image has a channel") };
        assert!(channels.iter().all(|channel| channel.grid == first.grid));
        assert!(channels.iter().all(|channel| channel.voxels.len() == first.grid.voxel_count()));
        assert!(channels.iter().flat_map(|channel| &channel.voxels).all(|voxel| voxel.is_finite()));
    }
    let labels = read_labels(input, &header);
    let Ok(volume) = read_voxels(input, &header) else { return };
    let grid = volume.grid.clone();
    assert_eq!(volume.voxels.len(), grid.voxel_count());
    assert!(volume.voxels.iter().all(|voxel| voxel.is_finite()));
    assert_eq!(grid.difference(&grid), None);
    if let Ok(labels) = labels {
        assert_eq!((labels.voxels.len(), &labels.grid), (volume.voxels.len(), &grid));
    }
    let spacing = TargetSpacing::Millimetres([1.0, 1.0, 1.5]);
    let preparation =
        Preparation { patch: [8, 4, 4], canonical: true, spacing, ..Preparation::native(Normalisation::ZScoreNonZero) };
    if crate::data::prepare::check_size(Path::new(name), &grid, &preparation, PREPARED).is_ok() {
        let prepared = Prepared::from_volume(volume, &preparation, Fit::Patch);
        assert_eq!(prepared.image.len(), 8 * 4 * 4);
    }
}

/// A configuration file, and the same text as a `--set`.
pub fn configuration(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = Config::from_text(Preset::Paper, None, &[Setting::parse(&text)]);
    if let Ok(config) = Config::from_text(Preset::Tiny, Some(("f.toml", &text)), &[]) {
        let again = Config::from_text(Preset::Paper, Some(("g.toml", &config.to_toml())), &[]);
        assert_eq!(again.expect("a configuration that was written"), config);
        let classes = config.data.classes().expect("label values were checked");
        classes.iter().for_each(check_classes);
    }
}

/// A `dataset.json`, for what it declares.
pub fn description(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(Some(classes)) = classes_of_text(Path::new("data"), &text) {
        check_classes(&classes);
    }
}

/// What classes say of themselves fits together, and a file has all of it.
fn check_classes(classes: &Classes) {
    if classes.are_unknown() {
        return;
    }
    assert_eq!(classes.decision().outputs(), classes.outputs());
    assert_eq!(classes.device_labels().len(), classes.count());
    let mut values = classes.written();
    values.extend(classes.ignored());
    classes.to_classes(&mut values).expect("their own values");
    assert!(classes.targets().iter().all(|target| target.classes.iter().all(|class| values.contains(class))));
    let text = serde_json::to_string(classes).expect("JSON");
    assert_eq!(serde_json::from_str::<Classes>(&text).expect("what was written"), *classes);
}

/// A `split.json` of a data set of four cases.
pub fn split(bytes: &[u8]) {
    let names = ["a", "b", "c", "d"].map(str::to_owned);
    let text = String::from_utf8_lossy(bytes);
    for fold in [None, Some(1)] {
        if let Ok(split) = Split::from_text(Path::new("split.json"), &text, &names, fold) {
            let cases = [&split.train, &split.validation, &split.test].map(Vec::len);
            assert!(cases[0] > 0 && cases.iter().sum::<usize>() <= names.len());
        }
    }
}

/// A table of cases.
pub fn manifest(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Manifest::from_text(Path::new("cases.csv"), &text) {
        Ok(manifest) => {
            assert!(!manifest.rows.is_empty() && manifest.rows.is_sorted_by(|one, next| one.name < next.name));
            let channels = manifest.rows[0].image.files().len();
            assert!(manifest.rows.iter().all(|row| row.image.files().len() == channels));
        }
        Err(error) => assert!(error.to_string().starts_with("cases.csv: "), "{error}"),
    }
}

/// A model file.
pub fn model(bytes: &[u8]) {
    let Ok(model) = Model::from_bytes(Path::new("m.safetensors"), bytes) else { return };
    if let Ok(preprocessing) = Preprocessing::of(&model) {
        preprocessing.preparation(model.network.in_channels, model.network.classes);
        preprocessing.foreground_names(model.network.classes);
        preprocessing.label_classes(model.network.classes);
    }
}

/// An entry of a cache of prepared volumes. True where it is a prepared case.
pub fn cache_entry(bytes: &[u8]) -> bool {
    crate::data::fuzz_entry(bytes)
}

/// A checkpoint, with the checksum that is in it and with the one that belongs in it.
pub fn checkpoint(bytes: &[u8]) {
    crate::train::fuzz_checkpoint(bytes);
}
