// What the elementwise kernels of a normalisation share: the device side of ops/norm.

struct NormParams {
    rows: Rows,
    together: u32, // 1: all samples are one set
    slopes: u32,   // 1: a slope per channel
    slope: f32,    // else
}

// Where the first of the two statistics of a channel is.
fn first_statistic(params: NormParams, sample: u32, channel: u32) -> u32 {
    return select(2u * sample, 0u, params.together == 1u) * params.rows.channels + channel;
}
