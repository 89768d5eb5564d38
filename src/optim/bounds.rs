//! How far the kernels, which compute in f32, may be from the definition in f64 ([`super::reference`]).
//!
//! A running error analysis (Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, section 3.3): beside each number of the
//! definition goes a bound on the error of the device's, which every operation adds its roundings to. So nothing is assumed of the
//! numbers: where weight decay cancels a gradient, the bound of that element grows as its error may.

use super::OptimiserSettings;
use super::reference::State;

/// Unit roundoff of f32.
pub const U: f64 = f32::EPSILON as f64 / 2.0;

/// Roundings of a division in WGSL: 2.5 units in the last place, each at most two of them.
pub const DIVISION: f64 = 5.0;

/// Roundings of a root, which WGSL defines as the inverse of `inverseSqrt`: 2 units in the last place, and a division.
const ROOT: f64 = 4.0 + DIVISION;

/// Roundings of the norm of the gradients. Of the sum of squares: a square; 63 sums in a row, and 8 by halves over 256; of up to 4096
/// partial sums 15 in a row, and 8 by halves. A root halves them and adds its own.
const NORM: f64 = (1.0 + 63.0 + 8.0 + 15.0 + 8.0) / 2.0 + ROOT;

/// What products of errors, which the analysis leaves out, may add: each error is less than a thousandth of its number, or bounded
/// without that.
const SECOND_ORDER: f64 = 1.001;

/// What a device may lose that takes numbers below the smallest normal one for zero.
pub const FLUSHED: f64 = f32::MIN_POSITIVE as f64;

/// Bound on the norm of the gradients.
pub fn norm(expected: f64) -> f64 {
    NORM * U * expected * SECOND_ORDER
}

/// Bounds on the errors of parameters and moments, element by element.
#[derive(Debug, Clone, PartialEq)]
pub struct Errors {
    /// Of the parameters.
    pub parameters: Vec<f64>,
    /// Of the first moments.
    pub moment1: Vec<f64>,
    /// Of the second moments; next to 0 for a rule with one.
    pub moment2: Vec<f64>,
}

/// One element in one step of the definition.
#[derive(Debug, Clone, Copy)]
pub struct Element {
    /// The gradient before clipping.
    pub gradient: f64,
    /// Weight decay: 0 for elements that do not decay.
    pub decay: f64,
    /// The parameter before the step.
    pub parameter: f64,
    /// The moments before the step.
    pub moments: [f64; 2],
    /// Parameter and moments after it.
    pub after: [f64; 3],
}

/// What all elements of a step have in common.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Counted from 1.
    pub number: u64,
    /// Learning rate.
    pub rate: f64,
    /// Factor that clips gradients.
    pub clip: f64,
    /// Its relative error.
    pub clip_error: f64,
}

impl Errors {
    /// No errors: the device starts from the same numbers.
    pub fn none(elements: usize) -> Self {
        let zeros = vec![0.0; elements];
        Self { parameters: zeros.clone(), moment1: zeros.clone(), moment2: zeros }
    }

    /// Adds those of step `step`, counted from 1, that brings the definition from `before` to `after`.
    pub fn step(
        &mut self,
        settings: &OptimiserSettings,
        (step, rate): (u64, f64),
        decayed: usize,
        gradients: &[f64],
        [before, after]: [&State; 2],
    ) {
        let norm = super::reference::global_norm(gradients);
        let clip = settings.clip_norm.map_or(1.0, |limit| (limit / (norm + 1e-6)).min(1.0));
        // The norm, the two constants, a sum and a division.
        let clip_error = if settings.clip_norm.is_some() { (NORM + 3.0 + DIVISION) * U } else { 0.0 };
        let of_step = Step { number: step, rate, clip, clip_error };
        for (i, &gradient) in gradients.iter().enumerate() {
            let element = Element {
                gradient,
                decay: if i < decayed { settings.weight_decay } else { 0.0 },
                parameter: before.parameters[i],
                moments: [before.moment1[i], before.moment2[i]],
                after: [after.parameters[i], after.moment1[i], after.moment2[i]],
            };
            let errors = [self.parameters[i], self.moment1[i], self.moment2[i]];
            let errors = settings.optimiser.errors(&of_step, &element, errors);
            [self.parameters[i], self.moment1[i], self.moment2[i]] = errors.map(|error| error * SECOND_ORDER + FLUSHED);
        }
    }
}

impl Step {
    /// `clip * gradient` and its error.
    pub fn clipped(&self, element: &Element) -> (f64, f64) {
        let clipped = self.clip * element.gradient;
        (clipped, (self.clip_error + U) * clipped.abs())
    }

    /// `clip * gradient + decay * parameter` and its error, from that of the parameter: products of rounded factors, and a sum.
    pub fn decayed(&self, element: &Element, of_parameter: f64) -> (f64, f64) {
        let ((clipped, of_clipped), decay) = (self.clipped(element), element.decay * element.parameter);
        let of_terms = of_clipped + 2.0 * U * decay.abs() + element.decay * of_parameter;
        (clipped + decay, of_terms + U * (clipped + decay).abs())
    }
}

/// Error of the root of `value`, which is not 0 or has an error.
pub fn root(value: f64, error: f64) -> f64 {
    let root = value.sqrt();
    error / (root + (value - error).max(0.0).sqrt()).max(error.sqrt()) + ROOT * U * root
}

/// Error of `numerator / divisor`, each with its error; the device's divisor is `least` at least.
pub fn quotient((numerator, of_numerator): (f64, f64), (divisor, of_divisor): (f64, f64), least: f64) -> f64 {
    let quotient = (numerator / divisor).abs();
    (of_numerator + quotient * of_divisor) / (divisor - of_divisor).max(least) + DIVISION * U * quotient
}

/// Bound on the moving average of parameters of at most `largest`, whatever the number of steps.
///
/// Per step roundings of the weight (1), the difference (2: of up to twice the largest value), the product (2) and the sum
/// (1), times weights up to 9/11. What a step has lost, later ones only shrink, by `decay` at least after step
/// `9 / (1 - decay) - 10`, as far as [`super::average_weight`] is more than `1 - decay`: the steps up to the next count in
/// full and the rest as a geometric series.
pub fn average(decay: f64, largest: f64) -> f64 {
    let in_full = 9.0 / (1.0 - decay) - 9.0;
    let series = 1.0 / (1.0 - decay);
    (in_full + series) * 6.0 * U * largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{Adam, Optimiser, Sgd};

    /// The bounds of the last of three steps from parameter 2, the second gradient of which weight decay cancels.
    fn bounds(optimiser: impl Optimiser + 'static) -> [f64; 3] {
        let settings = OptimiserSettings { weight_decay: 0.01, ..OptimiserSettings::new(optimiser) };
        let mut state = State::new(vec![2.0]);
        let mut errors = Errors::none(1);
        for (step, gradient) in [(1, 0.5), (2, -0.02), (3, 0.25)] {
            let before = state.clone();
            super::super::reference::update(&settings, step, 0.1, 1, &[gradient], &mut state);
            errors.step(&settings, (step, 0.1), 1, &[gradient], [&before, &state]);
        }
        [errors.parameters[0], errors.moment1[0], errors.moment2[0]]
    }

    /// Each number has a few dozen roundings; none of the bounds is loose by orders of magnitude.
    #[test]
    fn bounds_are_a_few_roundings() {
        let sgd = bounds(Sgd { momentum: 0.9, nesterov: true });
        let adam = bounds(Adam::default());
        let adamw = bounds(Adam { decoupled_weight_decay: true, ..Adam::default() });
        for [parameter, moment, _] in [sgd, adam, adamw] {
            assert!((3.0 * U..60.0 * U).contains(&parameter), "{}", parameter / U);
            assert!((0.1 * U..20.0 * U).contains(&moment), "{}", moment / U);
        }
        assert!(sgd[2] < 4.0 * FLUSHED, "SGD has no second moment");
    }
}
