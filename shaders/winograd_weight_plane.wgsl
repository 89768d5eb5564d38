// The weights' transform along y and x, after winograd_weight_depth: 8 x 8 frequencies of each pair of channels and
// frequency along z. For the gradient with respect to the input the taps are taken from the other end.
//
// Layout   partial [8, 25, from, to], frequencies [.., 8, 8, from, to], padded
// Grid     (64 elements (from, to), frequencies along z)
// Traffic  25 loads and 64 stores per 64 frequencies
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

// The frequencies along x of each line of taps.
struct Lines {
    a: Eight,
    b: Eight,
    c: Eight,
    d: Eight,
    e: Eight,
}

fn tap_at(first: u32, step: u32, tap: u32) -> Element {
    return unpacked(partial[first + select(tap, 24u - tap, params.mirrored != 0u) * step]);
}

fn load_line(first: u32, step: u32, y: u32) -> Five {
    return Five(
        tap_at(first, step, y * 5u),
        tap_at(first, step, y * 5u + 1u),
        tap_at(first, step, y * 5u + 2u),
        tap_at(first, step, y * 5u + 3u),
        tap_at(first, step, y * 5u + 4u),
    );
}

fn column(scale: f32, a: Element, b: Element, c: Element, d: Element, e: Element) -> Five {
    return Five(scale * a, scale * b, scale * c, scale * d, scale * e);
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
    let first = (params.first_frequency + workgroup.y) * 25u * step + pair;
    let p = Lines(
        transform_weight(load_line(first, step, 0u)),
        transform_weight(load_line(first, step, 1u)),
        transform_weight(load_line(first, step, 2u)),
        transform_weight(load_line(first, step, 3u)),
        transform_weight(load_line(first, step, 4u)),
    );
    let at = workgroup.y * 64u * params.frequency_step + element;
    let scale = select(0.0, 1.0, inside);
    store_column(0u, at, params.frequency_step, transform_weight(column(scale, p.a.a, p.b.a, p.c.a, p.d.a, p.e.a)));
    store_column(1u, at, params.frequency_step, transform_weight(column(scale, p.a.b, p.b.b, p.c.b, p.d.b, p.e.b)));
    store_column(2u, at, params.frequency_step, transform_weight(column(scale, p.a.c, p.b.c, p.c.c, p.d.c, p.e.c)));
    store_column(3u, at, params.frequency_step, transform_weight(column(scale, p.a.d, p.b.d, p.c.d, p.d.d, p.e.d)));
    store_column(4u, at, params.frequency_step, transform_weight(column(scale, p.a.e, p.b.e, p.c.e, p.d.e, p.e.e)));
    store_column(5u, at, params.frequency_step, transform_weight(column(scale, p.a.f, p.b.f, p.c.f, p.d.f, p.e.f)));
    store_column(6u, at, params.frequency_step, transform_weight(column(scale, p.a.g, p.b.g, p.c.g, p.d.g, p.e.g)));
    store_column(7u, at, params.frequency_step, transform_weight(column(scale, p.a.h, p.b.h, p.c.h, p.d.h, p.e.h)));
}
