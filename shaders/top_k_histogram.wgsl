// partial[tile, digit] = losses of the tile that have the digits found so far and this one next. Counts are integers, so the order of
// the atomic additions does not matter.
//
// Layout   losses: [samples, voxels]; found: TopK, not read for the first digit; partial: [tiles, 256]
// Grid     rows.wgsl over [samples, voxels, 1], one workgroup per tile
// Shared   1 KiB
// Traffic  4 bytes per voxel
// Oracle   ops::TopKLoss::reference
#import rows
#import top_k

struct Params {
    rows: Rows,
    shift: u32, // place of the digit: 24, 16, 8 or 0
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> losses: array<u32>;
@group(0) @binding(2) var<storage, read> found: TopK;
@group(0) @binding(3) var<storage, read_write> partial: array<u32>;

var<workgroup> counts: array<atomic<u32>, 256>;

@compute @workgroup_size(WORKGROUP)
fn top_k_histogram(invocation: Invocation) {
    let at = share(params.rows, invocation);
    atomicStore(&counts[invocation.local], 0u);
    workgroupBarrier();
    // The places above the digit; a shift by 32 is none.
    let mask = select(0xffffff00u << params.shift, 0u, params.shift == 24u);
    var digits = 0u;
    if params.shift < 24u {
        digits = found.digits;
    }
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let bits = losses[voxel];
        if bits < IGNORED_LOSS && (bits & mask) == digits {
            atomicAdd(&counts[(bits >> params.shift) & 255u], 1u);
        }
    }
    workgroupBarrier();
    let tile = workgroup_number(invocation);
    if tile < params.rows.samples * params.rows.tiles {
        partial[tile * 256u + invocation.local] = atomicLoad(&counts[invocation.local]);
    }
}
