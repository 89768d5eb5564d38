// output = input where input > 0, else slopes[channel] * input.
//
// Layout   input, output: [rows, channels]; slopes: [channels]
// Grid     rows.wgsl, four rows per invocation
// Traffic  8 bytes per element
// Oracle   ops::Prelu::reference
#import rows

struct Params {
    rows: Rows,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> slopes: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn prelu(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let at = share(params.rows, linear_workgroup(workgroup, grid), local);
    if at.row >= at.end {
        return;
    }
    let slope = slopes[at.channel];
    for (var row = at.row; row < at.end; row += params.rows.groups) {
        let i = row * params.rows.channels + at.channel;
        let x = input[i];
        output[i] = select(slope * x, x, x > 0.0);
    }
}
