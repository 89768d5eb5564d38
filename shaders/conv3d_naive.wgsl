// coarse[n, o, a] = bias[a] + sum over k, f of fine[n, o * stride + k - padding, f] * weight[k, f, a]
//
// Layout   fine [N, D, H, W, F], coarse [N, d, h, w, A], bias [A]; weight [kD, kH, kW, *, *] with a step per channel axis:
//          (A, 1) for a convolution, (1, F) for the input gradient of a transposed one
// Grid     one invocation per output element, workgroups of 64, folded
// Traffic  one load of either operand per product
// Bounds   any extents, kernel, stride and padding; taps outside the fine side are skipped
// Oracle   ops::Conv3d::reference; itself the oracle of conv3d_same5_* and conv3d_gather_*
#import grid
#import conv3d_geometry

struct Params {
    g: Geometry,
    with_bias: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> fine: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> coarse: array<f32>;

@compute @workgroup_size(64)
fn conv3d_naive(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let g = params.g;
    let element = (params.first_workgroup + linear_workgroup(workgroup, grid)) * 64u + local;
    var voxel = element / g.coarse_channels;
    let a = element % g.coarse_channels;
    let ox = voxel % g.coarse_w;
    voxel /= g.coarse_w;
    let oy = voxel % g.coarse_h;
    voxel /= g.coarse_h;
    let oz = voxel % g.coarse_d;
    let n = voxel / g.coarse_d;
    if n >= g.batch {
        return;
    }
    var sum = 0.0;
    for (var kz = 0u; kz < g.kernel_d; kz += 1u) {
        // Below zero wraps to more than any extent.
        let z = oz * g.stride_d + kz - g.padding_d;
        if z >= g.fine_d {
            continue;
        }
        for (var ky = 0u; ky < g.kernel_h; ky += 1u) {
            let y = oy * g.stride_h + ky - g.padding_h;
            if y >= g.fine_h {
                continue;
            }
            for (var kx = 0u; kx < g.kernel_w; kx += 1u) {
                let x = ox * g.stride_w + kx - g.padding_w;
                if x >= g.fine_w {
                    continue;
                }
                let i = (((n * g.fine_d + z) * g.fine_h + y) * g.fine_w + x) * g.fine_channels;
                let tap = (kz * g.kernel_h + ky) * g.kernel_w + kx;
                let w = tap * g.fine_channels * g.coarse_channels + a * g.coarse_step;
                for (var f = 0u; f < g.fine_channels; f += 1u) {
                    sum += fine[i + f] * weight[w + f * g.fine_step];
                }
            }
        }
    }
    if params.with_bias != 0u {
        sum += bias[a];
    }
    coarse[element] = sum;
}
