// Reading eight elements of the binding `partial`, `step` elements apart.
#import winograd

fn load_eight(first: u32, step: u32) -> Eight {
    return Eight(
        unpacked(partial[first]),
        unpacked(partial[first + step]),
        unpacked(partial[first + 2u * step]),
        unpacked(partial[first + 3u * step]),
        unpacked(partial[first + 4u * step]),
        unpacked(partial[first + 5u * step]),
        unpacked(partial[first + 6u * step]),
        unpacked(partial[first + 7u * step]),
    );
}
