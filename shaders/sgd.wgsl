// One step of stochastic gradient descent (torch.optim.SGD) on a window of the arenas; nothing where the global norm of
// the gradients is not finite.
//
// g = clip * gradient + weight_decay * parameter (the latter for elements below `decayed`)
// b = momentum * b + g
// parameter -= learning_rate * (g + momentum * b if nesterov, else b)
//
// Layout   parameters, gradients, moments: elements; step: StepScalars; norm: [1]
// Grid     four elements per invocation, 256 apart per workgroup, folded
// Traffic  20 bytes per element
// Oracle   optim::Sgd, reference
#import grid
#import step

struct Params {
    elements: u32,
    decayed: u32,
    clip_norm: f32,
    weight_decay: f32,
    momentum: f32,
    nesterov: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: StepScalars;
@group(0) @binding(2) var<storage, read> norm: array<u32>;
@group(0) @binding(3) var<storage, read> gradients: array<f32>;
@group(0) @binding(4) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(5) var<storage, read_write> moments: array<f32>;

@compute @workgroup_size(256)
fn sgd(invocation: Invocation) {
    let norm_bits = norm[0];
    if !is_finite(norm_bits) {
        return;
    }
    let clip = clip_factor(bitcast<f32>(norm_bits), params.clip_norm);
    let learning_rate = step.learning_rate;
    let first = workgroup_number(invocation) * 1024u + invocation.local;
    for (var i = first; i < min(first + 1024u, params.elements); i += 256u) {
        let parameter = parameters[i];
        let decay = select(0.0, params.weight_decay, i < params.decayed);
        let g = clip * gradients[i] + decay * parameter;
        let moment = params.momentum * moments[i] + g;
        let direction = select(moment, g + params.momentum * moment, params.nesterov != 0u);
        moments[i] = moment;
        parameters[i] = parameter - learning_rate * direction;
    }
}
