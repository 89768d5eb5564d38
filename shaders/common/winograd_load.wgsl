// Reading the 8 x 8 frequencies of a plane from the binding `frequencies`, `step` elements apart.
#import winograd_plane

fn load_quad(at: u32, step: u32) -> vec4<f32> {
    return vec4(
        frequencies[at],
        frequencies[at + step],
        frequencies[at + 2u * step],
        frequencies[at + 3u * step],
    );
}

fn load_half(first: u32, step: u32) -> Eight {
    return Eight(
        load_quad(first, step),
        load_quad(first + 8u * step, step),
        load_quad(first + 16u * step, step),
        load_quad(first + 24u * step, step),
        load_quad(first + 32u * step, step),
        load_quad(first + 40u * step, step),
        load_quad(first + 48u * step, step),
        load_quad(first + 56u * step, step),
    );
}

fn load_plane(first: u32, step: u32) -> Plane {
    return Plane(load_half(first, step), load_half(first + 4u * step, step));
}
