use super::case::{Bound, Case};
use crate::graph::{Lowering, Op};
use crate::kernel::Dispatch;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// A tensor of one constant.
#[derive(Debug, Clone)]
pub struct Fill {
    /// Spec of the output.
    pub spec: TensorSpec,
    /// The constant.
    pub value: f32,
}

impl Op for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [] => Ok(vec![self.spec.clone()]),
            _ => Err(ShapeError::new(self.name(), "no inputs", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let elements = self.spec.elements();
        let dispatch = Dispatch::new("fill").param(elements).scalar(self.value).write(at.output(0));
        at.emit(dispatch.linear_grid(elements.div_ceil(64), at.target()));
    }

    fn reference(&self, _inputs: &[&HostTensor]) -> Vec<HostTensor> {
        vec![HostTensor::new(self.spec.clone(), vec![f64::from(self.value); self.spec.elements()])]
    }
}

pub(super) fn cases() -> Vec<Case> {
    let spec = TensorSpec::f32([3, 7, 11]);
    let bound = Bound::Relative { ulps: 0.0 };
    vec![Case::new("fill/3x7x11", Fill { spec, value: -0.3 }, Vec::new(), bound).backward_only()]
}
