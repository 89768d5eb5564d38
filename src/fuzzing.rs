//! The readers of files from strangers, from bytes: entries for `fuzz/`, which runs them millions of times, and for the
//! tests of what it found. Whatever the bytes, they return. Only with the feature `fuzzing`.

use crate::data::inspect::inspection_of;
use crate::data::io::format::sample_names;
use crate::data::io::input::Input;
use crate::data::io::{header_of, read_labels, read_voxels};
use crate::data::{Fit, Normalisation, Preparation, Prepared, Split, TargetSpacing};
use crate::infer::Preprocessing;
use crate::nn::Model;
use crate::train::{Config, Preset, Setting};
use std::path::Path;

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
    if let Ok(inspection) = inspection_of(input) {
        serde_json::to_string(&inspection).expect("an inspection is always JSON");
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
    }
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
