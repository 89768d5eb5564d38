// Windows without overlap: an activation of depth x height x width windows.
#import rows

struct Windows {
    rows: Rows,
    depth: u32,
    height: u32,
    width: u32,
    window_depth: u32,
    window_height: u32,
    window_width: u32,
    factor: f32, // on the result
}
