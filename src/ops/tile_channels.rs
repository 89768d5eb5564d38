use super::case::{Bound, Case, Draw};
use super::rows::{Rows, has_channels, matrix, with_channels};
use crate::graph::{Lowering, Op, Vjp};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Repeats the channels of `[.., Cin]` to `[.., channels]`: output channel `c` is input channel `c mod Cin`. `channels`
/// must be at least `Cin`.
#[derive(Debug, Clone, Copy)]
pub struct TileChannels {
    /// Channels of the output.
    pub channels: usize,
}

/// Gradient of [`TileChannels`]: sums `[.., C]` over the repeats to `[.., channels]`.
#[derive(Debug, Clone, Copy)]
pub struct TileChannelsGrad {
    /// Channels of the output.
    pub channels: usize,
}

impl Op for TileChannels {
    fn name(&self) -> &'static str {
        "tile_channels"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input] if has_channels(input) && (1..=self.channels).contains(&input.channels()) => {
                Ok(vec![with_channels(input, self.channels)])
            }
            _ => {
                let expected = format!("one f32 tensor [.., C] with C at most {}", self.channels);
                Err(ShapeError::new(self.name(), expected, inputs))
            }
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        let channels = at.input_spec(0).channels();
        at.contribute_node(0, TileChannelsGrad { channels }, &[at.grad_output()])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (rows, channels) = matrix(at.input_spec(0));
        let dispatch = Rows::elementwise(1, rows, self.channels, at.target()).dispatch("tile_channels", at.target());
        at.emit(dispatch.param(channels).read(at.input(0)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let channels = inputs[0].spec.channels();
        let row = |row: &[f64]| -> Vec<f64> { (0..self.channels).map(|c| row[c % channels]).collect() };
        let data = inputs[0].data.chunks_exact(channels).flat_map(row).collect();
        vec![HostTensor::new(with_channels(&inputs[0].spec, self.channels), data)]
    }
}

impl Op for TileChannelsGrad {
    fn name(&self) -> &'static str {
        "tile_channels_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [grad] if has_channels(grad) && (1..=grad.channels()).contains(&self.channels) => {
                Ok(vec![with_channels(grad, self.channels)])
            }
            _ => {
                let expected = format!("one f32 tensor [.., C] with C at least {}", self.channels);
                Err(ShapeError::new(self.name(), expected, inputs))
            }
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (rows, channels) = matrix(at.input_spec(0));
        let dispatch =
            Rows::elementwise(1, rows, self.channels, at.target()).dispatch("tile_channels_grad", at.target());
        at.emit(dispatch.param(channels).read(at.input(0)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let mut sums = HostTensor::zeros(with_channels(&inputs[0].spec, self.channels));
        let rows = inputs[0].data.chunks_exact(inputs[0].spec.channels());
        for (row, sums) in rows.zip(sums.data.chunks_exact_mut(self.channels)) {
            row.iter().enumerate().for_each(|(c, g)| sums[c % self.channels] += g);
        }
        vec![sums]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}

pub(super) fn cases() -> Vec<Case> {
    let tile = |name: &str, shape: &[usize], channels: usize| {
        let input = (TensorSpec::f32(shape), Draw::Normal(1.0));
        Case::new(name, TileChannels { channels }, vec![input], Bound::Sum { terms: 0 }).exact()
    };
    let grad = |name: &str, shape: &[usize], channels: usize| {
        let input = (TensorSpec::f32(shape), Draw::Normal(1.0));
        let terms = shape[shape.len() - 1].div_ceil(channels);
        Case::new(name, TileChannelsGrad { channels }, vec![input], Bound::Sum { terms }).backward_only().exact()
    };
    vec![
        tile("tile_channels/2x3x5x7x1-16", &[2, 3, 5, 7, 1], 16),
        tile("tile_channels/2x3x5x7x3-12", &[2, 3, 5, 7, 3], 12),
        tile("tile_channels/1x3x5x7x2-5", &[1, 3, 5, 7, 2], 5),
        tile("tile_channels/1x3x5x7x4-4", &[1, 3, 5, 7, 4], 4),
        tile("tile_channels/1x32x64x64x1-16", &[1, 32, 64, 64, 1], 16).benchmark(),
        grad("tile_channels_grad/2x3x5x7x16-1", &[2, 3, 5, 7, 16], 1),
        grad("tile_channels_grad/2x3x5x7x12-3", &[2, 3, 5, 7, 12], 3),
        grad("tile_channels_grad/1x3x5x7x5-2", &[1, 3, 5, 7, 5], 2),
        grad("tile_channels_grad/1x32x64x64x16-1", &[1, 32, 64, 64, 16], 1).benchmark(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_do_not_get_fewer() {
        let op = TileChannels { channels: 3 };
        assert!(op.infer(&[&TensorSpec::f32([1, 2, 4])]).is_err());
        assert_eq!(op.infer(&[&TensorSpec::f32([1, 2, 2])]), Ok(vec![TensorSpec::f32([1, 2, 3])]));
    }
}
