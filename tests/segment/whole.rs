//! Models that do not say how volumes are prepared: volumes are taken whole, as PyTorch does.

use super::{model_of, support::U};
use crate::support::gpu;
use std::ops::ControlFlow;
use std::sync::Arc;
use vnet_engine::data::io::{Header, Scalar, read_label_map, read_volume, write_volume_as};
use vnet_engine::data::{Fit, Grid, Normalisation, Preparation, Prepared, Volume};
use vnet_engine::gpu::{Gpu, GpuOptions};
use vnet_engine::infer::{InferError, Predictor, Preprocessing, SegmentOptions, Segmenter, forward, probability_path};
use vnet_engine::nn::Model;
use vnet_engine::nn::model::Tensor;

const CLASSES: usize = 3;
/// No extent is a multiple of the network's divisor, 2.
const EXTENTS: [usize; 3] = [23, 17, 9];

fn volume() -> Volume {
    let grid = Grid::axis_aligned(EXTENTS, [1.0, 0.75, 2.5]);
    let voxels = (0..grid.voxel_count()).map(|v| ((v * 7919) % 1013) as f32 - 300.0).collect();
    Volume { grid, voxels }
}

fn segmenter(gpu: &Arc<Gpu>, model: &Model) -> Segmenter {
    let preprocessing = Preprocessing::of(model).expect("a default");
    Segmenter::new(gpu, vec![model.clone()], &preprocessing).expect("it fits")
}

/// What `forward` says of the whole volume, normalised: logits of each voxel, x fastest, each with its classes.
fn logits(model: &Model) -> Vec<[f64; CLASSES]> {
    let prepared = Prepared::from_volume(volume(), &Preparation::native(Normalisation::ZScoreAll), Fit::Whole);
    let [x, y, z] = EXTENTS;
    assert_eq!(prepared.image.len(), x * y * z, "nothing is padded");
    let found =
        forward(gpu(), model, &Tensor { shape: vec![1, 1, z, y, x], data: prepared.image.into_vec() }).expect("logits");
    let count = x * y * z;
    (0..count).map(|voxel| std::array::from_fn(|class| f64::from(found.data[class * count + voxel]))).collect()
}

pub fn a_model_without_preprocessing_takes_volumes_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let volume = volume();
    write_volume_as(&at("v.nii.gz"), &volume, Scalar::Int16, &Header::for_grid(&volume.grid)).expect("written");
    let model = model_of(4, CLASSES, 0.0);
    let options = SegmentOptions { probabilities: true, ..SegmentOptions::default() };
    let mut windows = 0;
    let count = |_, _| {
        windows += 1;
        ControlFlow::Continue(())
    };
    let found = segmenter(gpu(), &model).segment_file(&at("v.nii.gz").into(), &at("o.nii.gz"), options, count);
    let found = found.expect("segmented");
    assert_eq!((windows, found.windows), (1, None));
    let maps: Vec<Volume> = (1..CLASSES)
        .map(|class| read_volume(&probability_path(&at("o.nii.gz"), class)).expect("probabilities"))
        .collect();
    let labels = read_label_map(&at("o.nii.gz")).expect("labels");
    assert_eq!(labels.voxels, found.labels.voxels);
    for (voxel, logits) in logits(&model).into_iter().enumerate() {
        let most = logits.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let powers = logits.map(|logit| (logit - most).exp());
        let sum: f64 = powers.iter().sum();
        // Of the device's softmax: each of two exponentials is within 3 + 2 |x| units in the last place (WGSL), a
        // difference is rounded, K are summed, and a quotient is within 2.5 units; a unit is at most 2 u.
        let spread = logits.map(|logit| most - logit).into_iter().fold(0.0, f64::max);
        let bound = (4.0 * (3.0 + 2.0 * spread) + 2.0 * spread + CLASSES as f64 + 5.0) * U;
        for class in 1..CLASSES {
            let (p, expected) = (f64::from(maps[class - 1].voxels[voxel]), powers[class] / sum);
            assert!((p - expected).abs() <= bound, "voxel {voxel}, class {class}: {p} instead of {expected}");
        }
        let label = usize::from(labels.voxels[voxel]);
        assert!(powers[label] / sum >= 1.0 / sum - 2.0 * bound, "voxel {voxel}: class {label} of {powers:?}");
    }
}

pub fn a_volume_that_does_not_fit_is_predicted_in_the_largest_windows() {
    let model = model_of(4, CLASSES, 0.0);
    let needed = |[x, y, z]: [usize; 3]| {
        let target = gpu().target();
        Predictor::plan_for(&model.network, 1, [z, y, x], target).expect("a plan").1.memory.total()
    };
    let halves = [12, 17, 9];
    assert!(needed(halves) < needed(EXTENTS));
    let with = |budget| Gpu::open(&GpuOptions { memory_budget: Some(budget), ..GpuOptions::default() });
    let small = Arc::new(with(needed(halves)).expect("a device"));
    let found = segmenter(&small, &model).segment_volume(volume()).expect("segmented");
    assert_eq!(found.windows, Some(halves));
    assert_eq!((found.labels.grid.extents, found.labels.voxels.len()), (EXTENTS, volume().voxels.len()));
    let tiny = Arc::new(with(1).expect("a device"));
    let error = segmenter(&tiny, &model).segment_volume(volume()).expect_err("a byte");
    assert!(matches!(error, InferError::Memory { patch: [2, 2, 2], budget: 1, .. }), "{error}");
}

pub fn a_prediction_ends_after_the_window_in_which_it_is_asked_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let volume = volume();
    write_volume_as(&at("v.nii.gz"), &volume, Scalar::Int16, &Header::for_grid(&volume.grid)).expect("written");
    let model = model_of(4, CLASSES, 0.0);
    let preprocessing = Preprocessing { patch: Some([8, 8, 8]), ..Preprocessing::of(&model).expect("a default") };
    let mut segmenter = Segmenter::new(gpu(), vec![model], &preprocessing).expect("it fits");
    let mut asked = 0;
    let stop = |_, all| {
        asked += 1;
        assert!(all > 20, "{all} windows");
        if asked == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let end = segmenter.segment_file(&at("v.nii.gz").into(), &at("o.nii.gz"), SegmentOptions::default(), stop);
    assert!(matches!(end, Err(InferError::Stopped)), "{end:?}");
    assert_eq!(asked, 3, "no window after the third");
    assert!(!at("o.nii.gz").exists());
}
