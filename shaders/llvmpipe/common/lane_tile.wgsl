// Register tiles of gemms for a subgroup of eight: a lane has its columns of each row, as `Columns`; a value that
// all lanes need is loaded by one of them and broadcast, sixteen per load.
#import lanes

// One lane's columns of eight rows: of b along k, or of c.
struct Tile {
    k0: Columns,
    k1: Columns,
    k2: Columns,
    k3: Columns,
    k4: Columns,
    k5: Columns,
    k6: Columns,
    k7: Columns,
}

fn multiply_add(sum: Columns, x: Slice, y: Tile) -> Columns {
    let k0 = fma(Columns(x.a.x), y.k0, sum);
    let k1 = fma(Columns(x.a.y), y.k1, k0);
    let k2 = fma(Columns(x.a.z), y.k2, k1);
    let k3 = fma(Columns(x.a.w), y.k3, k2);
    let k4 = fma(Columns(x.b.x), y.k4, k3);
    let k5 = fma(Columns(x.b.y), y.k5, k4);
    let k6 = fma(Columns(x.b.z), y.k6, k5);
    return fma(Columns(x.b.w), y.k7, k6);
}

// This lane's columns of eight rows of b, `step` apart.
fn tile_at(at: u32, step: u32) -> Tile {
    return Tile(
        columns_at(at),
        columns_at(at + step),
        columns_at(at + 2u * step),
        columns_at(at + 3u * step),
        columns_at(at + 4u * step),
        columns_at(at + 5u * step),
        columns_at(at + 6u * step),
        columns_at(at + 7u * step),
    );
}

// The same of c.
fn store_tile(at: u32, step: u32, tile: Tile) {
    store_columns(at, tile.k0);
    store_columns(at + step, tile.k1);
    store_columns(at + 2u * step, tile.k2);
    store_columns(at + 3u * step, tile.k3);
    store_columns(at + 4u * step, tile.k4);
    store_columns(at + 5u * step, tile.k5);
    store_columns(at + 6u * step, tile.k6);
    store_columns(at + 7u * step, tile.k7);
}
