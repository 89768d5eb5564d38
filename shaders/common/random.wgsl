// Counter-based random numbers: pcg4d (Jarzynski and Olano, JCGT 9(3), 2020), a permutation of 128 bits.
fn pcg4d(counter: vec4<u32>) -> vec4<u32> {
    var v = counter * 1664525u + 1013904223u;
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    v = v ^ (v >> vec4<u32>(16u));
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    return v;
}

// A standard normal number (Box and Muller 1958) from 24 bits in (0, 1] and 24 bits of an angle.
fn standard_normal(bits: vec2<u32>) -> f32 {
    let u = (f32(bits.x >> 8u) + 1.0) * 0x1p-24;
    let angle = (f32(bits.y >> 8u) * 0x1p-24 - 0.5) * 6.2831855;
    return sqrt(-2.0 * log(u)) * cos(angle);
}
