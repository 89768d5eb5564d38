// Gemm of which b is kept, a and c go by: the body of gemm_subgroup and gemm_subgroup_wide. Rows of a and c start at
// even elements.

// Part of the inner extent that is kept: 8, 16, 32 or 64.
override INNER: u32;
// 1 where c is added to: `add`, or an inner extent beyond INNER.
override HELD: u32;

@group(0) @binding(0) var<uniform> params: Gemm;
@group(0) @binding(1) var<storage, read> a: array<Stored>;
@group(0) @binding(2) var<storage, read> b: array<Stored>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> c: array<Stored>;

// This lane's columns of eight rows of b, where they are kept.
fn slice_at(first: u32, k: u32) -> Tile {
    if k >= INNER {
        return Tile();
    }
    let step = params.b_inner / 2u;
    let at = first + k / 16u * (params.b_inner_panel / 2u) + k % 16u * step;
    return tile_at(at, step);
}

// Sixteen k of a row of a, or eight where no more are kept.
fn slice_multiply_add(sum: Columns, at: u32, k: u32, lower: Tile, upper: Tile) -> Columns {
    if k >= INNER {
        return sum;
    }
    let x = unpacked(a[at + k / 16u * (params.a_inner_panel / 2u)]);
    let first = multiply_add(sum, spread_lower(x), lower);
    if k + 8u >= INNER {
        return first;
    }
    return multiply_add(first, spread_upper(x), upper);
}

// What a row of c starts from.
fn start(at: u32, first: Columns, added: bool) -> Columns {
    if HELD == 0u {
        return first;
    }
    return select(first, held_columns(at), added);
}

fn kept_gemm(workgroup: vec3<u32>, grid: vec3<u32>, lane: u32) {
    let length = params.row_length;
    let panels = params.rows / length;
    let block = (panels + grid.y - 1u) / grid.y;
    let first = workgroup.y * block;
    let end = min(first + block, panels);
    let column = workgroup.x * COLUMNS + lane_column(lane);
    let in_a = params.a_first + workgroup.z * params.a_batch + 2u * min(lane, INNER / 2u - 1u);
    let in_b = params.b_first + workgroup.z * params.b_batch + column;
    let in_c = params.c_first + workgroup.z * params.c_batch + column;
    var biases = Columns();
    if params.with_bias != 0u {
        biases = bias_columns(column);
    }
    for (var k0 = 0u; k0 < params.inner; k0 += INNER) {
        let at = (in_b + k0 / 16u * params.b_inner_panel + k0 % 16u * params.b_inner) / 2u;
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
            let from_a = (in_a + panel * params.a_row_panel + k0 / 16u * params.a_inner_panel + k0 % 16u) / 2u;
            let to_c = (in_c + panel * params.c_row_panel) / 2u;
            let a_row = params.a_row / 2u;
            let c_row = params.c_row / 2u;
            for (var row = 0u; row < length; row += 2u) {
                // The last of an odd number of rows twice: both times the same.
                let next = min(row + 1u, length - 1u);
                let x = from_a + row * a_row;
                let z = from_a + next * a_row;
                var s = start(to_c + row * c_row, biases, added);
                var t = start(to_c + next * c_row, biases, added);
                s = slice_multiply_add(s, x, 0u, y0, y1);
                t = slice_multiply_add(t, z, 0u, y0, y1);
                s = slice_multiply_add(s, x, 16u, y2, y3);
                t = slice_multiply_add(t, z, 16u, y2, y3);
                s = slice_multiply_add(s, x, 32u, y4, y5);
                t = slice_multiply_add(t, z, 32u, y4, y5);
                s = slice_multiply_add(s, x, 48u, y6, y7);
                t = slice_multiply_add(t, z, 48u, y6, y7);
                store_columns(to_c + row * c_row, s);
                store_columns(to_c + next * c_row, t);
            }
        }
    }
}
