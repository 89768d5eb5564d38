// A batch of matrix products for devices with subgroups of eight whose loads are dear (llvmpipe): a by rows. A lane keeps its
// columns of up to 64 rows of b while it goes through all rows of a.
//
// Layout     a, b, c by the steps in Products, a_inner 1; rows in whole panels, columns of COLUMNS, inner of INNER
// Grid       (COLUMNS columns, blocks of `block` panels of rows, batches)
// Workgroup  one subgroup: lane l has columns l and, where COLUMNS is 16, l + 8
// Traffic    per row, 64 k and COLUMNS 16: 8 loads of a, and 4 of c where HELD, per 128 multiply-adds
// Oracle     matmul_tiled, and conv3d_naive through the convolutions without overlap
#import matmul
#import lane_tile_wide

// Part of the inner extent that is kept: 8, 16, 32, 48 or 64.
override INNER: u32;
// 1 where c is added to: `add`, or an inner extent beyond INNER.
override HELD: u32;

@group(0) @binding(0) var<uniform> params: Products;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> c: array<f32>;

// This lane's columns of eight rows of b, where they are kept.
fn slice_at(first: u32, k: u32) -> Pairs {
    if k >= INNER {
        return Pairs();
    }
    let at = first + k * params.b_inner;
    return Pairs(
        pair_at(at),
        pair_at(at + 1u * params.b_inner),
        pair_at(at + 2u * params.b_inner),
        pair_at(at + 3u * params.b_inner),
        pair_at(at + 4u * params.b_inner),
        pair_at(at + 5u * params.b_inner),
        pair_at(at + 6u * params.b_inner),
        pair_at(at + 7u * params.b_inner),
    );
}

fn slice_products(sum: vec4<f32>, at: u32, k: u32, y: Pairs) -> vec4<f32> {
    if k >= INNER {
        return sum;
    }
    return products(sum, spread(a[at + k]), y);
}

// What a row of c starts from.
fn start(at: u32, first: vec4<f32>, added: bool) -> vec4<f32> {
    if HELD == 0u {
        return first;
    }
    return select(first, held_pair(at), added);
}

@compute @workgroup_size(8)
fn matmul_subgroup_wide(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let length = params.row_length;
    let panels = params.rows / length;
    let block = (panels + grid.y - 1u) / grid.y;
    let first = workgroup.y * block;
    let end = min(first + block, panels);
    let column = workgroup.x * COLUMNS + lane;
    let in_a = params.a_first + workgroup.z * params.a_batch + lane;
    let in_b = params.b_first + workgroup.z * params.b_batch + column * params.b_column;
    let in_c = params.c_first + workgroup.z * params.c_batch + column;
    var biases = vec4<f32>();
    if params.with_bias != 0u {
        biases = vec4(bias[column], bias[column + 8u], bias[column + 16u], bias[column + 24u]);
    }
    for (var k0 = 0u; k0 < params.inner; k0 += INNER) {
        let at = in_b + k0 * params.b_inner;
        let added = k0 > 0u || params.add != 0u;
        let y0 = slice_at(at, 0u);
        let y1 = slice_at(at, 8u);
        let y2 = slice_at(at, 16u);
        let y3 = slice_at(at, 24u);
        let y4 = slice_at(at, 32u);
        let y5 = slice_at(at, 40u);
        let y6 = slice_at(at, 48u);
        let y7 = slice_at(at, 56u);
        for (var panel = first; panel < end; panel += 1u) {
            let from_a = in_a + panel * params.a_row_panel + k0;
            let to_c = in_c + panel * params.c_row_panel;
            for (var row = 0u; row < length; row += 2u) {
                // The last of an odd number of rows twice: both times the same.
                let next = min(row + 1u, length - 1u);
                let x = from_a + row * params.a_row;
                let z = from_a + next * params.a_row;
                var s = start(to_c + row * params.c_row, biases, added);
                var t = start(to_c + next * params.c_row, biases, added);
                s = slice_products(s, x, 0u, y0);
                t = slice_products(t, z, 0u, y0);
                s = slice_products(s, x, 8u, y1);
                t = slice_products(t, z, 8u, y1);
                s = slice_products(s, x, 16u, y2);
                t = slice_products(t, z, 16u, y2);
                s = slice_products(s, x, 24u, y3);
                t = slice_products(t, z, 24u, y3);
                s = slice_products(s, x, 32u, y4);
                t = slice_products(t, z, 32u, y4);
                s = slice_products(s, x, 40u, y5);
                t = slice_products(t, z, 40u, y5);
                s = slice_products(s, x, 48u, y6);
                t = slice_products(t, z, 48u, y6);
                s = slice_products(s, x, 56u, y7);
                t = slice_products(t, z, 56u, y7);
                store_pair(to_c + row * params.c_row, s);
                store_pair(to_c + next * params.c_row, t);
            }
        }
    }
}
