// Wide register tiles for a subgroup of eight: lane l has columns l and, where COLUMNS is 16, l + 8 of
// each row; a value that all lanes need is loaded by one of them and broadcast, eight per load.
#import lanes

override COLUMNS: u32;

// One lane's two columns of eight along k.
struct Pairs {
    k0: vec4<f32>,
    k1: vec4<f32>,
    k2: vec4<f32>,
    k3: vec4<f32>,
    k4: vec4<f32>,
    k5: vec4<f32>,
    k6: vec4<f32>,
    k7: vec4<f32>,
}

fn products(sum: vec4<f32>, x: Slice, y: Pairs) -> vec4<f32> {
    let first = (x.k0 * y.k0 + x.k1 * y.k1) + (x.k2 * y.k2 + x.k3 * y.k3);
    let second = (x.k4 * y.k4 + x.k5 * y.k5) + (x.k6 * y.k6 + x.k7 * y.k7);
    return sum + (first + second);
}

fn pair_at(at: u32) -> vec4<f32> {
    let step = 8u * params.b_column;
    return vec4(b[at], b[at + step], b[at + 2u * step], b[at + 3u * step]);
}

fn held_pair(at: u32) -> vec4<f32> {
    return vec4(c[at], c[at + 8u], c[at + 16u], c[at + 24u]);
}

fn store_pair(at: u32, value: vec4<f32>) {
    c[at] = value.x;
    c[at + 8u] = value.y;
    c[at + 16u] = value.z;
    c[at + 24u] = value.w;
}
