// sum = gradient in the first micro-step of a step, sum + gradient in the others.
//
// Layout   gradient, sum: elements; step: StepScalars
// Grid     four elements per invocation, 256 apart per workgroup, folded
// Traffic  12 bytes per element
// Oracle   optim::reference::accumulate
#import grid
#import step

@group(0) @binding(0) var<uniform> elements: u32;
@group(0) @binding(1) var<storage, read> step: StepScalars;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read_write> sum: array<f32>;

@compute @workgroup_size(256)
fn accumulate(invocation: Invocation) {
    let first_micro_step = step.first_micro_step != 0u;
    let first = workgroup_number(invocation) * 1024u + invocation.local;
    for (var i = first; i < min(first + 1024u, elements); i += 256u) {
        // Chosen, not multiplied by 0: what an earlier step left may be infinite.
        var before = 0.0;
        if !first_micro_step {
            before = sum[i];
        }
        sum[i] = before + gradient[i];
    }
}
