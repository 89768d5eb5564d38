// grad_weight[k, ci, co] = sum over n, o of input[n, o * stride + k - padding, ci] * grad_output[n, o, co]
//
// Layout   input [N, D, H, W, Cin], grad_output [N, d, h, w, Cout]; grad_weight [kD, kH, kW, *, *] with a step per channel
//          axis: (Cout, 1) for a convolution, (1, Cin) for a transposed one
// Grid     one invocation per weight, workgroups of 64, folded; voxels are summed in order
// Traffic  one load of either operand per product
// Bounds   any extents, kernel, stride and padding; taps outside the input are skipped
// Oracle   ops::Conv3dGradWeight::reference; itself the oracle of the tuned weight gradients
#import grid
#import conv3d_geometry

struct Params {
    g: Geometry,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_weight: array<f32>;

@compute @workgroup_size(64)
fn conv3d_grad_weight_naive(invocation: Invocation) {
    let g = params.g;
    let element = (params.first_workgroup + workgroup_number(invocation)) * 64u + invocation.local;
    let channels = g.in_channels * g.out_channels;
    let co = element % g.out_channels;
    let ci = element / g.out_channels % g.in_channels;
    let tap = element / channels;
    let kx = tap % g.kernel_w;
    let ky = tap / g.kernel_w % g.kernel_h;
    let kz = tap / (g.kernel_w * g.kernel_h);
    if kz >= g.kernel_d {
        return;
    }
    var sum = 0.0;
    for (var n = 0u; n < g.batch; n += 1u) {
        for (var oz = 0u; oz < g.out_d; oz += 1u) {
            // Below zero wraps to more than any extent.
            let z = oz * g.stride_d + kz - g.padding_d;
            if z >= g.in_d {
                continue;
            }
            for (var oy = 0u; oy < g.out_h; oy += 1u) {
                let y = oy * g.stride_h + ky - g.padding_h;
                if y >= g.in_h {
                    continue;
                }
                for (var ox = 0u; ox < g.out_w; ox += 1u) {
                    let x = ox * g.stride_w + kx - g.padding_w;
                    if x < g.in_w {
                        let i = (((n * g.in_d + z) * g.in_h + y) * g.in_w + x) * g.in_channels + ci;
                        let o = (((n * g.out_d + oz) * g.out_h + oy) * g.out_w + ox) * g.out_channels + co;
                        sum += input[i] * grad_output[o];
                    }
                }
            }
        }
    }
    grad_weight[tap * channels + ci * g.in_step + co * g.out_step] = sum;
}
