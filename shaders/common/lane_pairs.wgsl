// Sixteen columns of b and c, two neighbours per lane, or eight, which lanes 0 to 3 have. Positions in c count pairs.
#import element_pair

override COLUMNS: u32; // 8 or 16

alias Columns = vec2<f32>;

// The first column of a lane. With eight columns the last lanes have the same as lane 3, and write the same.
fn lane_column(lane: u32) -> u32 {
    return 2u * min(lane, COLUMNS / 2u - 1u);
}

fn held_columns(at: u32) -> Columns {
    return unpacked(c[at]);
}

fn store_columns(at: u32, value: Columns) {
    c[at] = packed(value);
}
