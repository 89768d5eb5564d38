// A batch of gemms for subgroups of eight (llvmpipe): a by rows, few rows, or a
// large inner extent. A lane keeps a tile of c while it goes along k.
//
// Layout     a, b, c by the steps in Gemm, a_inner 1; rows in panels of 16, eight columns or multiples of 16, inner of 16
// Grid       (16 columns, 16 rows, batches)
// Workgroup  one subgroup: a register tile of 16 rows x 16 columns
// Traffic    per 16 k: 32 loads per 512 multiply-adds
// Oracle     gemm_tiled
#import gemm
#import lane_pairs
#import lane_tile

@group(0) @binding(0) var<uniform> params: Gemm;
@group(0) @binding(1) var<storage, read> a: array<Stored>;
@group(0) @binding(2) var<storage, read> b: array<Stored>;
@group(0) @binding(3) var<storage, read_write> c: array<Stored>;

fn row_multiply_add(sum: Columns, at: u32, lower: Tile, upper: Tile) -> Columns {
    let x = unpacked(a[at]);
    return multiply_add(multiply_add(sum, spread_lower(x), lower), spread_upper(x), upper);
}

@compute @workgroup_size(8)
fn gemm_subgroup_tile(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = workgroup.x * COLUMNS + lane_column(lane);
    let from_a = (params.a_first + workgroup.z * params.a_batch + workgroup.y * params.a_row_panel) / 2u + lane;
    let from_b = (params.b_first + workgroup.z * params.b_batch + column) / 2u;
    let row = params.a_row / 2u;
    let step = params.b_inner / 2u;
    var s0 = Columns();
    var s1 = Columns();
    var s2 = Columns();
    var s3 = Columns();
    var s4 = Columns();
    var s5 = Columns();
    var s6 = Columns();
    var s7 = Columns();
    var s8 = Columns();
    var s9 = Columns();
    var s10 = Columns();
    var s11 = Columns();
    var s12 = Columns();
    var s13 = Columns();
    var s14 = Columns();
    var s15 = Columns();
    for (var k = 0u; k < params.inner; k += 16u) {
        let lower = tile_at(from_b + k * step, step);
        let upper = tile_at(from_b + (k + 8u) * step, step);
        let x = from_a + k / 2u;
        s0 = row_multiply_add(s0, x, lower, upper);
        s1 = row_multiply_add(s1, x + 1u * row, lower, upper);
        s2 = row_multiply_add(s2, x + 2u * row, lower, upper);
        s3 = row_multiply_add(s3, x + 3u * row, lower, upper);
        s4 = row_multiply_add(s4, x + 4u * row, lower, upper);
        s5 = row_multiply_add(s5, x + 5u * row, lower, upper);
        s6 = row_multiply_add(s6, x + 6u * row, lower, upper);
        s7 = row_multiply_add(s7, x + 7u * row, lower, upper);
        s8 = row_multiply_add(s8, x + 8u * row, lower, upper);
        s9 = row_multiply_add(s9, x + 9u * row, lower, upper);
        s10 = row_multiply_add(s10, x + 10u * row, lower, upper);
        s11 = row_multiply_add(s11, x + 11u * row, lower, upper);
        s12 = row_multiply_add(s12, x + 12u * row, lower, upper);
        s13 = row_multiply_add(s13, x + 13u * row, lower, upper);
        s14 = row_multiply_add(s14, x + 14u * row, lower, upper);
        s15 = row_multiply_add(s15, x + 15u * row, lower, upper);
    }
    let to = (params.c_first + workgroup.z * params.c_batch + workgroup.y * params.c_row_panel + column) / 2u;
    let to_row = params.c_row / 2u;
    store_columns(to, s0);
    store_columns(to + 1u * to_row, s1);
    store_columns(to + 2u * to_row, s2);
    store_columns(to + 3u * to_row, s3);
    store_columns(to + 4u * to_row, s4);
    store_columns(to + 5u * to_row, s5);
    store_columns(to + 6u * to_row, s6);
    store_columns(to + 7u * to_row, s7);
    store_columns(to + 8u * to_row, s8);
    store_columns(to + 9u * to_row, s9);
    store_columns(to + 10u * to_row, s10);
    store_columns(to + 11u * to_row, s11);
    store_columns(to + 12u * to_row, s12);
    store_columns(to + 13u * to_row, s13);
    store_columns(to + 14u * to_row, s14);
    store_columns(to + 15u * to_row, s15);
}
