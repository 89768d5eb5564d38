// The next digit of the smallest of the n largest losses: the largest one such that n losses or more have it or a larger one. With the
// first digit, n = losses * share / 2^32, rounded down, and 1 at least where there are any.
//
// Layout   partial: [tiles, 256]; found, next: TopK; found is not read for the first digit
// Grid     one workgroup of 256
// Shared   1 KiB
// Traffic  1 KiB per tile
// Oracle   ops::TopKLoss::reference
#import top_k

struct Params {
    tiles: u32,
    shift: u32, // place of the digit: 24, 16, 8 or 0
    share: u32, // of the losses, in units of 2^-32
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<u32>;
@group(0) @binding(2) var<storage, read> found: TopK;
@group(0) @binding(3) var<storage, read_write> next: TopK;

var<workgroup> counts: array<u32, 256>;

// The high word of a product of two words.
fn high_product(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let first = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let second = (a & 0xffffu) * (b >> 16u) + (first & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (first >> 16u) + (second >> 16u);
}

@compute @workgroup_size(256)
fn top_k_select(@builtin(local_invocation_index) local: u32) {
    var count = 0u;
    for (var tile = 0u; tile < params.tiles; tile++) {
        count += partial[tile * 256u + local];
    }
    counts[local] = count;
    workgroupBarrier();
    if local > 0u {
        return;
    }
    var state = TopK(0u, 0u, 0u, 0u);
    if params.shift < 24u {
        state = found;
    } else {
        var all = 0u;
        for (var digit = 0u; digit < 256u; digit++) {
            all += counts[digit];
        }
        state.wanted = max(high_product(all, params.share), min(all, 1u));
    }
    var digit = 255u;
    while digit > 0u && state.above + counts[digit] < state.wanted {
        state.above += counts[digit];
        digit -= 1u;
    }
    state.digits |= digit << params.shift;
    state.equal = counts[digit];
    next = state;
}
