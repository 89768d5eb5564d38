use super::image::{ImageShape, image_and_numbers};
use crate::data::QUANTILES;
use crate::graph::{Lowering, Op};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Voxels of one workgroup.
const WORKGROUP_VOXELS: usize = 1024;

/// Histogram matching: the intensity at quantile q of the image becomes the one at quantile q of another volume, linear
/// between [`QUANTILES`] quantiles of the two. `skimage.exposure.match_histograms` uses every quantile; the two differ by less
/// than the step between neighbouring quantiles.
///
/// Inputs: image `[N, D, H, W, C]` and numbers `[N, C, 1 + 2 QUANTILES]`: 1 to match or 0 to leave the channel as it is, the
/// channel's quantiles, those of the other volume's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistogramMatch;

impl HistogramMatch {
    /// Numbers of one channel of a sample.
    pub(super) const PARAMETERS: usize = 1 + 2 * QUANTILES;

    /// The matched intensity.
    pub fn map(value: f64, from: &[f64], to: &[f64]) -> f64 {
        let k = from.partition_point(|q| *q <= value).clamp(1, from.len() - 1) - 1;
        let t = match value {
            v if v >= from[k + 1] => 1.0,
            v if v <= from[k] => 0.0,
            v => (v - from[k]) / (from[k + 1] - from[k]),
        };
        to[k] + t * (to[k + 1] - to[k])
    }
}

impl Op for HistogramMatch {
    fn name(&self) -> &'static str {
        "augment_match"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        image_and_numbers(self.name(), inputs, Self::PARAMETERS)
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let shape @ ImageShape { samples, .. } = ImageShape::of(at.input_spec(0));
        let (voxels, tiles) = (shape.voxels(), shape.voxels().div_ceil(WORKGROUP_VOXELS));
        let dispatch = shape.dispatch("augment_match").params(&[samples, voxels, tiles, QUANTILES]);
        let dispatch = dispatch.read(at.input(0)).read(at.input(1)).write(at.output(0));
        at.emit(dispatch.linear_grid(samples * tiles, at.target()));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let shape = ImageShape::of(&inputs[0].spec);
        vec![shape.map(inputs[1], |place, numbers| {
            let value = inputs[0].data[shape.element(place)];
            let (from, to) = numbers[1..].split_at(QUANTILES);
            if numbers[0] == 0.0 { value } else { Self::map(value, from, to) }
        })]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        12 * inputs[0].elements() as u64
    }
}
