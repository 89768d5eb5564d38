use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand};

/// Most workgroups over the taps: several taps for one invocation pay for its start on llvmpipe.
const MOST_SHARES: usize = 5;

/// Emits weights `[taps, a, b]` as `[taps, b, a]`.
pub(super) fn emit_turned(at: &mut Lowering<'_>, [taps, a, b]: [usize; 3], weight: Operand, turned: Operand) {
    let dispatch = Dispatch::new("weight_turned").params(&[a, b, taps]).read(weight).write(turned);
    at.emit(dispatch.grid([b.div_ceil(8) as u32, a.div_ceil(8) as u32, taps.min(MOST_SHARES) as u32]));
}
