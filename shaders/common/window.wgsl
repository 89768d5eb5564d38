// Windows that tile the input of a convolution: each voxel of the output corresponds to one.
struct Window {
    // Number of windows, over the batch, and their extents along y and x. Windows never reach over the end of a row, so the
    // depth and the batch count as one axis.
    voxels: u32,
    height: u32,
    width: u32,
    // Extents of a window.
    size_z: u32,
    size_y: u32,
    size_x: u32,
    // Voxels of one plane of a window, and of a whole one. (A uniform's inner struct fills multiples of 16 bytes.)
    plane: u32,
    taps: u32,
}

// Input voxel at a tap (z, y, x in this order, x fastest) of a window.
fn window_voxel(w: Window, number: u32, tap: u32) -> u32 {
    let x = number % w.width * w.size_x + tap % w.size_x;
    let row = number / w.width;
    let y = row % w.height * w.size_y + tap / w.size_x % w.size_y;
    let z = row / w.height * w.size_z + tap / w.plane;
    return (z * w.height * w.size_y + y) * w.width * w.size_x + x;
}
