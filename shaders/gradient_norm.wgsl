// norm = square root of the sum of all partial sums of squares.
//
// Layout   partials: count; norm: [1]
// Grid     one workgroup
// Shared   1 KiB
// Traffic  4 bytes per partial sum
// Oracle   optim::reference::global_norm
#import reduce

@group(0) @binding(0) var<uniform> count: u32;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> norm: array<f32>;

@compute @workgroup_size(256)
fn gradient_norm(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var i = local; i < count; i += 256u) {
        sum += partials[i];
    }
    let total = sum_groups(local, 1u, 256u, sum);
    if local == 0u {
        norm[0] = sqrt(total);
    }
}
