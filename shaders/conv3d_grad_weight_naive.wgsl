// weight[k, f, a] = sum over n, o of fine[n, o * stride + k - padding, f] * coarse[n, o, a]
//
// Layout   fine [N, D, H, W, F], coarse [N, d, h, w, A]; weight [kD, kH, kW, *, *] with a step per channel axis: (A, 1) for a
//          convolution, (1, F) for a transposed one
// Grid     one invocation per weight, workgroups of 64, folded; voxels are summed in order
// Traffic  one load of either operand per product
// Bounds   any extents, kernel, stride and padding; taps outside the fine side are skipped
// Oracle   ops::Conv3dGradWeight::reference; itself the oracle of the tuned weight gradients
#import grid
#import conv3d_geometry

struct Params {
    g: Geometry,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> fine: array<f32>;
@group(0) @binding(2) var<storage, read> coarse: array<f32>;
@group(0) @binding(3) var<storage, read_write> weight: array<f32>;

@compute @workgroup_size(64)
fn conv3d_grad_weight_naive(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let g = params.g;
    let element = (params.first_workgroup + linear_workgroup(workgroup, grid)) * 64u + local;
    let channels = g.fine_channels * g.coarse_channels;
    let a = element % g.coarse_channels;
    let f = element / g.coarse_channels % g.fine_channels;
    let tap = element / channels;
    let kx = tap % g.kernel_w;
    let ky = tap / g.kernel_w % g.kernel_h;
    let kz = tap / (g.kernel_w * g.kernel_h);
    if kz >= g.kernel_d {
        return;
    }
    var sum = 0.0;
    for (var n = 0u; n < g.batch; n += 1u) {
        for (var oz = 0u; oz < g.coarse_d; oz += 1u) {
            // Below zero wraps to more than any extent.
            let z = oz * g.stride_d + kz - g.padding_d;
            if z >= g.fine_d {
                continue;
            }
            for (var oy = 0u; oy < g.coarse_h; oy += 1u) {
                let y = oy * g.stride_h + ky - g.padding_h;
                if y >= g.fine_h {
                    continue;
                }
                for (var ox = 0u; ox < g.coarse_w; ox += 1u) {
                    let x = ox * g.stride_w + kx - g.padding_w;
                    if x < g.fine_w {
                        let i = (((n * g.fine_d + z) * g.fine_h + y) * g.fine_w + x) * g.fine_channels + f;
                        let o = (((n * g.coarse_d + oz) * g.coarse_h + oy) * g.coarse_w + ox) * g.coarse_channels + a;
                        sum += fine[i] * coarse[o];
                    }
                }
            }
        }
    }
    weight[tap * channels + f * g.fine_step + a * g.coarse_step] = sum;
}
