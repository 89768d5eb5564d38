// factors[voxel] = the share of the voxel among the n largest losses, over n: 1 above the smallest of them, and what is left for those
// that equal it, evenly; 0 below and where the voxel is ignored. partial[tile] = sum over the voxels of the tile of factor * loss.
//
// Layout   losses, factors: [samples, voxels]; found: TopK; partial: [tiles]
// Grid     rows.wgsl over [samples, voxels, 1], one workgroup per tile
// Shared   1 KiB
// Traffic  8 bytes per voxel
// Oracle   ops::TopKLoss::reference
#import rows
#import reduce
#import top_k

@group(0) @binding(0) var<uniform> rows: Rows;
@group(0) @binding(1) var<storage, read> losses: array<f32>;
@group(0) @binding(2) var<storage, read> found: TopK;
@group(0) @binding(3) var<storage, read_write> factors: array<f32>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn top_k_factors(invocation: Invocation) {
    let at = share(rows, invocation);
    let wanted = f32(max(found.wanted, 1u));
    let above = 1.0 / wanted;
    let equal = f32(found.wanted - found.above) / (f32(max(found.equal, 1u)) * wanted);
    var sum = 0.0;
    for (var voxel = at.row; voxel < at.end; voxel += rows.groups) {
        let loss = losses[voxel];
        let bits = bitcast<u32>(loss);
        var factor = 0.0;
        if bits < IGNORED_LOSS && bits >= found.digits {
            factor = select(equal, above, bits > found.digits);
            sum += factor * loss;
        }
        factors[voxel] = factor;
    }
    let total = sum_groups(invocation.local, rows.block, rows.groups, sum);
    if at.leads {
        partial[at.tile] = total;
    }
}
