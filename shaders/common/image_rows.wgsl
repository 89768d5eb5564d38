// An image [N, D, H, W, C] by rows along x, and the parameters of each channel of each sample.
#import channels
#import grid
#import line

struct Params {
    depth: u32,
    height: u32,
    width: u32,
    rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> image: array<f32>;
@group(0) @binding(2) var<storage, read> parameters: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;
