// The weight gradient's transform along y and x: 5 x 5 taps of each pair of channels and frequency along z.
//
// Layout   frequencies [.., 8, 8, from, to], padded, partial [8, 25, from, to]; `to` are the channels that lie together
// Grid     (64 elements (from, to), frequencies along z)
// Traffic  64 loads and 25 stores per 64 frequencies
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

// The taps along y of each frequency along x.
struct Columns {
    a: Five,
    b: Five,
    c: Five,
    d: Five,
    e: Five,
    f: Five,
    g: Five,
    h: Five,
}

fn store_line(at: u32, step: u32, line: Five) {
    partial[at] = packed(line.a);
    partial[at + step] = packed(line.b);
    partial[at + 2u * step] = packed(line.c);
    partial[at + 3u * step] = packed(line.d);
    partial[at + 4u * step] = packed(line.e);
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
    let first = workgroup.y * 64u * step + from_channel * params.padded_to + to_channel;
    let p = Columns(
        transform_grad_weight(load_column(0u, first, step)),
        transform_grad_weight(load_column(1u, first, step)),
        transform_grad_weight(load_column(2u, first, step)),
        transform_grad_weight(load_column(3u, first, step)),
        transform_grad_weight(load_column(4u, first, step)),
        transform_grad_weight(load_column(5u, first, step)),
        transform_grad_weight(load_column(6u, first, step)),
        transform_grad_weight(load_column(7u, first, step)),
    );
    let at = (params.first_frequency + workgroup.y) * 25u * pairs + element;
    store_line(at, pairs, transform_grad_weight(Eight(p.a.a, p.b.a, p.c.a, p.d.a, p.e.a, p.f.a, p.g.a, p.h.a)));
    store_line(at + 5u * pairs, pairs, transform_grad_weight(Eight(p.a.b, p.b.b, p.c.b, p.d.b, p.e.b, p.f.b, p.g.b, p.h.b)));
    store_line(at + 10u * pairs, pairs, transform_grad_weight(Eight(p.a.c, p.b.c, p.c.c, p.d.c, p.e.c, p.f.c, p.g.c, p.h.c)));
    store_line(at + 15u * pairs, pairs, transform_grad_weight(Eight(p.a.d, p.b.d, p.c.d, p.d.d, p.e.d, p.f.d, p.g.d, p.h.d)));
    store_line(at + 20u * pairs, pairs, transform_grad_weight(Eight(p.a.e, p.b.e, p.c.e, p.d.e, p.e.e, p.f.e, p.g.e, p.h.e)));
}
