// A batch of matrix products for devices with subgroups of eight whose loads are dear (llvmpipe): a by rows, few rows, or a
// large inner extent. A lane keeps a tile of c while it goes along k.
//
// Layout     a, b, c by the steps in Products, a_inner 1; rows in panels of 16, columns of COLUMNS, inner of 8
// Grid       (COLUMNS columns, 16 rows, batches)
// Workgroup  one subgroup: a register tile of 16 rows x COLUMNS columns
// Traffic    per eight k and COLUMNS 16: 32 loads per 256 multiply-adds
// Oracle     matmul_tiled
#import matmul
#import lane_pairs
#import lane_tile

@group(0) @binding(0) var<uniform> params: Products;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(8)
fn matmul_subgroup_tile(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
        let column = workgroup.x * COLUMNS + lane;
    let from_a = params.a_first + workgroup.z * params.a_batch + workgroup.y * params.a_row_panel + lane;
    let from_b = params.b_first + workgroup.z * params.b_batch + column;
    var s0 = vec2<f32>();
    var s1 = vec2<f32>();
    var s2 = vec2<f32>();
    var s3 = vec2<f32>();
    var s4 = vec2<f32>();
    var s5 = vec2<f32>();
    var s6 = vec2<f32>();
    var s7 = vec2<f32>();
    var s8 = vec2<f32>();
    var s9 = vec2<f32>();
    var s10 = vec2<f32>();
    var s11 = vec2<f32>();
    var s12 = vec2<f32>();
    var s13 = vec2<f32>();
    var s14 = vec2<f32>();
    var s15 = vec2<f32>();
    for (var k = 0u; k < params.inner; k += 8u) {
        let at = from_b + k * params.b_inner;
        let y = Tile(
            columns_at(at),
            columns_at(at + 1u * params.b_inner),
            columns_at(at + 2u * params.b_inner),
            columns_at(at + 3u * params.b_inner),
            columns_at(at + 4u * params.b_inner),
            columns_at(at + 5u * params.b_inner),
            columns_at(at + 6u * params.b_inner),
            columns_at(at + 7u * params.b_inner),
        );
        let x = from_a + k;
        s0 = products(s0, spread(a[x]), y);
        s1 = products(s1, spread(a[x + 1u * params.a_row]), y);
        s2 = products(s2, spread(a[x + 2u * params.a_row]), y);
        s3 = products(s3, spread(a[x + 3u * params.a_row]), y);
        s4 = products(s4, spread(a[x + 4u * params.a_row]), y);
        s5 = products(s5, spread(a[x + 5u * params.a_row]), y);
        s6 = products(s6, spread(a[x + 6u * params.a_row]), y);
        s7 = products(s7, spread(a[x + 7u * params.a_row]), y);
        s8 = products(s8, spread(a[x + 8u * params.a_row]), y);
        s9 = products(s9, spread(a[x + 9u * params.a_row]), y);
        s10 = products(s10, spread(a[x + 10u * params.a_row]), y);
        s11 = products(s11, spread(a[x + 11u * params.a_row]), y);
        s12 = products(s12, spread(a[x + 12u * params.a_row]), y);
        s13 = products(s13, spread(a[x + 13u * params.a_row]), y);
        s14 = products(s14, spread(a[x + 14u * params.a_row]), y);
        s15 = products(s15, spread(a[x + 15u * params.a_row]), y);
    }
    let to = params.c_first + workgroup.z * params.c_batch + workgroup.y * params.c_row_panel + column;
    store_columns(to, s0);
    store_columns(to + 1u * params.c_row, s1);
    store_columns(to + 2u * params.c_row, s2);
    store_columns(to + 3u * params.c_row, s3);
    store_columns(to + 4u * params.c_row, s4);
    store_columns(to + 5u * params.c_row, s5);
    store_columns(to + 6u * params.c_row, s6);
    store_columns(to + 7u * params.c_row, s7);
    store_columns(to + 8u * params.c_row, s8);
    store_columns(to + 9u * params.c_row, s9);
    store_columns(to + 10u * params.c_row, s10);
    store_columns(to + 11u * params.c_row, s11);
    store_columns(to + 12u * params.c_row, s12);
    store_columns(to + 13u * params.c_row, s13);
    store_columns(to + 14u * params.c_row, s14);
    store_columns(to + 15u * params.c_row, s15);
}
