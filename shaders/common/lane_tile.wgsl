// Register tiles of matrix products for a subgroup of eight: a lane has its columns of each row, as `Columns`; a value that
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

fn products(sum: Columns, x: Slice, y: Tile) -> Columns {
    let first = (x.k0 * y.k0 + x.k1 * y.k1) + (x.k2 * y.k2 + x.k3 * y.k3);
    let second = (x.k4 * y.k4 + x.k5 * y.k5) + (x.k6 * y.k6 + x.k7 * y.k7);
    return sum + (first + second);
}
