// Register tiles of gemms for a subgroup of eight: a lane has its columns of each row, as `Columns`; a value that
// all lanes need is loaded by one of them and broadcast, sixteen per load.
#import lanes

// One lane's columns of eight along k.
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
    let k0 = fma(Columns(x.k0), y.k0, sum);
    let k1 = fma(Columns(x.k1), y.k1, k0);
    let k2 = fma(Columns(x.k2), y.k2, k1);
    let k3 = fma(Columns(x.k3), y.k3, k2);
    let k4 = fma(Columns(x.k4), y.k4, k3);
    let k5 = fma(Columns(x.k5), y.k5, k4);
    let k6 = fma(Columns(x.k6), y.k6, k5);
    return fma(Columns(x.k7), y.k7, k6);
}

// This lane's columns of eight rows of b, `step` apart.
fn tile_at(at: u32, step: u32) -> Tile {
    return Tile(
        columns_at(at),
        columns_at(at + 1u * step),
        columns_at(at + 2u * step),
        columns_at(at + 3u * step),
        columns_at(at + 4u * step),
        columns_at(at + 5u * step),
        columns_at(at + 6u * step),
        columns_at(at + 7u * step),
    );
}
