// Register tiles of matrix products for a subgroup of eight: lane l has columns l and, where COLUMNS is 16, l + 8 of
// each row; a value that all lanes need is loaded by one of them and broadcast, eight per load.
#import lanes

override COLUMNS: u32;

// One lane's two columns of eight along k.
struct Pairs {
    k0: vec2<f32>,
    k1: vec2<f32>,
    k2: vec2<f32>,
    k3: vec2<f32>,
    k4: vec2<f32>,
    k5: vec2<f32>,
    k6: vec2<f32>,
    k7: vec2<f32>,
}

fn products(sum: vec2<f32>, x: Slice, y: Pairs) -> vec2<f32> {
    let first = (x.k0 * y.k0 + x.k1 * y.k1) + (x.k2 * y.k2 + x.k3 * y.k3);
    let second = (x.k4 * y.k4 + x.k5 * y.k5) + (x.k6 * y.k6 + x.k7 * y.k7);
    return sum + (first + second);
}

fn pair_at(at: u32) -> vec2<f32> {
    if COLUMNS == 16u {
        return vec2(b[at], b[at + 8u * params.b_column]);
    }
    return vec2(b[at], 0.0);
}

fn held_pair(at: u32) -> vec2<f32> {
    if COLUMNS == 16u {
        return vec2(c[at], c[at + 8u]);
    }
    return vec2(c[at], 0.0);
}

fn store_pair(at: u32, value: vec2<f32>) {
    c[at] = value.x;
    if COLUMNS == 16u {
        c[at + 8u] = value.y;
    }
}
