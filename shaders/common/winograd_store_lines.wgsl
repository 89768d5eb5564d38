// Writing the eight frequencies along z of one line to the binding `partial`, `step` elements apart.
#import winograd

fn store_frequencies(first: u32, step: u32, result: Eight) {
    partial[first] = result.a.x;
    partial[first + step] = result.b.x;
    partial[first + 2u * step] = result.c.x;
    partial[first + 3u * step] = result.d.x;
    partial[first + 4u * step] = result.e.x;
    partial[first + 5u * step] = result.f.x;
    partial[first + 6u * step] = result.g.x;
    partial[first + 7u * step] = result.h.x;
}
