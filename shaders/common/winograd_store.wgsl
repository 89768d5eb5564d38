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
