use super::case::{Bound, Case, Draw};
use super::rows::element_width;
use crate::graph::{Lowering, Op, Vjp};
use crate::kernel::Dispatch;
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
        let elements = at.output_spec(0).elements();
        let width = element_width(elements, at.target());
        let (elements, share) = (elements / width, 64 * at.target().tuning.elementwise_rows);
        let dispatch = Dispatch::new("add").pairs(width > 1).params(&[elements, share]);
        let dispatch = dispatch.read(at.input(0)).read(at.input(1)).write(at.output(0));
        at.emit(dispatch.linear_grid(elements.div_ceil(share), at.target()));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let data = inputs[0].data.iter().zip(&inputs[1].data).map(|(a, b)| a + b).collect();
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
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
