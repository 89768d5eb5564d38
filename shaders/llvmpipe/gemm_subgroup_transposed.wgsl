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
        Slice(k0.x, k1.x, k2.x, k3.x, k4.x, k5.x, k6.x, k7.x),
        Slice(k0.y, k1.y, k2.y, k3.y, k4.y, k5.y, k6.y, k7.y),
    );
}

// What a lane loaded of one row.
fn lane_0(x: Slice) -> Slice {
    return Slice(
        subgroupBroadcast(x.k0, 0u),
        subgroupBroadcast(x.k1, 0u),
        subgroupBroadcast(x.k2, 0u),
        subgroupBroadcast(x.k3, 0u),
        subgroupBroadcast(x.k4, 0u),
        subgroupBroadcast(x.k5, 0u),
        subgroupBroadcast(x.k6, 0u),
        subgroupBroadcast(x.k7, 0u),
    );
}

fn lane_1(x: Slice) -> Slice {
    return Slice(
        subgroupBroadcast(x.k0, 1u),
        subgroupBroadcast(x.k1, 1u),
        subgroupBroadcast(x.k2, 1u),
        subgroupBroadcast(x.k3, 1u),
        subgroupBroadcast(x.k4, 1u),
        subgroupBroadcast(x.k5, 1u),
        subgroupBroadcast(x.k6, 1u),
        subgroupBroadcast(x.k7, 1u),
    );
}

fn lane_2(x: Slice) -> Slice {
    return Slice(
        subgroupBroadcast(x.k0, 2u),
        subgroupBroadcast(x.k1, 2u),
        subgroupBroadcast(x.k2, 2u),
        subgroupBroadcast(x.k3, 2u),
        subgroupBroadcast(x.k4, 2u),
        subgroupBroadcast(x.k5, 2u),
        subgroupBroadcast(x.k6, 2u),
        subgroupBroadcast(x.k7, 2u),
    );
}

fn lane_3(x: Slice) -> Slice {
    return Slice(
        subgroupBroadcast(x.k0, 3u),
        subgroupBroadcast(x.k1, 3u),
        subgroupBroadcast(x.k2, 3u),
        subgroupBroadcast(x.k3, 3u),
        subgroupBroadcast(x.k4, 3u),
        subgroupBroadcast(x.k5, 3u),
        subgroupBroadcast(x.k6, 3u),
        subgroupBroadcast(x.k7, 3u),
    );
}

fn lane_4(x: Slice) -> Slice {
    return Slice(
        subgroupBroadcast(x.k0, 4u),
        subgroupBroadcast(x.k1, 4u),
        subgroupBroadcast(x.k2, 4u),
        subgroupBroadcast(x.k3, 4u),
        subgroupBroadcast(x.k4, 4u),
        subgroupBroadcast(x.k5, 4u),
        subgroupBroadcast(x.k6, 4u),
        subgroupBroadcast(x.k7, 4u),
    );
}

fn lane_5(x: Slice) -> Slice {
    return Slice(
        subgroupBroadcast(x.k0, 5u),
        subgroupBroadcast(x.k1, 5u),
        subgroupBroadcast(x.k2, 5u),
        subgroupBroadcast(x.k3, 5u),
        subgroupBroadcast(x.k4, 5u),
        subgroupBroadcast(x.k5, 5u),
        subgroupBroadcast(x.k6, 5u),
        subgroupBroadcast(x.k7, 5u),
    );
}

fn lane_6(x: Slice) -> Slice {
    return Slice(
        subgroupBroadcast(x.k0, 6u),
        subgroupBroadcast(x.k1, 6u),
        subgroupBroadcast(x.k2, 6u),
        subgroupBroadcast(x.k3, 6u),
        subgroupBroadcast(x.k4, 6u),
        subgroupBroadcast(x.k5, 6u),
        subgroupBroadcast(x.k6, 6u),
        subgroupBroadcast(x.k7, 6u),
    );
}

fn lane_7(x: Slice) -> Slice {
    return Slice(
        subgroupBroadcast(x.k0, 7u),
        subgroupBroadcast(x.k1, 7u),
        subgroupBroadcast(x.k2, 7u),
        subgroupBroadcast(x.k3, 7u),
        subgroupBroadcast(x.k4, 7u),
        subgroupBroadcast(x.k5, 7u),
        subgroupBroadcast(x.k6, 7u),
        subgroupBroadcast(x.k7, 7u),
    );
}

fn held(at: u32) -> vec2<f32> {
    if params.add == 0u {
        return vec2(0.0);
    }
    return held_columns(at);
}

@compute @workgroup_size(8)
fn gemm_subgroup_transposed(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let row = workgroup.y * ROWS;
    let column = workgroup.x * COLUMNS + lane_column(lane);
    let in_a = (params.a_first + workgroup.z * params.a_batch + row) / 2u + min(lane, ROWS / 2u - 1u);
    let in_b = (params.b_first + workgroup.z * params.b_batch + column) / 2u;
    let to = (params.c_first + workgroup.z * params.c_batch + row * params.c_row + column) / 2u;
    let step = params.c_row / 2u;
    var s0 = held(to);
    var s1 = held(to + 1u * step);
    var s2 = held(to + 2u * step);
    var s3 = held(to + 3u * step);
    var s4 = held(to + 4u * step);
    var s5 = held(to + 5u * step);
    var s6 = held(to + 6u * step);
    var s7 = held(to + 7u * step);
    var s8 = vec2<f32>();
    var s9 = vec2<f32>();
    var s10 = vec2<f32>();
    var s11 = vec2<f32>();
    var s12 = vec2<f32>();
    var s13 = vec2<f32>();
    var s14 = vec2<f32>();
    var s15 = vec2<f32>();
    if ROWS == 16u {
        s8 = held(to + 8u * step);
        s9 = held(to + 9u * step);
        s10 = held(to + 10u * step);
        s11 = held(to + 11u * step);
        s12 = held(to + 12u * step);
        s13 = held(to + 13u * step);
        s14 = held(to + 14u * step);
        s15 = held(to + 15u * step);
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
        s0 = multiply_add(s0, lane_0(x.even), y);
        s1 = multiply_add(s1, lane_0(x.odd), y);
        s2 = multiply_add(s2, lane_1(x.even), y);
        s3 = multiply_add(s3, lane_1(x.odd), y);
        s4 = multiply_add(s4, lane_2(x.even), y);
        s5 = multiply_add(s5, lane_2(x.odd), y);
        s6 = multiply_add(s6, lane_3(x.even), y);
        s7 = multiply_add(s7, lane_3(x.odd), y);
        if ROWS == 16u {
            s8 = multiply_add(s8, lane_4(x.even), y);
            s9 = multiply_add(s9, lane_4(x.odd), y);
            s10 = multiply_add(s10, lane_5(x.even), y);
            s11 = multiply_add(s11, lane_5(x.odd), y);
            s12 = multiply_add(s12, lane_6(x.even), y);
            s13 = multiply_add(s13, lane_6(x.odd), y);
            s14 = multiply_add(s14, lane_7(x.even), y);
            s15 = multiply_add(s15, lane_7(x.odd), y);
        }
        let ends = k + 8u >= here;
        panel += select(0u, 1u, ends);
        k = select(k + 8u, 0u, ends);
    }
    store_columns(to, s0);
    store_columns(to + 1u * step, s1);
    store_columns(to + 2u * step, s2);
    store_columns(to + 3u * step, s3);
    store_columns(to + 4u * step, s4);
    store_columns(to + 5u * step, s5);
    store_columns(to + 6u * step, s6);
    store_columns(to + 7u * step, s7);
    if ROWS == 16u {
        store_columns(to + 8u * step, s8);
        store_columns(to + 9u * step, s9);
        store_columns(to + 10u * step, s10);
        store_columns(to + 11u * step, s11);
        store_columns(to + 12u * step, s12);
        store_columns(to + 13u * step, s13);
        store_columns(to + 14u * step, s14);
        store_columns(to + 15u * step, s15);
    }
}
