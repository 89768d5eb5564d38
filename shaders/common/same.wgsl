// The convolution of odd kernels that keeps the extents: what ops/conv3d/kernels/same.rs binds.
struct Params {
    rows: u32,
    depth: u32,
    height: u32,
    width: u32,
    in_channels: u32,
    out_channels: u32,
    tap_step: u32,
    in_step: u32,
    out_step: u32,
    flip: u32,
    with_bias: u32,
    first_unit: u32, // number of the first workgroup, or of the first row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;
