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

// Eight rows.
fn tile_multiply_add(sum: Tile, at: u32, row: u32, lower: Tile, upper: Tile) -> Tile {
    return Tile(
        row_multiply_add(sum.k0, at, lower, upper),
        row_multiply_add(sum.k1, at + row, lower, upper),
        row_multiply_add(sum.k2, at + 2u * row, lower, upper),
        row_multiply_add(sum.k3, at + 3u * row, lower, upper),
        row_multiply_add(sum.k4, at + 4u * row, lower, upper),
        row_multiply_add(sum.k5, at + 5u * row, lower, upper),
        row_multiply_add(sum.k6, at + 6u * row, lower, upper),
        row_multiply_add(sum.k7, at + 7u * row, lower, upper),
    );
}

@compute @workgroup_size(8)
fn gemm_subgroup_tile(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let column = workgroup.x * COLUMNS + lane_column(lane);
    let from_a = (params.a_first + workgroup.z * params.a_batch + workgroup.y * params.a_row_panel) / 2u + lane;
    let from_b = (params.b_first + workgroup.z * params.b_batch + column) / 2u;
    let row = params.a_row / 2u;
    let step = params.b_inner / 2u;
    var s0 = Tile();
    var s1 = Tile();
    for (var k = 0u; k < params.inner; k += 16u) {
        let lower = tile_at(from_b + k * step, step);
        let upper = tile_at(from_b + (k + 8u) * step, step);
        let x = from_a + k / 2u;
        s0 = tile_multiply_add(s0, x, row, lower, upper);
        s1 = tile_multiply_add(s1, x + 8u * row, row, lower, upper);
    }
    let to = (params.c_first + workgroup.z * params.c_batch + workgroup.y * params.c_row_panel + column) / 2u;
    let to_row = params.c_row / 2u;
    store_tile(to, to_row, s0);
    store_tile(to + 8u * to_row, to_row, s1);
}
