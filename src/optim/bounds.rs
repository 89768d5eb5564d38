//! How far the kernels, which compute in f32, may be from the definition in f64 ([`super::reference`]).

/// Unit roundoff of f32.
const U: f64 = f32::EPSILON as f64 / 2.0;

/// Roundings of the norm of the gradients: 64 squares in a row, by halves over 256, by halves over the workgroups, a root.
const NORM: f64 = 90.0;

/// Roundings of what a step makes of a gradient: those of the norm, a dozen of the rest, and what Adam's quotient magnifies
/// where the decay cancels the gradient, as long as none of the elements comes below a tenth.
const STEP: f64 = 150.0;

/// Bound on the norm of the gradients.
pub fn norm(expected: f64) -> f64 {
    NORM * U * expected
}

/// Bound on parameters after `steps` steps from equal ones: per step two roundings of the parameter and 150 of its
/// move, which the moments carry on from every step before. `largest` is the largest parameter, `moved` the longest move.
pub fn parameters(steps: u32, largest: f64, moved: f64) -> f64 {
    let steps = f64::from(steps);
    steps * U * (2.0 * largest + steps * STEP * moved)
}

/// Bound on moments after `steps` steps, of which the largest is `largest`.
pub fn moment(steps: u32, largest: f64) -> f64 {
    f64::from(steps) * STEP * U * largest
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
