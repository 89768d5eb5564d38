// How tiles of OUTPUTS_Z x OUTPUTS_Y x OUTPUTS_X voxels cover an activation, and the chunk of them that one dispatch works on. A slab is
// all tiles of one sample and one tile position along z; a chunk is `rows` rows of tiles from `first_row` on, of each of the
// slabs from `first_slab` on. Tiles of a chunk are numbered x fastest, then row, then slab. Their frequencies lie in
// panels of 16 tiles: [panel, frequency, 16, padded channels], so that what one tile writes lies close together. Where
// sums over tiles need it, more rows of tiles than there are fill the last panel with zeros.
#import element
#import winograd_transforms

// Frequencies of a plane of a tile.
const PLANE = FREQUENCIES_Y * FREQUENCIES_X;
// Lines and columns that neighbouring tiles share.
const SHARED_Y = TAPS_Y - 1u;
const SHARED_X = TAPS_X - 1u;

struct Tiles {
    depth: u32,
    height: u32,
    width: u32,
    channels: u32,
    padded_channels: u32, // of the frequencies
    tiles_z: u32,
    tiles_x: u32,
    first_slab: u32,
    first_row: u32,
    rows: u32,
    tile_rows: u32,       // of all slabs of the chunk
    panels: u32,
    first_frequency: u32, // along z
    frequency_step: u32,  // elements from one frequency of a panel to the next
    panel_step: u32,      // elements from one panel to the next
    with_bias: u32,
}

// First of `tile`'s voxels along z, and the sample's first plane.
struct Slab {
    z: u32,
    first_plane: u32,
}

fn slab(t: Tiles, number: u32) -> Slab {
    let global = t.first_slab + number;
    let sample = global / t.tiles_z;
    return Slab((global - sample * t.tiles_z) * OUTPUTS_Z, sample * t.depth);
}

// Where the frequencies of a tile and channel start, for the frequency `z` of those that the chunk holds.
fn frequencies_of(t: Tiles, tile: u32, z: u32, channel: u32) -> u32 {
    return tile / 16u * t.panel_step + z * PLANE * t.frequency_step + tile % 16u * t.padded_channels + channel;
}
