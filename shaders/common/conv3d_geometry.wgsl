// Extents of a convolution: of its input, from which windows are cut, and of its output, with one voxel per window. A
// transposed convolution is the input gradient of the convolution that leads back.
struct Geometry {
    batch: u32,
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
    in_channels: u32,
    out_channels: u32,
    // Steps between the weights of neighbouring input and output channels.
    in_step: u32,
    out_step: u32,
}
