// Bias field, brightness, contrast, gamma and noise, in this order, at each voxel p of a channel with v = image[p]:
//   v = low + (v - low) exp(B(p)), B a polynomial of degree 3 without constant in z, y, x from -1 to 1
//   v = v brightness;   v = mean + (v - mean) contrast
//   v = low + (high - low) g(clamp((v - low) / (high - low), 0, 1)), g(t) = t^gamma or, inverted, 1 - (1 - t)^gamma
//   v = v + deviation normal(p)
//
// Layout   image, output: [N, D, H, W, C]; parameters: [N, C, 32]: low, high, mean, brightness, contrast, gamma, inverted,
//          deviation, four times 16 bits of the noise's key, whether there is a bias field, 19 coefficients of B
// Grid     one workgroup of 64 per row (n, z, y), folded; invocations stride over the row, for one channel after the other
// Traffic  8 bytes per element
// Oracle   augment::Intensity::reference
#import image_rows
#import random

const PARAMETERS: u32 = 32u;

// The middle of an axis is 0, its ends are -1 and 1.
fn centred(at: u32, extent: u32) -> f32 {
    return select(0.0, 2.0 * f32(at) / f32(extent - 1u) - 1.0, extent > 1u);
}

// Coefficients of x^0 … x^3 in row (z, y) of the polynomial at `c`: augment::bias_monomials.
fn bias_row(c: u32, z: f32, y: f32) -> vec4<f32> {
    let linear = parameters[c] * z + parameters[c + 1u] * y;
    let square = parameters[c + 2u] * z * z + parameters[c + 3u] * z * y + parameters[c + 4u] * y * y;
    let cube = parameters[c + 5u] * z * z * z + parameters[c + 6u] * z * z * y;
    let cubes = cube + parameters[c + 7u] * z * y * y + parameters[c + 8u] * y * y * y;
    let first = parameters[c + 9u] + parameters[c + 10u] * z + parameters[c + 11u] * y;
    let firsts = parameters[c + 12u] * z * z + parameters[c + 13u] * z * y + parameters[c + 14u] * y * y;
    let second = parameters[c + 15u] + parameters[c + 16u] * z + parameters[c + 17u] * y;
    return vec4<f32>(linear + square + cubes, first + firsts, second, parameters[c + 18u]);
}

fn curve(t: f32, gamma: f32) -> f32 {
    return select(0.0, exp2(gamma * log2(t)), t > 0.0);
}

fn augment_row(row: u32, channel: u32, local: u32) {
    let line = line_of(row, params.depth, params.height);
    let n = (line.sample * CHANNELS + channel) * PARAMETERS;
    let low = parameters[n];
    let range = parameters[n + 1u] - low;
    let mean = parameters[n + 2u];
    let brightness = parameters[n + 3u];
    let contrast = parameters[n + 4u];
    let gamma = parameters[n + 5u];
    let inverted = parameters[n + 6u] != 0.0;
    let deviation = parameters[n + 7u];
    let key_low = u32(parameters[n + 8u]) | (u32(parameters[n + 9u]) << 16u);
    let key_high = u32(parameters[n + 10u]) | (u32(parameters[n + 11u]) << 16u);
    let biased = parameters[n + 12u] != 0.0;
    let bias = bias_row(n + 13u, centred(line.z, params.depth), centred(line.y, params.height));
    let first_of_sample = (line.z * params.height + line.y) * params.width;
    for (var x = local; x < params.width; x += 64u) {
        let i = (row * params.width + x) * CHANNELS + channel;
        var v = image[i];
        if biased {
            let at = centred(x, params.width);
            let field = bias.x + at * (bias.y + at * (bias.z + at * bias.w));
            v = low + (v - low) * exp(field);
        }
        v = v * brightness;
        if contrast != 1.0 {
            v = mean + (v - mean) * contrast;
        }
        if gamma != 1.0 && range > 0.0 {
            let t = clamp((v - low) / range, 0.0, 1.0);
            let g = select(curve(t, gamma), 1.0 - curve(1.0 - t, gamma), inverted);
            v = low + range * g;
        }
        if deviation > 0.0 {
            let bits = pcg4d(vec4<u32>(first_of_sample + x, key_low, key_high, 0u));
            v += deviation * standard_normal(bits.xy);
        }
        output[i] = v;
    }
}

@compute @workgroup_size(64)
fn augment_intensity(invocation: Invocation) {
    let row = workgroup_number(invocation);
    if row >= params.rows {
        return;
    }
    for (var channel = 0u; channel < CHANNELS; channel++) {
        augment_row(row, channel, invocation.local);
    }
}
