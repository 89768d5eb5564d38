//! How losses read labels: the host side of `shaders/common/labels.wgsl`.

use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand};
use crate::ops::Activation;
use crate::ops::rows::{Columns, Rows, emit_sums};
use crate::tensor::{DType, TensorSpec};

/// The bit of a mask of regions which says that the voxel is ignored.
const IGNORED_REGIONS: u32 = 1 << 31;

/// What labels say of each of a network's outputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labelling {
    activation: Activation,
    outputs: usize,
}

impl Labelling {
    /// Of the labels of a network with so many outputs.
    pub(super) fn new(activation: Activation, outputs: usize) -> Self {
        Self { activation, outputs }
    }

    /// Outputs before the first one that is foreground: the background, which regions do not have.
    pub(super) fn background(self) -> usize {
        usize::from(self.activation.is_softmax())
    }

    /// Labels from here on say that the voxel has no say.
    fn ignored(self) -> u32 {
        match self.activation {
            Activation::Softmax => u32::try_from(self.outputs).expect("a device tensor's extent"),
            Activation::Sigmoid => IGNORED_REGIONS,
        }
    }

    /// Whether a voxel of this label has a say.
    pub(super) fn counts(self, label: f64) -> bool {
        label < f64::from(self.ignored())
    }

    /// 1 where a voxel that counts belongs to output `k`, else 0.
    pub(super) fn indicator(self, label: f64, k: usize) -> f64 {
        let label = label as usize;
        let belongs = match self.activation {
            Activation::Softmax => label == k,
            Activation::Sigmoid => label >> k & 1 == 1,
        };
        f64::from(u8::from(belongs))
    }

    /// `masks` and `ignored` in the uniform of a shader.
    pub(super) fn write(self, dispatch: Dispatch) -> Dispatch {
        dispatch.params(&[1 - self.background(), self.ignored() as usize])
    }
}

/// Samples, voxels of one and outputs of predictions `f32 [N, .., K]`, when labels `u32 [N, ..]` belong to them.
pub(super) fn labelled(prediction: &TensorSpec, labels: &TensorSpec) -> Option<[usize; 3]> {
    let [samples, voxels @ .., outputs] = &prediction.shape[..] else { return None };
    let fits = prediction.dtype == DType::F32
        && labels.dtype == DType::U32
        && labels.shape[..] == prediction.shape[..prediction.shape.len() - 1];
    fits.then(|| [*samples, voxels.iter().product(), *outputs])
}

/// [`labelled`] of inputs 0 and 1 of a node.
pub(super) fn labelled_inputs(at: &Lowering<'_>) -> [usize; 3] {
    labelled(at.input_spec(0), at.input_spec(1)).expect("the shape rule has been applied")
}

/// The factor with which each voxel's loss enters the mean over `terms` terms of each voxel that counts; 0 where none does.
pub(super) fn mean_weight(labels: &[f64], labelling: Labelling, terms: usize) -> f64 {
    match labels.iter().filter(|&&label| labelling.counts(label)).count() {
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
    let [samples, voxels, _] = labelled_inputs(at);
    let counts = at.scratch(2);
    let rows = Rows::summed(samples, voxels, 1);
    let partial = labelling.write(rows.dispatch("label_counts", at.target())).read(at.input(1));
    emit_sums(at, &rows, Columns { per_channel: 2, over_samples: true }, partial, &[counts]);
    let all = 1.0 / (samples * voxels * terms) as f32;
    let mean = Dispatch::new("mean_weight").params(&[elements, terms]).scalar(all).read(counts).write(weights);
    at.emit(mean.linear_grid(elements.div_ceil(64), at.target()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_numbers_and_regions_bits() {
        let classes = Labelling::new(Activation::Softmax, 3);
        assert_eq!(classes.background(), 1);
        assert_eq!(
            [0.0, 2.0, 3.0, 65535.0, 4294967295.0].map(|l| classes.counts(l)),
            [true, true, false, false, false]
        );
        assert_eq!([0, 1, 2].map(|k| classes.indicator(2.0, k)), [0.0, 0.0, 1.0]);
        let regions = Labelling::new(Activation::Sigmoid, 3);
        assert_eq!(regions.background(), 0);
        let ignored = f64::from(IGNORED_REGIONS);
        assert_eq!(
            [0.0, 7.0, ignored - 1.0, ignored, 4294967295.0].map(|l| regions.counts(l)),
            [true, true, true, false, false]
        );
        assert_eq!([0, 1, 2].map(|k| regions.indicator(5.0, k)), [1.0, 0.0, 1.0]);
    }

    #[test]
    fn a_mean_is_over_the_voxels_that_count() {
        let classes = Labelling::new(Activation::Softmax, 2);
        assert_eq!(mean_weight(&[0.0, 1.0, 2.0, 9.0], classes, 3), 1.0 / 6.0);
        assert_eq!(mean_weight(&[2.0, 9.0], classes, 3), 0.0);
    }
}
