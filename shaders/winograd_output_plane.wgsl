// The gemms' transform along y and x: the outputs of a plane of each tile, channel and frequency along z. A bias is added at the
// frequency of point 1, which counts once in every output.
//
// Layout   frequencies [panels, frequencies, 16, padded channels], bias [C],
//          partial [slabs, FREQUENCIES_Z, OUTPUTS_Y rows, OUTPUTS_X tiles_x, C]
// Grid     (64 elements of a row of tiles (tx, c), rows of tiles (slab, ty), frequencies along z)
// Traffic  a load per frequency and a store per output
// Oracle   conv3d_naive and conv3d_grad_input_naive, through the convolutions
#import winograd_tiles
#import winograd_load

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> frequencies: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<Stored>;
@group(0) @binding(3) var<storage, read_write> partial: array<Stored>;

fn store_line(at: u32, values: OutputsX) {
#each x in OUTPUTS_X
    partial[at + {x}u * params.channels] = packed(values.f{x});
#end
}

@compute @workgroup_size(64)
fn winograd_output_plane(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let element = workgroup.x * 64u + local;
    let tile_x = element / params.channels;
    if tile_x >= params.tiles_x {
        return;
    }
    let channel = element - tile_x * params.channels;
    let first = frequencies_of(params, workgroup.y * params.tiles_x + tile_x, workgroup.z, channel);
    let z = params.first_frequency + workgroup.z;
    let step = params.frequency_step;
    var biased = load_column({POINT_ONE_X}u, first, step);
    if params.with_bias != 0u && z == {POINT_ONE_Z}u {
        biased.f{POINT_ONE_Y} += unpacked(bias[channel]);
    }
#each x in FREQUENCIES_X
    var m{x} = biased;
    if {x}u != {POINT_ONE_X}u {
        m{x} = load_column({x}u, first, step);
    }
    let c{x} = transform_output_y(m{x});
#end
    let slab_number = workgroup.y / params.rows;
    let tile_y = workgroup.y - slab_number * params.rows;
    let line = params.tiles_x * OUTPUTS_X * params.channels;
    let at = ((slab_number * FREQUENCIES_Z + z) * params.rows + tile_y) * OUTPUTS_Y * line
        + tile_x * OUTPUTS_X * params.channels + channel;
#each y in OUTPUTS_Y
    store_line(at + {y}u * line, transform_output_x(FrequenciesX(
#each x in FREQUENCIES_X
        c{x}.f{y},
#end
    )));
#end
}
