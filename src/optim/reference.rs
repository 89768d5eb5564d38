//! The definition of an update, in f64 and plain loops: the oracle of the kernels.

use super::OptimiserSettings;

/// Parameters with their moments.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Values of the parameters.
    pub parameters: Vec<f64>,
    /// First moments (momentum).
    pub moment1: Vec<f64>,
    /// Second moments; unused by rules with one.
    pub moment2: Vec<f64>,
}

impl State {
    /// Parameters before the first step.
    pub fn new(parameters: Vec<f64>) -> Self {
        let zeros = vec![0.0; parameters.len()];
        Self { parameters, moment1: zeros.clone(), moment2: zeros }
    }
}

/// What a step is for one parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReferenceStep {
    /// Counted from 1.
    pub number: u64,
    /// Of the step.
    pub learning_rate: f64,
    /// Of the parameter: 0 for those that do not decay.
    pub weight_decay: f64,
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
    let moments = state.moment1.iter_mut().zip(&mut state.moment2);
    for (i, ((parameter, (m, v)), gradient)) in state.parameters.iter_mut().zip(moments).zip(gradients).enumerate() {
        let weight_decay = if i < decayed { settings.weight_decay } else { 0.0 };
        let step = ReferenceStep { number: step, learning_rate, weight_decay };
        settings.optimiser.reference(&step, clip * gradient, parameter, [m, v]);
    }
    norm
}

/// Exponential moving average of parameters, with this weight of the new values.
pub fn average(weight: f64, parameters: &[f64], averages: &mut [f64]) {
    for (average, parameter) in averages.iter_mut().zip(parameters) {
        *average += weight * (parameter - *average);
    }
}

/// Running statistics after a step whose batches had these on average; those that are not finite move nothing.
pub fn follow(momentum: f64, statistics: &[f64], values: &mut [f64]) {
    for (value, statistic) in values.iter_mut().zip(statistics).filter(|(_, statistic)| statistic.is_finite()) {
        *value += momentum * (statistic - *value);
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
    use crate::optim::Sgd;

    #[test]
    fn clipping_scales_the_whole_gradient() {
        let sgd = Sgd { momentum: 0.0, nesterov: false };
        let settings = OptimiserSettings { clip_norm: Some(1.0), ..OptimiserSettings::new(sgd) };
        let mut state = State::new(vec![0.0, 0.0]);
        assert_eq!(update(&settings, 1, 1.0, 0, &[3.0, 4.0], &mut state), 5.0);
        approx::assert_abs_diff_eq!(state.parameters[..], [-0.6, -0.8], epsilon = 1e-6);
    }

    #[test]
    fn a_step_without_finite_norm_is_skipped() {
        let mut state = State::new(vec![1.0, 2.0]);
        let before = state.clone();
        let norm = update(&OptimiserSettings::default(), 1, 0.1, 2, &[f64::NAN, 1.0], &mut state);
        assert!(norm.is_nan());
        assert_eq!(state, before);
    }
}
