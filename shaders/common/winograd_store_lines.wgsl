// Writing the eight frequencies along z of one line to the binding `partial`, `step` elements apart.
#import winograd

fn store_frequencies(first: u32, step: u32, result: Eight) {
    partial[first] = packed(result.a);
    partial[first + step] = packed(result.b);
    partial[first + 2u * step] = packed(result.c);
    partial[first + 3u * step] = packed(result.d);
    partial[first + 4u * step] = packed(result.e);
    partial[first + 5u * step] = packed(result.f);
    partial[first + 6u * step] = packed(result.g);
    partial[first + 7u * step] = packed(result.h);
}
