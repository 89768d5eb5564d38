// Stub.
struct Params { elements: u32, channels: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@compute @workgroup_size(64)
fn channel_sum_stub(@builtin(global_invocation_id) id: vec3<u32>) {
    let c = id.x;
    if c < params.channels {
        var sum = 0.0;
        for (var i = c; i < params.elements; i += params.channels) { sum += input[i]; }
        output[c] = sum;
    }
}
