// Reading the frequencies (y, x) of a plane from the binding `frequencies`, `step` elements apart.
#import element
#import winograd_transforms

// The frequencies along y of one along x.
fn load_column(x: u32, first: u32, step: u32) -> FrequenciesY {
    let at = first + x * step;
    return FrequenciesY(
#each y in FREQUENCIES_Y
        unpacked(frequencies[at + {y}u * FREQUENCIES_X * step]),
#end
    );
}
