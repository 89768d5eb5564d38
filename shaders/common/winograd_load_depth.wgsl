// Reading the frequencies along z of one element from the binding `partial`, `step` elements apart.
#import element
#import winograd_transforms

fn load_frequencies(first: u32, step: u32) -> FrequenciesZ {
    return FrequenciesZ(
#each z in FREQUENCIES_Z
        unpacked(partial[first + {z}u * step]),
#end
    );
}
