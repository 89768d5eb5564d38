// The weights' transform along y and x, after winograd_weight_depth: the frequencies of a plane of each pair of channels and
// frequency along z. For the gradient with respect to the input the taps are taken from the other end.
//
// Layout   partial [FREQUENCIES_Z, TAPS_Y TAPS_X, from, to], frequencies [.., FREQUENCIES_Y, FREQUENCIES_X, from, to], padded
// Grid     (64 elements (from, to), frequencies along z)
// Traffic  a load per tap and a store per frequency
// Bounds   padded channels are zero
// Oracle   as winograd_weight_depth
#import winograd_store

struct Params {
    from_channels: u32,
    to_channels: u32,
    padded_from: u32,
    padded_to: u32,
    first_frequency: u32, // along z
    frequency_step: u32,
    mirrored: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<Stored>;
@group(0) @binding(2) var<storage, read_write> frequencies: array<Stored>;

fn tap_at(first: u32, step: u32, tap: u32) -> Element {
    return unpacked(partial[first + select(tap, TAPS_Y * TAPS_X - 1u - tap, params.mirrored != 0u) * step]);
}

fn load_line(first: u32, step: u32, y: u32) -> TapsX {
    return TapsX(
#each x in TAPS_X
        tap_at(first, step, y * TAPS_X + {x}u),
#end
    );
}

@compute @workgroup_size(64)
fn winograd_weight_plane(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let element = workgroup.x * 64u + local;
    let from_channel = element / params.padded_to;
    if from_channel >= params.padded_from {
        return;
    }
    let to_channel = element - from_channel * params.padded_to;
    let step = params.from_channels * params.to_channels;
    let inside = from_channel < params.from_channels && to_channel < params.to_channels;
    let pair = select(0u, from_channel * params.to_channels + to_channel, inside);
    let first = (params.first_frequency + workgroup.y) * TAPS_Y * TAPS_X * step + pair;
#each y in TAPS_Y
    let l{y} = transform_weight_x(load_line(first, step, {y}u));
#end
    let at = workgroup.y * FREQUENCIES_Y * FREQUENCIES_X * params.frequency_step + element;
    let scale = select(0.0, 1.0, inside);
#each x in FREQUENCIES_X
    store_column({x}u, at, params.frequency_step, transform_weight_y(TapsY(
#each y in TAPS_Y
        scale * l{y}.f{x},
#end
    )));
#end
}
