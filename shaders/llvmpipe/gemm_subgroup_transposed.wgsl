// A batch of gemms for subgroups of eight (llvmpipe): a by columns, as sums
// over voxels need it. A lane keeps a tile of c while it goes along k.
//
// Layout     a, b, c by the steps in Gemm, a_row 1; rows in multiples of ROWS, eight columns or multiples of 16
// Grid       (16 columns, ROWS rows, batches)
// Workgroup  one subgroup: a register tile of ROWS (8 or 16) rows x 16 columns
// Traffic    per eight k, 16 rows and 16 columns: 16 loads per 256 multiply-adds
// Bounds     any inner extent
// Oracle     gemm_tiled, and conv3d_grad_weight_naive through the convolutions without overlap
#import gemm
#import lane_pairs
#import lane_tile

override ROWS: u32;
// 1 where panels, and the inner extent, are in multiples of eight.
override WHOLE: u32;

@group(0) @binding(0) var<uniform> params: Gemm;
@group(0) @binding(1) var<storage, read> a: array<Stored>;
@group(0) @binding(2) var<storage, read> b: array<Stored>;
@group(0) @binding(3) var<storage, read_write> c: array<Stored>;

// Rows of eight k: each lane has loaded an even one and the odd one after it.
struct Rows {
    even: Slice,
    odd: Slice,
}

// Element k of `count`, or zero after the last; positions count pairs.
fn a_at(at: u32, k: u32, count: u32) -> Element {
    let step = params.a_inner / 2u;
    if WHOLE == 1u {
        return unpacked(a[at + k * step]);
    }
    return select(Element(), unpacked(a[at + min(k, count - 1u) * step]), k < count);
}

fn b_at(at: u32, k: u32, count: u32) -> Columns {
    let step = params.b_inner / 2u;
    if WHOLE == 1u {
        return columns_at(at + k * step);
    }
    return select(Columns(), columns_at(at + min(k, count - 1u) * step), k < count);
}

fn rows_at(at: u32, count: u32) -> Rows {
    let k0 = a_at(at, 0u, count);
    let k1 = a_at(at, 1u, count);
    let k2 = a_at(at, 2u, count);
    let k3 = a_at(at, 3u, count);
    let k4 = a_at(at, 4u, count);
    let k5 = a_at(at, 5u, count);
    let k6 = a_at(at, 6u, count);
    let k7 = a_at(at, 7u, count);
    return Rows(
        Slice(vec4(k0.x, k1.x, k2.x, k3.x), vec4(k4.x, k5.x, k6.x, k7.x)),
        Slice(vec4(k0.y, k1.y, k2.y, k3.y), vec4(k4.y, k5.y, k6.y, k7.y)),
    );
}

// Eight rows of c, of which lanes 0 to 3 have loaded a.
fn lower_multiply_add(sum: Tile, x: Rows, y: Tile) -> Tile {
    return Tile(
        multiply_add(sum.k0, Slice(subgroupBroadcast(x.even.a, 0u), subgroupBroadcast(x.even.b, 0u)), y),
        multiply_add(sum.k1, Slice(subgroupBroadcast(x.odd.a, 0u), subgroupBroadcast(x.odd.b, 0u)), y),
        multiply_add(sum.k2, Slice(subgroupBroadcast(x.even.a, 1u), subgroupBroadcast(x.even.b, 1u)), y),
        multiply_add(sum.k3, Slice(subgroupBroadcast(x.odd.a, 1u), subgroupBroadcast(x.odd.b, 1u)), y),
        multiply_add(sum.k4, Slice(subgroupBroadcast(x.even.a, 2u), subgroupBroadcast(x.even.b, 2u)), y),
        multiply_add(sum.k5, Slice(subgroupBroadcast(x.odd.a, 2u), subgroupBroadcast(x.odd.b, 2u)), y),
        multiply_add(sum.k6, Slice(subgroupBroadcast(x.even.a, 3u), subgroupBroadcast(x.even.b, 3u)), y),
        multiply_add(sum.k7, Slice(subgroupBroadcast(x.odd.a, 3u), subgroupBroadcast(x.odd.b, 3u)), y),
    );
}

// Lanes 4 to 7.
fn upper_multiply_add(sum: Tile, x: Rows, y: Tile) -> Tile {
    return Tile(
        multiply_add(sum.k0, Slice(subgroupBroadcast(x.even.a, 4u), subgroupBroadcast(x.even.b, 4u)), y),
        multiply_add(sum.k1, Slice(subgroupBroadcast(x.odd.a, 4u), subgroupBroadcast(x.odd.b, 4u)), y),
        multiply_add(sum.k2, Slice(subgroupBroadcast(x.even.a, 5u), subgroupBroadcast(x.even.b, 5u)), y),
        multiply_add(sum.k3, Slice(subgroupBroadcast(x.odd.a, 5u), subgroupBroadcast(x.odd.b, 5u)), y),
        multiply_add(sum.k4, Slice(subgroupBroadcast(x.even.a, 6u), subgroupBroadcast(x.even.b, 6u)), y),
        multiply_add(sum.k5, Slice(subgroupBroadcast(x.odd.a, 6u), subgroupBroadcast(x.odd.b, 6u)), y),
        multiply_add(sum.k6, Slice(subgroupBroadcast(x.even.a, 7u), subgroupBroadcast(x.even.b, 7u)), y),
        multiply_add(sum.k7, Slice(subgroupBroadcast(x.odd.a, 7u), subgroupBroadcast(x.odd.b, 7u)), y),
    );
}

fn held(at: u32) -> vec2<f32> {
    if params.add == 0u {
        return vec2(0.0);
    }
    return held_columns(at);
}

fn held_tile(at: u32, step: u32) -> Tile {
    return Tile(
        held(at),
        held(at + step),
        held(at + 2u * step),
        held(at + 3u * step),
        held(at + 4u * step),
        held(at + 5u * step),
        held(at + 6u * step),
        held(at + 7u * step),
    );
}

@compute @workgroup_size(8)
fn gemm_subgroup_transposed(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let row = workgroup.y * ROWS;
    let column = workgroup.x * COLUMNS + lane_column(lane);
    let in_a = (params.a_first + workgroup.z * params.a_batch + row) / 2u + min(lane, ROWS / 2u - 1u);
    let in_b = (params.b_first + workgroup.z * params.b_batch + column) / 2u;
    let to = (params.c_first + workgroup.z * params.c_batch + row * params.c_row + column) / 2u;
    let step = params.c_row / 2u;
    var s0 = held_tile(to, step);
    var s1 = Tile();
    if ROWS == 16u {
        s1 = held_tile(to + 8u * step, step);
    }
    // One loop over pieces of eight, within panels and from panel to panel: a second level would carry the sums as well.
    let length = params.inner_length;
    let last = params.inner % length;
    let panels = params.inner / length;
    let pieces = panels * ((length + 7u) / 8u) + (last + 7u) / 8u;
    var panel = 0u;
    var k = 0u;
    for (var piece = 0u; piece < pieces; piece += 1u) {
        let here = select(last, length, panel < panels);
        let count = min(here - k, 8u);
        let at_b = in_b + (panel * params.b_inner_panel + k * params.b_inner) / 2u;
        let y = Tile(
            b_at(at_b, 0u, count),
            b_at(at_b, 1u, count),
            b_at(at_b, 2u, count),
            b_at(at_b, 3u, count),
            b_at(at_b, 4u, count),
            b_at(at_b, 5u, count),
            b_at(at_b, 6u, count),
            b_at(at_b, 7u, count),
        );
        let at_a = in_a + (panel * params.a_inner_panel + k * params.a_inner) / 2u;
        let x = rows_at(at_a, count);
        s0 = lower_multiply_add(s0, x, y);
        if ROWS == 16u {
            s1 = upper_multiply_add(s1, x, y);
        }
        let ends = k + 8u >= here;
        panel += select(0u, 1u, ends);
        k = select(k + 8u, 0u, ends);
    }
    store_tile(to, step, s0);
    if ROWS == 16u {
        store_tile(to + 8u * step, step, s1);
    }
}
