// Writing the 8 x 8 frequencies (y, x) of a plane to the binding `frequencies`, `step` elements apart.
#import winograd_plane

// The frequencies along y of one along x.
fn store_column(x: u32, first: u32, step: u32, column: Eight) {
    let at = first + x * step;
    frequencies[at] = packed(column.a);
    frequencies[at + 8u * step] = packed(column.b);
    frequencies[at + 16u * step] = packed(column.c);
    frequencies[at + 24u * step] = packed(column.d);
    frequencies[at + 32u * step] = packed(column.e);
    frequencies[at + 40u * step] = packed(column.f);
    frequencies[at + 48u * step] = packed(column.g);
    frequencies[at + 56u * step] = packed(column.h);
}

// The frequencies of a plane of the output's gradient, of which each line is transformed already.
fn store_gradients(at: u32, step: u32, a: Eight, b: Eight, c: Eight, d: Eight) {
    store_column(0u, at, step, transform_grad(Four(a.a, b.a, c.a, d.a)));
    store_column(1u, at, step, transform_grad(Four(a.b, b.b, c.b, d.b)));
    store_column(2u, at, step, transform_grad(Four(a.c, b.c, c.c, d.c)));
    store_column(3u, at, step, transform_grad(Four(a.d, b.d, c.d, d.d)));
    store_column(4u, at, step, transform_grad(Four(a.e, b.e, c.e, d.e)));
    store_column(5u, at, step, transform_grad(Four(a.f, b.f, c.f, d.f)));
    store_column(6u, at, step, transform_grad(Four(a.g, b.g, c.g, d.g)));
    store_column(7u, at, step, transform_grad(Four(a.h, b.h, c.h, d.h)));
}
