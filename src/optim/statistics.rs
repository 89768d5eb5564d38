use super::{Update, WORKGROUP_ELEMENTS, windows};
use crate::kernel::{Arena, Cost, Dispatch, Operand, Target};
use crate::tensor::ELEMENT_BYTES;
use std::ops::Range;

impl Update {
    /// After the optimiser's step, moves the statistics, elements `range` of the arenas, `momentum` of the way to those of the batch,
    /// which stand in the place of their gradients: one dispatch per window. A statistic of the batch that is not finite moves
    /// nothing. Comes before [`Update::averaged`], so that averages are those of the statistics after the step.
    ///
    /// # Panics
    /// When the range does not start at a multiple of 64 elements.
    #[must_use]
    pub fn following(mut self, range: Range<usize>, momentum: f32, target: &Target) -> Self {
        assert!(range.start.is_multiple_of(super::ALIGNMENT), "statistics start where a binding may");
        for (start, len) in windows(range.len(), target) {
            let window = |arena| Operand::Window { arena, start: range.start + start, len };
            let dispatch = Dispatch::new("follow").param(len).scalar(momentum).read(self.grad_norm);
            let dispatch = dispatch.read(window(Arena::Gradients)).write(window(Arena::Parameters));
            self.dispatches.push(dispatch.linear_grid(len.div_ceil(WORKGROUP_ELEMENTS), target));
        }
        let Cost { flops, bytes } = self.cost;
        let elements = range.len() as u64;
        self.cost = Cost { flops: flops + 3 * elements, bytes: bytes + 3 * ELEMENT_BYTES * elements };
        self
    }
}
