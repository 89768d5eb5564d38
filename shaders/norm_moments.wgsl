// partial[tile, 0, channel] = mean over the rows of the tile of input, partial[tile, 1, channel] = the sum of the squares of the
// differences from it.
//
// Sums are taken of differences from the first of each run of 16 rows, and the moments of runs are merged (Chan, Golub and LeVeque
// 1983): a mean that is large against the deviation costs no digits of the squares.
//
// Layout   input: [samples, rows, channels]; partial: [samples, tiles, 2, channels]
// Grid     rows.wgsl, one workgroup per tile and block of channels
// Shared   2 KiB per channel of an element
// Traffic  4 bytes per element
// Oracle   ops::Normalise::reference
#import rows
#import element
#import reduce

const RUN = 16u;

@group(0) @binding(0) var<uniform> rows: Rows;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read_write> partial: array<Stored>;

var<workgroup> tile_means: array<Element, 256>;

struct Moments {
    count: f32,
    mean: Element,
    squares: Element,
}

// The moments of the rows of one invocation.
fn moments_of(at: Share) -> Moments {
    var all = Moments(0.0, Element(), Element());
    for (var row = at.row; row < at.end;) {
        let stop = min(at.end, row + RUN * rows.groups);
        let first = unpacked(input[row * rows.channels + at.channel]);
        var count = 0.0;
        var sum = Element();
        var squares = Element();
        for (; row < stop; row += rows.groups) {
            let difference = unpacked(input[row * rows.channels + at.channel]) - first;
            sum += difference;
            squares += difference * difference;
            count += 1.0;
        }
        let mean = sum / count;
        let apart = first + mean - all.mean;
        let part = count / (all.count + count);
        all.mean += apart * part;
        all.squares += max(squares - sum * mean, Element()) + apart * apart * (all.count * part);
        all.count += count;
    }
    return all;
}

@compute @workgroup_size(WORKGROUP)
fn norm_moments(invocation: Invocation) {
    let at = share(rows, invocation);
    let own = moments_of(at);
    // The first row of the tile, for all invocations of a channel; 0 for those without a share.
    let start = select(0u, at.row - invocation.local / rows.block, at.end > 0u);
    let pivot = unpacked(input[start * rows.channels + min(at.channel, rows.channels - 1u)]);
    let sum = sum_groups(invocation.local, rows.block, rows.groups, (own.mean - pivot) * own.count);
    tile_means[invocation.local] = pivot + sum / f32(max(at.end, start + 1u) - start);
    workgroupBarrier();
    let mean = tile_means[invocation.local % rows.block];
    let apart = own.mean - mean;
    let squares = sum_groups(invocation.local, rows.block, rows.groups, own.squares + apart * apart * own.count);
    if at.leads {
        let to = 2u * at.tile * rows.channels + at.channel;
        partial[to] = packed(mean);
        partial[to + rows.channels] = packed(squares);
    }
}
