use super::{Update, WORKGROUP_ELEMENTS, windows};
use crate::kernel::{Arena, Cost, Dispatch, Operand, Target};
use crate::tensor::ELEMENT_BYTES;

/// Weight of the parameters after step t, counted from 1, in their moving average: `1 - decay`, or `9 / (10 + t)` while
/// that is more, so that a short training is not averaged with its start. As TensorFlow's `ExponentialMovingAverage` with
/// `num_updates`.
pub fn weight(decay: f64, step: u64) -> f64 {
    (1.0 - decay).max(9.0 / (10.0 + step as f64))
}

impl Update {
    /// After the update, the exponential moving average of arenas of `elements` elements ([`Arena::Average`]): one
    /// dispatch per window. Its weight is that of the step's scalars ([`super::StepScalars::averaging`]).
    #[must_use]
    pub fn averaged(mut self, elements: usize, target: &Target) -> Self {
        for (start, len) in windows((0, elements), target) {
            let window = |arena| Operand::Window { arena, start, len };
            let dispatch = Dispatch::new("ema").param(len).read(Operand::StepScalars).read(self.grad_norm);
            let dispatch = dispatch.read(window(Arena::Parameters)).write(window(Arena::Average));
            self.dispatches.push(dispatch.linear_grid(len.div_ceil(WORKGROUP_ELEMENTS), target));
        }
        let Cost { flops, bytes } = self.cost;
        let elements = elements as u64;
        self.cost = Cost { flops: flops + 3 * elements, bytes: bytes + 3 * ELEMENT_BYTES * elements };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_falls_to_that_of_the_decay() {
        assert_eq!(weight(0.99, 1), 9.0 / 11.0);
        approx::assert_relative_eq!(weight(0.99, 890), 0.01, max_relative = 1e-12);
        assert_eq!(weight(0.5, 8), 0.5);
        approx::assert_relative_eq!(weight(0.99, 100_000), 0.01, max_relative = 1e-12);
    }
}
