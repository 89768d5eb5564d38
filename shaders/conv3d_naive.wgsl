// output[n, o, co] = bias[co] + sum over k, ci of input[n, o * stride + k - padding, ci] * weight[k, ci, co]
//
// Layout   input [N, D, H, W, Cin], output [N, d, h, w, Cout], bias [Cout]; weight [kD, kH, kW, *, *] with a step per channel
//          axis: (Cout, 1) for a convolution, (1, Cin) for the input gradient of a transposed one
// Grid     one invocation per output element, workgroups of 64, folded
// Traffic  one load of either operand per product
// Bounds   any extents, kernel, stride and padding; taps outside the input are skipped
// Oracle   ops::Conv3d::reference; itself the oracle of conv3d_same and conv3d_window
#import grid
#import conv3d_geometry

struct Params {
    g: Geometry,
    with_bias: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn conv3d_naive(invocation: Invocation) {
    let g = params.g;
    let element = (params.first_workgroup + workgroup_number(invocation)) * 64u + invocation.local;
    var voxel = element / g.out_channels;
    let co = element % g.out_channels;
    let ox = voxel % g.out_w;
    voxel /= g.out_w;
    let oy = voxel % g.out_h;
    voxel /= g.out_h;
    let oz = voxel % g.out_d;
    let n = voxel / g.out_d;
    if n >= g.batch {
        return;
    }
    var sum = 0.0;
    for (var kz = 0u; kz < g.kernel_d; kz += 1u) {
        // Below zero wraps to more than any extent.
        let z = oz * g.stride_d + kz - g.padding_d;
        if z >= g.in_d {
            continue;
        }
        for (var ky = 0u; ky < g.kernel_h; ky += 1u) {
            let y = oy * g.stride_h + ky - g.padding_h;
            if y >= g.in_h {
                continue;
            }
            for (var kx = 0u; kx < g.kernel_w; kx += 1u) {
                let x = ox * g.stride_w + kx - g.padding_w;
                if x >= g.in_w {
                    continue;
                }
                let i = (((n * g.in_d + z) * g.in_h + y) * g.in_w + x) * g.in_channels;
                let tap = (kz * g.kernel_h + ky) * g.kernel_w + kx;
                let w = tap * g.in_channels * g.out_channels + co * g.out_step;
                for (var ci = 0u; ci < g.in_channels; ci += 1u) {
                    sum += input[i + ci] * weight[w + ci * g.in_step];
                }
            }
        }
    }
    if params.with_bias != 0u {
        sum += bias[co];
    }
    output[element] = sum;
}
