// The weight gradient's transform along y and x: the taps of a plane of each pair of channels and frequency along z.
//
// Layout   frequencies [.., FREQUENCIES_Y, FREQUENCIES_X, from, to], padded, partial [FREQUENCIES_Z, TAPS_Y TAPS_X, from, to]; `to` are
//          the channels that lie together
// Grid     (64 elements (from, to), frequencies along z)
// Traffic  a load per frequency and a store per tap
// Oracle   conv3d_grad_weight_naive, through the weight gradient
#import winograd_load

struct Params {
    from_channels: u32,
    to_channels: u32,
    padded_to: u32,
    first_frequency: u32, // along z
    frequency_step: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> frequencies: array<Stored>;
@group(0) @binding(2) var<storage, read_write> partial: array<Stored>;

fn store_line(at: u32, step: u32, line: TapsX) {
#each x in TAPS_X
    partial[at + {x}u * step] = packed(line.f{x});
#end
}

@compute @workgroup_size(64)
fn winograd_grad_weight_plane(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let element = workgroup.x * 64u + local;
    let pairs = params.from_channels * params.to_channels;
    if element >= pairs {
        return;
    }
    let from_channel = element / params.to_channels;
    let to_channel = element - from_channel * params.to_channels;
    let step = params.frequency_step;
    let first = workgroup.y * FREQUENCIES_Y * FREQUENCIES_X * step + from_channel * params.padded_to + to_channel;
#each x in FREQUENCIES_X
    let c{x} = transform_grad_weight_y(load_column({x}u, first, step));
#end
    let at = (params.first_frequency + workgroup.y) * TAPS_Y * TAPS_X * pairs + element;
#each y in TAPS_Y
    store_line(at + {y}u * TAPS_X * pairs, pairs, transform_grad_weight_x(FrequenciesX(
#each x in FREQUENCIES_X
        c{x}.f{y},
#end
    )));
#end
}
