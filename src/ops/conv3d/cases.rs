//! Cases of the convolution and its gradients; the module documentation of each family of kernels says which case
//! reaches which kernel.

use super::kernels::winograd::tiling::{Tiling, Transforms};
use super::{Conv3d, Conv3dGradInput, Conv3dGradWeight, Geometry};
use crate::kernel::TransformNoise;
use crate::ops::case::{Bound, Case, Draw, WinogradCase};
use crate::tensor::TensorSpec;

/// One convolution, by its input `[N, D, H, W, Cin]`.
#[derive(Debug, Clone, Copy)]
struct Layer {
    input: [usize; 5],
    cout: usize,
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
    bias: bool,
}

impl Layer {
    /// 5x5x5, stride 1, padding 2.
    fn same5(input: [usize; 5], cout: usize, bias: bool) -> Self {
        Self { input, cout, kernel: [5; 3], stride: [1; 3], padding: [2; 3], bias }
    }

    /// Padding of half a kernel.
    fn padded(kernel: [usize; 3], stride: [usize; 3], input: [usize; 5], cout: usize, bias: bool) -> Self {
        Self { input, cout, kernel, stride, padding: kernel.map(|k| k / 2), bias }
    }

    /// Windows without overlap.
    fn windows(extent: usize, input: [usize; 5], cout: usize, bias: bool) -> Self {
        Self { input, cout, kernel: [extent; 3], stride: [extent; 3], padding: [0; 3], bias }
    }

    fn name(&self, op: &str) -> String {
        let triple = |[z, y, x]: [usize; 3]| format!("{z}x{y}x{x}");
        let [n, d, h, w, cin] = self.input;
        let Self { cout, kernel, stride, padding, bias, .. } = *self;
        let suffix = if bias { "+bias" } else { "" };
        let window = format!("k{}s{}p{}", triple(kernel), triple(stride), triple(padding));
        format!("{op}/{window}/{n}x{d}x{h}x{w}/{cin}to{cout}{suffix}")
    }

    /// Forward, input gradient and weight gradient.
    fn cases(&self) -> [Case; 3] {
        let Self { input, cout, kernel: [kd, kh, kw], stride, padding, .. } = *self;
        let [n, d, h, w, cin] = input;
        let (input, weight) = (TensorSpec::f32(input), TensorSpec::f32([kd, kh, kw, cin, cout]));
        let g = Geometry::of_conv3d("case", stride, padding, &input, &weight).expect("cases are valid");
        let drawn = |spec: &TensorSpec| (spec.clone(), Draw::Normal(1.0));
        let output = TensorSpec::f32([n, g.output[0], g.output[1], g.output[2], cout]);
        let mut inputs = vec![drawn(&input), drawn(&weight)];
        if self.bias {
            inputs.push(drawn(&TensorSpec::f32([cout])));
        }
        let terms = g.taps() * cin + usize::from(self.bias);
        let backward = |op: &str, case: Case| Case { name: self.name(op), ..case }.exact().backward_only();
        let grad_input = Conv3dGradInput { stride, padding, input: [d, h, w] };
        let grad_weight = Conv3dGradWeight { stride, padding, kernel: [kd, kh, kw] };
        let sum = |terms| Bound::Sum { terms };
        let cases = [
            Case::new(self.name("conv3d"), Conv3d { stride, padding }, inputs, sum(terms)).exact(),
            backward(
                "conv3d_grad_input",
                Case::new("", grad_input, vec![drawn(&output), drawn(&weight)], sum(g.taps() * cout)),
            ),
            backward(
                "conv3d_grad_weight",
                Case::new("", grad_weight, vec![drawn(&input), drawn(&output)], sum(g.output_voxels())),
            ),
        ];
        let Some(transforms) = Transforms::new(&g) else { return cases };
        let tiles = Tiling::new(&g, transforms).tiles();
        let [outputs, taps] = [transforms.outputs().iter().product(), g.taps()];
        let [forward, grad_input, grad_weight] = cases;
        let convolution = |sums| winograd(transforms, |noise| noise.convolution, sums, taps);
        [
            forward.winograd(convolution(cin)),
            grad_input.winograd(convolution(cout)),
            grad_weight.winograd(winograd(transforms, |noise| noise.grad_weight, tiles, outputs)),
        ]
    }
}

/// Largest error of Winograd's kernels on normal inputs of deviation 1 (docs/numerics.md, section 1): sums of `sums`
/// products between the transforms, `terms` products of the direct form for each of them, and by how much the
/// transforms of each axis raise the relative noise. 4.5 standard deviations: the largest of a few thousand.
fn winograd(transforms: Transforms, noise: fn(TransformNoise) -> f64, sums: usize, terms: usize) -> WinogradCase {
    let transforms = transforms.each();
    let unit = f64::powi(2.0, -24);
    let omega: f64 = transforms.iter().map(|t| noise(t.noise())).product();
    // Additions of a transform to and from each frequency; an axis of one tap has none.
    let additions: usize = transforms.iter().map(|t| if t.taps > 1 { t.frequencies() } else { 0 }).sum();
    let error = 4.5 * omega * unit * ((sums + additions) as f64).sqrt() * ((sums * terms) as f64).sqrt();
    WinogradCase { error, transforms }
}

/// Layers that are compared with the reference.
fn compared() -> Vec<Layer> {
    let general = |input, cout, kernel, stride, padding, bias| Layer { input, cout, kernel, stride, padding, bias };
    vec![
        Layer::same5([2, 3, 5, 7, 1], 4, true),
        Layer::same5([1, 9, 6, 11, 2], 3, false),
        Layer::same5([1, 4, 3, 10, 3], 5, true),
        Layer::same5([2, 3, 5, 7, 4], 8, true),
        Layer::same5([1, 9, 6, 11, 8], 8, false),
        Layer::same5([1, 3, 5, 19, 16], 16, true),
        Layer::same5([1, 4, 3, 6, 33], 17, true),
        Layer::same5([1, 5, 4, 9, 32], 32, true),
        Layer::same5([1, 1, 1, 1, 4], 4, true),
        Layer::same5([1, 4, 3, 33, 1], 16, true),
        Layer::same5([2, 3, 5, 37, 3], 21, true),
        Layer::same5([1, 3, 5, 3, 65], 5, true),
        Layer::same5([1, 2, 6, 40, 4], 4, false),
        Layer::same5([2, 9, 10, 7, 3], 5, true),
        Layer::same5([1, 18, 3, 7, 8], 4, false),
        Layer::same5([1, 3, 18, 7, 3], 5, true),
        Layer::same5([1, 9, 13, 25, 2], 3, false),
        Layer::same5([1, 3, 5, 40, 2], 16, true),
        Layer::same5([1, 4, 6, 35, 4], 16, true),
        Layer::same5([2, 3, 5, 36, 5], 8, true),
        Layer::same5([1, 6, 5, 7, 5], 16, true),
        Layer::windows(2, [2, 6, 4, 10, 3], 5, true),
        Layer::windows(2, [1, 2, 2, 2, 1], 2, false),
        Layer::windows(2, [2, 6, 10, 8, 4], 8, true),
        Layer::windows(2, [1, 18, 16, 16, 3], 5, true),
        Layer::windows(2, [1, 10, 6, 14, 8], 16, false),
        Layer::windows(2, [1, 8, 14, 18, 17], 33, true),
        Layer::windows(2, [2, 10, 12, 14, 32], 64, true),
        Layer::windows(1, [2, 3, 5, 7, 8], 2, true),
        Layer::windows(1, [1, 9, 6, 11, 32], 3, true),
        Layer::windows(1, [1, 5, 4, 9, 16], 16, false),
        Layer::windows(1, [2, 3, 5, 7, 3], 4, true),
        Layer::windows(1, [1, 9, 6, 11, 5], 16, true),
        Layer::windows(1, [1, 3, 5, 7, 33], 16, true),
        Layer::padded([3; 3], [1; 3], [2, 3, 5, 7, 3], 5, true),
        Layer::padded([3; 3], [1; 3], [1, 9, 6, 11, 8], 16, true),
        Layer::padded([3; 3], [1; 3], [1, 7, 5, 37, 33], 17, false),
        Layer::padded([3; 3], [1; 3], [2, 5, 11, 6, 16], 32, true),
        Layer::padded([1, 3, 3], [1; 3], [2, 3, 9, 7, 4], 8, true),
        Layer::padded([1, 5, 5], [1; 3], [1, 3, 9, 7, 8], 5, true),
        Layer::padded([3, 1, 1], [1; 3], [1, 9, 3, 5, 8], 16, true),
        Layer::padded([5, 3, 1], [1; 3], [1, 6, 7, 5, 4], 6, false),
        Layer::padded([3; 3], [2; 3], [1, 5, 9, 7, 16], 32, true),
        Layer::padded([3; 3], [1, 2, 2], [2, 3, 6, 8, 16], 8, true),
        Layer::padded([1, 3, 3], [1, 2, 2], [2, 3, 7, 10, 8], 8, false),
        Layer::padded([5; 3], [2; 3], [1, 6, 8, 10, 16], 16, true),
        Layer::padded([1; 3], [2; 3], [1, 6, 5, 8, 8], 16, true),
        Layer { input: [2, 3, 6, 8, 8], cout: 16, kernel: [1, 2, 2], stride: [1, 2, 2], padding: [0; 3], bias: true },
        general([2, 3, 5, 7, 3], 5, [3, 3, 3], [2, 2, 2], [1, 1, 1], true),
        general([1, 9, 6, 11, 2], 4, [1, 3, 5], [1, 2, 3], [0, 1, 2], false),
        general([1, 6, 7, 5, 4], 3, [2, 3, 1], [1, 1, 2], [1, 0, 1], true),
        general([1, 5, 6, 7, 2], 3, [5, 5, 5], [2, 1, 1], [2, 2, 2], true),
    ]
}

/// The layers of the networks: base 16 at 128 x 128 x 64, and base 4 at 40 x 56 x 40.
fn timed() -> Vec<Layer> {
    vec![
        Layer::same5([1, 32, 64, 64, 32], 32, true),
        Layer::same5([1, 16, 32, 32, 64], 64, true),
        Layer::same5([1, 8, 16, 16, 128], 128, true),
        Layer::same5([1, 40, 56, 40, 1], 4, true),
        Layer::same5([1, 40, 56, 40, 4], 4, true),
        Layer::same5([1, 64, 128, 128, 4], 16, true),
        Layer::same5([1, 40, 56, 40, 8], 8, true),
        Layer::same5([1, 20, 28, 20, 16], 16, true),
        Layer::same5([1, 10, 14, 10, 32], 32, true),
        Layer::same5([1, 5, 7, 5, 32], 32, true),
        Layer::padded([3; 3], [1; 3], [1, 32, 64, 64, 32], 32, true),
        Layer::padded([3; 3], [1; 3], [1, 16, 32, 32, 64], 64, true),
        Layer::padded([3; 3], [2; 3], [1, 32, 64, 64, 32], 64, true),
        Layer::padded([1, 3, 3], [1; 3], [1, 16, 64, 64, 32], 32, true),
        Layer::windows(2, [1, 64, 128, 128, 16], 32, true),
        Layer::windows(2, [1, 32, 64, 64, 32], 64, true),
        Layer::windows(2, [1, 40, 56, 40, 4], 8, true),
        Layer::windows(1, [1, 64, 128, 128, 32], 2, true),
        Layer::windows(1, [1, 40, 56, 40, 8], 2, true),
        Layer::windows(1, [1, 64, 128, 128, 3], 16, true),
    ]
}

pub(in crate::ops) fn cases() -> Vec<Case> {
    let compared = compared().iter().flat_map(Layer::cases).collect::<Vec<_>>();
    let timed = timed().iter().flat_map(Layer::cases).map(Case::benchmark).collect::<Vec<_>>();
    compared.into_iter().chain(timed).collect()
}
