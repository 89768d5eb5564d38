// One step of Adam or AdamW (torch.optim.Adam, torch.optim.AdamW) on a window of the arenas; nothing where the global
// norm of the gradients is not finite.
//
// g = clip * gradient, and for elements below `decayed` either parameter *= 1 - learning_rate * weight_decay
// (decoupled, AdamW) or g += weight_decay * parameter (Adam)
// m += (1 - beta1) * (g - m)
// v = beta2 * v + (1 - beta2) * g * g
// parameter -= learning_rate / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon)
//
// Layout   parameters, gradients, first and second moments: elements; step: StepScalars; norm: [1]
// Grid     four elements per invocation, 256 apart per workgroup, folded
// Traffic  28 bytes per element
// Oracle   optim::Adam, reference
#import grid
#import step

struct Params {
    elements: u32,
    decayed: u32,
    clip_norm: f32,
    weight_decay: f32,
    decoupled: u32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: StepScalars;
@group(0) @binding(2) var<storage, read> norm: array<u32>;
@group(0) @binding(3) var<storage, read> gradients: array<f32>;
@group(0) @binding(4) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(5) var<storage, read_write> first_moments: array<f32>;
@group(0) @binding(6) var<storage, read_write> second_moments: array<f32>;

@compute @workgroup_size(256)
fn adam(invocation: Invocation) {
    let norm_bits = norm[0];
    if !is_finite(norm_bits) {
        return;
    }
    let clip = clip_factor(bitcast<f32>(norm_bits), params.clip_norm);
    let decoupled = params.decoupled != 0u;
    let shrink = select(1.0, step.shrink, decoupled);
    let weight_decay = select(params.weight_decay, 0.0, decoupled);
    let of_first = step.rule[0];  // learning_rate / (1 - beta1^step)
    let of_second = step.rule[1]; // 1 / sqrt(1 - beta2^step)
    let first = workgroup_number(invocation) * 1024u + invocation.local;
    for (var i = first; i < min(first + 1024u, params.elements); i += 256u) {
        var parameter = parameters[i];
        var g = clip * gradients[i];
        if i < params.decayed {
            g += weight_decay * parameter;
            parameter *= shrink;
        }
        let before = first_moments[i];
        let m = before + params.one_minus_beta1 * (g - before);
        let v = params.beta2 * second_moments[i] + params.one_minus_beta2 * g * g;
        first_moments[i] = m;
        second_moments[i] = v;
        parameters[i] = parameter - of_first * m / (sqrt(v) * of_second + params.epsilon);
    }
}
