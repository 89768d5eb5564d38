// grad_input = grad_output where input > 0, else slopes[channel] * grad_output.
//
// Layout   input, grad_output, grad_input: [rows, channels]; slopes: [channels]
// Grid     rows.wgsl, four rows per invocation
// Traffic  12 bytes per element
// Oracle   ops::PreluGradInput::reference
#import rows

struct Params {
    rows: Rows,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> slopes: array<f32>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn prelu_grad_input(
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
        let upstream = grad_output[i];
        grad_input[i] = select(slope * upstream, upstream, input[i] > 0.0);
    }
}
