// A batch of gemms in workgroup-memory tiles; either order of a.
//
// Layout     a, b, c by the steps in Gemm
// Grid       (32 columns, 64 rows, batches)
// Workgroup  64 invocations: a register tile of 8 rows x 4 columns each
// Shared     64 x 16 of a and 16 x 32 of b: 6 KiB
// Traffic    per k: three vec4 from workgroup memory per 32 fused multiply-adds
// Bounds     any rows, columns and inner extent; panels of 16
// Oracle     conv3d_naive and its gradients, through Winograd's convolutions
#import gemm

fn in_panels(index: u32, step: u32, panel: u32) -> u32 {
    return index / 16u * panel + index % 16u * step;
}

@group(0) @binding(0) var<uniform> params: Gemm;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

const DEPTH = 16u;

// [k][rows / 4] and [k][columns / 4]
var<workgroup> staged_a: array<vec4<f32>, 256>;
var<workgroup> staged_b: array<vec4<f32>, 128>;

fn a_at(first: u32, row: u32, k: u32) -> f32 {
    if row < params.rows && k < params.inner {
        let in_row = in_panels(row, params.a_row, params.a_row_panel);
        return a[first + in_row + in_panels(k, params.a_inner, params.a_inner_panel)];
    }
    return 0.0;
}

fn b_at(first: u32, k: u32, column: u32) -> f32 {
    if k < params.inner && column < params.columns {
        return b[first + in_panels(k, params.b_inner, params.b_inner_panel) + column];
    }
    return 0.0;
}

fn store(first: u32, row: u32, column: u32, values: vec4<f32>) {
    if row >= params.rows {
        return;
    }
    for (var i = 0u; i < 4u; i += 1u) {
        if column + i < params.columns {
            let at = first + in_panels(row, params.c_row, params.c_row_panel) + column + i;
            var value = values[i];
            if params.add != 0u {
                value += c[at];
            }
            c[at] = value;
        }
    }
}

@compute @workgroup_size(64)
fn gemm_tiled(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first_row = workgroup.y * 64u;
    let first_column = workgroup.x * 32u;
    let from_a = params.a_first + workgroup.z * params.a_batch;
    let from_b = params.b_first + workgroup.z * params.b_batch;
    let column = local % 8u;
    let row = local / 8u;
    // Neighbouring invocations read neighbouring elements of a.
    let by_row = params.a_row == 1u;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    var s4 = vec4<f32>();
    var s5 = vec4<f32>();
    var s6 = vec4<f32>();
    var s7 = vec4<f32>();
    for (var k0 = 0u; k0 < params.inner; k0 += DEPTH) {
        workgroupBarrier();
        for (var i = local; i < 256u; i += 64u) {
            let k = select(i % 16u, i / 16u, by_row);
            let quad = select(i / 16u, i % 16u, by_row);
            let r = first_row + quad * 4u;
            staged_a[k * 16u + quad] = vec4(
                a_at(from_a, r, k0 + k),
                a_at(from_a, r + 1u, k0 + k),
                a_at(from_a, r + 2u, k0 + k),
                a_at(from_a, r + 3u, k0 + k),
            );
        }
        for (var i = local; i < 128u; i += 64u) {
            let k = k0 + i / 8u;
            let n = first_column + i % 8u * 4u;
            staged_b[i] = vec4(b_at(from_b, k, n), b_at(from_b, k, n + 1u), b_at(from_b, k, n + 2u), b_at(from_b, k, n + 3u));
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k += 1u) {
            let x = staged_a[k * 16u + row * 2u];
            let y = staged_a[k * 16u + row * 2u + 1u];
            let w = staged_b[k * 8u + column];
            s0 = fma(vec4(x.x), w, s0);
            s1 = fma(vec4(x.y), w, s1);
            s2 = fma(vec4(x.z), w, s2);
            s3 = fma(vec4(x.w), w, s3);
            s4 = fma(vec4(y.x), w, s4);
            s5 = fma(vec4(y.y), w, s5);
            s6 = fma(vec4(y.z), w, s6);
            s7 = fma(vec4(y.w), w, s7);
        }
    }
    let to = params.c_first + workgroup.z * params.c_batch;
    let m = first_row + row * 8u;
    let n = first_column + column * 4u;
    store(to, m, n, s0);
    store(to, m + 1u, n, s1);
    store(to, m + 2u, n, s2);
    store(to, m + 3u, n, s3);
    store(to, m + 4u, n, s4);
    store(to, m + 5u, n, s5);
    store(to, m + 6u, n, s6);
    store(to, m + 7u, n, s7);
}
