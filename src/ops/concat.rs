use super::case::{Bound, Case, Draw};
use super::rows::{Rows, element_width, matrix, with_channels};
use crate::graph::{Lowering, Op, Vjp};
use crate::tensor::{DType, HostTensor, ShapeError, TensorSpec};

/// Joins two tensors `[.., C0]` and `[.., C1]` to `[.., C0 + C1]`.
#[derive(Debug, Clone, Copy)]
pub struct ConcatChannels;

/// Channels `start..start + len` of a tensor: the gradient of [`ConcatChannels`] with respect to one argument.
#[derive(Debug, Clone, Copy)]
pub struct SliceChannels {
    /// First channel.
    pub start: usize,
    /// Number of channels.
    pub len: usize,
}

/// A range of channels of a tensor.
#[derive(Debug, Clone, Copy)]
struct Range {
    /// Channels of the tensor.
    of: usize,
    /// First channel of the range.
    start: usize,
}

/// Emits the copy of input `i`'s channels from one range to the other.
fn copy(at: &mut Lowering<'_>, i: usize, len: usize, from: Range, to: Range) {
    let (rows, _) = matrix(at.input_spec(i));
    let ranges = [from.of, from.start, to.of, to.start];
    // All of them, if any is odd, one by one.
    let width = ranges.iter().map(|&c| element_width(c, at.target())).fold(element_width(len, at.target()), usize::min);
    let dispatch = Rows::elementwise(1, rows, len / width, at.target()).dispatch("channel_copy", at.target());
    let dispatch = dispatch.pairs(width > 1).params(&ranges.map(|c| c / width));
    at.emit(dispatch.read(at.input(i)).write(at.output(0)));
}

impl Op for ConcatChannels {
    fn name(&self) -> &'static str {
        "concat_channels"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [a, b] = inputs
            && let ([left @ .., first], [right @ .., second]) = (&a.shape[..], &b.shape[..])
            && left == right
            && a.dtype == DType::F32
            && b.dtype == DType::F32
        {
            return Ok(vec![TensorSpec::f32([left, &[first + second]].concat())]);
        }
        Err(ShapeError::new(self.name(), "two f32 tensors that differ in their channels only", inputs))
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        let first = at.input_spec(0).channels();
        let second = at.input_spec(1).channels();
        for (input, start, len) in [(0, 0, first), (1, first, second)] {
            at.contribute_node(input, SliceChannels { start, len }, &[at.grad_output()])?;
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let first = at.input_spec(0).channels();
        let second = at.input_spec(1).channels();
        let of = first + second;
        copy(at, 0, first, Range { of: first, start: 0 }, Range { of, start: 0 });
        copy(at, 1, second, Range { of: second, start: 0 }, Range { of, start: first });
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [a, b] = [inputs[0], inputs[1]];
        let rows = a.data.chunks_exact(a.spec.channels()).zip(b.data.chunks_exact(b.spec.channels()));
        let data = rows.flat_map(|(a, b)| [a, b].concat()).collect();
        vec![HostTensor::new(with_channels(&a.spec, a.spec.channels() + b.spec.channels()), data)]
    }
}

impl Op for SliceChannels {
    fn name(&self) -> &'static str {
        "slice_channels"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [input] = inputs
            && let [outer @ .., channels] = &input.shape[..]
            && input.dtype == DType::F32
            && self.start + self.len <= *channels
        {
            return Ok(vec![TensorSpec::f32([outer, &[self.len]].concat())]);
        }
        let expected = format!("one f32 tensor of at least {} channels", self.start + self.len);
        Err(ShapeError::new(self.name(), expected, inputs))
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let of = at.input_spec(0).channels();
        copy(at, 0, self.len, Range { of, start: self.start }, Range { of: self.len, start: 0 });
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let rows = inputs[0].data.chunks_exact(inputs[0].spec.channels());
        let data = rows.flat_map(|row| &row[self.start..self.start + self.len]).copied().collect();
        vec![HostTensor::new(with_channels(&inputs[0].spec, self.len), data)]
    }

    fn cost(&self, _inputs: &[&TensorSpec], outputs: &[&TensorSpec]) -> crate::kernel::Cost {
        crate::kernel::Cost { flops: 0, bytes: 2 * outputs[0].bytes() }
    }
}

pub(super) fn cases() -> Vec<Case> {
    let concat = |name: &str, outer: [usize; 4], channels: [usize; 2]| {
        let input = |c: usize| (TensorSpec::f32([&outer[..], &[c]].concat()), Draw::Normal(1.0));
        Case::new(name, ConcatChannels, channels.map(input).to_vec(), Bound::Sum { terms: 0 }).exact()
    };
    let slice = |name: &str, shape: &[usize], start: usize, len: usize| {
        let input = (TensorSpec::f32(shape), Draw::Normal(1.0));
        Case::new(name, SliceChannels { start, len }, vec![input], Bound::Sum { terms: 0 }).backward_only().exact()
    };
    vec![
        concat("concat_channels/2x3x5x7x1+2", [2, 3, 5, 7], [1, 2]),
        concat("concat_channels/2x3x5x7x5+3", [2, 3, 5, 7], [5, 3]),
        concat("concat_channels/1x4x9x5x16+8", [1, 4, 9, 5], [16, 8]),
        concat("concat_channels/1x2x1x3x256+270", [1, 2, 1, 3], [256, 270]),
        concat("concat_channels/1x32x64x64x16+16", [1, 32, 64, 64], [16, 16]).benchmark(),
        slice("slice_channels/2x3x5x7x5-1..3", &[2, 3, 5, 7, 5], 1, 2),
        slice("slice_channels/2x3x5x7x24-16..24", &[2, 3, 5, 7, 24], 16, 8),
        slice("slice_channels/1x32x64x64x32-16..32", &[1, 32, 64, 64, 32], 16, 16).benchmark(),
    ]
}
