// Sixteen columns of b and c, two neighbours per lane; where there are eight, the last lanes have the same as lane 3, and
// write the same. Positions in b and c count pairs.
#import element_pair

const COLUMNS = 16u;

alias Columns = vec2<f32>;

// The first column of a lane.
fn lane_column(lane: u32) -> u32 {
    return min(2u * lane, params.columns - 2u);
}

fn columns_at(at: u32) -> Columns {
    return unpacked(b[at]);
}

fn held_columns(at: u32) -> Columns {
    return unpacked(c[at]);
}

fn store_columns(at: u32, value: Columns) {
    c[at] = packed(value);
}
