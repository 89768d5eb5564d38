//! Windows of an activation: their mean (average pooling) or sum, and what leads back, the repetition of a voxel over a window
//! (nearest up-sampling). Each is the other's gradient up to the factor of the mean.

use super::case::{Bound, Case, Draw};
use super::rows::{Rows, has_channels};
use crate::graph::{Lowering, Op, Vjp};
use crate::kernel::Dispatch;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};
use std::sync::Arc;

/// Average pooling of an activation `[N, D, H, W, C]` over windows that do not overlap: PyTorch's `AvgPool3d` with stride =
/// kernel. The extents must be multiples of the window's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvgPool {
    /// Extents of a window `[D, H, W]`.
    pub window: [usize; 3],
}

/// Gradient of [`AvgPool`]: each element over its window, divided by the voxels of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvgPoolGrad {
    /// Extents of a window `[D, H, W]`.
    pub window: [usize; 3],
}

/// Nearest up-sampling of an activation `[N, D, H, W, C]`: each voxel over a window, as PyTorch's `Upsample` with whole factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpsampleNearest {
    /// Factors per axis `[D, H, W]`.
    pub factors: [usize; 3],
}

/// Gradient of [`UpsampleNearest`]: the sum of each window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpsampleNearestGrad {
    /// Extents of a window `[D, H, W]`.
    pub factors: [usize; 3],
}

/// The windows of an activation, or of labels, in the order of `[N, d, h, w]`: the sample, and the voxels `[z, y, x]`.
pub(super) fn windowed(
    samples: usize,
    windows: [usize; 3],
    [a, b, c]: [usize; 3],
) -> impl Iterator<Item = (usize, impl Iterator<Item = [usize; 3]>)> {
    let [d, h, w] = windows;
    (0..samples * d * h * w).map(move |i| {
        let [z, y, x] = [i / (w * h) % d, i / w % h, i % w];
        let voxels = (0..a * b * c).map(move |j| [z * a + j / (b * c), y * b + j / c % b, x * c + j % c]);
        (i / (w * h * d), voxels)
    })
}

/// Extents of the windows of an activation whose extents are multiples of those of a window.
fn pooled(input: &TensorSpec, window: [usize; 3]) -> Option<TensorSpec> {
    let [n, d, h, w, c] = input.shape[..] else { return None };
    let fits = |(extent, window): (usize, usize)| window > 0 && extent.is_multiple_of(window);
    let fits = has_channels(input) && [d, h, w].into_iter().zip(window).all(fits);
    fits.then(|| TensorSpec::f32([n, d / window[0], h / window[1], w / window[2], c]))
}

fn infer_pooled(op: &'static str, inputs: &[&TensorSpec], window: [usize; 3]) -> Result<Vec<TensorSpec>, ShapeError> {
    let found = if let [input] = inputs { pooled(input, window) } else { None };
    let expected = || format!("an activation [N, D, H, W, C] with extents that are multiples of {window:?}");
    found.map(|spec| vec![spec]).ok_or_else(|| ShapeError::new(op, expected(), inputs))
}

fn infer_repeated(op: &'static str, inputs: &[&TensorSpec], window: [usize; 3]) -> Result<Vec<TensorSpec>, ShapeError> {
    match inputs {
        [input] if has_channels(input) && input.shape.len() == 5 && window.iter().all(|&w| w > 0) => {
            let [n, d, h, w, c] = input.shape[..] else { unreachable!("five axes") };
            Ok(vec![TensorSpec::f32([n, d * window[0], h * window[1], w * window[2], c])])
        }
        _ => Err(ShapeError::new(op, "an activation [N, D, H, W, C] and factors above 0", inputs)),
    }
}

/// The factor of a mean over a window.
fn mean(window: [usize; 3]) -> f32 {
    1.0 / window.iter().product::<usize>() as f32
}

/// Extents `[D, H, W]` of the smaller of two activations, those of a window, and the factor, in the uniform after the rows.
fn write(dispatch: Dispatch, small: &TensorSpec, window: [usize; 3], factor: f32) -> Dispatch {
    // Where a row lies follows from its number, so rows are not divided among dispatches.
    dispatch.pieces(None).params(&small.shape[1..4]).params(&window).scalar(factor)
}

fn lower_pooled(at: &mut Lowering<'_>, window: [usize; 3], factor: f32) {
    let small = at.output_spec(0);
    let rows = Rows::elementwise(1, small.elements() / small.channels().max(1), small.channels(), at.target());
    let dispatch = write(rows.dispatch("window_sum", at.target()), small, window, factor);
    at.emit(dispatch.read(at.input(0)).write(at.output(0)));
}

fn lower_repeated(at: &mut Lowering<'_>, window: [usize; 3], factor: f32) {
    let (small, large) = (at.input_spec(0), at.output_spec(0));
    let rows = Rows::elementwise(1, large.elements() / large.channels().max(1), large.channels(), at.target());
    let dispatch = write(rows.dispatch("window_repeat", at.target()), small, window, factor);
    at.emit(dispatch.read(at.input(0)).write(at.output(0)));
}

/// Visits the elements of the large activation with those of the small one: `visit(large, small)`.
fn pairs(small: &[usize], window: [usize; 3], mut visit: impl FnMut(usize, usize)) {
    let [n, d, h, w, c] = small[..] else { unreachable!("checked by the shape rule") };
    for (i, (sample, voxels)) in windowed(n, [d, h, w], window).enumerate() {
        for [z, y, x] in voxels {
            let voxel = ((sample * d * window[0] + z) * h * window[1] + y) * w * window[2] + x;
            (0..c).for_each(|channel| visit(voxel * c + channel, i * c + channel));
        }
    }
}

fn pool(input: &HostTensor, window: [usize; 3], factor: f64) -> Vec<HostTensor> {
    let mut output = HostTensor::zeros(pooled(&input.spec, window).expect("checked by the shape rule"));
    let shape = output.spec.shape.clone();
    pairs(&shape, window, |large, small| output.data[small] += factor * input.data[large]);
    vec![output]
}

fn repeat(input: &HostTensor, window: [usize; 3], factor: f64) -> Vec<HostTensor> {
    let spec = infer_repeated("repeat", &[&input.spec], window).expect("checked by the shape rule").swap_remove(0);
    let mut output = HostTensor::zeros(spec);
    pairs(&input.spec.shape, window, |large, small| output.data[large] = factor * input.data[small]);
    vec![output]
}

impl Op for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        infer_pooled(self.name(), inputs, self.window)
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        at.contribute_node(0, AvgPoolGrad { window: self.window }, &[at.grad_output()])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        lower_pooled(at, self.window, mean(self.window));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        pool(inputs[0], self.window, 1.0 / self.window.iter().product::<usize>() as f64)
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}

impl Op for AvgPoolGrad {
    fn name(&self) -> &'static str {
        "avg_pool_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        infer_repeated(self.name(), inputs, self.window)
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        lower_repeated(at, self.window, mean(self.window));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        repeat(inputs[0], self.window, 1.0 / self.window.iter().product::<usize>() as f64)
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}

impl Op for UpsampleNearest {
    fn name(&self) -> &'static str {
        "upsample_nearest"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        infer_repeated(self.name(), inputs, self.factors)
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        at.contribute_node(0, UpsampleNearestGrad { factors: self.factors }, &[at.grad_output()])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        lower_repeated(at, self.factors, 1.0);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        repeat(inputs[0], self.factors, 1.0)
    }
}

impl Op for UpsampleNearestGrad {
    fn name(&self) -> &'static str {
        "upsample_nearest_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        infer_pooled(self.name(), inputs, self.factors)
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        lower_pooled(at, self.factors, 1.0);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        pool(inputs[0], self.factors, 1.0)
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, shape: [usize; 5], op: Arc<dyn Op>, terms: usize| {
        let name = format!("{}/{name}", op.name());
        let inputs = vec![(TensorSpec::f32(shape), Draw::Normal(1.0))];
        Case { op, ..Case::new(name, AvgPool { window: [1; 3] }, inputs, Bound::Sum { terms }) }
    };
    let mut cases = Vec::new();
    for (name, [a, b, c], small, exact) in [
        ("2x2x2", [2, 2, 2], [2, 2, 3, 5, 3], true),
        ("1x2x4", [1, 2, 4], [1, 3, 5, 2, 8], true),
        // The factor 1/15 and its product are rounded.
        ("3x1x5", [3, 1, 5], [2, 3, 2, 1, 5], false),
    ] {
        let [n, d, h, w, channels] = small;
        let large = [n, d * a, h * b, w * c, channels];
        let (window, terms) = ([a, b, c], a * b * c);
        let exactly = |case: Case| if exact { case.exact() } else { case };
        cases.extend([
            exactly(case(name, large, Arc::new(AvgPool { window }), terms + 2)),
            exactly(case(name, small, Arc::new(AvgPoolGrad { window }), 2)).backward_only(),
            case(name, small, Arc::new(UpsampleNearest { factors: window }), 0).exact(),
            case(name, large, Arc::new(UpsampleNearestGrad { factors: window }), terms).exact().backward_only(),
        ]);
    }
    let (small, large) = ([1, 16, 32, 32, 32], [1, 32, 64, 64, 32]);
    cases.push(case("1x32x64x64x32", large, Arc::new(AvgPool { window: [2; 3] }), 10).benchmark());
    cases.push(case("1x16x32x32x32", small, Arc::new(UpsampleNearest { factors: [2; 3] }), 0).benchmark());
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_averaged_and_repeated() {
        let input = HostTensor::new(TensorSpec::f32([1, 1, 2, 4, 1]), vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let pool = AvgPool { window: [1, 2, 2] };
        assert_eq!(pool.reference(&[&input])[0], HostTensor::new(TensorSpec::f32([1, 1, 1, 2, 1]), vec![3.5, 5.5]));
        let up = UpsampleNearest { factors: [1, 2, 1] };
        let repeated = [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 5.0, 6.0, 7.0, 8.0];
        assert_eq!(up.reference(&[&input])[0].data, repeated);
        let error = AvgPool { window: [1, 1, 3] }.infer(&[&input.spec]).expect_err("4 is no multiple of 3");
        assert!(error.to_string().contains("multiples of [1, 1, 3]"), "{error}");
    }
}
