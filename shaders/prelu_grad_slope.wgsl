// partial[tile, channel] = sum over the rows of the tile of input * grad_output where input <= 0.
//
// Layout   input, grad_output: [rows, channels]; partial: [tiles, channels]
// Grid     rows.wgsl, one workgroup per tile and block of channels
// Shared   1 KiB
// Traffic  8 bytes per element
// Oracle   ops::PreluGradSlope::reference
#import rows
#import reduce

struct Params {
    rows: Rows,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn prelu_grad_slope(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let at = share(params.rows, linear_workgroup(workgroup, grid), local);
    var sum = 0.0;
    for (var row = at.row; row < at.end; row += params.rows.groups) {
        let i = row * params.rows.channels + at.channel;
        let x = input[i];
        sum += select(x * grad_output[i], 0.0, x > 0.0);
    }
    let total = sum_groups(local, params.rows.lanes, params.rows.groups, sum);
    if at.leads {
        partial[at.tile * params.rows.channels + at.channel] = total;
    }
}
