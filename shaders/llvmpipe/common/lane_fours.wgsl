// Thirty-two columns of b and c: of each half, two neighbours per lane. Positions in b and c count pairs.
#import element_pair

const COLUMNS = 32u;

alias Columns = vec4<f32>;

// The first column of a lane.
fn lane_column(lane: u32) -> u32 {
    return 2u * lane;
}

fn columns_at(at: u32) -> Columns {
    return Columns(unpacked(b[at]), unpacked(b[at + 8u]));
}

fn held_columns(at: u32) -> Columns {
    return Columns(unpacked(c[at]), unpacked(c[at + 8u]));
}

fn store_columns(at: u32, value: Columns) {
    c[at] = packed(value.xy);
    c[at + 8u] = packed(value.zw);
}
