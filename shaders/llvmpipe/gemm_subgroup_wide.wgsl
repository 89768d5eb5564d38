// A batch of gemms for subgroups of eight (llvmpipe): a by rows. A lane keeps its
// four columns of up to 64 rows of b while it goes through all rows of a.
//
// Layout     a, b, c by the steps in Gemm, a_inner 1 in panels of 16; rows in whole panels, columns of 32,
//            inner of INNER
// Grid       (32 columns, blocks of `block` panels of rows, batches)
// Workgroup  one subgroup
// Traffic    per row and 64 k: 4 loads of a, and 4 of c where HELD, per 256 multiply-adds
// Oracle     gemm_tiled, and conv3d_naive through the convolutions without overlap
#import gemm
#import lane_fours
#import lane_tile
#import gemm_kept

fn bias_columns(column: u32) -> Columns {
    return Columns(bias[column], bias[column + 1u], bias[column + 16u], bias[column + 17u]);
}

@compute @workgroup_size(8)
fn gemm_subgroup_wide(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    kept_gemm(workgroup, grid, lane);
}
