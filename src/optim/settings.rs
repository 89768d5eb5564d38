use serde::{Deserialize, Serialize};

/// The rule that turns gradients into steps. Moments start at zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimiser {
    /// Stochastic gradient descent (`torch.optim.SGD`, dampening 0); weight decay is added to the gradient.
    Sgd {
        /// Factor of the running direction.
        momentum: f64,
        /// Look ahead along the running direction.
        #[serde(default)]
        nesterov: bool,
    },
    /// `torch.optim.Adam`; weight decay is added to the gradient.
    Adam {
        /// Decay of the first moment.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// `torch.optim.AdamW`: weight decay shrinks the parameters directly.
    #[serde(rename = "adamw")]
    AdamW {
        /// Decay of the first moment.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.999
}

fn epsilon() -> f64 {
    1e-8
}

/// An optimiser with weight decay and clipping.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserSettings {
    /// The rule.
    pub optimiser: Optimiser,
    /// L2 penalty on weights; biases and slopes have none.
    pub weight_decay: f64,
    /// Largest global L2 norm of the gradients (`torch.nn.utils.clip_grad_norm_`); applied before weight decay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
}

impl Default for OptimiserSettings {
    /// The paper's: momentum 0.99; weight decay of the authors' code.
    fn default() -> Self {
        Self { optimiser: Optimiser::Sgd { momentum: 0.99, nesterov: false }, weight_decay: 5e-4, clip_norm: None }
    }
}

/// What changes from step to step, as the kernels read it: `StepScalars` of `shaders/common/step.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct StepScalars {
    /// Learning rate of the step.
    pub learning_rate: f32,
    /// `learning_rate / (1 - beta1^step)`.
    pub first_moment: f32,
    /// `1 / sqrt(1 - beta2^step)`.
    pub second_moment: f32,
    /// `1 - learning_rate * weight_decay`.
    pub shrink: f32,
    /// 1 in the first micro-step of a step, in which gradients replace those of the step before; else 0.
    pub first_micro_step: u32,
    /// Weight of the parameters in their moving average; 0 where there is none.
    pub average: f32,
    /// Zeros.
    pub reserved: [u32; 10],
}

const _: () = assert!(size_of::<StepScalars>() as u64 == crate::kernel::STEP_SCALAR_BYTES);

impl StepScalars {
    /// The scalars of step `step`, counted from 1, in its first micro-step; computed in f64.
    pub fn new(settings: &OptimiserSettings, step: u64, learning_rate: f64) -> Self {
        let (first, second) = bias_corrections(settings, step);
        Self {
            learning_rate: learning_rate as f32,
            first_moment: (learning_rate / first) as f32,
            second_moment: (1.0 / second.sqrt()) as f32,
            shrink: (1.0 - learning_rate * settings.weight_decay) as f32,
            first_micro_step: 1,
            average: 0.0,
            reserved: [0; 10],
        }
    }

    /// The same scalars for micro-step `micro_step` of the step, counted from 0.
    #[must_use]
    pub fn in_micro_step(self, micro_step: usize) -> Self {
        Self { first_micro_step: u32::from(micro_step == 0), ..self }
    }

    /// The same scalars for a step behind which the parameters are averaged with this weight
    /// ([`super::average_weight`]).
    #[must_use]
    pub fn averaging(self, weight: f64) -> Self {
        Self { average: weight as f32, ..self }
    }
}

/// `1 - beta1^step` and `1 - beta2^step`; 1 for optimisers without them.
pub(super) fn bias_corrections(settings: &OptimiserSettings, step: u64) -> (f64, f64) {
    match settings.optimiser {
        Optimiser::Sgd { .. } => (1.0, 1.0),
        Optimiser::Adam { beta1, beta2, .. } | Optimiser::AdamW { beta1, beta2, .. } => {
            (1.0 - beta1.powf(step as f64), 1.0 - beta2.powf(step as f64))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_from_toml() {
        let sgd: OptimiserSettings =
            toml::from_str("weight_decay = 5e-4\noptimiser = { kind = \"sgd\", momentum = 0.99 }").expect("valid");
        assert_eq!(sgd, OptimiserSettings::default());
        let adamw: Optimiser = toml::from_str("kind = \"adamw\"\nbeta2 = 0.99").expect("valid");
        assert_eq!(adamw, Optimiser::AdamW { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 });
        assert!(toml::from_str::<Optimiser>("kind = \"sgd\"\nmomentun = 0.9").is_err());
    }

    #[test]
    fn first_step_of_adam_is_corrected_in_full() {
        let optimiser = Optimiser::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        let settings = OptimiserSettings { optimiser, weight_decay: 0.1, clip_norm: None };
        let scalars = StepScalars::new(&settings, 1, 0.01);
        approx::assert_relative_eq!(scalars.first_moment, 0.1, max_relative = 1e-6);
        approx::assert_relative_eq!(scalars.second_moment, 1000f32.sqrt(), max_relative = 1e-6);
        approx::assert_relative_eq!(scalars.shrink, 0.999, max_relative = 1e-6);
        assert_eq!(scalars.in_micro_step(1).first_micro_step, 0);
    }
}
