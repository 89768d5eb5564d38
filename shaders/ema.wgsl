// Exponential moving average of a window of the parameters; nothing where the global norm of the gradients is not finite.
//
// average += weight * (parameter - average)
//
// Layout   parameters, averages: elements; step: StepScalars; norm: [1]
// Grid     four elements per invocation, 256 apart per workgroup, folded
// Traffic  12 bytes per element
// Oracle   optim::reference::average
#import grid
#import step

@group(0) @binding(0) var<uniform> elements: u32;
@group(0) @binding(1) var<storage, read> step: StepScalars;
@group(0) @binding(2) var<storage, read> norm: array<u32>;
@group(0) @binding(3) var<storage, read> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> averages: array<f32>;

@compute @workgroup_size(256)
fn ema(invocation: Invocation) {
    if !is_finite(norm[0]) {
        return;
    }
    let weight = step.average;
    let first = workgroup_number(invocation) * 1024u + invocation.local;
    for (var i = first; i < min(first + 1024u, elements); i += 256u) {
        let before = averages[i];
        averages[i] = before + weight * (parameters[i] - before);
    }
}
