// output = input where input > 0, else slope * input, or exp(input) - 1 of an exponential unit.
//
// Layout   input, output: [rows, channels]
// Grid     rows.wgsl, several rows per invocation
// Traffic  8 bytes per element
// Oracle   ops::LinearUnit::reference
#import rows
#import element

struct Params {
    rows: Rows,
    exponential: u32,
    slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read_write> output: array<Stored>;

// exp(x) - 1 for x <= 0. Near 0, where the difference loses digits, the series: its first term that is left out is below
// 2^-24 of the sum for x > -1/8.
fn expm1(x: Element) -> Element {
    let series = x + x * x * (0.5 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x * (1.0 / 720.0)))));
    return select(series, exp(x) - 1.0, x < Element(-0.125));
}

@compute @workgroup_size(WORKGROUP)
fn linear_unit(invocation: Invocation) {
    let rows = params.rows;
    let at = share(rows, invocation);
    for (var row = at.row; row < at.end; row += rows.groups) {
        let i = row * rows.channels + at.channel;
        let x = unpacked(input[i]);
        var below = params.slope * x;
        if params.exponential == 1u {
            below = expm1(min(x, Element()));
        }
        output[i] = packed(select(below, x, x > Element()));
    }
}
