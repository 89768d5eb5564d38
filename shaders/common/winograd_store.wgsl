// Writing the frequencies (y, x) of a plane to the binding `frequencies`, `step` elements apart.
#import element
#import winograd_transforms

// The frequencies along y of one along x.
fn store_column(x: u32, first: u32, step: u32, column: FrequenciesY) {
    let at = first + x * step;
#each y in FREQUENCIES_Y
    frequencies[at + {y}u * FREQUENCIES_X * step] = packed(column.f{y});
#end
}
