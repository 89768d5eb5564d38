// How workgroups of 256 cover matrices [samples, rows, channels]: the device side of ops/rows.rs.
//
// A workgroup covers a tile of rows of one sample and a block of channels. Every invocation keeps one channel and steps
// through the rows of its tile, so neighbours touch neighbouring elements and nothing is divided per element.
#import grid

const WORKGROUP = 256u;

struct Rows {
    samples: u32,
    rows: u32,     // of one sample
    channels: u32,
    block: u32,    // channels of one block
    groups: u32,   // rows that a workgroup visits at a time: block * groups <= WORKGROUP
    blocks: u32,   // of channels
    tile: u32,     // rows of one workgroup
    tiles: u32,    // of one sample
}

// The share of one invocation: rows `row`, `row + groups`, … below `end`, counted over all samples.
struct Share {
    sample: u32,
    tile: u32,     // counted over all samples
    channel: u32,
    row: u32,
    end: u32,      // 0 when the invocation has no share
    leads: bool,   // the first invocation of its channel in the workgroup
}

fn share(rows: Rows, invocation: Invocation) -> Share {
    let workgroup = workgroup_number(invocation);
    let local = invocation.local;
    let tile = workgroup / rows.blocks;
    let sample = tile / rows.tiles;
    let column = local % rows.block;
    let channel = (workgroup - tile * rows.blocks) * rows.block + column;
    let group = local / rows.block;
    let start = (tile - sample * rows.tiles) * rows.tile;
    let exists = sample < rows.samples && channel < rows.channels && group < rows.groups;
    let end = select(0u, sample * rows.rows + min(start + rows.tile, rows.rows), exists);
    return Share(sample, tile, channel, sample * rows.rows + start + group, end, exists && group == 0u);
}
