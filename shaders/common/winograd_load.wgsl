// Reading the 8 x 8 frequencies (y, x) of a plane from the binding `frequencies`, `step` elements apart.
#import winograd_plane

// The frequencies along y of one along x.
fn load_column(x: u32, first: u32, step: u32) -> Eight {
    let at = first + x * step;
    return Eight(
        unpacked(frequencies[at]),
        unpacked(frequencies[at + 8u * step]),
        unpacked(frequencies[at + 16u * step]),
        unpacked(frequencies[at + 24u * step]),
        unpacked(frequencies[at + 32u * step]),
        unpacked(frequencies[at + 40u * step]),
        unpacked(frequencies[at + 48u * step]),
        unpacked(frequencies[at + 56u * step]),
    );
}
