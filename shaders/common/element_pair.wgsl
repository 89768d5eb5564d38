// What an invocation of a transform works on: two neighbouring channels, in one load or store of 64 bits, which on llvmpipe
// costs no more than one of 32. Extents in elements count pairs.
alias Element = vec2<f32>;
// How it lies in memory.
alias Stored = u64;

fn unpacked(value: Stored) -> Element {
    return vec2(bitcast<f32>(u32(value)), bitcast<f32>(u32(value >> 32u)));
}

fn packed(value: Element) -> Stored {
    return u64(bitcast<u32>(value.x)) | (u64(bitcast<u32>(value.y)) << 32u);
}
