// The gradient of a linear unit from its output, which has the sign of its input: grad_input = grad_output where output > 0, else
// slope * grad_output, or (output + 1) * grad_output of an exponential unit; and sums[tile, channel] = sum of grad_input over the
// rows of the tile, the gradient of a bias in front.
//
// Layout   output, grad_output, grad_input: [rows, channels]; sums: [tiles, channels]
// Grid     rows.wgsl, one workgroup per tile and block of channels
// Shared   1 KiB per channel of an element
// Traffic  12 bytes per element
// Oracle   ops::LinearUnitGrad::reference
#import rows
#import element
#import reduce

struct Params {
    rows: Rows,
    exponential: u32,
    slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> output: array<Stored>;
@group(0) @binding(2) var<storage, read> grad_output: array<Stored>;
@group(0) @binding(3) var<storage, read_write> grad_input: array<Stored>;
@group(0) @binding(4) var<storage, read_write> sums: array<Stored>;

@compute @workgroup_size(WORKGROUP)
fn linear_unit_grad(invocation: Invocation) {
    let rows = params.rows;
    let at = share(rows, invocation);
    var sum = Element();
    for (var row = at.row; row < at.end; row += rows.groups) {
        let i = row * rows.channels + at.channel;
        let y = unpacked(output[i]);
        let upstream = unpacked(grad_output[i]);
        let slope = select(Element(params.slope), y + 1.0, params.exponential == 1u);
        let gradient = select(slope * upstream, upstream, y > Element());
        grad_input[i] = packed(gradient);
        sum += gradient;
    }
    let total = sum_groups(invocation.local, rows.block, rows.groups, sum);
    if at.leads {
        sums[at.tile * rows.channels + at.channel] = packed(total);
    }
}
