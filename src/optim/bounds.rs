//! How far the kernels, which compute in f32, may be from the definition in f64 ([`super::reference`]).
//!
//! A running error analysis (Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, section 3.3): beside each number of the
//! definition goes a bound on the error of the device's, which every operation adds its roundings to. So nothing is assumed of the
//! numbers: where weight decay cancels a gradient, the bound of that element grows as its error may.

use super::reference::State;
use super::settings::bias_corrections;
use super::{Optimiser, OptimiserSettings};

/// Unit roundoff of f32.
const U: f64 = f32::EPSILON as f64 / 2.0;

/// Roundings of a division in WGSL: 2.5 units in the last place, each at most two of them.
const DIVISION: f64 = 5.0;

/// Roundings of a root, which WGSL defines as the inverse of `inverseSqrt`: 2 units in the last place, and a division.
const ROOT: f64 = 4.0 + DIVISION;

/// Roundings of the norm of the gradients. Of the sum of squares: a square; 63 sums in a row, and 8 by halves over 256; of up to 4096
/// partial sums 15 in a row, and 8 by halves. A root halves them and adds its own.
const NORM: f64 = (1.0 + 63.0 + 8.0 + 15.0 + 8.0) / 2.0 + ROOT;

/// What products of errors, which the analysis leaves out, may add: each error is less than a thousandth of its number, or bounded
/// without that.
const SECOND_ORDER: f64 = 1.001;

/// What a device may lose that takes numbers below the smallest normal one for zero.
const FLUSHED: f64 = f32::MIN_POSITIVE as f64;

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
    /// Of the second moments; 0 with SGD.
    pub moment2: Vec<f64>,
}

/// One element in one step of the definition.
struct Element {
    /// The gradient before clipping.
    gradient: f64,
    decay: f64,
    /// Parameter and first moment before the step.
    parameter: f64,
    moment1: f64,
    /// The same, and the second moment, after it.
    after: [f64; 3],
}

/// What all elements of a step have in common.
struct Step {
    rate: f64,
    clip: f64,
    /// Relative error of the factor that clips.
    clip_error: f64,
    corrections: (f64, f64),
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
        let of_step = Step { rate, clip, clip_error, corrections: bias_corrections(settings, step) };
        for (i, &gradient) in gradients.iter().enumerate() {
            let element = Element {
                gradient,
                decay: if i < decayed { settings.weight_decay } else { 0.0 },
                parameter: before.parameters[i],
                moment1: before.moment1[i],
                after: [after.parameters[i], after.moment1[i], after.moment2[i]],
            };
            let errors = [self.parameters[i], self.moment1[i], self.moment2[i]];
            let errors = match settings.optimiser {
                Optimiser::Sgd { momentum, nesterov } => sgd(&of_step, &element, errors, momentum, nesterov),
                Optimiser::Adam { beta1, beta2, epsilon } => {
                    let (g, error) = decayed_gradient(&of_step, &element, errors[0]);
                    adam(&of_step, &element, (g, error), errors, [beta1, beta2, epsilon])
                }
                Optimiser::AdamW { beta1, beta2, epsilon } => {
                    let g = of_step.clip * element.gradient;
                    // The factor that shrinks the parameter is rounded, and so is the product.
                    let shrunk = element.parameter * (1.0 - rate * element.decay);
                    let shrinking = if element.decay > 0.0 { 2.0 * U * shrunk.abs() } else { 0.0 };
                    let errors = [errors[0] + shrinking, errors[1], errors[2]];
                    adam(&of_step, &element, (g, (of_step.clip_error + U) * g.abs()), errors, [beta1, beta2, epsilon])
                }
            };
            [self.parameters[i], self.moment1[i], self.moment2[i]] = errors.map(|error| error * SECOND_ORDER + FLUSHED);
        }
    }
}

/// `clip * gradient + decay * parameter` and its error: products of rounded factors, and a sum.
fn decayed_gradient(step: &Step, element: &Element, parameter_error: f64) -> (f64, f64) {
    let (clipped, decay) = (step.clip * element.gradient, element.decay * element.parameter);
    let of_terms = (step.clip_error + U) * clipped.abs() + 2.0 * U * decay.abs() + element.decay * parameter_error;
    (clipped + decay, of_terms + U * (clipped + decay).abs())
}

fn sgd(
    step: &Step,
    element: &Element,
    [of_parameter, of_moment, _]: [f64; 3],
    momentum: f64,
    nesterov: bool,
) -> [f64; 3] {
    let (g, of_gradient) = decayed_gradient(step, element, of_parameter);
    let [parameter, moment, _] = element.after;
    let carried = (momentum * element.moment1).abs();
    let of_moment = momentum * of_moment + 2.0 * U * carried + of_gradient + U * moment.abs();
    let (direction, of_direction) = match nesterov {
        false => (moment, of_moment),
        true => {
            let (ahead, direction) = (momentum * moment, g + momentum * moment);
            let error = of_gradient + momentum * of_moment + 2.0 * U * ahead.abs() + U * direction.abs();
            (direction, error)
        }
    };
    let of_move = step.rate * of_direction + 2.0 * U * (step.rate * direction).abs();
    [of_parameter + of_move + U * parameter.abs(), of_moment, 0.0]
}

fn adam(
    step: &Step,
    element: &Element,
    (g, of_gradient): (f64, f64),
    [of_parameter, of_first, of_second]: [f64; 3],
    [beta1, beta2, epsilon]: [f64; 3],
) -> [f64; 3] {
    let [parameter, m, v] = element.after;
    let (k1, k2) = (1.0 - beta1, 1.0 - beta2);
    // m += k1 (g - m): the difference, the constant, the product and the sum are rounded.
    let difference = (k1 * (g - element.moment1)).abs();
    let of_first = beta1 * of_first + k1 * of_gradient + 3.0 * U * difference + U * m.abs();
    // beta2 v: the constant and the product; k2 g g: the constant and two products.
    let square = 2.0 * g.abs() * of_gradient + of_gradient * of_gradient;
    let of_second = beta2 * of_second + 2.0 * U * v + k2 * square + 3.0 * U * k2 * g * g + U * v + FLUSHED;
    let root = v.sqrt();
    let of_root = of_second / (root + (v - of_second).max(0.0).sqrt()).max(of_second.sqrt()) + ROOT * U * root;
    let scale = 1.0 / step.corrections.1.sqrt();
    let divisor = scale * root + epsilon;
    let of_divisor = scale * of_root + 2.0 * U * scale * root + U * epsilon + U * divisor;
    let numerator = step.rate / step.corrections.0 * m;
    let of_numerator = step.rate / step.corrections.0 * of_first + 2.0 * U * numerator.abs();
    let quotient = (numerator / divisor).abs();
    // The device's divisor has epsilon at least.
    let least = (divisor - of_divisor).max(0.5 * epsilon);
    let of_quotient = (of_numerator + quotient * of_divisor) / least + DIVISION * U * quotient;
    [of_parameter + of_quotient + U * parameter.abs(), of_first, of_second]
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

    /// The bounds of the last of three steps from parameter 2, the second gradient of which weight decay cancels.
    fn bounds(optimiser: Optimiser) -> [f64; 3] {
        let settings = OptimiserSettings { optimiser, weight_decay: 0.01, clip_norm: None };
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
        let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8);
        let sgd = bounds(Optimiser::Sgd { momentum: 0.9, nesterov: true });
        let adam = bounds(Optimiser::Adam { beta1, beta2, epsilon });
        let adamw = bounds(Optimiser::AdamW { beta1, beta2, epsilon });
        for [parameter, moment, _] in [sgd, adam, adamw] {
            assert!((3.0 * U..60.0 * U).contains(&parameter), "{}", parameter / U);
            assert!((0.1 * U..20.0 * U).contains(&moment), "{}", moment / U);
        }
        assert!(sgd[2] < 4.0 * FLUSHED, "SGD has no second moment");
    }
}
