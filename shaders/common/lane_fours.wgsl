// Four columns per lane, of b and c.
const COLUMNS = 32u;

alias Columns = vec4<f32>;

fn columns_at(at: u32) -> Columns {
    let step = 8u * params.b_column;
    return Columns(b[at], b[at + step], b[at + 2u * step], b[at + 3u * step]);
}

fn held_columns(at: u32) -> Columns {
    return Columns(c[at], c[at + 8u], c[at + 16u], c[at + 24u]);
}

fn store_columns(at: u32, value: Columns) {
    c[at] = value.x;
    c[at + 8u] = value.y;
    c[at + 16u] = value.z;
    c[at + 24u] = value.w;
}
