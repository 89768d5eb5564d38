// partial[tile, channel, 0..3] = sums over the voxels of the tile of p g, p p and g g, where k = channel + 1, p is
// p[voxel, k] and g is 1 where the label is k, else 0.
//
// Layout   p: [samples, voxels, channels + 1]; labels: [samples, voxels]; partial: [samples, tiles, channels, 3]
// Grid     rows.wgsl over the foreground classes, one workgroup per tile and block of classes
// Shared   1 KiB
// Traffic  8 bytes per voxel and foreground class
// Oracle   ops::SoftDiceLoss::reference
#import rows
#import reduce

struct Params {
    rows: Rows,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn soft_dice_sums(invocation: Invocation) {
    let at = share(params.rows, invocation);
    let k = at.channel + 1u;
    var overlap = 0.0;
    var predicted = 0.0;
    var labelled = 0.0;
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let x = p[voxel * (params.rows.channels + 1u) + k];
        let g = select(0.0, 1.0, labels[voxel] == k);
        overlap += x * g;
        predicted += x * x;
        labelled += g;
    }
    let overlaps = sum_groups(invocation.local, params.rows.block, params.rows.groups, overlap);
    let squares = sum_groups(invocation.local, params.rows.block, params.rows.groups, predicted);
    let counts = sum_groups(invocation.local, params.rows.block, params.rows.groups, labelled);
    if at.leads {
        let i = (at.tile * params.rows.channels + at.channel) * 3u;
        partial[i] = overlaps;
        partial[i + 1u] = squares;
        partial[i + 2u] = counts;
    }
}
