// fine[n, i, f] = bias[f] + sum over k, o, a with o * stride + k - padding = i of coarse[n, o, a] * weight[k, f, a]
//
// Layout   fine [N, D, H, W, F], coarse [N, d, h, w, A], bias [F]; weight [kD, kH, kW, *, *] with a step per channel axis:
//          (A, 1) for the input gradient of a convolution, (1, F) for a transposed convolution
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
@group(0) @binding(1) var<storage, read> coarse: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> fine: array<f32>;

// Whether a window starts `shifted` voxels into the padded axis: its number is then shifted / stride.
fn is_window(shifted: u32, stride: u32, windows: u32) -> bool {
    // Below zero wraps to more than any extent.
    return shifted / stride < windows && shifted % stride == 0u;
}

@compute @workgroup_size(64)
fn conv3d_grad_input_naive(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let g = params.g;
    let element = (params.first_workgroup + linear_workgroup(workgroup, grid)) * 64u + local;
    var voxel = element / g.fine_channels;
    let f = element % g.fine_channels;
    let x = voxel % g.fine_w;
    voxel /= g.fine_w;
    let y = voxel % g.fine_h;
    voxel /= g.fine_h;
    let z = voxel % g.fine_d;
    let n = voxel / g.fine_d;
    if n >= g.batch {
        return;
    }
    var sum = 0.0;
    for (var kz = 0u; kz < g.kernel_d; kz += 1u) {
        let sz = z + g.padding_d - kz;
        if !is_window(sz, g.stride_d, g.coarse_d) {
            continue;
        }
        for (var ky = 0u; ky < g.kernel_h; ky += 1u) {
            let sy = y + g.padding_h - ky;
            if !is_window(sy, g.stride_h, g.coarse_h) {
                continue;
            }
            for (var kx = 0u; kx < g.kernel_w; kx += 1u) {
                let sx = x + g.padding_w - kx;
                if !is_window(sx, g.stride_w, g.coarse_w) {
                    continue;
                }
                let row = (n * g.coarse_d + sz / g.stride_d) * g.coarse_h + sy / g.stride_h;
                let o = (row * g.coarse_w + sx / g.stride_w) * g.coarse_channels;
                let tap = (kz * g.kernel_h + ky) * g.kernel_w + kx;
                let w = tap * g.fine_channels * g.coarse_channels + f * g.fine_step;
                for (var a = 0u; a < g.coarse_channels; a += 1u) {
                    sum += coarse[o + a] * weight[w + a * g.coarse_step];
                }
            }
        }
    }
    if params.with_bias != 0u {
        sum += bias[f];
    }
    fine[element] = sum;
}
