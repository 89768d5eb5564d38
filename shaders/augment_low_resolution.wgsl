// output[z, y, x] is linear between the kept voxels around it: those at the coordinates below and above that a table
// names for each coordinate of each axis, with the position between them.
//
// Layout   image, output: [N, D, H, W, C]; parameters: [N, C, 3 (D + H + W)]: below, above, position of each z, then y,
//          then x
// Grid     one workgroup of 64 per row (n, z, y), folded; invocations stride over the row, for one channel after the other
// Traffic  8 bytes per element, 7 more elements and 3 numbers from the cache
// Oracle   augment::LowResolution::reference
#import image_rows

// Between the voxels `below` and `above` of a row.
fn between(row: u32, channel: u32, below: u32, above: u32, t: f32) -> f32 {
    let first = row * params.width;
    let a = image[(first + below) * CHANNELS + channel];
    return a + t * (image[(first + above) * CHANNELS + channel] - a);
}

fn reduce_row(row: u32, channel: u32, local: u32) {
    let line = line_of(row, params.depth, params.height);
    let numbers = 3u * (params.depth + params.height + params.width);
    let tables = (line.sample * CHANNELS + channel) * numbers;
    let tz = tables + 3u * line.z;
    let ty = tables + 3u * (params.depth + line.y);
    let planes = line.sample * params.depth + vec2<u32>(u32(parameters[tz]), u32(parameters[tz + 1u]));
    let rows = vec2<u32>(u32(parameters[ty]), u32(parameters[ty + 1u]));
    for (var x = local; x < params.width; x += 64u) {
        let tx = tables + 3u * (params.depth + params.height + x);
        let below = u32(parameters[tx]);
        let above = u32(parameters[tx + 1u]);
        let t = parameters[tx + 2u];
        let a = between(planes.x * params.height + rows.x, channel, below, above, t);
        let b = between(planes.x * params.height + rows.y, channel, below, above, t);
        let c = between(planes.y * params.height + rows.x, channel, below, above, t);
        let d = between(planes.y * params.height + rows.y, channel, below, above, t);
        let near = a + parameters[ty + 2u] * (b - a);
        let far = c + parameters[ty + 2u] * (d - c);
        output[(row * params.width + x) * CHANNELS + channel] = near + parameters[tz + 2u] * (far - near);
    }
}

@compute @workgroup_size(64)
fn augment_low_resolution(invocation: Invocation) {
    let row = workgroup_number(invocation);
    if row >= params.rows {
        return;
    }
    for (var channel = 0u; channel < CHANNELS; channel++) {
        reduce_row(row, channel, invocation.local);
    }
}
