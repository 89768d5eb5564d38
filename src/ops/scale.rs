use super::case::{Bound, Case, Draw};
use super::sigmoid::elementwise;
use crate::graph::{Lowering, Op, Vjp};
use crate::tensor::{DType, HostTensor, ShapeError, TensorSpec};

/// Every element times a number: the weight of a loss in a sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The number.
    pub factor: f32,
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input] if input.dtype == DType::F32 => Ok(vec![(*input).clone()]),
            _ => Err(ShapeError::new(self.name(), "one f32 tensor", inputs)),
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        at.contribute_node(0, *self, &[at.grad_output()])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        at.emit(elementwise("scale", at).scalar(self.factor).read(at.input(0)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let data = inputs[0].data.iter().map(|x| f64::from(self.factor) * x).collect();
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}

pub(super) fn cases() -> Vec<Case> {
    // One rounding.
    let case = |name: &str, shape: &[usize], factor: f32| {
        let input = (TensorSpec::f32(shape), Draw::Normal(1.0));
        Case::new(name, Scale { factor }, vec![input], Bound::Relative { ulps: 1.0 })
    };
    vec![case("scale/1", &[1], 4.0 / 7.0), case("scale/3x37x11", &[3, 37, 11], -0.25).exact()]
}
