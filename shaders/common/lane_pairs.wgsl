// One or two columns per lane, of b and c.
override COLUMNS: u32; // 8 or 16

alias Columns = vec2<f32>;

fn columns_at(at: u32) -> Columns {
    if COLUMNS == 16u {
        return Columns(b[at], b[at + 8u * params.b_column]);
    }
    return Columns(b[at], 0.0);
}

fn held_columns(at: u32) -> Columns {
    if COLUMNS == 16u {
        return Columns(c[at], c[at + 8u]);
    }
    return Columns(c[at], 0.0);
}

fn store_columns(at: u32, value: Columns) {
    c[at] = value.x;
    if COLUMNS == 16u {
        c[at + 8u] = value.y;
    }
}
