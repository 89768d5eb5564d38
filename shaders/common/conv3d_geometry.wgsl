// Extents of a convolution: the fine side (its input) and the coarse side (its output, one voxel per window).
struct Geometry {
    batch: u32,
    fine_d: u32,
    fine_h: u32,
    fine_w: u32,
    coarse_d: u32,
    coarse_h: u32,
    coarse_w: u32,
    kernel_d: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride_d: u32,
    stride_h: u32,
    stride_w: u32,
    padding_d: u32,
    padding_h: u32,
    padding_w: u32,
    fine_channels: u32,
    coarse_channels: u32,
    // Steps between the weights of neighbouring fine and coarse channels.
    fine_step: u32,
    coarse_step: u32,
}
