// grad_input[n, i, ci] = bias[ci] + sum over k, o, co with o * stride + k - padding = i of
//                        grad_output[n, o, co] * weight[k, ci, co]
//
// Layout   grad_input [N, D, H, W, Cin], grad_output [N, d, h, w, Cout], bias [Cin]; weight [kD, kH, kW, *, *] with a step
//          per channel axis: (Cout, 1) for the input gradient of a convolution, (1, Cin) for a transposed convolution
// Grid     one invocation per output element, workgroups of 64, folded
// Traffic  one load of either operand per product
// Bounds   any extents, kernel, stride and padding; taps without a window are skipped
// Oracle   ops::Conv3dGradInput::reference; itself the oracle of the tuned input gradients
#import grid
#import conv3d_geometry

struct Params {
    g: Geometry,
    with_bias: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_input: array<f32>;

// Whether a window starts `shifted` voxels into the padded axis: its number is then shifted / stride.
fn is_window(shifted: u32, stride: u32, windows: u32) -> bool {
    // Below zero wraps to more than any extent.
    return shifted / stride < windows && shifted % stride == 0u;
}

@compute @workgroup_size(64)
fn conv3d_grad_input_naive(invocation: Invocation) {
    let g = params.g;
    let element = (params.first_workgroup + workgroup_number(invocation)) * 64u + invocation.local;
    var voxel = element / g.in_channels;
    let ci = element % g.in_channels;
    let x = voxel % g.in_w;
    voxel /= g.in_w;
    let y = voxel % g.in_h;
    voxel /= g.in_h;
    let z = voxel % g.in_d;
    let n = voxel / g.in_d;
    if n >= g.batch {
        return;
    }
    var sum = 0.0;
    for (var kz = 0u; kz < g.kernel_d; kz += 1u) {
        let sz = z + g.padding_d - kz;
        if !is_window(sz, g.stride_d, g.out_d) {
            continue;
        }
        for (var ky = 0u; ky < g.kernel_h; ky += 1u) {
            let sy = y + g.padding_h - ky;
            if !is_window(sy, g.stride_h, g.out_h) {
                continue;
            }
            for (var kx = 0u; kx < g.kernel_w; kx += 1u) {
                let sx = x + g.padding_w - kx;
                if !is_window(sx, g.stride_w, g.out_w) {
                    continue;
                }
                let row = (n * g.out_d + sz / g.stride_d) * g.out_h + sy / g.stride_h;
                let o = (row * g.out_w + sx / g.stride_w) * g.out_channels;
                let tap = (kz * g.kernel_h + ky) * g.kernel_w + kx;
                let w = tap * g.in_channels * g.out_channels + ci * g.in_step;
                for (var co = 0u; co < g.out_channels; co += 1u) {
                    sum += grad_output[o + co] * weight[w + co * g.out_step];
                }
            }
        }
    }
    if params.with_bias != 0u {
        sum += bias[ci];
    }
    grad_input[element] = sum;
}
