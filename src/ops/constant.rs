use super::case::{Bound, Case};
use crate::graph::{Lowering, Op};
use crate::kernel::Dispatch;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Numbers that the uniform of `constant.wgsl` holds.
const MOST: usize = 256;

/// A vector `[n]` of given numbers, at most 256.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    values: Vec<f32>,
}

impl Constant {
    /// Of these numbers.
    pub fn new(values: &[f32]) -> Self {
        Self { values: values.to_vec() }
    }
}

impl Op for Constant {
    fn name(&self) -> &'static str {
        "constant"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match (inputs, self.values.len()) {
            ([], 1..=MOST) => Ok(vec![TensorSpec::f32([self.values.len()])]),
            ([], count) => Err(ShapeError::new(self.name(), format!("1 to {MOST} numbers, not {count}"), inputs)),
            _ => Err(ShapeError::new(self.name(), "no inputs", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        // An array in a uniform has elements of 16 bytes.
        let dispatch = Dispatch::new("constant").params(&[self.values.len(), 0, 0, 0]);
        let padded = self.values.iter().copied().chain(std::iter::repeat(0.0)).take(MOST);
        at.emit(padded.fold(dispatch, Dispatch::scalar).write(at.output(0)));
    }

    fn reference(&self, _inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let data = self.values.iter().copied().map(f64::from).collect();
        vec![HostTensor::new(TensorSpec::f32([self.values.len()]), data)]
    }
}

pub(super) fn cases() -> Vec<Case> {
    let case = |count: usize| {
        let values: Vec<f32> = (0..count).map(|i| (i as f32 + 0.3).sin()).collect();
        let bound = Bound::Relative { ulps: 0.0 };
        Case::new(format!("constant/{count}"), Constant::new(&values), Vec::new(), bound).backward_only()
    };
    vec![case(1), case(7), case(MOST)]
}
