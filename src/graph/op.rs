use super::Vjp;
#[cfg(doc)]
use crate::kernel::Pieces;
use crate::kernel::{Cost, Dispatch, Operand, Target};
use crate::tensor::{ELEMENT_BYTES, HostTensor, ShapeError, TensorSpec, ValueId};
use std::any::Any;
use std::fmt::Debug;
use std::ops::Range;

/// An operation: shape rule, gradient, dispatches and definition. The repository's `examples/custom_op` implements one outside
/// of this crate.
///
/// An operation is [`Any`], so that a pass over a graph recognises the operations that it knows ([`Node::is`](super::Node::is)).
pub trait Op: Any + Debug + Send + Sync {
    /// Name in errors, reports and profiles.
    fn name(&self) -> &'static str;

    /// Shape rule: the only place where output shapes of this operation are derived.
    ///
    /// # Errors
    /// [`ShapeError`] when the operation is not defined on these inputs.
    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError>;

    /// Appends the nodes of the vector-Jacobian product and hands the gradient of each input to
    /// [`Vjp::contribute`]. Operations that only occur in backward passes are not differentiable again.
    ///
    /// # Errors
    /// [`ShapeError`] of the appended nodes, or from operations without a gradient.
    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        Err(ShapeError::new(self.name(), "an operation that has a gradient", &[at.output_spec(0)]))
    }

    /// Emits the dispatches of this operation, in order.
    fn lower(&self, at: &mut Lowering<'_>);

    /// The definition, in f64 and plain loops.
    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor>;

    /// Useful flops, 0 unless the operation says otherwise; the compulsory bytes follow from the specs.
    fn flops(&self, _inputs: &[&TensorSpec]) -> u64 {
        0
    }

    /// Useful flops and compulsory bytes.
    fn cost(&self, inputs: &[&TensorSpec], outputs: &[&TensorSpec]) -> Cost {
        let bytes = inputs.iter().chain(outputs).map(|s| s.bytes()).sum();
        Cost { flops: self.flops(inputs), bytes }
    }
}

/// Where an operation emits its dispatches.
#[derive(Debug)]
pub struct Lowering<'a> {
    target: &'a Target,
    inputs: Vec<(ValueId, &'a TensorSpec)>,
    outputs: Vec<(ValueId, &'a TensorSpec)>,
    scratch: Vec<u64>,
    dispatches: Vec<Dispatch>,
}

impl<'a> Lowering<'a> {
    /// The lowering of one node on a device.
    pub fn new(
        target: &'a Target,
        inputs: Vec<(ValueId, &'a TensorSpec)>,
        outputs: Vec<(ValueId, &'a TensorSpec)>,
    ) -> Self {
        Self { target, inputs, outputs, scratch: Vec::new(), dispatches: Vec::new() }
    }

    /// The device that is lowered for.
    pub fn target(&self) -> &'a Target {
        self.target
    }

    /// Operand of input `i`.
    pub fn input(&self, i: usize) -> Operand {
        Operand::Value(self.inputs[i].0)
    }

    /// Spec of input `i`.
    pub fn input_spec(&self, i: usize) -> &'a TensorSpec {
        self.inputs[i].1
    }

    /// Number of inputs of the node.
    pub fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// Operand of output `i`.
    pub fn output(&self, i: usize) -> Operand {
        Operand::Value(self.outputs[i].0)
    }

    /// Spec of output `i`.
    pub fn output_spec(&self, i: usize) -> &'a TensorSpec {
        self.outputs[i].1
    }

    /// A temporary buffer of `elements` four-byte elements; its contents are undefined before it is written.
    pub fn scratch(&mut self, elements: usize) -> Operand {
        self.scratch.push(elements as u64 * ELEMENT_BYTES);
        Operand::Scratch(self.scratch.len() - 1)
    }

    /// Appends a dispatch; where an operand is larger than a binding may be, those that replace it ([`Pieces`]).
    pub fn emit(&mut self, dispatch: Dispatch) {
        match self.in_pieces(&dispatch) {
            Some(pieces) => self.dispatches.extend(pieces),
            None => self.dispatches.push(dispatch),
        }
    }

    /// Elements of an operand that is a whole value or temporary buffer of the node.
    pub(super) fn elements(&self, operand: Operand) -> Option<usize> {
        match operand {
            Operand::Value(value) => {
                let mut values = self.inputs.iter().chain(&self.outputs);
                values.find(|(known, _)| *known == value).map(|(_, spec)| spec.elements())
            }
            Operand::Scratch(i) => Some((self.scratch[i] / ELEMENT_BYTES) as usize),
            _ => None,
        }
    }

    /// Ranges of `units` units of work, in order, none of which has more of the `flops` than a submission may. Also the flops of
    /// each. A range within the limit of a grid's dimension or a multiple of it leaves no surplus in a folded grid.
    pub fn parts(&self, units: usize, flops: u64) -> Vec<(Range<usize>, u64)> {
        let (bound, limit) = (self.target.tuning.submission_flops, self.target.limits.max_workgroups as usize);
        if flops <= bound {
            return vec![(0..units, flops)];
        }
        let most = ((units as u128 * u128::from(bound) / u128::from(flops)) as usize).max(1);
        let most = if most > limit { most / limit * limit } else { most };
        let part = |first: usize| {
            let range = first..(first + most).min(units);
            let share = (u128::from(flops) * range.len() as u128).div_ceil(units as u128);
            (range, u64::try_from(share).expect("a share of the flops"))
        };
        (0..units).step_by(most).map(part).collect()
    }

    /// Appends a dispatch over `workgroups` workgroups that executes `flops`, in as many parts as keep within the work of a
    /// submission. The shader's number of a workgroup is `params.first_workgroup + linear_workgroup(..)` of `#import grid`,
    /// where `first_workgroup` follows the words of the dispatch in the uniform.
    pub fn emit_in_parts(&mut self, dispatch: &Dispatch, workgroups: usize, flops: u64) {
        if let Some(pieces) = self.in_pieces(&dispatch.clone().flops(flops)) {
            self.dispatches.extend(pieces);
            return;
        }
        for (range, flops) in self.parts(workgroups, flops) {
            let part = dispatch.clone().first_unit(range.start).linear_grid(range.len(), self.target);
            self.emit(part.flops(flops));
        }
    }

    /// The dispatches, and the sizes in bytes of the scratch buffers that they refer to.
    pub fn finish(self) -> (Vec<Dispatch>, Vec<u64>) {
        (self.dispatches, self.scratch)
    }
}
