//! The definition of an update, in f64 and plain loops: the oracle of the kernels.

use super::settings::bias_corrections;
use super::{Optimiser, OptimiserSettings};

/// Parameters with their moments.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Values of the parameters.
    pub parameters: Vec<f64>,
    /// First moments (momentum).
    pub moment1: Vec<f64>,
    /// Second moments; unused by SGD.
    pub moment2: Vec<f64>,
}

impl State {
    /// Parameters before the first step.
    pub fn new(parameters: Vec<f64>) -> Self {
        let zeros = vec![0.0; parameters.len()];
        Self { parameters, moment1: zeros.clone(), moment2: zeros }
    }
}

/// L2 norm of all gradients.
pub fn global_norm(gradients: &[f64]) -> f64 {
    gradients.iter().map(|g| g * g).sum::<f64>().sqrt()
}

/// Step `step`, counted from 1, on `state`, whose first `decayed` parameters are subject to weight decay. Returns the
/// global norm of the gradients; where it is not finite, `state` is left as it is.
pub fn update(
    settings: &OptimiserSettings,
    step: u64,
    learning_rate: f64,
    decayed: usize,
    gradients: &[f64],
    state: &mut State,
) -> f64 {
    let norm = global_norm(gradients);
    if !norm.is_finite() {
        return norm;
    }
    let clip = settings.clip_norm.map_or(1.0, |limit| (limit / (norm + 1e-6)).min(1.0));
    let corrections = bias_corrections(settings, step);
    let moments = state.moment1.iter_mut().zip(&mut state.moment2);
    for (i, ((parameter, (m, v)), g)) in state.parameters.iter_mut().zip(moments).zip(gradients).enumerate() {
        let decay = if i < decayed { settings.weight_decay } else { 0.0 };
        let gradient = clip * g;
        match settings.optimiser {
            Optimiser::Sgd { momentum, nesterov } => {
                let g = gradient + decay * *parameter;
                *m = momentum * *m + g;
                *parameter -= learning_rate * if nesterov { g + momentum * *m } else { *m };
            }
            Optimiser::Adam { beta1, beta2, epsilon } => {
                let g = gradient + decay * *parameter;
                *parameter -= learning_rate * adam_direction([beta1, beta2, epsilon], corrections, g, m, v);
            }
            Optimiser::AdamW { beta1, beta2, epsilon } => {
                *parameter *= 1.0 - learning_rate * decay;
                *parameter -= learning_rate * adam_direction([beta1, beta2, epsilon], corrections, gradient, m, v);
            }
        }
    }
    norm
}

/// Updates the moments of one parameter and returns its direction.
fn adam_direction([beta1, beta2, epsilon]: [f64; 3], corrections: (f64, f64), g: f64, m: &mut f64, v: &mut f64) -> f64 {
    *m = beta1 * *m + (1.0 - beta1) * g;
    *v = beta2 * *v + (1.0 - beta2) * g * g;
    *m / corrections.0 / ((*v / corrections.1).sqrt() + epsilon)
}

/// Exponential moving average of parameters, with this weight of the new values.
pub fn average(weight: f64, parameters: &[f64], averages: &mut [f64]) {
    for (average, parameter) in averages.iter_mut().zip(parameters) {
        *average += weight * (parameter - *average);
    }
}

/// One micro-step of gradient accumulation.
pub fn accumulate(first_micro_step: bool, gradient: &[f64], sum: &mut [f64]) {
    for (sum, g) in sum.iter_mut().zip(gradient) {
        *sum = if first_micro_step { *g } else { *sum + g };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 0.1;

    fn settings(optimiser: Optimiser) -> OptimiserSettings {
        OptimiserSettings { optimiser, weight_decay: 0.01, clip_norm: None }
    }

    /// Two steps with gradients 0.5 and -0.3 from parameter 2.
    fn two_steps(settings: &OptimiserSettings) -> f64 {
        let mut state = State::new(vec![2.0]);
        update(settings, 1, RATE, 1, &[0.5], &mut state);
        update(settings, 2, RATE, 1, &[-0.3], &mut state);
        state.parameters[0]
    }

    #[test]
    fn sgd_by_hand() {
        // g = 0.52, b = 0.52, p = 1.948; g = -0.28052, b = 0.18748, p = 1.929252.
        let plain = two_steps(&settings(Optimiser::Sgd { momentum: 0.9, nesterov: false }));
        approx::assert_abs_diff_eq!(plain, 1.929252, epsilon = 1e-12);
        // g = 0.52, d = 0.988, p = 1.9012; g = -0.280988, b = 0.187012, d = -0.1126772, p = 1.91246772.
        let nesterov = two_steps(&settings(Optimiser::Sgd { momentum: 0.9, nesterov: true }));
        approx::assert_abs_diff_eq!(nesterov, 1.91246772, epsilon = 1e-12);
    }

    #[test]
    fn the_first_step_of_adam_is_the_learning_rate() {
        let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8);
        let mut adam = State::new(vec![2.0, -1.0]);
        update(&settings(Optimiser::Adam { beta1, beta2, epsilon }), 1, RATE, 1, &[0.5, -3.0], &mut adam);
        approx::assert_abs_diff_eq!(adam.parameters[..], [1.9, -0.9], epsilon = 1e-7);
        let mut adamw = State::new(vec![2.0, -1.0]);
        update(&settings(Optimiser::AdamW { beta1, beta2, epsilon }), 1, RATE, 1, &[0.5, -3.0], &mut adamw);
        // Only the first element decays: 2 * (1 - 0.1 * 0.01) - 0.1.
        approx::assert_abs_diff_eq!(adamw.parameters[..], [1.898, -0.9], epsilon = 1e-7);
    }

    #[test]
    fn clipping_scales_the_whole_gradient() {
        let optimiser = Optimiser::Sgd { momentum: 0.0, nesterov: false };
        let settings = OptimiserSettings { optimiser, weight_decay: 0.0, clip_norm: Some(1.0) };
        let mut state = State::new(vec![0.0, 0.0]);
        assert_eq!(update(&settings, 1, 1.0, 0, &[3.0, 4.0], &mut state), 5.0);
        approx::assert_abs_diff_eq!(state.parameters[..], [-0.6, -0.8], epsilon = 1e-6);
    }

    #[test]
    fn a_step_without_finite_norm_is_skipped() {
        let mut state = State::new(vec![1.0, 2.0]);
        let before = state.clone();
        let norm = update(&OptimiserSettings::default(), 1, RATE, 2, &[f64::NAN, 1.0], &mut state);
        assert!(norm.is_nan());
        assert_eq!(state, before);
    }
}
