use crate::graph::{Lowering, Op};
use crate::kernel::Dispatch;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Stub until the operation of this name is merged.
#[derive(Debug, Clone, Copy)]
pub struct ChannelSum;

impl Op for ChannelSum {
    fn name(&self) -> &'static str {
        "channel_sum"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        Ok(vec![TensorSpec::f32([inputs[0].channels()])])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let spec = at.input_spec(0);
        let c = spec.channels();
        let d = Dispatch::new("channel_sum_stub").params(&[spec.elements(), c]).read(at.input(0)).write(at.output(0));
        at.emit(d.linear_grid(c.div_ceil(64), at.target()));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let c = inputs[0].spec.channels();
        let mut sum = vec![0.0; c];
        for row in inputs[0].data.chunks_exact(c) {
            sum.iter_mut().zip(row).for_each(|(s, x)| *s += x);
        }
        vec![HostTensor::new(TensorSpec::f32([c]), sum)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}
