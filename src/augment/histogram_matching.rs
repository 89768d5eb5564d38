use crate::data::QUANTILES;
use crate::graph::{Lowering, Op};
use crate::kernel::Dispatch;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Voxels of one workgroup.
const WORKGROUP_VOXELS: usize = 1024;

/// Histogram matching: the intensity at quantile q of the image becomes the one at quantile q of another volume, linear
/// between [`QUANTILES`] quantiles of the two. `skimage.exposure.match_histograms` uses every quantile; the two differ by less
/// than the step between neighbouring quantiles.
///
/// Inputs: image `[N, D, H, W, 1]` and numbers `[N, 1 + 2 QUANTILES]`: 1 to match or 0 to leave the image as it is, the
/// image's quantiles, the other volume's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistogramMatch;

impl HistogramMatch {
    /// Numbers of one sample.
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
        let samples = at.input_spec(0).shape[0];
        let voxels = at.input_spec(0).elements() / samples;
        let tiles = voxels.div_ceil(WORKGROUP_VOXELS);
        let dispatch = Dispatch::new("augment_match").params(&[samples, voxels, tiles, QUANTILES]);
        let dispatch = dispatch.read(at.input(0)).read(at.input(1)).write(at.output(0));
        at.emit(dispatch.linear_grid(samples * tiles, at.target()));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let voxels = inputs[0].data.len() / inputs[0].shape()[0];
        let mut output = inputs[0].clone();
        for (values, numbers) in output.data.chunks_exact_mut(voxels).zip(inputs[1].data.chunks_exact(Self::PARAMETERS))
        {
            let (from, to) = numbers[1..].split_at(QUANTILES);
            if numbers[0] != 0.0 {
                values.iter_mut().for_each(|v| *v = Self::map(*v, from, to));
            }
        }
        vec![output]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        12 * inputs[0].elements() as u64
    }
}

/// The shape rule of operations on an image `[N, D, H, W, 1]` and `numbers` numbers for each sample.
pub(super) fn image_and_numbers(
    op: &'static str,
    inputs: &[&TensorSpec],
    numbers: usize,
) -> Result<Vec<TensorSpec>, ShapeError> {
    if let [image, parameters] = inputs
        && let [n, _, _, _, 1] = image.shape[..]
        && **parameters == TensorSpec::f32([n, numbers])
    {
        return Ok(vec![(*image).clone()]);
    }
    Err(ShapeError::new(op, format!("image f32 [N, D, H, W, 1] and f32 [N, {numbers}]"), inputs))
}
