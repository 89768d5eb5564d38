use super::bounds::{self, Element, FLUSHED, Step, U};
use super::{Optimiser, Optimisers, RULE_SCALARS, ReferenceStep};
use crate::kernel::Dispatch;
use crate::registry::{Entry, Hyperparameter, Hyperparameters};
use std::sync::Arc;

/// Adam (Kingma and Ba 2015, `torch.optim.Adam`) or AdamW (Loshchilov and Hutter 2019, `torch.optim.AdamW`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// False, Adam: weight decay is added to the gradient. True, AdamW: it shrinks the parameters directly.
    pub decoupled_weight_decay: bool,
}

const DECAY: &str = "0 up to, not including, 1";

/// Decay of the first moment.
pub(super) static BETA1: Hyperparameter =
    Hyperparameter::number("beta1", 0.9, DECAY, |value| (0.0..1.0).contains(&value));

/// Decay of the second moment.
pub(super) static BETA2: Hyperparameter =
    Hyperparameter::number("beta2", 0.999, DECAY, |value| (0.0..1.0).contains(&value));

/// Added to the denominator; the kernel computes in float32.
pub(super) static EPSILON: Hyperparameter =
    Hyperparameter::number("epsilon", 1e-8, "a positive number up to 1", |value| value as f32 > 0.0 && value <= 1.0);

pub(super) const ADAM: Entry<Optimisers> = Entry {
    name: "adam",
    hyperparameters: &[&BETA1, &BETA2, &EPSILON],
    build: |values| Arc::new(Adam::of(values, false)),
    variants: &[],
};

pub(super) const ADAMW: Entry<Optimisers> =
    Entry { name: "adamw", build: |values| Arc::new(Adam::of(values, true)), ..ADAM };

impl Default for Adam {
    /// PyTorch's Adam.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decoupled_weight_decay: false }
    }
}

impl Adam {
    fn of(values: &Hyperparameters<Optimisers>, decoupled_weight_decay: bool) -> Self {
        let [beta1, beta2, epsilon] = ["beta1", "beta2", "epsilon"].map(|key| values.number(key));
        Self { beta1, beta2, epsilon, decoupled_weight_decay }
    }

    /// `1 - beta1^step` and `1 - beta2^step`.
    fn bias_corrections(&self, step: u64) -> [f64; 2] {
        [self.beta1, self.beta2].map(|beta| 1.0 - beta.powf(step as f64))
    }
}

impl Optimiser for Adam {
    fn kernel(&self) -> Dispatch {
        Dispatch::new("adam")
    }

    fn moments(&self) -> usize {
        2
    }

    fn flops(&self) -> u64 {
        13
    }

    fn constants(&self, dispatch: Dispatch) -> Dispatch {
        let dispatch = dispatch.param(usize::from(self.decoupled_weight_decay)).scalar((1.0 - self.beta1) as f32);
        dispatch.scalar(self.beta2 as f32).scalar((1.0 - self.beta2) as f32).scalar(self.epsilon as f32)
    }

    /// `learning_rate / (1 - beta1^step)` and `1 / sqrt(1 - beta2^step)`.
    fn scalars(&self, step: u64, learning_rate: f64) -> [f64; RULE_SCALARS] {
        let [first, second] = self.bias_corrections(step);
        [learning_rate / first, 1.0 / second.sqrt(), 0.0, 0.0]
    }

    fn reference(&self, step: &ReferenceStep, gradient: f64, parameter: &mut f64, [m, v]: [&mut f64; 2]) {
        let mut g = gradient;
        if self.decoupled_weight_decay {
            *parameter *= 1.0 - step.learning_rate * step.weight_decay;
        } else {
            g += step.weight_decay * *parameter;
        }
        *m = self.beta1 * *m + (1.0 - self.beta1) * g;
        *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
        let [first, second] = self.bias_corrections(step.number);
        *parameter -= step.learning_rate * (*m / first / ((*v / second).sqrt() + self.epsilon));
    }

    fn errors(&self, step: &Step, element: &Element, before: [f64; 3]) -> [f64; 3] {
        let [mut of_parameter, of_first, of_second] = before;
        let (g, of_gradient) = if self.decoupled_weight_decay {
            // The factor that shrinks the parameter is rounded, and so is the product.
            let shrunk = element.parameter * (1.0 - step.rate * element.decay);
            of_parameter += if element.decay > 0.0 { 2.0 * U * shrunk.abs() } else { 0.0 };
            step.clipped(element)
        } else {
            step.decayed(element, of_parameter)
        };
        let ([parameter, m, v], [correction1, correction2]) = (element.after, self.bias_corrections(step.number));
        let (k1, k2) = (1.0 - self.beta1, 1.0 - self.beta2);
        // m += k1 (g - m): the difference, the constant, the product and the sum are rounded.
        let difference = (k1 * (g - element.moments[0])).abs();
        let of_first = self.beta1 * of_first + k1 * of_gradient + 3.0 * U * difference + U * m.abs();
        // beta2 v: the constant and the product; k2 g g: the constant and two products.
        let of_square = 2.0 * g.abs() * of_gradient + of_gradient * of_gradient;
        let of_sum = self.beta2 * of_second + 2.0 * U * v + k2 * of_square + 3.0 * U * k2 * g * g + U * v;
        let of_second = of_sum + FLUSHED;
        let (scale, root) = (1.0 / correction2.sqrt(), v.sqrt());
        let divisor = scale * root + self.epsilon;
        let of_scaled = scale * bounds::root(v, of_second) + 2.0 * U * scale * root;
        let of_divisor = of_scaled + U * self.epsilon + U * divisor;
        let numerator = step.rate / correction1 * m;
        let of_numerator = step.rate / correction1 * of_first + 2.0 * U * numerator.abs();
        // The device's divisor has epsilon at least.
        let of_quotient = bounds::quotient((numerator, of_numerator), (divisor, of_divisor), 0.5 * self.epsilon);
        [of_parameter + of_quotient + U * parameter.abs(), of_first, of_second]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::reference::{State, update};
    use crate::optim::{OptimiserSettings, StepScalars};

    #[test]
    fn the_first_step_is_the_learning_rate() {
        let first_step = |decoupled_weight_decay| {
            let adam = Adam { decoupled_weight_decay, ..Adam::default() };
            let settings = OptimiserSettings { weight_decay: 0.01, ..OptimiserSettings::new(adam) };
            let mut state = State::new(vec![2.0, -1.0]);
            update(&settings, 1, 0.1, 1, &[0.5, -3.0], &mut state);
            state.parameters
        };
        approx::assert_abs_diff_eq!(first_step(false)[..], [1.9, -0.9], epsilon = 1e-7);
        // Only the first element decays: 2 * (1 - 0.1 * 0.01) - 0.1.
        approx::assert_abs_diff_eq!(first_step(true)[..], [1.898, -0.9], epsilon = 1e-7);
    }

    #[test]
    fn the_first_step_is_corrected_in_full() {
        let settings = OptimiserSettings { weight_decay: 0.1, ..OptimiserSettings::new(Adam::default()) };
        let scalars = StepScalars::new(&settings, 1, 0.01);
        approx::assert_relative_eq!(scalars.rule[0], 0.1, max_relative = 1e-6);
        approx::assert_relative_eq!(scalars.rule[1], 1000f32.sqrt(), max_relative = 1e-6);
        approx::assert_relative_eq!(scalars.shrink, 0.999, max_relative = 1e-6);
    }
}
