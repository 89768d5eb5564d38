// A register tile of eight voxels along x by four output channels, over which five taps slide.

struct Tile {
    a0: vec4<f32>,
    a1: vec4<f32>,
    a2: vec4<f32>,
    a3: vec4<f32>,
    a4: vec4<f32>,
    a5: vec4<f32>,
    a6: vec4<f32>,
    a7: vec4<f32>,
}

// Twelve neighbouring inputs of one channel: the voxels under a tile and two on either side.
struct Row {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
}

// The taps along x of one input channel, four output channels each.
struct Taps {
    k0: vec4<f32>,
    k1: vec4<f32>,
    k2: vec4<f32>,
    k3: vec4<f32>,
    k4: vec4<f32>,
}

fn filled(value: vec4<f32>) -> Tile {
    return Tile(value, value, value, value, value, value, value, value);
}

fn slide(sum: vec4<f32>, x: vec4<f32>, last: f32, w: Taps) -> vec4<f32> {
    var s = fma(vec4(x.x), w.k0, sum);
    s = fma(vec4(x.y), w.k1, s);
    s = fma(vec4(x.z), w.k2, s);
    s = fma(vec4(x.w), w.k3, s);
    return fma(vec4(last), w.k4, s);
}

// tile[i] += sum over k of row[i + k] * taps[k]
fn accumulate(tile: ptr<function, Tile>, x: Row, w: Taps) {
    (*tile).a0 = slide((*tile).a0, x.a, x.b.x, w);
    (*tile).a1 = slide((*tile).a1, vec4(x.a.yzw, x.b.x), x.b.y, w);
    (*tile).a2 = slide((*tile).a2, vec4(x.a.zw, x.b.xy), x.b.z, w);
    (*tile).a3 = slide((*tile).a3, vec4(x.a.w, x.b.xyz), x.b.w, w);
    (*tile).a4 = slide((*tile).a4, x.b, x.c.x, w);
    (*tile).a5 = slide((*tile).a5, vec4(x.b.yzw, x.c.x), x.c.y, w);
    (*tile).a6 = slide((*tile).a6, vec4(x.b.zw, x.c.xy), x.c.z, w);
    (*tile).a7 = slide((*tile).a7, vec4(x.b.w, x.c.xyz), x.c.w, w);
}
