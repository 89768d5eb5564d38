//! Maps of entropy and disagreement beside a label map.

use super::{CLASSES, gpu, grid, model_of, volume};
use std::ops::ControlFlow;
use vnet_engine::data::io::{Header, Scalar, Uncertainty, read_header, read_volume, write_volume_as};
use vnet_engine::data::{Normalisation, Preparation};
use vnet_engine::infer::{Predictor, SegmentOptions, probability_path, segment_file};
use vnet_engine::nn::Model;

/// Entropy follows from the probabilities that are written; models that are the same do not disagree, others do, by less than the
/// logarithm of their number; and the other files are as without.
pub fn uncertainty_is_that_of_the_probabilities() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("a.nii.gz");
    write_volume_as(&input, &volume(), Scalar::Int16, &Header::for_grid(&grid())).expect("written");
    let preparation =
        Preparation { patch: [8, 8, 8], classes: CLASSES, ..Preparation::native(Normalisation::ZScoreAll) };
    let segmented = |models: &[Model], name: &str, uncertainty: bool| {
        let predictor = Predictor::ensemble(gpu(), models, [8, 8, 8]).expect("it fits");
        let output = folder.path().join(name);
        let options = SegmentOptions { probabilities: true, uncertainty, ..SegmentOptions::default() };
        let progress = |_, _| ControlFlow::Continue(());
        segment_file(&predictor, &preparation, &input.clone().into(), &output, options, progress).expect("segmented");
        output
    };
    let (one, other) = (model_of(4, CLASSES, 0.0), model_of(4, CLASSES, 1.0));
    let different = segmented(&[one.clone(), other.clone()], "different.nii.gz", true);
    let plain = segmented(&[one.clone(), other], "plain.nii.gz", false);
    let same = segmented(&[one.clone(), one.clone()], "same.mha", true);
    let alone = segmented(&[one], "alone.nii.gz", true);
    assert!(!Uncertainty::Disagreement.path(&alone).exists() && !Uncertainty::Entropy.path(&plain).exists());
    let map = |what: Uncertainty, of: &std::path::Path| {
        let path = what.path(of);
        // No label map, whatever its name.
        assert!(read_header(&path).expect("readable").is_probability());
        read_volume(&path).expect("readable").voxels
    };
    let probabilities = |of| [1, 2].map(|class| read_volume(&probability_path(of, class)).expect("readable").voxels);
    assert_eq!(probabilities(&different), probabilities(&plain));
    assert_eq!(std::fs::read(&different).expect("read"), std::fs::read(&plain).expect("read"));
    let [first, second] = probabilities(&different);
    for (voxel, entropy) in map(Uncertainty::Entropy, &different).iter().enumerate() {
        let (p, q) = (f64::from(first[voxel]), f64::from(second[voxel]));
        let expected: f64 = [p, q, 1.0 - p - q].iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        // Background is known here up to float32's rounding of a few sums, times the slope -ln p - 1 of at most 16.
        assert!((f64::from(*entropy) - expected).abs() < 8.0 * 16.0 * f64::from(f32::EPSILON), "{entropy} {expected}");
    }
    let disagreement = map(Uncertainty::Disagreement, &different);
    assert!(disagreement.iter().all(|i| (0.0..=std::f32::consts::LN_2).contains(i)));
    assert!(disagreement.iter().any(|i| *i > 1e-3), "models that differ say other things");
    // Half of each twice is the whole, in float64 too.
    assert_eq!(map(Uncertainty::Disagreement, &same), vec![0.0; grid().voxel_count()]);
    assert_eq!(map(Uncertainty::Entropy, &same).len(), map(Uncertainty::Entropy, &alone).len());
}
