use super::image::{ImageShape, Place, image_and_numbers};
use crate::graph::{Lowering, Op};
use crate::kernel::Operand;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Voxels on either side that a blurred voxel depends on: 4 standard deviations of at most 1 voxel.
pub(super) const BLUR_RADIUS: usize = 4;

/// Gaussian blur, axis by axis, with the outermost voxel repeated beyond the edge (`scipy.ndimage.gaussian_filter` with mode
/// `nearest`).
///
/// Inputs: image `[N, D, H, W, C]` and numbers `[N, C, BLUR_RADIUS + 1]`: the weights of the voxels at distance 0, 1, …
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
        let shape @ ImageShape { extents: [d, h, w], channels, .. } = ImageShape::of(at.input_spec(0));
        let elements = at.input_spec(0).elements();
        let (along_x, along_y) = (at.scratch(elements), at.scratch(elements));
        let row = w * channels;
        let passes: [(usize, usize, usize, Operand, Operand); 3] = [
            (2, w, channels, at.input(0), along_x),
            (1, h, row, along_x, along_y),
            (0, d, h * row, along_y, at.output(0)),
        ];
        for (axis, extent, stride, from, to) in passes {
            let dispatch = shape.dispatch_rows("augment_blur").params(&[axis, extent, stride]);
            let dispatch = dispatch.read(from).read(at.input(1)).write(to);
            at.emit(dispatch.linear_grid(shape.rows(), at.target()));
        }
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let shape = ImageShape::of(&inputs[0].spec);
        let mut image = inputs[0].clone();
        for axis in [2, 1, 0] {
            let last = shape.extents[axis] - 1;
            image = shape.map(inputs[1], |place, weights| {
                let read = |along: usize| {
                    let mut at = place.at;
                    at[axis] = along;
                    image.data[shape.element(&Place { at, ..*place })]
                };
                let at = place.at[axis];
                let pair = |r: usize| weights[r] * (read(at.saturating_sub(r)) + read((at + r).min(last)));
                weights[0] * read(at) + (1..=BLUR_RADIUS).map(pair).sum::<f64>()
            });
        }
        vec![image]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        (3 * (3 * BLUR_RADIUS + 1) * inputs[0].elements()) as u64
    }
}
