// output[i] = values[i].
//
// Layout   output: count, at most 256
// Grid     one workgroup
// Oracle   ops::Constant::reference

struct Params {
    count: u32,
    values: array<vec4<f32>, 64>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(256)
fn constant(@builtin(local_invocation_index) i: u32) {
    if i < params.count {
        output[i] = params.values[i / 4u][i % 4u];
    }
}
