use super::{ConvTranspose3d, ConvTranspose3dGradInput, ConvTranspose3dGradWeight};
use crate::ops::case::{Bound, Case, Draw};
use crate::tensor::TensorSpec;

/// Stride 2 along each axis.
fn triple(input: [usize; 4], cin: usize, cout: usize, bias: bool) -> [Case; 3] {
    strided([2; 3], input, cin, cout, bias)
}

/// Forward, input gradient and weight gradient from an input of these extents `[N, D, H, W]`.
fn strided(stride: [usize; 3], [n, d, h, w]: [usize; 4], cin: usize, cout: usize, bias: bool) -> [Case; 3] {
    let [sd, sh, sw] = stride;
    let drawn = |spec: TensorSpec| (spec, Draw::Normal(1.0));
    let input = drawn(TensorSpec::f32([n, d, h, w, cin]));
    let output = drawn(TensorSpec::f32([n, sd * d, sh * h, sw * w, cout]));
    let weight = drawn(TensorSpec::f32([sd, sh, sw, cin, cout]));
    let mut inputs = vec![input.clone(), weight.clone()];
    if bias {
        inputs.push(drawn(TensorSpec::f32([cout])));
    }
    let window = if stride == [2; 3] { String::new() } else { format!("s{sd}x{sh}x{sw}/") };
    let name = |op: &str| format!("{op}/{window}{n}x{d}x{h}x{w}/{cin}to{cout}{}", if bias { "+bias" } else { "" });
    let forward = Bound::Sum { terms: cin + usize::from(bias) };
    [
        Case::new(name("conv_transpose3d"), ConvTranspose3d { stride }, inputs, forward).exact(),
        Case::new(
            name("conv_transpose3d_grad_input"),
            ConvTranspose3dGradInput { stride },
            vec![output.clone(), weight],
            Bound::Sum { terms: sd * sh * sw * cout },
        )
        .exact()
        .backward_only(),
        Case::new(
            name("conv_transpose3d_grad_weight"),
            ConvTranspose3dGradWeight { stride },
            vec![input, output],
            Bound::Sum { terms: n * d * h * w },
        )
        .exact()
        .backward_only(),
    ]
}

pub(in crate::ops) fn cases() -> Vec<Case> {
    let compared = [
        triple([2, 3, 2, 5], 3, 5, true),
        triple([1, 1, 1, 1], 1, 1, false),
        triple([2, 3, 5, 4], 8, 4, true),
        triple([1, 5, 3, 7], 16, 8, false),
        triple([1, 4, 7, 9], 33, 17, true),
        triple([2, 5, 6, 7], 64, 32, true),
        strided([1, 2, 2], [2, 3, 5, 4], 3, 5, true),
        strided([1, 2, 2], [1, 5, 3, 7], 16, 8, true),
        strided([2, 1, 2], [1, 3, 5, 6], 16, 32, false),
        strided([2, 2, 1], [2, 3, 4, 5], 8, 16, true),
        strided([1, 1, 2], [1, 4, 3, 5], 9, 7, true),
    ];
    let timed = [
        triple([1, 32, 64, 64], 64, 32, true),
        triple([1, 16, 32, 32], 128, 64, true),
        triple([1, 20, 28, 20], 16, 8, true),
    ];
    let timed = timed.into_iter().flatten().map(Case::benchmark);
    compared.into_iter().flatten().chain(timed).collect()
}
