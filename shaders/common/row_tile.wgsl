// A register tile of eight voxels along x by four output channels.

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

fn filled(value: vec4<f32>) -> Tile {
    return Tile(value, value, value, value, value, value, value, value);
}
