// The windows of a convolution: which voxels of its input and of its output meet at which taps.
struct Window {
    // Voxels of a class over the batch, and their extents. Going forward there is one class, the output's voxels. Going back, the
    // input's voxels form a class for each place between the starts of two windows: its voxels meet the same taps.
    voxels: u32,
    depth: u32,
    height: u32,
    width: u32,
    // Extents of the convolution's input, of its output, of the kernel, its stride and padding.
    in_d: u32,
    in_h: u32,
    in_w: u32,
    out_d: u32,
    out_h: u32,
    out_w: u32,
    kernel_d: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride_d: u32,
    stride_h: u32,
    stride_w: u32,
    padding_d: u32,
    padding_h: u32,
    padding_w: u32,
    taps: u32,
}

// A voxel of a tensor, if it exists.
struct Place {
    at: u32,
    exists: bool,
}

// A sample and a position (z, y, x) of a class.
struct Position {
    sample: u32,
    voxel: vec3<u32>,
}

fn position_of(w: Window, number: u32) -> Position {
    let row = number / w.width;
    let plane = row / w.height;
    let sample = plane / w.depth;
    return Position(sample, vec3(plane - sample * w.depth, row - plane * w.height, number - row * w.width));
}

// Coordinates below zero wrap to more than any extent. A voxel that does not exist is at 0.
fn place_of(sample: u32, voxel: vec3<u32>, extents: vec3<u32>) -> Place {
    let exists = all(voxel < extents);
    let at = ((sample * extents.x + voxel.x) * extents.y + voxel.y) * extents.z + voxel.z;
    return Place(select(0u, at, exists), exists);
}

// Input voxel at a tap (z, y, x in this order, x fastest) of the window of an output voxel.
fn window_voxel(w: Window, number: u32, tap: u32) -> Place {
    let p = position_of(w, number);
    let row = tap / w.kernel_w;
    let plane = row / w.kernel_h;
    let k = vec3(plane, row - plane * w.kernel_h, tap - row * w.kernel_w);
    let stride = vec3(w.stride_d, w.stride_h, w.stride_w);
    let padding = vec3(w.padding_d, w.padding_h, w.padding_w);
    return place_of(p.sample, p.voxel * stride + k - padding, vec3(w.in_d, w.in_h, w.in_w));
}
