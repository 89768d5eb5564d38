// output[v] = w[0] image[v] + sum over r = 1..4 of w[r] (image[v - r] + image[v + r]) along one axis; beyond the edge the
// outermost voxel is repeated.
//
// Layout   image, output: [N, D, H, W]; parameters: [N, 5], the weights; a sample with w[0] = 1 is copied
// Grid     one workgroup of 64 per row (n, z, y), folded; invocations stride over the row
// Traffic  8 bytes per voxel, 8 more voxels from the cache
// Oracle   augment::Blur::reference
#import grid

const RADIUS: i32 = 4;

struct Params {
    extent: u32,           // of the axis that is blurred along
    stride: u32,           // between its voxels
    width: u32,
    rows: u32,
    rows_of_sample: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> image: array<f32>;
@group(0) @binding(2) var<storage, read> parameters: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn augment_blur(invocation: Invocation) {
    let row = workgroup_number(invocation);
    if row >= params.rows {
        return;
    }
    let numbers = row / params.rows_of_sample * u32(RADIUS + 1);
    let centre = parameters[numbers];
    for (var x = invocation.local; x < params.width; x += 64u) {
        let voxel = row * params.width + x;
        if centre == 1.0 {
            output[voxel] = image[voxel];
            continue;
        }
        let at = voxel / params.stride % params.extent;
        let line = i32(voxel - at * params.stride);
        let last = i32(params.extent) - 1;
        var sum = centre * image[voxel];
        for (var r = 1; r <= RADIUS; r++) {
            let before = line + max(i32(at) - r, 0) * i32(params.stride);
            let after = line + min(i32(at) + r, last) * i32(params.stride);
            sum += parameters[numbers + u32(r)] * (image[before] + image[after]);
        }
        output[voxel] = sum;
    }
}
