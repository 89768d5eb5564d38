use super::case::{Bound, Case, Draw};
use super::rows::element_width;
use crate::graph::{Lowering, Op, Vjp};
use crate::kernel::{Dispatch, Operand, Pieces};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Elementwise sum of two tensors of one shape: the residual connection, and the sum of losses or gradients.
#[derive(Debug, Clone, Copy)]
pub struct Add;

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [a, b] if a == b => Ok(vec![(*a).clone()]),
            _ => Err(ShapeError::new(self.name(), "two tensors of one shape", inputs)),
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        for input in 0..2 {
            if at.needs(input) {
                at.contribute(input, at.grad_output());
            }
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        emit_add(at, [at.input(0), at.input(1)], at.output(0), at.output_spec(0).elements());
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let data = inputs[0].data.iter().zip(&inputs[1].data).map(|(a, b)| a + b).collect();
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}

/// Emits `sum = a + b` of `elements` each.
fn emit_add(at: &mut Lowering<'_>, [a, b]: [Operand; 2], sum: Operand, elements: usize) {
    let width = element_width(elements, at.target());
    let (elements, share) = (elements / width, 64 * at.target().tuning.elementwise_rows);
    let dispatch = Dispatch::new("add").pairs(width > 1).params(&[elements, share]);
    let dispatch = dispatch.read(a).read(b).write(sum);
    let pieces = Pieces { rows: elements, unit: share, workgroups: 1, rows_word: 0, units_word: None };
    let dispatch = dispatch.pieces((elements > 0).then_some(pieces));
    at.emit(dispatch.linear_grid(elements.div_ceil(share), at.target()));
}

/// Emits the sum of several temporary buffers of `elements` each to the output, in their order.
///
/// # Panics
/// When there are fewer than two.
pub(super) fn emit_sum_of(at: &mut Lowering<'_>, terms: &[Operand], elements: usize) {
    let [first, rest @ .., last] = terms else { panic!("two or more terms") };
    let mut sum = *first;
    for &term in rest {
        let next = at.scratch(elements);
        emit_add(at, [sum, term], next, elements);
        sum = next;
    }
    let output = at.output(0);
    emit_add(at, [sum, *last], output, elements);
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, shape: &[usize]| {
        let input = (TensorSpec::f32(shape), Draw::Normal(1.0));
        Case::new(name, Add, vec![input.clone(), input], Bound::Sum { terms: 1 }).exact()
    };
    vec![
        case("add/1x3x5x7x2", &[1, 3, 5, 7, 2]),
        case("add/1", &[1]),
        case("add/2x9x17x13x8", &[2, 9, 17, 13, 8]),
        case("add/1x32x64x64x32", &[1, 32, 64, 64, 32]).benchmark(),
    ]
}
