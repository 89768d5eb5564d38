// Writing the 8 x 8 frequencies of a plane to the binding `frequencies`, `step` elements apart.
#import winograd_plane

fn store_column(first: u32, step: u32, x: u32, upper: vec4<f32>, lower: vec4<f32>) {
    let at = first + x * step;
    frequencies[at] = upper.x;
    frequencies[at + 8u * step] = upper.y;
    frequencies[at + 16u * step] = upper.z;
    frequencies[at + 24u * step] = upper.w;
    frequencies[at + 32u * step] = lower.x;
    frequencies[at + 40u * step] = lower.y;
    frequencies[at + 48u * step] = lower.z;
    frequencies[at + 56u * step] = lower.w;
}

// `upper` and `lower`: for each x, the frequencies 0 to 3 and 4 to 7 along y.
fn store_plane(first: u32, step: u32, upper: Eight, lower: Eight) {
    store_column(first, step, 0u, upper.a, lower.a);
    store_column(first, step, 1u, upper.b, lower.b);
    store_column(first, step, 2u, upper.c, lower.c);
    store_column(first, step, 3u, upper.d, lower.d);
    store_column(first, step, 4u, upper.e, lower.e);
    store_column(first, step, 5u, upper.f, lower.f);
    store_column(first, step, 6u, upper.g, lower.g);
    store_column(first, step, 7u, upper.h, lower.h);
}
