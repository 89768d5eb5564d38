// The focal loss (1 - p)^gamma * -log(p) of one probability (Lin et al. 2017), from m = 1 - p and surprise = -log(p).
#import rows

struct FocalParams {
    rows: Rows,
    masks: u32,   // 1: labels are masks of regions, 0: numbers of classes
    ignored: u32, // labels from here on say that the voxel has no say
    outputs: u32,
    gamma: f32,
}

// m^gamma.
fn focus(m: f32, gamma: f32) -> f32 {
    return select(select(0.0, 1.0, gamma == 0.0), exp2(gamma * log2(max(m, 1e-37))), m > 1e-37);
}

// -log(1 - m) / m: by its series where m is small, since the logarithm is then lost in its argument's rounding.
fn steepness(m: f32, surprise: f32) -> f32 {
    let series = 1.0 + m * (0.5 + m * (0.33333334 + m * (0.25 + m * (0.2 + m * 0.16666667))));
    return select(surprise / max(m, 0.0625), series, m < 0.0625);
}

fn focal(m: f32, surprise: f32, gamma: f32) -> f32 {
    return focus(m, gamma) * m * steepness(m, surprise);
}

// -p times the derivative of the loss with respect to p.
fn focal_slope(p: f32, m: f32, surprise: f32, gamma: f32) -> f32 {
    return focus(m, gamma) * (1.0 + gamma * p * steepness(m, surprise));
}
