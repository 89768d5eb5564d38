use super::case::{Bound, Case, Draw};
use super::rows::{Rows, has_channels};
use crate::graph::{Lowering, Op, Vjp};
use crate::kernel::Dispatch;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Trilinear up-sampling of an activation `[N, D, H, W, C]` by whole factors: PyTorch's `Upsample` with `mode="trilinear"` and
/// `align_corners=False`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpsampleLinear {
    /// Factors per axis `[D, H, W]`.
    pub factors: [usize; 3],
}

/// Gradient of [`UpsampleLinear`] with respect to its input: its adjoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpsampleLinearGrad {
    /// Factors per axis `[D, H, W]`.
    pub factors: [usize; 3],
}

/// The voxels of an axis that a voxel of the up-sampled axis lies between, and the weight of the second.
fn place(to: usize, factor: usize, extent: usize) -> (usize, usize, f64) {
    let halves = (2 * to + 1).saturating_sub(factor);
    let low = halves / (2 * factor);
    (low, (low + 1).min(extent - 1), (halves % (2 * factor)) as f64 / (2 * factor) as f64)
}

/// Visits each voxel of the large activation with the eight of the small one around it: `visit(large, small, weight)` of voxels.
fn corners(small: &[usize], factors: [usize; 3], mut visit: impl FnMut(usize, usize, f64)) {
    let [n, d, h, w, _] = small[..] else { unreachable!("checked by the shape rule") };
    let [a, b, c] = factors;
    for large in 0..n * d * a * h * b * w * c {
        let (x, y) = (large % (w * c), large / (w * c) % (h * b));
        let (z, sample) = (large / (w * c * h * b) % (d * a), large / (w * c * h * b * d * a));
        let axes = [place(z, a, d), place(y, b, h), place(x, c, w)];
        for corner in 0..8usize {
            let [z, y, x] = std::array::from_fn(|axis| match (corner >> axis & 1, axes[axis]) {
                (0, (low, _, weight)) => (low, 1.0 - weight),
                (_, (_, high, weight)) => (high, weight),
            });
            visit(large, ((sample * d + z.0) * h + y.0) * w + x.0, z.1 * y.1 * x.1);
        }
    }
}

/// Extents times the factors.
fn large(small: &TensorSpec, factors: [usize; 3]) -> Option<TensorSpec> {
    let [n, d, h, w, c] = small.shape[..] else { return None };
    let fits = has_channels(small) && factors.iter().chain(&[d, h, w]).all(|&extent| extent > 0);
    fits.then(|| TensorSpec::f32([n, d * factors[0], h * factors[1], w * factors[2], c]))
}

/// Extents over the factors, where they are multiples.
fn small(large: &TensorSpec, factors: [usize; 3]) -> Option<TensorSpec> {
    let [n, d, h, w, c] = large.shape[..] else { return None };
    let divides = |(extent, factor): (usize, usize)| factor > 0 && extent > 0 && extent.is_multiple_of(factor);
    let fits = has_channels(large) && [d, h, w].into_iter().zip(factors).all(divides);
    fits.then(|| TensorSpec::f32([n, d / factors[0], h / factors[1], w / factors[2], c]))
}

/// A dispatch over the rows of the output; `small` is the smaller of both activations.
fn dispatch(shader: &'static str, at: &Lowering<'_>, small: &TensorSpec, factors: [usize; 3]) -> Dispatch {
    let output = at.output_spec(0);
    let rows = Rows::elementwise(1, output.elements() / output.channels().max(1), output.channels(), at.target());
    // Where a row lies follows from its number, so rows are not divided among dispatches.
    let dispatch = rows.dispatch(shader, at.target()).pieces(None).params(&small.shape[1..4]).params(&factors);
    let units = factors.map(|factor| 0.5 / factor as f32);
    units.into_iter().fold(dispatch, Dispatch::scalar).read(at.input(0)).write(at.output(0))
}

impl Op for UpsampleLinear {
    fn name(&self) -> &'static str {
        "upsample_linear"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let found = if let [input] = inputs { large(input, self.factors) } else { None };
        let expected = "an activation [N, D, H, W, C] with extents and factors above 0";
        found.map(|spec| vec![spec]).ok_or_else(|| ShapeError::new(self.name(), expected, inputs))
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        at.contribute_node(0, UpsampleLinearGrad { factors: self.factors }, &[at.grad_output()])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        at.emit(dispatch("upsample_linear", at, at.input_spec(0), self.factors));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let channels = inputs[0].spec.channels();
        let mut output = HostTensor::zeros(large(&inputs[0].spec, self.factors).expect("checked by the shape rule"));
        corners(&inputs[0].spec.shape, self.factors, |to, from, weight| {
            for c in 0..channels {
                output.data[to * channels + c] += weight * inputs[0].data[from * channels + c];
            }
        });
        vec![output]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        (21 * inputs[0].elements() * self.factors.iter().product::<usize>()) as u64
    }
}

impl Op for UpsampleLinearGrad {
    fn name(&self) -> &'static str {
        "upsample_linear_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let found = if let [input] = inputs { small(input, self.factors) } else { None };
        let expected =
            || format!("an activation [N, D, H, W, C] with extents that are multiples of {:?}", self.factors);
        found.map(|spec| vec![spec]).ok_or_else(|| ShapeError::new(self.name(), expected(), inputs))
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        at.emit(dispatch("upsample_linear_grad", at, at.output_spec(0), self.factors));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let channels = inputs[0].spec.channels();
        let mut output = HostTensor::zeros(small(&inputs[0].spec, self.factors).expect("checked by the shape rule"));
        let shape = output.spec.shape.clone();
        corners(&shape, self.factors, |from, to, weight| {
            for c in 0..channels {
                output.data[to * channels + c] += weight * inputs[0].data[from * channels + c];
            }
        });
        vec![output]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        16 * inputs[0].elements() as u64
    }
}

pub(super) fn cases() -> Vec<Case> {
    let pair = |name: &str, shape: [usize; 5], factors: [usize; 3]| {
        let [n, d, h, w, c] = shape;
        let input = |shape: [usize; 5]| vec![(TensorSpec::f32(shape), Draw::Normal(1.0))];
        let large = [n, d * factors[0], h * factors[1], w * factors[2], c];
        // Along each axis: the unit, two weights, two products and a sum.
        let forward = Bound::Sum { terms: 3 * 5 };
        // Voxels that a voxel may reach, some with weight 0, and the product of the weights of three axes.
        let reached: usize = factors.iter().map(|factor| 2 * factor + 2).product();
        let backward = Bound::Sum { terms: reached + 3 * 3 };
        let op = UpsampleLinear { factors };
        let forward = Case::new(format!("upsample_linear/{name}"), op, input(shape), forward);
        let op = UpsampleLinearGrad { factors };
        let backward = Case::new(format!("upsample_linear_grad/{name}"), op, input(large), backward).backward_only();
        [forward, backward]
    };
    let exact = |cases: [Case; 2]| cases.map(Case::exact);
    let mut cases = Vec::new();
    cases.extend(exact(pair("2x3x5x7x3-2x2x2", [2, 3, 5, 7, 3], [2, 2, 2])));
    cases.extend(exact(pair("1x4x3x1x8-1x2x4", [1, 4, 3, 1, 8], [1, 2, 4])));
    cases.extend(pair("2x1x2x5x5-3x5x2", [2, 1, 2, 5, 5], [3, 5, 2]));
    cases.extend(pair("1x16x32x32x32-2x2x2", [1, 16, 32, 32, 32], [2; 3]).map(Case::benchmark));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.nn.functional.interpolate(torch.tensor([[[[[0., 4., 8.]]]]]), scale_factor=(1, 1, f), mode="trilinear")` for f = 2
    /// and 3.
    #[test]
    fn a_line_is_pytorchs() {
        let input = HostTensor::new(TensorSpec::f32([1, 1, 1, 3, 1]), vec![0.0, 4.0, 8.0]);
        let of = |factor| UpsampleLinear { factors: [1, 1, factor] }.reference(&[&input]).swap_remove(0).data;
        assert_eq!(of(2), [0.0, 1.0, 3.0, 5.0, 7.0, 8.0]);
        let thirds = [0.0, 0.0, 4.0 / 3.0, 8.0 / 3.0, 4.0, 16.0 / 3.0, 20.0 / 3.0, 8.0, 8.0];
        approx::assert_abs_diff_eq!(of(3)[..], thirds, epsilon = 1e-12);
    }
}
