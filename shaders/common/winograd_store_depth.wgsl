// Writing the frequencies along z of one element to the binding `partial`, `step` elements apart.
#import element
#import winograd_transforms

fn store_frequencies(first: u32, step: u32, result: FrequenciesZ) {
#each z in FREQUENCIES_Z
    partial[first + {z}u * step] = packed(result.f{z});
#end
}
