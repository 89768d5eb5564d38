// Weights of a loss's outputs. The shader declares `class_weights: array<f32>`, which is not read without them.

// 1: there are weights.
override WEIGHTED: u32 = 0u;

fn weight_of(k: u32) -> f32 {
    if WEIGHTED == 1u {
        return class_weights[k];
    }
    return 1.0;
}
