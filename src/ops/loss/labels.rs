//! How losses read labels: the host side of `shaders/common/labels.wgsl`.

use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand};
use crate::ops::Activation;
use crate::ops::rows::{Columns, Rows, emit_sums};
use crate::tensor::{DType, TensorSpec};

/// The bit of a word of the labels which says that a voxel is ignored: of a mask of regions, or the sign of the first share of soft
/// targets.
const IGNORED: u32 = 1 << 31;

/// The first share of soft targets of a voxel that is ignored.
pub(super) const IGNORED_SHARE: f64 = -1.0;

/// What labels say of each of a network's outputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labelling {
    activation: Activation,
    outputs: usize,
    soft: bool,
}

impl Labelling {
    /// Of these labels for a network with so many outputs.
    pub(super) fn new(activation: Activation, outputs: usize, labels: &TensorSpec) -> Self {
        Self { activation, outputs, soft: labels.dtype == DType::F32 }
    }

    /// Outputs before the first one that is foreground: the background, which regions do not have.
    pub(super) fn background(self) -> usize {
        usize::from(self.activation.is_softmax())
    }

    /// Words from here on say that the voxel has no say.
    fn ignored(self) -> u32 {
        match self.activation {
            Activation::Softmax if !self.soft => u32::try_from(self.outputs).expect("a device tensor's extent"),
            _ => IGNORED,
        }
    }

    /// Whether a voxel has a say.
    pub(super) fn counts(self, labels: &[f64], voxel: usize) -> bool {
        if self.soft { labels[voxel * self.outputs] >= 0.0 } else { labels[voxel] < f64::from(self.ignored()) }
    }

    /// The share of output `k` in a voxel that has a say: 1 where it belongs to it, else 0, or what soft targets say.
    pub(super) fn share(self, labels: &[f64], voxel: usize, k: usize) -> f64 {
        if self.soft {
            return labels[voxel * self.outputs + k];
        }
        let label = labels[voxel] as usize;
        let belongs = match self.activation {
            Activation::Softmax => label == k,
            Activation::Sigmoid => label >> k & 1 == 1,
        };
        f64::from(u8::from(belongs))
    }

    /// `masks` and `ignored` in the uniform of a shader, which is compiled for this kind of labels.
    pub(super) fn write(self, dispatch: Dispatch) -> Dispatch {
        let dispatch = if self.soft { dispatch.constant("SOFT", 1) } else { dispatch };
        dispatch.params(&[1 - self.background(), self.ignored() as usize])
    }
}

/// Samples, voxels of one and outputs of predictions `f32 [N, .., K]`, when labels `u32 [N, ..]` or soft targets `f32 [N, .., K]`
/// belong to them.
pub(super) fn labelled(prediction: &TensorSpec, labels: &TensorSpec) -> Option<[usize; 3]> {
    let [samples, voxels @ .., outputs] = &prediction.shape[..] else { return None };
    let fits = match labels.dtype {
        DType::U32 => labels.shape[..] == prediction.shape[..prediction.shape.len() - 1],
        DType::F32 => labels.shape == prediction.shape,
    };
    (fits && prediction.dtype == DType::F32).then(|| [*samples, voxels.iter().product(), *outputs])
}

/// What inputs a loss of logits or probabilities may have: these, their labels, and weights of the outputs.
pub(super) fn weighted(inputs: &[&TensorSpec]) -> Option<[usize; 3]> {
    let (prediction, labels, weights) = match inputs {
        [prediction, labels] => (prediction, labels, None),
        [prediction, labels, weights] => (prediction, labels, Some(weights)),
        _ => return None,
    };
    let shape @ [.., outputs] = labelled(prediction, labels)?;
    weights.is_none_or(|weights| **weights == TensorSpec::f32([outputs])).then_some(shape)
}

/// [`labelled`] of inputs 0 and 1 of a node.
pub(super) fn labelled_inputs(at: &Lowering<'_>) -> [usize; 3] {
    labelled(at.input_spec(0), at.input_spec(1)).expect("the shape rule has been applied")
}

/// Binds the weights of the outputs, input `i`, where there are any; else `other`, which the shader then does not read.
pub(super) fn read_weights(dispatch: Dispatch, at: &Lowering<'_>, i: usize, other: Operand) -> Dispatch {
    match at.input_count() > i {
        true => dispatch.constant("WEIGHTED", 1).read(at.input(i)),
        false => dispatch.read(other),
    }
}

/// The factor with which each voxel's loss enters the mean over `terms` terms of each voxel that counts; 0 where none does.
pub(super) fn mean_weight(labels: &[f64], labelling: Labelling, voxels: usize, terms: usize) -> f64 {
    match (0..voxels).filter(|&voxel| labelling.counts(labels, voxel)).count() {
        0 => 0.0,
        counted => 1.0 / (counted * terms) as f64,
    }
}

/// Emits [`mean_weight`] of the labels, input 1, into each of the `elements` of `weights`.
///
/// Where no voxel is ignored the device takes the host's quotient, so that its bits do not depend on the device's division.
pub(super) fn emit_mean_weight(
    at: &mut Lowering<'_>,
    labelling: Labelling,
    terms: usize,
    (weights, elements): (Operand, usize),
) {
    let [samples, voxels, outputs] = labelled_inputs(at);
    let counts = at.scratch(2);
    let rows = Rows::summed(samples, voxels, 1);
    let partial = labelling.write(rows.dispatch("label_counts", at.target())).param(outputs).read(at.input(1));
    emit_sums(at, &rows, Columns { per_channel: 2, over_samples: true }, partial, &[counts]);
    let all = 1.0 / (samples * voxels * terms) as f32;
    let mean = Dispatch::new("mean_weight").params(&[elements, terms]).scalar(all).read(counts).write(weights);
    at.emit(mean.linear_grid(elements.div_ceil(64), at.target()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(activation: Activation, labels: TensorSpec) -> Labelling {
        Labelling::new(activation, 3, &labels)
    }

    #[test]
    fn classes_are_numbers_regions_bits_and_soft_targets_shares() {
        let classes = of(Activation::Softmax, TensorSpec::u32([1, 5]));
        assert_eq!(classes.background(), 1);
        let labels = [0.0, 2.0, 3.0, 65535.0, 4294967295.0];
        assert_eq!([0, 1, 2, 3, 4].map(|v| classes.counts(&labels, v)), [true, true, false, false, false]);
        assert_eq!([0, 1, 2].map(|k| classes.share(&labels, 1, k)), [0.0, 0.0, 1.0]);
        let regions = of(Activation::Sigmoid, TensorSpec::u32([1, 5]));
        assert_eq!(regions.background(), 0);
        let ignored = f64::from(IGNORED);
        let labels = [5.0, 7.0, ignored - 1.0, ignored, 4294967295.0];
        assert_eq!([0, 1, 2, 3, 4].map(|v| regions.counts(&labels, v)), [true, true, true, false, false]);
        assert_eq!([0, 1, 2].map(|k| regions.share(&labels, 0, k)), [1.0, 0.0, 1.0]);
        let soft = of(Activation::Softmax, TensorSpec::f32([1, 2, 3]));
        let shares = [0.0, 0.25, 0.75, IGNORED_SHARE, IGNORED_SHARE, IGNORED_SHARE];
        assert_eq!([0, 1].map(|v| soft.counts(&shares, v)), [true, false]);
        assert_eq!([0, 1, 2].map(|k| soft.share(&shares, 0, k)), [0.0, 0.25, 0.75]);
        // As the device sees it: a sign.
        assert!((IGNORED_SHARE as f32).to_bits() >= IGNORED && 0.0f32.to_bits() < IGNORED);
    }

    #[test]
    fn a_mean_is_over_the_voxels_that_count() {
        let classes = Labelling::new(Activation::Softmax, 2, &TensorSpec::u32([1, 4]));
        assert_eq!(mean_weight(&[0.0, 1.0, 2.0, 9.0], classes, 4, 3), 1.0 / 6.0);
        assert_eq!(mean_weight(&[2.0, 9.0], classes, 2, 3), 0.0);
    }
}
