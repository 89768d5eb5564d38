// Reading the eight frequencies along z of one line from the binding `partial`, `step` elements apart.
#import winograd

fn frequency_at(at: u32) -> vec4<f32> {
    return vec4(partial[at], 0.0, 0.0, 0.0);
}

fn load_frequencies(first: u32, step: u32) -> Eight {
    return Eight(
        frequency_at(first),
        frequency_at(first + step),
        frequency_at(first + 2u * step),
        frequency_at(first + 3u * step),
        frequency_at(first + 4u * step),
        frequency_at(first + 5u * step),
        frequency_at(first + 6u * step),
        frequency_at(first + 7u * step),
    );
}
