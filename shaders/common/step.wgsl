// What the kernels of the optimisers share: the scalars of the step and the factor of the gradients.

// optim::StepScalars.
struct StepScalars {
    learning_rate: f32,
    shrink: f32,            // 1 - learning_rate * weight_decay
    first_micro_step: u32,
    average: f32,           // weight of the parameters in their moving average
    rule: array<f32, 4>,    // the optimiser's own: optim::Optimiser::scalars
    reserved: array<u32, 8>,
}

// The factor that clips gradients of this global norm; `clip_norm` 0: never. As torch.nn.utils.clip_grad_norm_.
fn clip_factor(norm: f32, clip_norm: f32) -> f32 {
    return select(1.0, min(1.0, clip_norm / (norm + 1e-6)), clip_norm > 0.0);
}

// Whether these bits are those of a finite number; compilers may assume that comparisons see no other.
fn is_finite(bits: u32) -> bool {
    return (bits & 0x7f800000u) != 0x7f800000u;
}
