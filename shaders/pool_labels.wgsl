// shares[n, o, k] = the share of output k in the voxels of window o of the labels that have a say; -1 where none has.
//
// Layout   labels: [samples, depth, height, width]; shares: [samples, windows, outputs]
// Grid     rows.wgsl over the shares
// Traffic  4 bytes per voxel and output
// Oracle   ops::PoolLabels::reference
#import rows
#import labels

struct Params {
    rows: Rows,
    masks: u32,   // 1: labels are masks of regions, 0: numbers of classes
    ignored: u32, // labels from here on say that the voxel has no say
    depth: u32,
    height: u32,
    width: u32,
    windows_height: u32,
    windows_width: u32,
    window_depth: u32,
    window_height: u32,
    window_width: u32,
    offset_depth: i32, // voxel of the labels at the first voxel of the first window
    offset_height: i32,
    offset_width: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> shares: array<f32>;

// The voxels of a window along an axis that lie within the labels.
fn within(window: u32, extent: u32, offset: i32, voxels: u32) -> vec2<u32> {
    let first = i32(window * extent) + offset;
    let end = clamp(first + i32(extent), 0, i32(voxels));
    return vec2<u32>(u32(clamp(first, 0, end)), u32(end));
}

@compute @workgroup_size(WORKGROUP)
fn pool_labels(invocation: Invocation) {
    let at = share(params.rows, invocation);
    for (var row = at.row; row < at.end; row += params.rows.groups) {
        let window = row - at.sample * params.rows.rows;
        let line = window / params.windows_width;
        let plane = line / params.windows_height;
        let z_range = within(plane, params.window_depth, params.offset_depth, params.depth);
        let y_range = within(line - plane * params.windows_height, params.window_height, params.offset_height, params.height);
        let x_range = within(window - line * params.windows_width, params.window_width, params.offset_width, params.width);
        var counted = 0u;
        var members = 0u;
        for (var z = z_range.x; z < z_range.y; z++) {
            for (var y = y_range.x; y < y_range.y; y++) {
                let first = ((at.sample * params.depth + z) * params.height + y) * params.width;
                for (var x = x_range.x; x < x_range.y; x++) {
                    let label = labels[first + x];
                    let has_say = label < params.ignored;
                    counted += select(0u, 1u, has_say);
                    members += select(0u, 1u, has_say && belongs(params.masks, label, at.channel));
                }
            }
        }
        shares[row * params.rows.channels + at.channel] = select(f32(members) / f32(max(counted, 1u)), -1.0, counted == 0u);
    }
}
