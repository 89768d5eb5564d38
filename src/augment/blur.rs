use super::histogram_matching::image_and_numbers;
use crate::graph::{Lowering, Op};
use crate::kernel::{Dispatch, Operand};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Voxels on either side that a blurred voxel depends on: 4 standard deviations of at most 1 voxel.
pub(super) const BLUR_RADIUS: usize = 4;

/// Gaussian blur, axis by axis, with the outermost voxel repeated beyond the edge (`scipy.ndimage.gaussian_filter` with mode
/// `nearest`).
///
/// Inputs: image `[N, D, H, W, 1]` and numbers `[N, BLUR_RADIUS + 1]`: the weights of the voxels at distance 0, 1, …
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blur;

impl Blur {
    /// Weights for a standard deviation in voxels, of sum 1; 0: no blur.
    pub fn weights(sigma: f64) -> [f64; BLUR_RADIUS + 1] {
        let gaussian = |i: usize| if i == 0 { 1.0 } else { (-0.5 * (i as f64 / sigma).powi(2)).exp() };
        let weights: [f64; BLUR_RADIUS + 1] = std::array::from_fn(gaussian);
        let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
        weights.map(|w| w / sum)
    }
}

impl Op for Blur {
    fn name(&self) -> &'static str {
        "augment_blur"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        image_and_numbers(self.name(), inputs, BLUR_RADIUS + 1)
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [n, d, h, w, _] = at.input_spec(0).shape[..] else { unreachable!("checked by the shape rule") };
        let voxels = n * d * h * w;
        let (along_x, along_y) = (at.scratch(voxels), at.scratch(voxels));
        let passes: [(usize, usize, Operand, Operand); 3] =
            [(w, 1, at.input(0), along_x), (h, w, along_x, along_y), (d, h * w, along_y, at.output(0))];
        for (extent, stride, from, to) in passes {
            let dispatch = Dispatch::new("augment_blur").params(&[extent, stride, w, n * d * h, d * h]);
            let dispatch = dispatch.read(from).read(at.input(1)).write(to);
            at.emit(dispatch.linear_grid(n * d * h, at.target()));
        }
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [n, d, h, w, _] = inputs[0].shape()[..] else { unreachable!("checked by the shape rule") };
        let mut image = inputs[0].clone();
        for (extent, stride) in [(w, 1), (h, w), (d, h * w)] {
            let from = image.data.clone();
            for (i, value) in image.data.iter_mut().enumerate() {
                let weights = &inputs[1].data[i / (d * h * w) * (BLUR_RADIUS + 1)..][..BLUR_RADIUS + 1];
                let at = i / stride % extent;
                let read = |at: usize, from: &[f64]| from[i - i / stride % extent * stride + at * stride];
                *value = weights[0] * read(at, &from)
                    + (1..=BLUR_RADIUS)
                        .map(|r| {
                            weights[r] * (read(at.saturating_sub(r), &from) + read((at + r).min(extent - 1), &from))
                        })
                        .sum::<f64>();
            }
        }
        debug_assert_eq!(image.data.len(), n * d * h * w);
        vec![image]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        (3 * (3 * BLUR_RADIUS + 1) * inputs[0].elements()) as u64
    }
}
