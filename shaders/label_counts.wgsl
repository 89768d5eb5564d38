// partial[tile, 0..2] = voxels of the tile that count, and voxels that are ignored. Counts are exact in f32 below 2^24 voxels of
// the batch; the second is 0 only where it is 0, however many there are.
//
// Layout   labels: [samples, voxels] or [samples, voxels, outputs]; partial: [samples, tiles, 2]
// Grid     rows.wgsl over [samples, voxels, 1], one workgroup per tile
// Shared   1 KiB
// Traffic  4 bytes per voxel
// Oracle   ops::CrossEntropyLoss::reference, ops::BinaryCrossEntropyLoss::reference
#import rows
#import reduce
#import labels

struct Params {
    rows: Rows,
    masks: u32,
    ignored: u32, // labels from here on say that the voxel has no say
    outputs: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn label_counts(invocation: Invocation) {
    let at = share(params.rows, invocation);
    var counted = 0.0;
    var ignored = 0.0;
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let count = select(0.0, 1.0, labels[label_word(voxel, params.outputs)] < params.ignored);
        counted += count;
        ignored += 1.0 - count;
    }
    let total = sum_groups(invocation.local, params.rows.block, params.rows.groups, counted);
    let rest = sum_groups(invocation.local, params.rows.block, params.rows.groups, ignored);
    if at.leads {
        partial[2u * at.tile] = total;
        partial[2u * at.tile + 1u] = rest;
    }
}
