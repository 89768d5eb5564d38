use super::{Optimiser, RULE_SCALARS, Sgd};
use std::sync::Arc;

/// An optimiser with weight decay and clipping.
#[derive(Debug, Clone)]
pub struct OptimiserSettings {
    /// The rule.
    pub optimiser: Arc<dyn Optimiser>,
    /// L2 penalty on weights; biases and slopes have none.
    pub weight_decay: f64,
    /// Largest global L2 norm of the gradients (`torch.nn.utils.clip_grad_norm_`); applied before weight decay.
    pub clip_norm: Option<f64>,
}

impl OptimiserSettings {
    /// An optimiser without weight decay and clipping.
    pub fn new(optimiser: impl Optimiser + 'static) -> Self {
        Self { optimiser: Arc::new(optimiser), weight_decay: 0.0, clip_norm: None }
    }
}

impl Default for OptimiserSettings {
    /// The paper's: momentum 0.99; weight decay of the authors' code.
    fn default() -> Self {
        Self { weight_decay: 5e-4, ..Self::new(Sgd::default()) }
    }
}

/// What changes from step to step, as the kernels read it: `StepScalars` of `shaders/common/step.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct StepScalars {
    /// Learning rate of the step.
    pub learning_rate: f32,
    /// `1 - learning_rate * weight_decay`.
    pub shrink: f32,
    /// 1 in the first micro-step of a step, in which gradients replace those of the step before; else 0.
    pub first_micro_step: u32,
    /// Weight of the parameters in their moving average; 0 where there is none.
    pub average: f32,
    /// The optimiser's own ([`Optimiser::scalars`]).
    pub rule: [f32; RULE_SCALARS],
    /// Zeros.
    pub reserved: [u32; 8],
}

const _: () = assert!(size_of::<StepScalars>() as u64 == crate::kernel::STEP_SCALAR_BYTES);

impl StepScalars {
    /// The scalars of step `step`, counted from 1, in its first micro-step; computed in f64.
    pub fn new(settings: &OptimiserSettings, step: u64, learning_rate: f64) -> Self {
        Self {
            learning_rate: learning_rate as f32,
            shrink: (1.0 - learning_rate * settings.weight_decay) as f32,
            first_micro_step: 1,
            average: 0.0,
            rule: settings.optimiser.scalars(step, learning_rate).map(|scalar| scalar as f32),
            reserved: [0; 8],
        }
    }

    /// The same scalars for micro-step `micro_step` of the step, counted from 0.
    #[must_use]
    pub fn in_micro_step(self, micro_step: usize) -> Self {
        Self { first_micro_step: u32::from(micro_step == 0), ..self }
    }

    /// The same scalars for a step after which the parameters are averaged with this weight
    /// ([`super::average_weight`]).
    #[must_use]
    pub fn averaging(self, weight: f64) -> Self {
        Self { average: weight as f32, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_follow_step_and_micro_step() {
        let settings = OptimiserSettings { weight_decay: 0.1, ..OptimiserSettings::default() };
        let scalars = StepScalars::new(&settings, 1, 0.01);
        approx::assert_relative_eq!(scalars.shrink, 0.999, max_relative = 1e-6);
        assert_eq!((scalars.first_micro_step, scalars.in_micro_step(1).first_micro_step), (1, 0));
        assert_eq!((scalars.average, scalars.averaging(0.25).average), (0.0, 0.25));
    }
}
